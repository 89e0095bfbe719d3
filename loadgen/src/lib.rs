//! `fantail-load`, a load generator that tells the truth about any WebSocket server: mass upgrades, echoes, fan-out and idle connections, measured from
//! the time that a message was intended, with a verdict on whether the figures speak of the server at all.
//!
//! From the bottom up, each importing only from those before it: [`clock`], [`units`], [`metrics`], [`payload`]; [`stats`] and [`url`]; `values`;
//! [`threshold`] and [`verdict`]; [`plan`]; [`system`]; [`net`]; [`report`]; [`engine`]; [`scenario`]; and on top [`session`], beside it [`doctor`].

pub mod clock;
pub mod metrics;
pub mod payload;
pub mod units;

pub mod stats;
pub mod url;

pub mod values;

pub mod threshold;
pub mod verdict;

pub mod plan;

pub mod system;

pub mod net;

pub mod report;

pub mod engine;

pub mod scenario;

pub mod doctor;
pub mod session;
