//! What must hold of `proto`, and of the reader of constant databases, for every stream of bytes: one function for
//! each kind of stream.
//!
//! Nothing here is part of the product. `make fuzz` searches with these for streams that break them; the
//! tests run them over the streams in `corpus`, which has a folder for each target.
//!
//! A stream begins with [`input::HEADER`] bytes that choose settings, answers and where it is cut; a frame of a
//! worker has none.

// The constants of the targets are valid; a target that cannot be set up is to stop at once.
#![allow(clippy::expect_used)]

mod back;
mod cdb;
mod claims;
mod client;
mod drive;
mod front;
mod input;
mod proxy_protocol;
mod relay;
mod sasl;
mod worker;

pub use back::{back, probe};
pub use cdb::cdb;
pub use claims::claims;
pub use client::client;
pub use front::front;
pub use proxy_protocol::proxy_protocol;
pub use relay::relay;
pub use sasl::sasl;
pub use worker::worker;

/// A function that fails where a stream breaks what must hold.
pub type Target = fn(&[u8]);

/// All targets by the name of their folder.
pub const TARGETS: [(&str, Target); 10] = [
    ("back", back),
    ("cdb", cdb),
    ("claims", claims),
    ("client", client),
    ("front", front),
    ("probe", probe),
    ("proxy_protocol", proxy_protocol),
    ("relay", relay),
    ("sasl", sasl),
    ("worker", worker),
];
