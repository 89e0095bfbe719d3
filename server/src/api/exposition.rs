//! `GET /metrics`: all workers' counters summed, as Prometheus' text exposition format 0.0.4.

use std::{
    fmt::Write,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use axum::{extract::State, http::header, response::IntoResponse};

use super::Api;
use crate::metrics::{Counter, Histogram, Metrics};

/// Name, explanation, and where the number stands.
type Family = (&'static str, &'static str, fn(&Metrics) -> &Counter);

const COUNTERS: [Family; 11] = [
    ("connections_accepted_total", "Sockets accepted on the edge port.", |metrics| &metrics.accepted),
    ("upgrades_total", "Opening handshakes that ended in a 101.", |metrics| &metrics.upgrades),
    ("plain_answers_total", "HTTP requests answered with anything but a 101.", |metrics| &metrics.plain_answers),
    ("messages_received_total", "WebSocket messages received.", |metrics| &metrics.messages_in),
    ("received_bytes_total", "Bytes received on the edge port.", |metrics| &metrics.bytes_in),
    ("sent_bytes_total", "Bytes handed to the kernel on the edge port.", |metrics| &metrics.bytes_out),
    ("sends_total", "System calls that handed bytes to the kernel on the edge port.", |metrics| &metrics.sends),
    ("deliveries_total", "Publications queued for a subscriber.", |metrics| &metrics.deliveries),
    ("conflated_total", "Publications that a slow subscriber missed because a later one replaced them.", |metrics| &metrics.conflated),
    ("peer_errors_total", "Connections closed for what the peer did wrong.", |metrics| &metrics.peer_errors),
    ("receive_buffers_exhausted_total", "Receive operations that ended for want of a buffer.", |metrics| {
        &metrics.receive_buffers_exhausted
    }),
];

pub(super) async fn metrics(State(api): State<Arc<Api>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], exposition(&api))
}

fn exposition(api: &Api) -> String {
    let mut out = String::new();
    let sum = |counter: fn(&Metrics) -> &Counter| api.metrics.iter().map(|metrics| counter(metrics).get()).sum::<u64>();
    for (name, help, counter) in COUNTERS {
        family(&mut out, name, help, "counter", sum(counter));
    }
    family(&mut out, "publications_total", "Messages published, by anyone.", "counter", api.hub.published());
    family(&mut out, "connections", "Sockets open on the edge port.", "gauge", api.connections());
    let ended = sum(|metrics| &metrics.receives_ended);
    let receiving = sum(|metrics| &metrics.receives_begun).saturating_sub(ended);
    family(&mut out, "receive_operations", "Receive operations in the kernel, where receives are operations.", "gauge", receiving);
    family(&mut out, "channels", "Channels that exist.", "gauge", api.hub.channel_count() as u64);
    let shutting_down = u64::from(api.shutting_down.load(Relaxed));
    family(&mut out, "shutting_down", "1 while the server closes its clients.", "gauge", shutting_down);
    delivery(&mut out, &api.metrics);
    out
}

fn family(out: &mut String, name: &str, help: &str, kind: &str, value: u64) {
    // Writing to a String cannot fail, here and below.
    let _ = write!(out, "# HELP fantail_{name} {help}\n# TYPE fantail_{name} {kind}\nfantail_{name} {value}\n");
}

fn delivery(out: &mut String, workers: &[Arc<Metrics>]) {
    const NAME: &str = "fantail_delivery_seconds";
    let _ = writeln!(out, "# HELP {NAME} From a publication to the end of the turn that sent it, once for each worker with subscribers.");
    let _ = writeln!(out, "# TYPE {NAME} histogram");
    let mut buckets = [0; Histogram::BUCKETS];
    for metrics in workers {
        buckets.iter_mut().zip(metrics.delivery.buckets()).for_each(|(sum, count)| *sum += count);
    }
    let mut cumulative = 0;
    for (bucket, count) in buckets.into_iter().enumerate() {
        cumulative += count;
        let bound = Histogram::bound_seconds(bucket).map_or("+Inf".to_owned(), |bound| bound.to_string());
        let _ = writeln!(out, "{NAME}_bucket{{le=\"{bound}\"}} {cumulative}");
    }
    let sum_us: u64 = workers.iter().map(|metrics| metrics.delivery.sum_us()).sum();
    let _ = write!(out, "{NAME}_sum {}\n{NAME}_count {cumulative}\n", sum_us as f64 / 1e6);
}
