//! The load generator: visits, bulk, round trips and idle sessions, the same towards every proxy.
//! Nothing here measures the proxy; it only knows how much it did and how long that took.

mod bulk;
mod client;
mod crowd;
mod idle;
mod noops;
mod tls;
mod visits;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustls::ClientConfig;

pub(crate) use bulk::{Direction, transfer};
pub(crate) use crowd::crowd;
pub(crate) use idle::hold;
pub(crate) use noops::noops;
pub(crate) use tls::{KeyExchange, client_config};
pub(crate) use visits::{timed_visits, visit, visits};

/// A listener under load.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// Implicit TLS with these settings; clear without.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// What was done.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(crate) struct Done {
    /// Visits, messages, round trips or sessions.
    pub(crate) operations: u32,
    /// Bytes of messages carried.
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
}

/// Runs `work(thread number, share)` on `threads` threads, with `operations` split evenly between them.
fn share<T: Send>(
    threads: u32,
    operations: u32,
    work: impl Fn(u32, u32) -> Result<T> + Sync,
) -> Result<(Vec<T>, Duration)> {
    let threads = threads.clamp(1, operations.max(1));
    let begin = Instant::now();
    let done: Result<Vec<T>> = thread::scope(|scope| {
        let part = |number| {
            let extra = u32::from(number < operations % threads);
            let part = operations / threads + extra;
            let work = &work;
            scope.spawn(move || work(number, part))
        };
        let running: Vec<_> = (0..threads).map(part).collect();
        running
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a load thread panicked"))?)
            .collect()
    });
    Ok((done.context("the load was broken off")?, begin.elapsed()))
}

/// The name of the user with this number, of the two thousand that both laboratory configurations know.
fn user(number: u32) -> String {
    format!("user{}", number % 2_000)
}
