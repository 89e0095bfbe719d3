//! The codes of the client protocol (centrifugal/centrifuge `errors.go`, `disconnect.go`, `unsubscribe.go`).

use fantail_codec::{CloseCode, centrifuge::ErrorReply};

use crate::{hub::HubError, session::Close};

macro_rules! errors {
    ($($name:ident = $code:literal, $message:literal, $temporary:literal;)*) => {
        $(pub(super) const $name: ErrorReply<'static> = ErrorReply { code: $code, message: $message, temporary: $temporary };)*
    };
}

errors! {
    UNAUTHORIZED = 101, "unauthorized", false;
    PERMISSION_DENIED = 103, "permission denied", false;
    METHOD_NOT_FOUND = 104, "method not found", false;
    ALREADY_SUBSCRIBED = 105, "already subscribed", false;
    LIMIT_EXCEEDED = 106, "limit exceeded", false;
    BAD_REQUEST = 107, "bad request", false;
    NOT_AVAILABLE = 108, "not available", false;
    TOKEN_EXPIRED = 109, "token expired", false;
    TOO_MANY_REQUESTS = 111, "too many requests", true;
    UNRECOVERABLE_POSITION = 112, "unrecoverable position", false;
}

/// How a client learns what the hub refused.
pub(super) fn of_hub(error: HubError) -> ErrorReply<'static> {
    match error {
        HubError::Name | HubError::NotKeyed => BAD_REQUEST,
        HubError::Channels | HubError::Keys | HubError::Full => LIMIT_EXCEEDED,
        HubError::Overloaded => TOO_MANY_REQUESTS,
        HubError::Position => UNRECOVERABLE_POSITION,
    }
}

/// The reasons for which a client is closed. It comes back unless the code is from 3500 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the disconnect of its name")]
pub enum Disconnect {
    Shutdown,
    Expired,
    Slow,
    NoPong,
    ForceReconnect,
    InvalidToken,
    BadRequest,
    Stale,
    ForceNoReconnect,
    TooManyErrors,
}

impl Disconnect {
    /// As a close.
    pub fn close(self) -> Close {
        let (code, reason) = match self {
            Disconnect::Shutdown => (3001, "shutdown"),
            Disconnect::Expired => (3005, "connection expired"),
            Disconnect::Slow => (3008, "slow"),
            Disconnect::NoPong => (3012, "no pong"),
            Disconnect::ForceReconnect => (3011, "force reconnect"),
            Disconnect::InvalidToken => (3500, "invalid token"),
            Disconnect::BadRequest => (3501, "bad request"),
            Disconnect::Stale => (3502, "stale"),
            Disconnect::ForceNoReconnect => (3503, "force disconnect"),
            Disconnect::TooManyErrors => (3509, "too many errors"),
        };
        Close::new(CloseCode::new(code).unwrap_or(CloseCode::INTERNAL_ERROR), reason)
    }
}

/// Why the server ends a subscription: from 2500 on the client subscribes again.
pub(super) const UNSUBSCRIBED: (u32, &str) = (2000, "server unsubscribe");
/// Its token has ended.
pub(super) const SUBSCRIPTION_EXPIRED: (u32, &str) = (2501, "subscription expired");
