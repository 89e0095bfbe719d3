//! Tokens as a backend signs them: JWT with HS256 (RFC 7515, RFC 7518 §3.2). Imports [`crate::accept`] for base64.

use std::time::{Duration, SystemTime};

use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::accept::base64;

/// The secret of [`token`], for `FANTAIL_AUTH_HMAC_SECRET`.
pub const SECRET: &str = "a secret of thirty-two characters";

/// A token of these claims, signed with [`SECRET`].
pub fn token(claims: &Value) -> String {
    let signed = format!("{}.{}", base64url(br#"{"alg":"HS256","typ":"JWT"}"#), base64url(claims.to_string().as_bytes()));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key of any length");
    mac.update(signed.as_bytes());
    format!("{signed}.{}", base64url(&mac.finalize().into_bytes()))
}

/// A time as claims have it.
pub fn seconds_from_now(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    now.as_secs() as i64 + seconds
}

fn base64url(bytes: &[u8]) -> String {
    base64(bytes).replace('+', "-").replace('/', "_").replace('=', "")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    /// Its signature is of the `hmac` module of Python.
    #[test]
    fn a_token_made_elsewhere() {
        assert_eq!(
            super::token(&json!({"sub": "42"})),
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI0MiJ9.WK9aRM3l933MBKONhVgMoBG8fh3yFHMQA8r2hPPDZ_0"
        );
    }
}
