//! Logins at a steady pace, each at its own time whatever becomes of the others, and what each came to.
//! Nothing here judges what it saw.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use testkit::scripted::Client;

use crate::{door::SOON, secrets::password};

/// Of each client's thread: there are hundreds.
const STACK: usize = 256 << 10;

/// A login, from the connection to the answer.
#[derive(Debug)]
pub struct Login {
    /// Who.
    pub name: String,
    /// When it began.
    pub begun: Instant,
    /// When it was answered.
    pub ended: Instant,
    /// What came of it: the name of the back end, or how he was refused; or what became of the connection.
    pub answer: io::Result<Result<String, String>>,
}

/// Logins that go on until they are ended.
pub struct Load {
    stopped: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<thread::JoinHandle<Vec<Login>>>,
}

impl Load {
    /// Begins so many logins per second at a clear IMAP port; the back ends are [`crate::stub::Stub::named`].
    /// `who` says who the how manieth is. No more are under way at a time than there are `clients`.
    pub fn begin(
        port: u16,
        per_second: u32,
        clients: usize,
        who: impl Fn(u64) -> String + Send + Sync + 'static,
    ) -> Self {
        let (stopped, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (who, next) = (Arc::new(who), Arc::new(AtomicU64::new(0)));
        let (begun, interval) = (Instant::now(), Duration::from_secs(1) / per_second);
        let client = |_| {
            let (stopped, answered) = (Arc::clone(&stopped), Arc::clone(&answered));
            let (who, next) = (Arc::clone(&who), Arc::clone(&next));
            let work = move || {
                let mut logins = Vec::new();
                while !stopped.load(Ordering::SeqCst) {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    let due = interval * u32::try_from(number).unwrap();
                    thread::sleep(due.saturating_sub(begun.elapsed()));
                    logins.push(log_in(port, who(number)));
                    answered.fetch_add(1, Ordering::SeqCst);
                }
                logins
            };
            thread::Builder::new().stack_size(STACK).spawn(work).unwrap()
        };
        let clients = (0..clients).map(client).collect();
        Self { stopped, answered, clients }
    }

    /// How many were answered so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    /// Ends it: all logins, in the order in which they began.
    pub fn end(self) -> Vec<Login> {
        self.stopped.store(true, Ordering::SeqCst);
        let join = |client: thread::JoinHandle<Vec<Login>>| client.join().unwrap();
        let mut logins: Vec<_> = self.clients.into_iter().flat_map(join).collect();
        logins.sort_by_key(|login| login.begun);
        logins
    }
}

fn log_in(port: u16, name: String) -> Login {
    let begun = Instant::now();
    let answer = answer(port, &name);
    Login { name, begun, ended: Instant::now(), answer }
}

fn answer(port: u16, name: &str) -> io::Result<Result<String, String>> {
    let mut client = Client::connect(("127.0.0.1", port))?;
    client.set_deadline(SOON);
    client.read_line()?;
    client.send(format!("l LOGIN {name} {}\r\n", password(name)))?;
    let answer = tagged(&mut client, "l ")?;
    if !answer.starts_with("OK") {
        return Ok(Err(answer));
    }
    client.send("n NOOP\r\n")?;
    let here = tagged(&mut client, "n ")?;
    client.send("z LOGOUT\r\n")?;
    Ok(Ok(here.rsplit(' ').next().unwrap_or_default().to_owned()))
}

/// What comes behind a tag.
fn tagged(client: &mut Client, tag: &str) -> io::Result<String> {
    loop {
        let line = client.read_line()?;
        if let Some(rest) = line.strip_prefix(tag) {
            return Ok(rest.trim_end().to_owned());
        }
    }
}
