//! POP3 before login (RFC 1939, RFC 2449, RFC 2595, RFC 5034).
//!
//! Nothing here knows POP3 after login: it is relayed.

pub mod back;
pub mod capability;
pub mod front;
mod opening;
pub mod probe;
mod responses;
