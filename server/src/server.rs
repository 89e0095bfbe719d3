//! Puts the parts together: listeners, hub and workers. What runs on the calling thread afterwards is up to the caller.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, mpsc},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    auth::Verifier,
    config::{Config, DriverChoice},
    context::Context,
    demo::File,
    driver::{
        self,
        epoll::Epoll,
        uring::{self, Uring},
    },
    hub::{Hub, Mail, Mailbox},
    metrics::Metrics,
    worker::{self, Room, Worker},
};

/// Connections that the kernel completes before we accept them; it allows at most `net.core.somaxconn`.
const LISTEN_BACKLOG: i32 = 4096;
/// Descriptors that are no client's: standard streams, the internal port and its clients, logs.
const DESCRIPTORS_RESERVED: usize = 64;
/// Descriptors of a worker's own: listener, three rings, and an eventfd twice; with epoll fewer.
const DESCRIPTORS_PER_WORKER: usize = 6;

/// A running server.
pub struct Server {
    /// The address of the edge port.
    pub edge: SocketAddr,
    /// The driver that the workers run on.
    pub driver: &'static str,
    /// All channels.
    pub hub: Arc<Hub>,
    /// Each worker's counters.
    pub metrics: Vec<Arc<Metrics>>,
    workers: usize,
    ended: mpsc::Receiver<io::Result<()>>,
    mailboxes: Vec<Arc<Mailbox>>,
}

/// What the workers run on.
#[derive(Clone, Copy)]
enum Driver {
    Uring,
    Epoll,
}

impl Driver {
    fn name(self) -> &'static str {
        match self {
            Driver::Uring => "uring",
            Driver::Epoll => "epoll",
        }
    }
}

/// Why a server could not start.
#[derive(Debug)]
pub struct StartError {
    what: String,
    error: io::Error,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.error)
    }
}

impl std::error::Error for StartError {}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> StartError {
    move |error| StartError { what: what.into(), error }
}

impl Server {
    /// Starts the workers; when this returns, clients are served. `files` are answered on the edge port.
    ///
    /// # Errors
    /// The address or a resource that is not to be had.
    pub fn start(config: &Config, files: &'static [File]) -> Result<Server, StartError> {
        let listeners = listen(config.listen, config.workers).map_err(failed(format!("cannot listen on {}", config.listen)))?;
        let edge = listeners[0].local_addr().map_err(failed("cannot read the edge port's address"))?;
        let driver = choose_driver(config)?;
        let room = Arc::new(Room::new(connections_max(config)));
        let mailboxes: Vec<_> = (0..config.workers).map(|_| Arc::new(Mailbox::new(config.limits.mailbox_bytes_max))).collect();
        let metrics: Vec<_> = (0..config.workers).map(|_| Arc::<Metrics>::default()).collect();
        let hub = Arc::new(Hub::new(config.hub.clone(), mailboxes.clone()));
        let verifier = Arc::new(Verifier::new(&config.auth).map_err(|error| failed("cannot verify tokens")(io::Error::other(error)))?);
        let (ready, started) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let backlog = config.workers * LISTEN_BACKLOG as usize;
        for (index, listener) in listeners.into_iter().enumerate() {
            let (config, hub, mailbox, metrics) =
                (config.clone(), Arc::clone(&hub), Arc::clone(&mailboxes[index]), Arc::clone(&metrics[index]));
            let (room, ready, end, verifier) = (Arc::clone(&room), ready.clone(), end.clone(), Arc::clone(&verifier));
            let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                let context = Context::new(&config, index, &hub, &verifier, Arc::clone(&metrics), files);
                let worker = Worker::new(&config, context, Arc::clone(&mailbox), room);
                let result = match driver {
                    Driver::Epoll => run(worker, Epoll::new(listener, &mailbox), &ready),
                    Driver::Uring => run(worker, Uring::new(listener, backlog, &mailbox, metrics), &ready),
                };
                let _ = end.send(result);
            });
            thread.map_err(failed("cannot start a worker"))?;
        }
        started.iter().take(config.workers).try_for_each(|result| result.map_err(failed("cannot start a worker's driver")))?;
        Ok(Server { edge, driver: driver.name(), hub, metrics, workers: config.workers, ended, mailboxes })
    }

    /// What tells the workers to close every client and end.
    pub fn stopper(&self) -> impl Fn() + Send + Sync + use<> {
        let mailboxes = self.mailboxes.clone();
        move || mailboxes.iter().for_each(|mailbox| mailbox.post(Mail::Shutdown))
    }

    /// Waits until every worker has ended, or one has failed.
    ///
    /// # Errors
    /// Of the worker that failed.
    pub fn join(self) -> io::Result<()> {
        self.ended.iter().take(self.workers).collect()
    }
}

/// Runs a worker on its driver, if there is one, which `ready` hears.
fn run<D: driver::Driver>(worker: Worker, driver: io::Result<D>, ready: &mpsc::Sender<io::Result<()>>) -> io::Result<()> {
    match driver {
        Ok(mut driver) => {
            let _ = ready.send(Ok(()));
            worker::run(worker, &mut driver)
        }
        Err(error) => {
            let _ = ready.send(Err(error));
            Ok(())
        }
    }
}

/// The driver that is wanted, if the kernel has what it needs.
fn choose_driver(config: &Config) -> Result<Driver, StartError> {
    match config.driver {
        DriverChoice::Epoll => Ok(Driver::Epoll),
        DriverChoice::Uring => uring::check(config.workers).map(|()| Driver::Uring).map_err(failed("cannot use io_uring")),
        DriverChoice::Auto => Ok(match uring::check(config.workers) {
            Ok(()) => Driver::Uring,
            Err(error) => {
                tracing::info!("cannot use io_uring, so epoll it is: {error}");
                Driver::Epoll
            }
        }),
    }
}

/// One listener for each worker on the same port; the kernel spreads the clients over them.
fn listen(address: SocketAddr, workers: usize) -> io::Result<Vec<TcpListener>> {
    if address.port() != 0 {
        // With SO_REUSEPORT a second server on the same port would start and take half of the clients. This bind tells.
        let probe = socket(address)?;
        probe.bind(&address.into())?;
    }
    let mut address = address;
    let mut listeners = Vec::new();
    for _ in 0..workers {
        let socket = socket(address)?;
        socket.set_reuse_port(true)?;
        // Accepted sockets inherit this, which saves a call for each of them.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        socket.listen(LISTEN_BACKLOG)?;
        let listener = TcpListener::from(socket);
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// Raises the limit on descriptors as far as it goes; how many connections it then allows, and the configuration.
fn connections_max(config: &Config) -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let descriptors = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let allowed = descriptors.saturating_sub(DESCRIPTORS_RESERVED + DESCRIPTORS_PER_WORKER * config.workers).max(1);
    match config.limits.connections_max {
        0 => tracing::info!(descriptors, connections = allowed, "the limit on descriptors allows so many connections"),
        wanted if wanted > allowed => {
            tracing::warn!(wanted, descriptors, connections = allowed, "the limit on descriptors allows fewer connections (ulimit -n)");
        }
        wanted => return wanted,
    }
    allowed
}
