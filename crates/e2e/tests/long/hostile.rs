//! Clients that mean harm, or might: those who log in beside them hardly notice.

use std::{
    collections::VecDeque,
    io::Write,
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use e2e::{
    cases,
    chance::Chance,
    door::Door,
    house::House,
    processes::{peak, resident},
    runner::Case,
};
use socket2::{Domain, Socket, Type};

use crate::crowd::{SESSIONS, StubProcess, door, fill, log_in, need_files};

pub(crate) fn cases() -> Vec<Case> {
    cases![two_hundred_hostile_connections_a_second_do_not_double_the_time_of_logins]
}

const PER_SECOND: u32 = 200;
/// So many of them stay open; the oldest gives up.
const HELD: usize = 1000;
/// They come from so many addresses.
const ADDRESSES: usize = 100;
/// With and without them in turn, so that what else the machine does counts for both.
const ROUNDS: usize = 4;
/// Logins in each round, each way.
const LOGINS: usize = 150;
/// What the proxy may need for them beyond what the idle sessions do.
const GROWTH: usize = 64 << 20;

/// Bytes of a client's first message of TLS, which says that more will come.
const HALF_A_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03half a hello";

/// Connects and does something: nothing, a byte now and then, garbage, half a handshake.
struct Hostile<'d> {
    door: &'d Door,
    chance: Chance,
    held: VecDeque<(bool, TcpStream)>,
    made: &'d AtomicUsize,
}

impl Hostile<'_> {
    fn connect(&mut self) {
        let number = self.made.fetch_add(1, Ordering::SeqCst);
        let tls = self.chance.below(2) == 1;
        let port = if tls { self.door.imaps } else { self.door.imap };
        // Each address may have a few handshakes in flight: those who mean harm have many.
        let from = u8::try_from(number % ADDRESSES + 1).unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 2, from], 0)).into()).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        socket.connect_timeout(&address.into(), Duration::from_secs(5)).unwrap();
        let mut tcp = TcpStream::from(socket);
        tcp.set_nonblocking(true).unwrap();
        let drips = number % 4 == 1;
        // Whether it was taken tells in the end who logs in, and how fast.
        let _ = match number % 4 {
            2 => {
                let byte = |_| u8::try_from(self.chance.below(256)).unwrap();
                tcp.write(&(0..1024).map(byte).collect::<Vec<_>>())
            }
            3 => tcp.write(HALF_A_HELLO),
            _ => Ok(0),
        };
        self.held.push_back((drips, tcp));
        if self.held.len() > HELD {
            self.held.pop_front();
        }
    }

    fn drip(&mut self) {
        for (_, tcp) in self.held.iter_mut().filter(|(drips, _)| *drips) {
            let _ = tcp.write(b"a");
        }
    }

    /// As long as it may.
    fn go_on(mut self, active: &AtomicBool, over: &AtomicBool) {
        let (mut next, mut dripped) = (Instant::now(), Instant::now());
        while !over.load(Ordering::SeqCst) {
            let now = Instant::now();
            if !active.load(Ordering::SeqCst) {
                self.held.clear();
                next = now;
            } else if next <= now {
                self.connect();
                next += Duration::from_secs(1) / PER_SECOND;
                continue;
            }
            if dripped.elapsed() > Duration::from_millis(500) {
                self.drip();
                dripped = now;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Lets them end, also when the test fails before.
struct Ends<'o>(&'o AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn logins(door: &Door) -> Vec<Duration> {
    (0..LOGINS)
        .map(|number| {
            let began = Instant::now();
            drop(log_in(door, number));
            began.elapsed()
        })
        .collect()
}

fn percentile(took: &mut [Duration], of_hundred: usize) -> Duration {
    took.sort();
    took[took.len() * of_hundred / 100]
}

fn two_hundred_hostile_connections_a_second_do_not_double_the_time_of_logins(_: &House) {
    need_files(SESSIONS * 2 + HELD * 2 + 500);
    let stub = StubProcess::start();
    let door = door(&stub, "");
    let (mut held, _) = fill(&door);
    let before = resident(door.pid());
    let (active, over, made) =
        (AtomicBool::new(false), AtomicBool::new(false), AtomicUsize::new(0));
    let (mut quiet, mut beside) = (Vec::new(), Vec::new());
    let mut lasted = Duration::ZERO;
    thread::scope(|scope| {
        let (door, made) = (&door, &made);
        let hostile =
            Hostile { door, chance: Chance::new(Chance::seed()), held: VecDeque::new(), made };
        let (active, over) = (&active, &over);
        scope.spawn(move || hostile.go_on(active, over));
        let _end = Ends(over);
        for _ in 0..ROUNDS {
            active.store(false, Ordering::SeqCst);
            quiet.extend(logins(door));
            let (first, began) = (made.load(Ordering::SeqCst), Instant::now());
            active.store(true, Ordering::SeqCst);
            // Until as many as may be are held.
            while made.load(Ordering::SeqCst) - first < HELD {
                beside.extend(logins(door));
            }
            lasted += began.elapsed();
        }
    });
    let rate = made.load(Ordering::SeqCst) as f64 / lasted.as_secs_f64();
    let grown = peak(door.pid()).saturating_sub(before);
    let (usual, slow) = (percentile(&mut quiet, 99), percentile(&mut beside, 99));
    println!(
        "logins: median {:?}, p99 {usual:?}; beside {rate:.0} hostile connections a second for {lasted:?}: \
         median {:?}, p99 {slow:?} of {}; {grown} bytes more",
        percentile(&mut quiet, 50),
        percentile(&mut beside, 50),
        beside.len(),
    );
    assert!(rate > f64::from(PER_SECOND) * 0.9, "only {rate} a second");
    assert!(slow < usual * 2, "p99 {usual:?} became {slow:?}");
    assert!(grown < GROWTH, "{grown} bytes more");
    for session in &mut held {
        session.ask("n NOOP", "n OK").unwrap();
    }
}
