//! How bytes travel, over real sockets on loopback.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is a test"
)]

mod client_certificates;
mod framed;
mod keys;
mod peer;
mod ports;
mod relay;
mod stream;
mod tls;

use std::{future::Future, time::Duration};

/// Waits for `work`, but not for ever.
async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), work).await.expect("done before the deadline")
}

/// The same for work that moves many bytes through unoptimised code.
async fn within_long<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("done before the deadline")
}
