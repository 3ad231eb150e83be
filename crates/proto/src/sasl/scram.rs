//! SCRAM-SHA-256 (RFC 5802, RFC 7677): a login by which neither side shows the other the password.
//!
//! Nothing here draws a nonce, looks up a user, or knows how a protocol wraps the exchange.

mod keys;

pub use keys::{InvalidVerifier, KEY_BYTES, Verifier};
