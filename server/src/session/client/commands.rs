//! What a client asks of a channel besides subscribing to it.

use std::{borrow::Cow, sync::Arc};

use fantail_codec::{
    Kind,
    centrifuge::{ClientInfo, Data, Format, History, HistoryResult, Reply},
};
use serde::Deserialize;

use super::{Client, Outcome, Replies, Wire};
use crate::{
    context::Context,
    hub::{self, Channel, Message},
    session::{codes, is_allowed},
};

/// Publications of a history that one reply may hold.
const HISTORY_REPLY_MAX: usize = 10_000;

impl Client {
    pub(super) fn publish(&mut self, id: u32, channel: &str, data: &[u8], wire: &mut Wire<'_>, replies: &mut Replies<'_>) -> Outcome {
        if data.is_empty() {
            return Err(codes::BAD_REQUEST.into());
        }
        if !is_allowed(self.level(Some(channel), wire.context), wire.context.hub.options(channel).publish) {
            return Err(codes::PERMISSION_DENIED.into());
        }
        let kind = match self.format {
            Format::Protobuf if str::from_utf8(data).is_err() => Kind::Binary,
            _ => Kind::Text,
        };
        let message = Message { publisher: Some(Arc::clone(&self.info)), ..Message::new(kind, data) };
        wire.context.hub.publish_as_client(channel, message, wire.context.now).map_err(codes::of_hub)?;
        replies.write(id, &Reply::Publish);
        Ok(())
    }

    pub(super) fn history(&mut self, id: u32, history: &History<'_>, wire: &mut Wire<'_>, replies: &mut Replies<'_>) -> Outcome {
        let channel = self.subscribed(history.channel, wire.context)?;
        if channel.options().history_size == 0 {
            return Err(codes::NOT_AVAILABLE.into());
        }
        let limit = usize::try_from(history.limit).unwrap_or(HISTORY_REPLY_MAX).min(HISTORY_REPLY_MAX);
        let since = match history.since {
            None => None,
            Some(since) if since.epoch.is_empty() => Some((since.offset, None)),
            Some(since) => Some((since.offset, Some(since.epoch.parse().unwrap_or(hub::Epoch::UNKNOWN)))),
        };
        let found = channel.history(since, limit, history.reverse, wire.context.now).map_err(codes::of_hub)?;
        let mut made = vec![Vec::new(); found.publications.len()];
        let differ = wire.context.encoder.differ();
        let publications = found.publications.iter().zip(&mut made);
        let publications = publications.map(|(publication, made)| hub::lend(publication, self.format, None, false, differ, made)).collect();
        let epoch = found.position.epoch.to_string();
        replies.write(id, &Reply::History(HistoryResult { publications, epoch: &epoch, offset: found.position.offset }));
        Ok(())
    }

    pub(super) fn presence(&mut self, id: u32, channel: &str, wire: &mut Wire<'_>, replies: &mut Replies<'_>) -> Outcome {
        let present = self.present(channel, wire.context)?;
        let present: Vec<ClientInfo<'_>> = present.iter().map(|info| info.lend()).collect();
        replies.write(id, &Reply::Presence(&present));
        Ok(())
    }

    pub(super) fn presence_stats(&mut self, id: u32, channel: &str, wire: &mut Wire<'_>, replies: &mut Replies<'_>) -> Outcome {
        let (num_clients, num_users) = hub::count(&self.present(channel, wire.context)?);
        replies.write(id, &Reply::PresenceStats { num_clients, num_users });
        Ok(())
    }

    pub(super) fn rpc(&mut self, id: u32, method: &str, data: &[u8], wire: &mut Wire<'_>, replies: &mut Replies<'_>) -> Outcome {
        #[derive(Deserialize)]
        struct Change<'a> {
            #[serde(borrow)]
            channel: Cow<'a, str>,
        }
        match method {
            "sub.rate" => {
                let change: Change<'_> = serde_json::from_slice(data).map_err(|_| codes::BAD_REQUEST)?;
                let told = self.change_rate(&change.channel, data, wire, replies)?;
                replies.write(id, &Reply::Rpc { data: Data::Raw(told.as_bytes()) });
                Ok(())
            }
            _ => Err(codes::METHOD_NOT_FOUND.into()),
        }
    }

    fn present(&self, channel: &str, context: &Context) -> Result<Vec<Arc<hub::ClientInfo>>, super::Failure> {
        let channel = self.subscribed(channel, context)?;
        if !channel.options().presence {
            return Err(codes::NOT_AVAILABLE.into());
        }
        Ok(channel.present())
    }

    /// The channel, of which only subscribers may ask more.
    fn subscribed(&self, channel: &str, context: &Context) -> Result<Arc<Channel>, super::Failure> {
        let subscription = self.subscriptions.find(channel, &context.subscribers).ok_or(codes::PERMISSION_DENIED)?;
        Ok(Arc::clone(context.subscribers.channel(subscription)))
    }
}
