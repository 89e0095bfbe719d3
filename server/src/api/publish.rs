//! `POST /api/publish`, with Centrifugo's bodies, so that existing backend libraries work.

use std::{borrow::Cow, fmt::Display, sync::Arc};

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use fantail_codec::Kind;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::Api;
use crate::hub::HubError;

/// The body of a request. Its parts are read one by one, so that an error names the field.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Publish<'a> {
    #[serde(borrow, deserialize_with = "present")]
    channel: Option<&'a RawValue>,
    /// Any JSON, `null` too, published as it stands, as text.
    #[serde(borrow, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    /// Bytes in base64, published as binary.
    #[serde(borrow, deserialize_with = "present")]
    b64data: Option<&'a RawValue>,
}

/// A field that is there, whatever its value; serde alone would take `null` for absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn string<'a>(field: &str, value: &'a RawValue) -> Result<Cow<'a, str>, Error> {
    /// A Cow that borrows where the JSON has no escapes.
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'_>>(value.get()).map(|text| text.0).map_err(|_| Error::bad_request(format!("{field}: expected a string")))
}

/// An error in Centrifugo's form; by its convention the HTTP status is 200 where the request was understood as one for the API.
#[derive(Debug)]
pub(super) struct Error {
    code: u32,
    message: String,
    status: StatusCode,
}

impl Error {
    pub(super) fn new(code: u32, message: impl Display) -> Error {
        Error { code, message: message.to_string(), status: StatusCode::OK }
    }

    pub(super) fn with_status(self, status: StatusCode) -> Error {
        Error { status, ..self }
    }

    fn bad_request(message: impl Display) -> Error {
        Error::new(107, message)
    }
}

impl From<HubError> for Error {
    fn from(error: HubError) -> Error {
        match error {
            HubError::Name => Error::bad_request(format!("channel: {error}")),
            HubError::Channels => Error::new(106, format!("channel: {error}")),
            HubError::Overloaded => Error::new(111, error),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            error: Inner,
        }
        #[derive(Serialize)]
        struct Inner {
            code: u32,
            message: String,
        }
        json(self.status, &Body { error: Inner { code: self.code, message: self.message } })
    }
}

/// What was published where.
#[derive(Serialize)]
struct Published {
    result: Position,
}

#[derive(Serialize)]
struct Position {
    offset: u64,
    epoch: String,
}

pub(super) async fn publish(State(api): State<Arc<Api>>, body: Result<Bytes, BytesRejection>) -> Result<Response, Error> {
    let body = body.map_err(|error| Error::bad_request(format!("body: {}", error.body_text())).with_status(error.status()))?;
    let request: Publish<'_> = serde_json::from_slice(&body)
        .map_err(|error| Error::bad_request(format!("body: {error}; expected JSON, {{\"channel\": …, \"data\": …}}")))?;
    let channel = request.channel.ok_or_else(|| Error::bad_request("channel: expected a string"))?;
    let channel = string("channel", channel)?;
    let (kind, payload) = match (request.data, request.b64data) {
        (Some(data), None) => (Kind::Text, Cow::Borrowed(data.get().as_bytes())),
        (None, Some(text)) => {
            let bytes = base64_simd::STANDARD.decode_to_vec(string("b64data", text)?.as_bytes());
            (Kind::Binary, Cow::Owned(bytes.map_err(|_| Error::bad_request("b64data: expected base64"))?))
        }
        (Some(_), Some(_)) => return Err(Error::bad_request("b64data: expected it or data, not both")),
        (None, None) => return Err(Error::bad_request("data: expected JSON, or base64 in b64data")),
    };
    if payload.len() > api.message_bytes_max {
        let field = if kind == Kind::Text { "data" } else { "b64data" };
        return Err(Error::bad_request(format!("{field}: expected at most {} bytes", api.message_bytes_max)));
    }
    let position = api.hub.publish(&channel, kind, &payload)?;
    Ok(json(StatusCode::OK, &Published { result: Position { offset: position.offset, epoch: position.epoch.to_string() } }))
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    // Nothing that is serialised here can fail.
    let body = serde_json::to_vec(body).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
