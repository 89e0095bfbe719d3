//! The `fantail` binary: reads the command line, starts the server, serves the internal port on this thread, and ends it on a signal.

mod cli;

use std::{
    fs,
    io::{self, IsTerminal, Write},
    net::TcpListener,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use cli::{Command, MintArgs, TokenArgs, TokenCommand};
use fantail::{
    Server,
    api::Api,
    auth::{self, Content, Minter, Verifier},
    config,
    config::{Auth, Config},
    demo,
    hub::Message,
};
use fantail_codec::simd;
use mimalloc::MiMalloc;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The exit status for what the user can mend: arguments, configuration, an address in use.
const EXIT_USAGE: u8 = 2;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).init();
    match cli::parse().map_err(Failure::from).and_then(execute) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("fantail: {error}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn execute(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Serve(args) => serve(&args.load(&[])?, false),
        Command::Demo(args) => serve(&args.load(demo::SETTINGS)?, true),
        Command::CheckConfig { file } => {
            let config = config::load(&[], Some(&file), std::iter::empty(), &[])?;
            Verifier::new(&config.auth)?;
            println!("{} is valid", file.display());
            Ok(ExitCode::SUCCESS)
        }
        Command::DefaultConfig => {
            print!("{}", config::DEFAULT_CONFIG);
            Ok(ExitCode::SUCCESS)
        }
        Command::Token(args) => {
            println!("{}", token(args)?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A token or, for `check`, its claims.
fn token(args: TokenArgs) -> Result<String, Failure> {
    let auth = args.load()?.auth;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    match args.command {
        TokenCommand::Connection { mint: args, channels } => mint(&auth, &args, &Content { channels, ..args.content(now) }),
        TokenCommand::Subscription { mint: args, channel } => mint(&auth, &args, &Content { channel: Some(channel), ..args.content(now) }),
        TokenCommand::Check { token } => {
            let token = if token == "-" { io::read_to_string(io::stdin())? } else { token };
            Ok(Verifier::new(&auth)?.inspect(token.trim_ascii(), now)?.to_string())
        }
    }
}

fn mint(auth: &Auth, args: &MintArgs, content: &Content) -> Result<String, Failure> {
    let read = |file| fs::read_to_string(file).map_err(|error| format!("cannot read the private key: {error}"));
    let private_key = args.private_key.as_ref().map(read).transpose()?;
    Ok(Minter::new(auth, private_key.as_deref())?.mint(content)?)
}

fn serve(config: &Config, with_demo: bool) -> Result<ExitCode, Failure> {
    simd::choose()?;
    // Connections are many and small: pages of 2 MiB would be resident for the few bytes touched in them. A kernel without them refuses this.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let internal = TcpListener::bind(config.internal).map_err(|error| format!("cannot listen on {}: {error}", config.internal))?;
    let server = Server::start(config, if with_demo { demo::FILES } else { &[] })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let api = Api::new(config, Arc::clone(&server.hub), server.metrics.clone());
    // Everything is open, and handlers are in place, before anyone is told that we listen.
    let (mut terminate, mut interrupt) = {
        let _inside = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    let (edge, driver) = (server.edge, server.driver);
    let mut stdout = io::stdout();
    writeln!(stdout, "listening edge={edge} internal={} driver={driver} workers={}", internal.local_addr()?, config.workers)?;
    stdout.flush()?;

    let stop_feeds = Arc::new(AtomicBool::new(false));
    if with_demo {
        let (hub, stop) = (Arc::clone(&server.hub), Arc::clone(&stop_feeds));
        thread::spawn(move || {
            demo::feeds::run(&stop, |channel, key, kind, payload| {
                let message = Message { key: key.into(), ..Message::new(kind, payload) };
                hub.publish(channel, message, false, Instant::now())
            });
        });
        tracing::info!("open http://{edge}/ in a browser");
    }
    let stop = server.stopper();
    let (ended, mut end) = oneshot::channel();
    thread::spawn(move || ended.send(server.join()));

    runtime.block_on(async {
        let serving = tokio::spawn(Arc::clone(&api).serve(internal));
        tokio::select! {
            result = &mut end => return finish(result),
            result = serving => return Err(format!("the internal port failed: {result:?}").into()),
            name = first(&mut terminate, &mut interrupt) => tracing::info!("{name}: closing every client; a second signal ends at once"),
        }
        api.shutting_down();
        stop_feeds.store(true, std::sync::atomic::Ordering::Relaxed);
        stop();
        tokio::select! {
            result = end => finish(result),
            _ = first(&mut terminate, &mut interrupt) => Ok(ExitCode::FAILURE),
        }
    })
}

/// Waits for either signal.
async fn first(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

/// All workers have ended.
fn finish(result: Result<io::Result<()>, oneshot::error::RecvError>) -> Result<ExitCode, Failure> {
    match result {
        Ok(Ok(())) => Ok(ExitCode::SUCCESS),
        Ok(Err(error)) => {
            tracing::error!(%error, "a worker failed");
            Ok(ExitCode::FAILURE)
        }
        Err(error) => Err(error.into()),
    }
}
