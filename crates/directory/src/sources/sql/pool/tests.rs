use std::sync::atomic::{AtomicBool, AtomicU32};

use super::*;
use crate::sources::sql::{Dialect, Task};

const SOON: Duration = Duration::from_secs(10);

/// A database that does as told.
#[derive(Default)]
struct Scripted {
    made: AtomicU32,
    open: Arc<AtomicU32>,
    most_open: AtomicU32,
    down: AtomicBool,
    hangs: AtomicBool,
    /// The first servers that refuse.
    refusing: usize,
    /// Connections made before this one are broken.
    broken_before: AtomicU32,
}

struct Line {
    number: u32,
    open: Arc<AtomicU32>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Driver for Arc<Scripted> {
    type Connection = Line;

    fn servers(&self) -> usize {
        self.refusing + 1
    }

    async fn connect(&self, server: usize) -> Result<Line, CannotSay> {
        if self.down.load(Ordering::SeqCst) || server < self.refusing {
            return Err(CannotSay::unavailable(format!("{server} is down")));
        }
        let number = self.made.fetch_add(1, Ordering::SeqCst);
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_open.fetch_max(open, Ordering::SeqCst);
        Ok(Line { number, open: Arc::clone(&self.open) })
    }

    async fn read(&self, line: &mut Line, _: &Job, _: Each<'_>) -> Result<(), Failure> {
        tokio::task::yield_now().await;
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if line.number < self.broken_before.load(Ordering::SeqCst) {
            let cannot = CannotSay::unavailable("broken");
            return Err(Failure { cannot, fault: Fault::Connection });
        }
        Ok(())
    }
}

fn pool(driver: &Arc<Scripted>) -> Arc<Pool<Arc<Scripted>>> {
    let times = Times { connect: SOON, statement: Duration::from_millis(20) };
    Arc::new(Pool::new(Arc::clone(driver), 3, times))
}

fn job() -> Job {
    let statement = Statement::parse("SELECT :user", Dialect::Postgres, Task::LookUp).unwrap();
    Job { statement: Arc::new(statement), values: vec!["bob".to_owned()] }
}

async fn told(pool: &Pool<Arc<Scripted>>) -> String {
    let asked = tokio::time::timeout(SOON, pool.look_up(job())).await.unwrap();
    asked.map_or_else(|cannot| cannot.detail, |_| "answered".to_owned())
}

#[tokio::test]
async fn connections_are_kept_and_never_more_than_allowed() {
    let driver = Arc::new(Scripted::default());
    let pool = pool(&driver);
    let asked = (0..50).map(|_| {
        let pool = Arc::clone(&pool);
        tokio::spawn(async move { told(&pool).await })
    });
    for asked in asked.collect::<Vec<_>>() {
        assert_eq!(asked.await.unwrap(), "answered");
    }
    assert_eq!(driver.most_open.load(Ordering::SeqCst), 3);
    assert_eq!(driver.made.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_connection_that_broke_since_it_was_made_is_made_anew_unnoticed() {
    let driver = Arc::new(Scripted::default());
    let pool = pool(&driver);
    assert_eq!(told(&pool).await, "answered");
    driver.broken_before.store(1, Ordering::SeqCst);
    assert_eq!(told(&pool).await, "answered");
    driver.broken_before.store(9, Ordering::SeqCst);
    assert_eq!(told(&pool).await, "broken");
    assert_eq!(driver.open.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn servers_are_tried_in_turn_and_the_one_that_answered_first_the_next_time() {
    let driver = Arc::new(Scripted { refusing: 2, ..Scripted::default() });
    let pool = pool(&driver);
    assert_eq!(told(&pool).await, "answered");
    assert_eq!(pool.server.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_server_that_is_down_is_left_alone_for_a_while_and_used_when_it_is_back() {
    let driver = Arc::new(Scripted::default());
    driver.down.store(true, Ordering::SeqCst);
    let pool = pool(&driver);
    assert_eq!(told(&pool).await, "0 is down");
    driver.down.store(false, Ordering::SeqCst);
    assert_eq!(told(&pool).await, "0 is down");
    assert_eq!(driver.made.load(Ordering::SeqCst), 0);
    let back = async {
        while told(&pool).await != "answered" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, back).await.unwrap();
}

#[tokio::test]
async fn while_a_server_hangs_one_question_tries_it_and_the_others_do_not_wait() {
    let driver = Arc::new(Scripted::default());
    let pool = pool(&driver);
    driver.hangs.store(true, Ordering::SeqCst);
    let patience = Duration::from_millis(40);
    assert!(tokio::time::timeout(patience, pool.look_up(job())).await.is_err());
    assert!(told(&pool).await.contains("has not answered for"));
    assert_eq!(driver.open.load(Ordering::SeqCst), 0);
    let trial = async {
        loop {
            // Until the rest is over, it is told at once what was wrong.
            if tokio::time::timeout(patience, pool.look_up(job())).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, trial).await.unwrap();
    assert!(told(&pool).await.contains("has not answered for"));
}

#[test]
fn rests_grow_up_to_the_longest() {
    let mut health = Health::default();
    let now = Instant::now();
    for expected in [100, 200, 400, 800, 1000, 1000] {
        health.failed(CannotSay::unavailable("x"), now);
        let until = health.trouble.as_ref().unwrap().1;
        assert_eq!(until - now, Duration::from_millis(expected));
        assert!(health.check(now).is_err() && health.check(until).is_ok());
    }
    let later = now + LONGEST_REST;
    assert!(health.admit(later).unwrap());
    assert!(health.admit(later).is_err());
}
