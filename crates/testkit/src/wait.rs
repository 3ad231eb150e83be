//! Waiting for a condition with a deadline.
//! Nothing here waits without an end.

use std::thread;
use std::time::{Duration, Instant};

/// Asks `condition` every few milliseconds until it answers `Some`, and gives that answer; `None` after `limit`.
pub fn poll<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(answer) = condition() {
            return Some(answer);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// As [`poll`], for a condition that is only true or false.
pub fn until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    poll(limit, || condition().then_some(())).is_some()
}
