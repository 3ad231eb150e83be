//! Whole visits: connect, TLS, LOGIN, LOGOUT, end.
//! Nothing here keeps a connection.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::client::Client;
use super::{Done, Target, share};

/// Read buffer of a client that only talks.
const ROOM: usize = 4 * 1024;

/// One visit of user number `number`.
///
/// # Errors
/// When any step is not answered as it should be.
pub(crate) fn visit(target: &Target, number: u32) -> Result<()> {
    let mut client = Client::connect(target, ROOM)?;
    client.log_in(number)?;
    client.log_out()
}

/// `count` visits one after the other, with a rest before each as long as the visit before, so that the
/// processor is not what they wait for. Returns how long each took to be let in.
///
/// # Errors
/// The first visit that went wrong.
pub(crate) fn timed_visits(target: &Target, count: u32) -> Result<Vec<Duration>> {
    let visit = |number| {
        let begin = Instant::now();
        let mut client = Client::connect(target, ROOM)?;
        client.log_in(number)?;
        let taken = begin.elapsed();
        client.log_out()?;
        thread::sleep(begin.elapsed());
        Ok(taken)
    };
    (0..count).map(visit).collect()
}

/// `count` visits by `threads` clients at a time.
///
/// # Errors
/// The first visit that went wrong.
pub(crate) fn visits(target: &Target, threads: u32, count: u32) -> Result<Done> {
    let (_, taken) = share(threads, count, |thread, part| {
        (0..part).try_for_each(|number| visit(target, number * threads + thread))
    })?;
    Ok(Done { operations: count, bytes: 0, seconds: taken.as_secs_f64() })
}
