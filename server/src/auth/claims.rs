//! What tokens say: the claims as they are written, and what is left of them when they are judged.
//!
//! Claims that are not known are passed over, `jti` and `meta` with them; known ones of a wrong type are refused. Imports its parent and `config`.

use std::collections::BTreeMap;

use base64_simd::STANDARD;
use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use super::{CLOCK_SKEW, TokenError};
use crate::config::Access;

/// Who connects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionClaims {
    /// Empty: anonymous.
    pub user: String,
    /// When the connection ends unless a fresh token comes; later than now.
    pub expires: Option<u64>,
    /// What others are told of the client: JSON in one line.
    pub info: Option<Box<str>>,
    /// Channels to subscribe to at once.
    pub channels: Vec<String>,
    /// Channels to subscribe to at once, with what is special there. Where it is not empty, `channels` count for nothing.
    pub subs: BTreeMap<String, SubscribeOptions>,
}

/// What a subscription is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionClaims {
    /// When the subscription ends unless a fresh token comes; later than now.
    pub expires: Option<u64>,
    /// What is special in this subscription.
    pub options: SubscribeOptions,
}

/// Who comes without the client protocol, with a token of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BearerClaims {
    /// Empty: anonymous.
    pub user: Box<str>,
    /// When the connection ends; later than now.
    pub expires: Option<u64>,
    /// The one channel of a token for a subscription.
    channel: Option<Box<str>>,
}

/// What a token changes in a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// What the channel's subscribers are told of the client: JSON in one line.
    pub info: Option<Box<str>>,
    /// What the client is told in the reply: JSON in one line.
    pub data: Option<Box<str>>,
    /// What wins over the channel's options.
    pub overrides: Overrides,
}

/// What wins over a channel's options in one subscription.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Overrides {
    /// Whether the client is among those present.
    #[serde(deserialize_with = "wrapped")]
    pub presence: Option<bool>,
    /// Whether others are told that the client comes and goes.
    #[serde(deserialize_with = "wrapped")]
    pub join_leave: Option<bool>,
    /// Whether the client may recover what it missed.
    #[serde(deserialize_with = "wrapped", rename = "force_recovery", alias = "recover")]
    pub recover: Option<bool>,
    /// Whether the client is told its place in the channel.
    #[serde(deserialize_with = "wrapped", rename = "force_positioning", alias = "position")]
    pub position: Option<bool>,
}

/// When a token ends; little work, for it is read before anything is known to be signed.
#[derive(Deserialize)]
pub(super) struct End {
    #[serde(default, deserialize_with = "seconds")]
    exp: Option<u64>,
}

/// The claims of both kinds of token as they are written. Absent and null are the same.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Claims {
    sub: Option<String>,
    /// Only in a token for a subscription.
    channel: Option<String>,
    #[serde(deserialize_with = "seconds")]
    exp: Option<u64>,
    #[serde(deserialize_with = "seconds")]
    nbf: Option<u64>,
    #[serde(deserialize_with = "seconds")]
    iat: Option<u64>,
    /// When what the token allows ends, if not with the token itself; 0: never.
    #[serde(deserialize_with = "seconds")]
    expire_at: Option<u64>,
    info: Option<Json>,
    b64info: Option<Base64Json>,
    data: Option<Json>,
    b64data: Option<Base64Json>,
    #[serde(rename = "override")]
    overrides: Option<Overrides>,
    channels: Option<Vec<String>>,
    /// What is special in each is written as in a token for it; nothing else of them counts.
    subs: Option<BTreeMap<String, Claims>>,
}

impl End {
    pub(super) fn is_over(&self, now: u64) -> bool {
        self.exp.is_some_and(|exp| exp <= now)
    }
}

impl Claims {
    /// Whether the token can be used now at all.
    pub(super) fn judge_times(&self, now: u64) -> Result<(), TokenError> {
        if (End { exp: self.exp }).is_over(now) {
            return Err(TokenError::Expired);
        }
        let latest = now.saturating_add(CLOCK_SKEW);
        match [("nbf", self.nbf), ("iat", self.iat)].into_iter().find(|(_, time)| time.is_some_and(|time| time > latest)) {
            Some((name, _)) => Err(TokenError::Invalid(format!("it is not valid yet: `{name}` is later than now"))),
            None => Ok(()),
        }
    }

