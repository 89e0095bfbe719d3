//! The internal port: the publish API, health and metrics, for backends and operators. It is served by axum on a thread of its own, so that neither
//! port can starve the other.

mod batch;
mod channels;
mod clients;
mod error;
mod exposition;
mod fields;
mod idempotency;
mod pattern;
mod publish;

use std::{
    fs, io,
    net::TcpListener,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Request, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::{config::Config, hub::Hub, metrics::Metrics};
use error::Error;
use idempotency::Idempotency;

/// How often what has become useless with time is forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_secs(2);
/// Bytes of a batch, where one message may not have more.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// What the port knows of the server.
pub struct Api {
    hub: Arc<Hub>,
    metrics: Vec<Arc<Metrics>>,
    key: Option<String>,
    message_bytes_max: usize,
    idempotency: Mutex<Idempotency>,
    uid: String,
    name: String,
    began: Instant,
    shutting_down: AtomicBool,
}

impl Api {
    /// The API of a server with these counters.
    pub fn new(config: &Config, hub: Arc<Hub>, metrics: Vec<Arc<Metrics>>) -> Arc<Api> {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Arc::new(Api {
            hub,
            metrics,
            key: config.api.key.clone(),
            message_bytes_max: config.limits.message_bytes_max,
            idempotency: Mutex::default(),
            uid: Uuid::new_v4().to_string(),
            name: format!("{}_{}", host.trim(), config.internal.port()),
            began: Instant::now(),
            shutting_down: AtomicBool::new(false),
        })
    }

    /// From now on `/health` answers 503.
    pub fn shutting_down(&self) {
        self.shutting_down.store(true, Relaxed);
    }

    /// Serves on this listener, for ever.
    ///
    /// # Errors
    /// The listener's.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        // Base64 and JSON around a message.
        let body_bytes_max = self.message_bytes_max / 3 * 4 + (64 << 10);
        let guarded = Router::new()
            .route("/api/batch", post(batch).layer(DefaultBodyLimit::max(body_bytes_max.max(BATCH_BYTES_MAX))))
            .route("/api/{method}", post(method).layer(DefaultBodyLimit::max(body_bytes_max)));
        let router = Router::new()
            .merge(guarded.layer(middleware::from_fn_with_state(Arc::clone(&self), authorize)))
            .route("/health", get(health))
            .route("/metrics", get(exposition::metrics))
            .with_state(Arc::clone(&self));
        tokio::spawn(self.sweep());
        axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await
    }

    /// Forgets from time to time, for ever.
    async fn sweep(self: Arc<Self>) {
        let mut interval = tokio::time::interval(SWEEP_INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let (hub, now) = (Arc::clone(&self.hub), Instant::now());
            self.idempotency.lock().unwrap_or_else(PoisonError::into_inner).forget_old(now);
            // With a million channels this takes longer than a request should wait.
            let _ = tokio::task::spawn_blocking(move || hub.sweep(now)).await;
        }
    }

    /// Sockets open on the edge port.
    fn connections(&self) -> u64 {
        // Read in this order, a connection that closes in between is not counted as one too many.
        let closed: u64 = self.metrics.iter().map(|metrics| metrics.closed.get()).sum();
        let accepted: u64 = self.metrics.iter().map(|metrics| metrics.accepted.get()).sum();
        accepted.saturating_sub(closed)
    }
}

/// Lets others have the thread after so many steps.
#[derive(Default)]
struct Pace(u32);

impl Pace {
    const STEPS: u32 = 256;

    async fn step(&mut self) {
        self.0 += 1;
        if self.0 == Self::STEPS {
            self.0 = 0;
            tokio::task::yield_now().await;
        }
    }
}

type Body = Result<Bytes, BytesRejection>;

async fn method(State(api): State<Arc<Api>>, Path(method): Path<String>, headers: HeaderMap, body: Body) -> Response {
    let mut out = b"{\"result\":".to_vec();
    let result = match body {
        Ok(body) => batch::call(&api, &method, &body, &mut Pace::default(), &mut out).await,
        Err(rejection) => Err(refused(&rejection)),
    };
    out.push(b'}');
    answer(result, &headers, out)
}

async fn batch(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Response {
    let mut out = Vec::new();
    let result = match body {
        Ok(body) => batch::batch(&api, &body, &mut Pace::default(), &mut out).await,
        Err(rejection) => Err(refused(&rejection)),
    };
    answer(result, &headers, out)
}

fn refused(rejection: &BytesRejection) -> Error {
    Error::bad_request(format!("body: {}", rejection.body_text())).with_status(rejection.status())
}

fn answer(result: Result<(), Error>, headers: &HeaderMap, mut out: Vec<u8>) -> Response {
    let status = match result {
        Ok(()) => StatusCode::OK,
        Err(error) => {
            out.clear();
            error.write(&mut out);
            error.status(headers.get("x-centrifugo-error-mode").is_some_and(|mode| mode == "transport"))
        }
    };
    (status, [(header::CONTENT_TYPE, "application/json")], out).into_response()
}

async fn health(State(api): State<Arc<Api>>) -> (StatusCode, &'static str) {
    if api.shutting_down.load(Relaxed) { (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n") } else { (StatusCode::OK, "ok\n") }
}

/// Lets a request pass that has the key. Without a configured key the port is on loopback, where any web page that a local browser shows could
/// post to it: such a request names its origin and is refused.
async fn authorize(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let refused = match &api.key {
        Some(key) if !given_key(request.headers()).is_some_and(|given| same(given, key.as_bytes())) => {
            Error::new(Error::UNAUTHORIZED, "X-API-Key: expected the configured key").with_status(StatusCode::UNAUTHORIZED)
        }
        None if request.headers().contains_key(header::ORIGIN) => {
            Error::new(Error::PERMISSION_DENIED, "Origin: expected no browser, as api.key is not configured")
                .with_status(StatusCode::FORBIDDEN)
        }
        _ => return next.run(request).await,
    };
    answer(Err(refused), request.headers(), Vec::new())
}

/// The key in `X-API-Key`, or where older libraries put it: `Authorization: apikey …`.
fn given_key(headers: &HeaderMap) -> Option<&[u8]> {
    let authorization = || {
        let (scheme, key) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked("apikey ".len())?;
        scheme.eq_ignore_ascii_case(b"apikey ").then_some(key)
    };
    headers.get("x-api-key").map(HeaderValue::as_bytes).or_else(authorization)
}

/// Whether two keys are the same, in a time that tells nothing about where they differ.
fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |difference, (left, right)| difference | (left ^ right)) == 0
}
