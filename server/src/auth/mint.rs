//! Makes tokens, for the command line and for tests: in production a backend does. Imports only its parent.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;
use serde_json::value::RawValue;

use super::KeyError;
use crate::config::Auth;

/// What a token shall say. Absent claims are not written.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Content {
    /// The user.
    #[serde(rename = "sub", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Makes it a token for a subscription to this channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Channels to subscribe to at once, in a token for a connection.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
    /// What others are told of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<Box<RawValue>>,
    /// Now, in seconds since 1970.
    pub iat: u64,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<u64>,
}

/// Signs tokens that a [`Verifier`](super::Verifier) of the same configuration believes.
pub struct Minter {
    header: Header,
    key: EncodingKey,
    audience: Option<String>,
    issuer: Option<String>,
}

impl Minter {
    /// Signs with a private key in PEM or, without one, with the secret of HS256.
    pub fn new(auth: &Auth, private_key: Option<&str>) -> Result<Self, KeyError> {
        let (algorithm, key) = match (private_key, auth.hmac_secret.as_deref()) {
            (Some(pem), _) => private(pem)?,
            (None, Some(secret)) if !secret.is_empty() => (Algorithm::HS256, EncodingKey::from_secret(secret.as_bytes())),
            (None, _) => return Err(KeyError::expected("auth.hmac_secret", "a secret, or a private key to sign with")),
        };
        Ok(Self { header: Header::new(algorithm), key, audience: auth.audience.clone(), issuer: auth.issuer.clone() })
    }

    /// A token with these claims and with the `aud` and `iss` of the configuration.
    pub fn mint(&self, content: &Content) -> Result<String, KeyError> {
        #[derive(Serialize)]
        struct Signed<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            aud: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            iss: Option<&'a str>,
            #[serde(flatten)]
            content: &'a Content,
        }
        let signed = Signed { aud: self.audience.as_deref(), iss: self.issuer.as_deref(), content };
        // Only a private key can fail, which the library looks at when it signs.
        encode(&self.header, &signed, &self.key).map_err(|_| unusable())
    }
}

fn private(pem: &str) -> Result<(Algorithm, EncodingKey), KeyError> {
    let rsa = EncodingKey::from_rsa_pem(pem.as_bytes()).map(|key| (Algorithm::RS256, key));
    rsa.or_else(|_| EncodingKey::from_ec_pem(pem.as_bytes()).map(|key| (Algorithm::ES256, key))).map_err(|_| unusable())
}

fn unusable() -> KeyError {
    KeyError("the private key cannot be used: expected an RSA key, or one on the curve P-256 in PKCS#8, in PEM".to_owned())
}