    pub(super) fn connection(mut self, now: u64) -> Result<ConnectionClaims, TokenError> {
        // Who may see one channel has not thereby been let in as that user.
        if self.channel.is_some() {
            return Err(TokenError::invalid("it is for a subscription"));
        }
        Ok(ConnectionClaims {
            expires: self.expires(now)?,
            user: self.sub.take().unwrap_or_default(),
            channels: self.channels.take().unwrap_or_default(),
            subs: self.subs.take().unwrap_or_default().into_iter().map(|(channel, sub)| (channel, sub.options())).collect(),
            info: self.options().info,
        })
    }

    pub(super) fn subscription(self, channel: &str, user: &str, now: u64) -> Result<SubscriptionClaims, TokenError> {
        if self.sub.as_deref().unwrap_or_default() != user {
            return Err(TokenError::invalid("it is not for this user"));
        }
        if self.channel.as_deref() != Some(channel) {
            return Err(TokenError::invalid("it is not for this channel"));
        }
        Ok(SubscriptionClaims { expires: self.expires(now)?, options: self.options() })
    }

    pub(super) fn bearer(self, now: u64) -> Result<BearerClaims, TokenError> {
        let expires = self.expires(now)?;
        Ok(BearerClaims { user: self.sub.unwrap_or_default().into(), expires, channel: self.channel.map(String::into) })
    }

    /// When what the token allows ends.
    fn expires(&self, now: u64) -> Result<Option<u64>, TokenError> {
        match self.expire_at {
            None => Ok(self.exp),
            Some(0) => Ok(None),
            Some(end) if end <= now => Err(TokenError::Expired),
            end => Ok(end),
        }
    }

    fn options(self) -> SubscribeOptions {
        SubscribeOptions {
            info: one_of(self.b64info, self.info),
            data: one_of(self.b64data, self.data),
            overrides: self.overrides.unwrap_or_default(),
        }
    }
}

impl BearerClaims {
    /// The most that its bearer may do in a channel; `None` where another token is needed.
    pub fn level(&self, channel: &str) -> Option<Access> {
        match &self.channel {
            Some(only) => (**only == *channel).then_some(Access::Token),
            None => Some(if self.user.is_empty() { Access::Anyone } else { Access::Users }),
        }
    }
}

/// Any JSON. The protocol joins messages by LF, so those between its tokens become spaces; within strings there are none.
struct Json(Box<str>);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self::from)
    }
}

impl From<Box<RawValue>> for Json {
    fn from(raw: Box<RawValue>) -> Self {
        Self(if raw.get().contains(['\n', '\r']) { raw.get().replace(['\n', '\r'], " ").into() } else { raw.into() })
    }
}

/// JSON in base64. Other bytes are refused, for clients of the JSON protocol could not be told them.
struct Base64Json(Option<Json>);

impl<'de> Deserialize<'de> for Base64Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        let bytes = STANDARD.decode_to_vec(text).map_err(|_| de::Error::custom("expected base64"))?;
        let raw: Box<RawValue> = serde_json::from_slice(&bytes).map_err(|_| de::Error::custom("expected JSON in base64"))?;
        Ok(Self(Some(raw.into())))
    }
}

fn one_of(base64: Option<Base64Json>, plain: Option<Json>) -> Option<Box<str>> {
    base64.and_then(|base64| base64.0).or(plain).map(|json| json.0)
}

/// A NumericDate (RFC 7519 section 2), which may have a fraction; that is cut off. What lies before 1970 is 0.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.map(|seconds| seconds as u64))
}

/// A boolean as `{"value": true}`.
fn wrapped<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    #[derive(Deserialize)]
    struct Wrapped {
        #[serde(default)]
        value: bool,
    }
    Ok(Option::<Wrapped>::deserialize(deserializer)?.map(|wrapped| wrapped.value))
}
