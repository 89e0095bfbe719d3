//! What a WebSocket server costs, beside its peers and beside the bare `send` below which none can go; the library of `fantail-bench` and of
//! the criterion suites in `benches/`.
//!
//! From the bottom up, each importing only from those before it: [`client`] and [`process`], [`floor`], [`measure`], [`servers`]; [`spread`];
//! [`compare`]; [`channels`]; and [`table`] with [`goals`].

pub mod client;
pub mod process;

pub mod floor;
pub mod measure;
pub mod servers;

pub mod spread;

pub mod channels;
pub mod compare;

pub mod goals;
pub mod table;
