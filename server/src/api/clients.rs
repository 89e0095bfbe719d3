//! `disconnect` and `unsubscribe`: what a backend wants done with a user's clients. The workers do it in their own time. Imports `error`, `fields` and
//! the hub.

use serde::Deserialize;

use super::{
    Api,
    error::Error,
    fields::{Field, read},
};
use crate::hub::ClientOrder;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Disconnect<'a> {
    #[serde(borrow)]
    user: Field<'a>,
    client: Field<'a>,
    disconnect: Field<'a>,
    session: Field<'a>,
    whitelist: Field<'a>,
}

/// The close that the client gets.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Close<'a> {
    #[serde(borrow)]
    code: Field<'a>,
    reason: Field<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Unsubscribe<'a> {
    #[serde(borrow)]
    user: Field<'a>,
    channel: Field<'a>,
    client: Field<'a>,
    session: Field<'a>,
}

/// Closes a user's connections, or one of them.
pub fn disconnect(api: &Api, body: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let request: Disconnect<'_> = read(body)?;
    request.session.refuse("session")?;
    request.whitelist.refuse("whitelist")?;
    let close: Option<Close<'_>> = request.disconnect.get("disconnect", "an object of code and reason")?;
    let reconnect = close.map_or(Ok(false), |close| comes_back(&close))?;
    tell(api, request.user, request.client, None, reconnect)?;
    out.extend_from_slice(b"{}");
    Ok(())
}

/// Ends a user's subscriptions of a channel.
pub fn unsubscribe(api: &Api, body: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let request: Unsubscribe<'_> = read(body)?;
    request.session.refuse("session")?;
    let channel = request.channel.channel()?;
    tell(api, request.user, request.client, Some((&*channel).into()), false)?;
    out.extend_from_slice(b"{}");
    Ok(())
}

/// Whether the client comes back. Clients are closed with either of two codes, and a backend cannot choose another.
fn comes_back(close: &Close<'_>) -> Result<bool, Error> {
    let code: Option<u32> = close.code.get("disconnect.code", "3011 or 3503")?;
    let (reconnect, text) = match code {
        Some(3011) => (true, "force reconnect"),
        Some(3503) | None => (false, "force disconnect"),
        Some(_) => return Err(Error::bad_request("disconnect.code: expected 3011, upon which the client comes back, or 3503")),
    };
    match close.reason.text("disconnect.reason")? {
        Some(reason) if !reason.is_empty() && reason != text => {
            Err(Error::bad_request(format!("disconnect.reason: expected none, or {text:?} with this code")))
        }
        _ => Ok(reconnect),
    }
}

fn tell(api: &Api, user: Field<'_>, client: Field<'_>, unsubscribe: Option<Box<str>>, reconnect: bool) -> Result<(), Error> {
    let user = (&*user.required_text("user")?).into();
    let client = client.text("client")?.unwrap_or_default();
    api.hub.tell_clients(ClientOrder { user, client: (&*client).into(), unsubscribe, reconnect });
    Ok(())
}
