//! Until when a client's tokens hold: newer ones prolong what the older ones allowed, and what has ended is ended.

use std::sync::Arc;

use fantail_codec::centrifuge::{ExpiryResult, Reply};

use super::{Client, Outcome, Replies, Terms, Wire};
use crate::{
    auth::TokenError,
    session::{codes, codes::Disconnect, now},
};

impl Client {
    pub(super) fn refresh(&mut self, id: u32, token: &str, wire: &mut Wire<'_>, replies: &mut Replies<'_>) -> Outcome {
        let now = now();
        let claims = wire.context.verifier.connection(token, now).map_err(|error| match error {
            // After an error here SDKs give up; so closed, they come back and ask for a newer token.
            TokenError::Expired => Disconnect::Expired,
            TokenError::Invalid(_) => Disconnect::InvalidToken,
        })?;
        if *claims.user != *self.info.user {
            return Err(Disconnect::InvalidToken.into());
        }
        self.expires = claims.expires;
        replies.write(id, &Reply::Refresh { client: &self.info.client, expiry: self.expiry(self.expires, now) });
        Ok(())
    }

    pub(super) fn sub_refresh(&mut self, id: u32, channel: &str, token: &str, wire: &mut Wire<'_>, replies: &mut Replies<'_>) -> Outcome {
        let now = now();
        let subscription = self.subscriptions.find(channel, &wire.context.subscribers).ok_or(codes::PERMISSION_DENIED)?;
        let expires = match wire.context.verifier.subscription(token, channel, &self.info.user, now) {
            Ok(claims) => claims.expires,
            Err(TokenError::Expired) => {
                // After an error here SDKs give up; so ended, they subscribe again and ask for a newer token.
                replies.write(id, &Reply::SubRefresh(self.expiry(None, now)));
                self.write_end(channel, codes::SUBSCRIPTION_EXPIRED, wire, replies);
                return Ok(());
            }
            Err(TokenError::Invalid(_)) => return Err(Disconnect::InvalidToken.into()),
        };
        match self.terms.get_mut(&subscription) {
            Some(terms) => terms.expires = expires,
            None => drop(self.terms.insert(subscription, Terms { expires, ..Terms::default() })),
        }
        replies.write(id, &Reply::SubRefresh(self.expiry(expires, now)));
        Ok(())
    }

    /// Looks at the ends of its tokens: subscriptions that have ended are left.
    ///
    /// # Errors
    /// The connection's own has ended.
    pub fn expire(&mut self, wire: &mut Wire<'_>) -> Result<(), Disconnect> {
        self.looked_ms = wire.context.now_ms;
        let now = now().saturating_sub(wire.context.token_grace_s);
        let has_ended = |expires: Option<u64>| expires.is_some_and(|expires| expires < now);
        if has_ended(self.expires) {
            return Err(Disconnect::Expired);
        }
        let ended = self.terms.iter().filter(|(_, terms)| has_ended(terms.expires));
        let ended: Vec<_> = ended.map(|(&subscription, _)| Arc::clone(wire.context.subscribers.channel(subscription))).collect();
        for channel in ended {
            self.end_subscription(channel.name(), codes::SUBSCRIPTION_EXPIRED, wire);
        }
        Ok(())
    }

    pub(super) fn expiry(&self, expires: Option<u64>, now: u64) -> ExpiryResult {
        ExpiryResult { ttl: expires.map(|expires| u32::try_from(expires.saturating_sub(now)).unwrap_or(u32::MAX)) }
    }
}
