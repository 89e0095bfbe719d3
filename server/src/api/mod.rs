//! The internal port: the publish API, health and metrics, for backends and operators. It is served by axum on a thread of its own, so that neither
//! port can starve the other.

mod exposition;
mod publish;

use std::{
    io,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};

use crate::{config::Config, hub::Hub, metrics::Metrics};

/// What the port knows of the server.
pub struct Api {
    hub: Arc<Hub>,
    metrics: Vec<Arc<Metrics>>,
    key: Option<String>,
    message_bytes_max: usize,
    shutting_down: AtomicBool,
}

impl Api {
    /// The API of a server with these counters.
    pub fn new(config: &Config, hub: Arc<Hub>, metrics: Vec<Arc<Metrics>>) -> Arc<Api> {
        let message_bytes_max = config.limits.message_bytes_max;
        Arc::new(Api { hub, metrics, key: config.api.key.clone(), message_bytes_max, shutting_down: AtomicBool::new(false) })
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
        let guarded = Router::new().route("/api/publish", post(publish::publish)).layer(DefaultBodyLimit::max(body_bytes_max));
        let router = Router::new()
            .merge(guarded.layer(middleware::from_fn_with_state(Arc::clone(&self), authorize)))
            .route("/health", get(health))
            .route("/metrics", get(exposition::metrics))
            .with_state(self);
        axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await
    }
}

async fn health(State(api): State<Arc<Api>>) -> (StatusCode, &'static str) {
    if api.shutting_down.load(Relaxed) { (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n") } else { (StatusCode::OK, "ok\n") }
}

/// Lets a request pass that has the key. Without a configured key the port is on loopback, where any web page that a local browser shows could
/// post to it: such a request names its origin and is refused.
async fn authorize(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let given = request.headers().get("x-api-key").map(HeaderValue::as_bytes);
    match &api.key {
        Some(key) if !given.is_some_and(|given| same(given, key.as_bytes())) => {
            publish::Error::new(101, "X-API-Key: expected the configured key").with_status(StatusCode::UNAUTHORIZED).into_response()
        }
        None if request.headers().contains_key(header::ORIGIN) => {
            publish::Error::new(103, "Origin: expected no browser, as api.key is not configured")
                .with_status(StatusCode::FORBIDDEN)
                .into_response()
        }
        _ => next.run(request).await,
    }
}

/// Whether two keys are the same, in a time that tells nothing about where they differ.
fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |difference, (left, right)| difference | (left ^ right)) == 0
}
