//! The threads that compute hashes, and the line before them.
//!
//! Nothing here knows what it computes. A full line answers at once, so that no storm of logins can hold up
//! anything but logins.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, thread};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

/// How much is computed at a time, and how much may wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PoolSettings {
    /// Threads that compute. Half of the processors, at least one: the others go on relaying mail while
    /// everybody logs in. Each may take the memory of one hash.
    pub threads: usize,
    /// How many may wait. 1024: each holds a connection open that nothing else happens on.
    pub queue: usize,
    /// How long one may wait. 10 s: mail programs give up after 30 to 60 s, and then try anew, which makes the
    /// line longer still.
    pub patience: Duration,
}

impl Default for PoolSettings {
    fn default() -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self { threads: (processors / 2).max(1), queue: 1024, patience: Duration::from_secs(10) }
    }
}

/// Why something was not computed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refused {
    /// The line is full, or was too slow.
    Busy { waiting: usize },
    /// The computation broke off.
    Broken,
}

/// The threads. Dropped, they end after what they are at.
pub(super) struct Pool {
    line: Arc<Line>,
    settings: PoolSettings,
}

struct Line {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    closed: bool,
}

struct Job {
    since: Instant,
    run: Box<dyn FnOnce(Turn) + Send>,
}

/// Whether a job's turn came in time.
enum Turn {
    Now,
    TooLate { waiting: usize },
}

impl Pool {
    pub(super) fn start(settings: PoolSettings) -> io::Result<Self> {
        let line = Arc::new(Line { state: Mutex::default(), news: Condvar::new() });
        let pool = Self { line: Arc::clone(&line), settings };
        for number in 0..settings.threads.max(1) {
            let (line, patience) = (Arc::clone(&line), settings.patience);
            let name = format!("password-{number}");
            thread::Builder::new().name(name).spawn(move || line.work(patience))?;
        }
        Ok(pool)
    }

    /// Computes something as soon as a thread is free. If whoever asked is gone by then, nothing is computed.
    pub(super) async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let (sender, receiver) = oneshot::channel();
        let run = Box::new(move |turn: Turn| match turn {
            Turn::Now if !sender.is_closed() => {
                // Nobody may listen any more: then nobody needs it.
                let _ = sender.send(Ok(work()));
            }
            Turn::Now => {}
            Turn::TooLate { waiting } => {
                let _ = sender.send(Err(Refused::Busy { waiting }));
            }
        });
        self.line.enter(Job { since: Instant::now(), run }, self.settings.queue)?;
        receiver.await.unwrap_or(Err(Refused::Broken))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.line.state.lock().closed = true;
        self.line.news.notify_all();
    }
}

impl Line {
    fn enter(&self, job: Job, queue: usize) -> Result<(), Refused> {
        let mut state = self.state.lock();
        let waiting = state.waiting.len();
        if waiting >= queue {
            return Err(Refused::Busy { waiting });
        }
        state.waiting.push_back(job);
        drop(state);
        self.news.notify_one();
        Ok(())
    }

    /// One thread's life.
    fn work(&self, patience: Duration) {
        while let Some((job, waiting)) = self.next() {
            let in_time = job.since.elapsed() <= patience;
            let turn = if in_time { Turn::Now } else { Turn::TooLate { waiting } };
            // A fault in a hash ends one login; the sender that is dropped says so.
            let _ = catch_unwind(AssertUnwindSafe(move || (job.run)(turn)));
        }
    }

    fn next(&self) -> Option<(Job, usize)> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = state.waiting.pop_front() {
                return Some((job, state.waiting.len()));
            }
            self.news.wait(&mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::mpsc;
    use std::task::{Context, Waker};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    fn settings(threads: usize, queue: usize) -> PoolSettings {
        PoolSettings { threads, queue, patience: DEADLINE }
    }

    /// Runs a future to its end on a runtime of its own.
    fn wait<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(DEADLINE, future).await.unwrap() })
    }

    #[test]
    fn a_full_line_answers_at_once_and_goes_on_when_there_is_room() {
        let pool = Pool::start(settings(1, 1)).unwrap();
        let (started, is_started) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        wait(async {
            let busy = pool.compute(move || {
                started.send(()).unwrap();
                released.recv().unwrap();
                1
            });
            let driver = async {
                tokio::task::yield_now().await;
                is_started.recv_timeout(DEADLINE).unwrap();
                let waiting = pool.compute(|| 2);
                let refused = async {
                    tokio::task::yield_now().await;
                    let refused = pool.compute(|| 3).await;
                    release.send(()).unwrap();
                    refused
                };
                tokio::join!(waiting, refused)
            };
            let (one, (two, three)) = tokio::join!(busy, driver);
            assert_eq!((one, two), (Ok(1), Ok(2)));
            assert_eq!(three, Err(Refused::Busy { waiting: 1 }));
            assert_eq!(pool.compute(|| 4).await, Ok(4));
        });
    }

    #[test]
    fn who_waited_too_long_is_told_so_and_nothing_is_computed() {
        let patience = Duration::ZERO;
        let pool = Pool::start(PoolSettings { patience, ..settings(1, 9) }).unwrap();
        let refused = wait(pool.compute(|| unreachable!()));
        assert_eq!(refused, Err::<(), _>(Refused::Busy { waiting: 0 }));
    }

    #[test]
    fn nothing_is_computed_for_whoever_is_gone() {
        let pool = Pool::start(settings(1, 9)).unwrap();
        let (release, released) = mpsc::channel::<()>();
        let (done, is_done) = mpsc::channel();
        wait(async {
            let mut first = Box::pin(pool.compute(move || released.recv().unwrap()));
            begin(first.as_mut());
            let done = done.clone();
            let mut gone = Box::pin(pool.compute(move || done.send("gone").unwrap()));
            begin(gone.as_mut());
            drop(gone);
            release.send(()).unwrap();
            first.await.unwrap();
        });
        wait(pool.compute(move || done.send("here").unwrap())).unwrap();
        assert_eq!(is_done.recv_timeout(DEADLINE), Ok("here"));
    }

    /// Has a future begin.
    fn begin<F: Future>(future: Pin<&mut F>) {
        let context = &mut Context::from_waker(Waker::noop());
        assert!(future.poll(context).is_pending());
    }

    #[test]
    fn a_fault_ends_one_computation_and_no_thread() {
        let pool = Pool::start(settings(1, 9)).unwrap();
        assert_eq!(wait(pool.compute(|| panic!("on purpose"))), Err::<(), _>(Refused::Broken));
        assert_eq!(wait(pool.compute(|| 1)), Ok(1));
    }
}
