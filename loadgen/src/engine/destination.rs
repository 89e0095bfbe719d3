//! Where connections go, made ready once: addresses, the request's target, TLS, and the local addresses to come from. Imports `net`, `plan`.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use rustls::ClientConfig;

use crate::{
    net::tls,
    payload::Template,
    plan::{Opening, Plan, Publish},
    system::limits::Ports,
    url::{Scheme, Url},
};

/// All URLs of a run.
#[derive(Clone, Debug)]
pub struct Destinations {
    /// The plan's URLs; connections go to them in turn.
    pub urls: Vec<Destination>,
    /// Where publishers connect, if elsewhere.
    pub publishers: Option<Destination>,
}

/// One URL, ready to be connected to.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The value of Host.
    pub host: String,
    /// The name that the server's certificate must have, and TLS itself, for `wss`.
    pub tls: Option<(String, Arc<ClientConfig>)>,
    /// Path and query; may hold `${conn}` and `${channel}`.
    pub target: Template,
    /// What the host resolved to, used in turn.
    pub addresses: Vec<SocketAddr>,
    /// Source addresses, used in turn; empty: the kernel's choice.
    pub local: Vec<IpAddr>,
}

/// How long a host that has addresses of both families may take to accept the connection that chooses between them.
const CHOICE_TIMEOUT: Duration = Duration::from_secs(1);

impl Destinations {
    /// Resolves all URLs of a plan.
    ///
    /// # Errors
    /// One line that says which URL, or which file of certificates, and why.
    pub fn resolve(plan: &Plan) -> Result<Destinations, String> {
        let connections = plan.connections_in_all().div_ceil(plan.urls.len());
        let resolve = |url: &Url| Destination::resolve(url, connections, &plan.opening);
        let urls = plan.urls.iter().map(resolve).collect::<Result<_, _>>()?;
        let publishers = match &plan.fanout.publish {
            Publish::WebSocket { url: Some(url) } => Some(resolve(url)?),
            _ => None,
        };
        Ok(Destinations { urls, publishers })
    }

    /// Where this connection goes.
    pub fn of(&self, plan: &Plan, number: usize) -> &Destination {
        match &self.publishers {
            Some(publishers) if plan.is_publisher(number) => publishers,
            _ => &self.urls[number % self.urls.len()],
        }
    }
}

impl Destination {
    /// Resolves a URL for so many connections. Without explicit source addresses, a destination on loopback gets as many as the ports of one do
    /// not suffice for: every address of 127.0.0.0/8 has ports of its own.
    fn resolve(url: &Url, connections: usize, opening: &Opening) -> Result<Destination, String> {
        let addresses = addresses(url)?;
        let is_v4 = addresses[0].is_ipv4();
        let mut local: Vec<IpAddr> = opening.local_addresses.iter().copied().filter(|address| address.is_ipv4() == is_v4).collect();
        if local.is_empty() && !opening.local_addresses.is_empty() {
            return Err(format!("{url}: --local-addr: expected addresses of the family of {}", addresses[0].ip()));
        }
        let each = connections.div_ceil(addresses.len());
        let needed = Ports::read().map_or(1, |ports| ports.spread(each));
        if local.is_empty() && needed > 1 && is_v4 && addresses.iter().all(|address| address.ip().is_loopback()) {
            local = (1..=needed.min(250) as u8).map(|last| Ipv4Addr::new(127, 0, 0, last).into()).collect();
        }
        let tls = match url.scheme {
            Scheme::Wss => Some((url.host.clone(), tls::client_config(opening.insecure, opening.ca.as_deref())?)),
            Scheme::Ws | Scheme::Http => None,
        };
        let target = Template::parse(&url.target).map_err(|error| format!("{url}: {error}"))?;
        Ok(Destination { host: url.authority(), tls, target, addresses, local })
    }
}

/// What a host resolves to, of one family: where it has both, as `localhost` often does, that of the first address that accepts a connection.
///
/// # Errors
/// The resolver's, with the URL.
pub fn addresses(url: &Url) -> Result<Vec<SocketAddr>, String> {
    let failed = |error: io::Error| format!("{url}: cannot resolve {}: {error}", url.host);
    let all: Vec<SocketAddr> = (url.host.as_str(), url.port).to_socket_addrs().map_err(failed)?.collect();
    let first = *all.first().ok_or_else(|| format!("{url}: {} has no address", url.host))?;
    let mut chosen = first;
    if all.iter().any(|address| address.is_ipv4() != first.is_ipv4()) {
        let accepts = |address: &&SocketAddr| TcpStream::connect_timeout(address, CHOICE_TIMEOUT).is_ok();
        chosen = all.iter().find(accepts).copied().unwrap_or(first);
    }
    Ok(all.into_iter().filter(|address| address.is_ipv4() == chosen.is_ipv4()).collect())
}
