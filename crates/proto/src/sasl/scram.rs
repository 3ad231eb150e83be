//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677): a login by which neither side shows the other the
//! password.
//!
//! Nothing here draws a nonce, looks up a user, or knows how a protocol wraps the exchange.

mod client;
mod decoys;
mod keys;
mod messages;
mod server;
#[cfg(test)]
mod tests;

pub use client::{Binding, Broken, Client};
pub use decoys::Decoys;
pub use keys::{InvalidVerifier, KEY_BYTES, Verifier};
pub use messages::{ChannelBindings, Nonce};
pub use server::Given;
pub(super) use server::{Chosen, Heard, Server};
