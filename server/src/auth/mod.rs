//! Tokens: whom a client says it is, and what it may subscribe to, signed by a backend (JWT, RFC 7519; the claims are Centrifugo's).
//!
//! [`Verifier`] judges tokens, [`Minter`] makes them for the command line and for tests. Both read `config`'s keys once, at the start.
//! Nothing here reads the clock: `now` is in seconds since 1970. Imports `config`.

mod claims;
mod mint;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, fmt};

use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, dangerous, decode, decode_header};
use serde_json::Value;

use crate::config::Auth;
pub use claims::{BearerClaims, ConnectionClaims, Overrides, SubscribeOptions, SubscriptionClaims};
use claims::{Claims, End};
pub use mint::{Content, Minter};

/// Bytes of a token: more than any request's target holds by default, and room for the names of several hundred channels.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Seconds by which a backend's clock may be ahead of ours. A token's end is exact.
const CLOCK_SKEW: u64 = 60;

/// Judges tokens by the keys of a configuration. A token's header selects among them; each key serves its own algorithm alone.
#[derive(Debug)]
pub struct Verifier {
    /// With what each algorithm's token must satisfy besides the times, which are judged here.
    keys: Vec<(DecodingKey, Validation)>,
}

impl Verifier {
    /// Reads the keys. Without any, every token is invalid.
    pub fn new(auth: &Auth) -> Result<Self, KeyError> {
        let keys = [hmac_key(auth)?, rsa_key(auth)?, ecdsa_key(auth)?];
        let keys = [Algorithm::HS256, Algorithm::RS256, Algorithm::ES256].into_iter().zip(keys);
        Ok(Self { keys: keys.filter_map(|(algorithm, key)| Some((key?, validation(algorithm, auth)))).collect() })
    }

    /// What a token for a connection says.
    pub fn connection(&self, token: &str, now: u64) -> Result<ConnectionClaims, TokenError> {
        self.claims(token, now)?.connection(now)
    }

    /// What a token for a subscription says, if it is for this channel and this user; an anonymous user is the empty text.
    pub fn subscription(&self, token: &str, channel: &str, user: &str, now: u64) -> Result<SubscriptionClaims, TokenError> {
        self.claims(token, now)?.subscription(channel, user, now)
    }

    /// What a token of either kind says of its bearer.
    pub fn bearer(&self, token: &str, now: u64) -> Result<BearerClaims, TokenError> {
        self.claims(token, now)?.bearer(now)
    }

    /// All that a valid token of either kind says, for people to read.
    pub fn inspect(&self, token: &str, now: u64) -> Result<Value, TokenError> {
        self.bearer(token, now)?;
        dangerous::insecure_decode_claims(token).map_err(|error| invalid(&error))
    }

    /// The claims of a token whose signature, audience, issuer and times are right.
    fn claims(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid(format!("it is longer than {TOKEN_BYTES_MAX} bytes")));
        }
        // The signature costs most, and makes no difference to what has ended: who was away for long brings many such tokens at once.
        if dangerous::insecure_decode_claims::<End>(token).is_ok_and(|end| end.is_over(now)) {
            return Err(TokenError::Expired);
        }
        // What is not signed is not repeated in errors: they are logged.
        let header = decode_header(token).map_err(|_| TokenError::invalid("it has no header of HS256, RS256 or ES256"))?;
        let (key, validation) = self.key(&header)?;
        let claims = decode::<Claims>(token, key, validation).map_err(|error| invalid(&error))?.claims;
        claims.judge_times(now)?;
        Ok(claims)
    }

    fn key(&self, header: &Header) -> Result<&(DecodingKey, Validation), TokenError> {
        // RFC 7515 section 4.1.11: an extension that must be understood and is not.
        if header.crit.is_some() {
            return Err(TokenError::invalid("its header has `crit`"));
        }
        let key = self.keys.iter().find(|(_, validation)| validation.algorithms == [header.alg]);
        key.ok_or_else(|| TokenError::Invalid(format!("there is no key for {:?}", header.alg)))
    }
}

