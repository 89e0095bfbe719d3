//! Fantail, a WebSocket edge server for fan-out: clients upgrade on the edge port, backends publish on the internal port, and every
//! publication reaches every subscriber of its channel.
//!
//! From the bottom up, each importing only from those before it: [`config`]; [`auth`]; [`metrics`] and [`demo`]; [`encode`]; [`hub`]; [`outbox`];
//! [`subscribers`] and `route`; `context`; `session`; `connection` with `deadlines`; `worker` with `driver`; [`api`]; and [`server`], which puts
//! them together.

pub mod auth;
pub mod config;
pub mod demo;
pub mod metrics;

pub mod encode;
pub mod hub;
pub mod outbox;

mod route;
pub mod subscribers;

mod context;
mod session;

mod connection;
mod deadlines;

mod driver;
mod worker;

pub mod api;
pub mod server;

pub use server::Server;
