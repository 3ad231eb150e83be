//! POP3 before login (RFC 1939, RFC 2449, RFC 2595, RFC 5034), and its framing after.
//!
//! Nothing here knows what is said after login: it is relayed.

pub mod back;
pub mod capability;
pub mod front;
mod opening;
pub mod probe;
pub mod relay;
mod responses;
