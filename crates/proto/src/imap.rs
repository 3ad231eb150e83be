//! IMAP before login (RFC 3501, RFC 9051).
//!
//! Nothing here knows IMAP after login: it is relayed.

pub mod back;
pub mod capability;
mod commands;
pub mod front;
mod opening;
pub mod probe;
mod responses;
mod syntax;
