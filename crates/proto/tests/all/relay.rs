//! Tests of the framing after login, from outside.

mod imap;
mod pop3;
mod properties;
mod reference;
mod session;
