//! IMAP before login (RFC 3501, RFC 9051), and its framing after.
//!
//! Nothing here knows what is said after login: it is relayed.

pub mod back;
pub mod capability;
mod commands;
pub mod front;
mod opening;
pub mod probe;
pub mod relay;
mod responses;
mod syntax;