/// Why a token is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// Its time is over, whoever signed it: a client may come back with a fresh one.
    Expired,
    /// It never was or is not for this; the reason is for the log.
    Invalid(String),
}

impl TokenError {
    fn invalid(reason: &str) -> Self {
        Self::Invalid(reason.to_owned())
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("the token has expired"),
            Self::Invalid(reason) => write!(f, "the token is invalid: {reason}"),
        }
    }
}

impl std::error::Error for TokenError {}

/// A key that cannot be used, in one line that names its setting, never the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError(String);

impl KeyError {
    fn expected(setting: &str, expected: &str) -> Self {
        Self(format!("`{setting}` cannot be used: expected {expected}"))
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeyError {}

fn hmac_key(auth: &Auth) -> Result<Option<DecodingKey>, KeyError> {
    let key = |secret: &String| match secret.as_bytes() {
        // Everybody knows this one.
        [] => Err(KeyError::expected("auth.hmac_secret", "a secret, or none")),
        secret => Ok(DecodingKey::from_secret(secret)),
    };
    auth.hmac_secret.as_ref().map(key).transpose()
}

/// A public key is tried out here, for the library would look at it only when a token comes.
fn rsa_key(auth: &Auth) -> Result<Option<DecodingKey>, KeyError> {
    /// RFC 7518 section 3.3 asks for 2048 bits.
    const MODULUS_BYTES_MIN: usize = 2048 / 8;
    let key = |pem: &String| {
        let key = DecodingKey::from_rsa_pem(pem.as_bytes()).ok()?;
        let (modulus, _) = (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(key.try_get_as_bytes().ok()?).ok()?;
        (modulus.len() >= MODULUS_BYTES_MIN).then_some(key)
    };
    let refused = || KeyError::expected("auth.rsa_public_key", "an RSA public key of 2048 to 4096 bits in PEM");
    auth.rsa_public_key.as_ref().map(|pem| key(pem).ok_or_else(refused)).transpose()
}

fn ecdsa_key(auth: &Auth) -> Result<Option<DecodingKey>, KeyError> {
    let key = |pem: &String| {
        let key = DecodingKey::from_ec_pem(pem.as_bytes()).ok()?;
        (DEFAULT_PROVIDER.verifier_factory)(&Algorithm::ES256, &key).ok()?;
        Some(key)
    };
    let refused = || KeyError::expected("auth.ecdsa_public_key", "a public key on the curve P-256 in PEM");
    auth.ecdsa_public_key.as_ref().map(|pem| key(pem).ok_or_else(refused)).transpose()
}

fn validation(algorithm: Algorithm, auth: &Auth) -> Validation {
    let mut validation = Validation::new(algorithm);
    // The library would read the clock.
    (validation.validate_exp, validation.validate_nbf) = (false, false);
    validation.validate_aud = auth.audience.is_some();
    let set = |text: &Option<String>| text.clone().map(|text| HashSet::from([text]));
    (validation.aud, validation.iss) = (set(&auth.audience), set(&auth.issuer));
    let required = [("aud", &auth.audience), ("iss", &auth.issuer)];
    validation.required_spec_claims = required.iter().filter(|(_, text)| text.is_some()).map(|(name, _)| (*name).to_owned()).collect();
    validation
}

/// The reason in the words of this module. The library's come only where a signature was right.
fn invalid(error: &Error) -> TokenError {
    TokenError::Invalid(match error.kind() {
        ErrorKind::InvalidSignature | ErrorKind::Base64(_) => "its signature is wrong".to_owned(),
        ErrorKind::InvalidAudience => "`aud` is for somebody else".to_owned(),
        ErrorKind::InvalidIssuer => "`iss` is somebody else".to_owned(),
        ErrorKind::MissingRequiredClaim(name) => format!("it has no `{name}`, or none that is text"),
        ErrorKind::Json(error) => format!("its claims: {error}"),
        _ => "it is malformed".to_owned(),
    })
}
