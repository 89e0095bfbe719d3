//! What is wrong with a request, in Centrifugo's form. Imports only what the hub refuses with.

use std::fmt::Display;

use axum::http::StatusCode;
use serde::Serialize;

use crate::hub::HubError;

/// An error of the API. By Centrifugo's convention the HTTP status is 200 where the request was understood as one for the API, unless the backend
/// asks for statuses.
#[derive(Debug)]
pub struct Error {
    code: u32,
    message: String,
    status: Option<StatusCode>,
}

impl Error {
    pub const UNAUTHORIZED: u32 = 101;
    pub const PERMISSION_DENIED: u32 = 103;
    pub const METHOD_NOT_FOUND: u32 = 104;
    pub const LIMIT_EXCEEDED: u32 = 106;
    pub const BAD_REQUEST: u32 = 107;
    pub const NOT_AVAILABLE: u32 = 108;
    pub const TOO_MANY_REQUESTS: u32 = 111;
    pub const UNRECOVERABLE_POSITION: u32 = 112;

    pub fn new(code: u32, message: impl Display) -> Error {
        Error { code, message: message.to_string(), status: None }
    }

    pub fn bad_request(message: impl Display) -> Error {
        Error::new(Error::BAD_REQUEST, message)
    }

    /// The same, with a status whether the backend asks for it or not.
    pub fn with_status(self, status: StatusCode) -> Error {
        Error { status: Some(status), ..self }
    }

    /// The status of the answer, which tells the code if statuses are asked for.
    pub fn status(&self, asked_for: bool) -> StatusCode {
        self.status.unwrap_or(match self.code {
            _ if !asked_for => StatusCode::OK,
            Error::UNAUTHORIZED => StatusCode::UNAUTHORIZED,
            Error::PERMISSION_DENIED => StatusCode::FORBIDDEN,
            Error::METHOD_NOT_FOUND | Error::NOT_AVAILABLE => StatusCode::NOT_FOUND,
            Error::LIMIT_EXCEEDED | Error::TOO_MANY_REQUESTS => StatusCode::TOO_MANY_REQUESTS,
            Error::BAD_REQUEST => StatusCode::BAD_REQUEST,
            Error::UNRECOVERABLE_POSITION => StatusCode::RANGE_NOT_SATISFIABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        })
    }

    /// Appends it as the answer, or the part of an answer, that it is.
    pub fn write(&self, out: &mut Vec<u8>) {
        #[derive(Serialize)]
        struct Body<'a> {
            error: Inner<'a>,
        }
        #[derive(Serialize)]
        struct Inner<'a> {
            code: u32,
            message: &'a str,
        }
        // Writing to memory does not fail.
        let _ = serde_json::to_writer(out, &Body { error: Inner { code: self.code, message: &self.message } });
    }
}

impl From<HubError> for Error {
    fn from(error: HubError) -> Error {
        match error {
            HubError::Name => Error::bad_request(format!("channel: {error}")),
            HubError::Channels => Error::new(Error::LIMIT_EXCEEDED, format!("channel: {error}")),
            HubError::NotKeyed => Error::bad_request(format!("key: {error}")),
            HubError::Keys => Error::new(Error::LIMIT_EXCEEDED, format!("key: {error}")),
            HubError::Position => Error::new(Error::UNRECOVERABLE_POSITION, format!("since: {error}")),
            HubError::Full => Error::new(Error::LIMIT_EXCEEDED, error),
            HubError::Overloaded => Error::new(Error::TOO_MANY_REQUESTS, error),
        }
    }
}
