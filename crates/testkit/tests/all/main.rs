//! The fixtures against the real thing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod configured;
mod cyrus;
mod databases;
mod dovecot;
mod imap_server;
mod processes;
mod scripted;
