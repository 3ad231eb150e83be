//! IMAP before login (RFC 3501, RFC 9051), its framing after, and all of it for syncing.
//!
//! Nothing here but `client` knows what is said after login: it is relayed.

pub mod back;
pub mod capability;
pub mod client;
mod commands;
pub mod front;
mod opening;
pub mod probe;
pub mod relay;
mod responses;
mod syntax;
