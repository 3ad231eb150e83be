//! Thousands of sessions that do nothing cost little, and do not slow down those that do something.

use std::{
    env::{self, Args},
    io::{self, Read},
    net::TcpStream,
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use e2e::{
    cases,
    door::{Door, LISTENERS, SOON, backend, everybody_at, ports},
    house::House,
    processes::resident,
    runner::Case,
    secrets::password,
    stub::{ImapWords, Stub},
};
use nix::sys::resource::{Resource, getrlimit};
use testkit::{process::raise_open_file_limit, scripted::Client, wait};

pub(crate) fn cases() -> Vec<Case> {
    cases![among_five_thousand_idle_sessions_logins_are_quick_and_memory_is_small]
}

/// Half of them in clear, half under TLS.
pub(crate) const SESSIONS: usize = 5000;
/// Of one session on average, in the program that is built for debugging too.
const BYTES_EACH: usize = 32 << 10;
/// Clients that log in at a time.
const CLIENTS: usize = 8;

/// The back end in a process of its own: descriptors are counted by process, and it can be killed.
pub(crate) struct StubProcess {
    child: Child,
    port: u16,
}

/// What the program is told to be one.
const STUB: &str = "serve-stub";

impl StubProcess {
    pub(crate) fn start() -> Self {
        Self::start_at(ports::<1>()[0])
    }

    /// Starts one at this port, and waits until it greets.
    pub(crate) fn start_at(port: u16) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        // It ends when this process does: its input closes.
        command.args([STUB, &port.to_string()]).stdin(Stdio::piped());
        let child = command.spawn().unwrap();
        let greets =
            || Client::connect(("127.0.0.1", port)).is_ok_and(|mut it| it.read_line().is_ok());
        assert!(wait::until(SOON, greets), "the stub does not greet at {port}");
        Self { child, port }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Kills it; the kernel closes its connections.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for StubProcess {
    fn drop(&mut self) {
        // It may have been killed before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The port, if this process was started to be a stub.
pub(crate) fn stub_port(mut arguments: Args) -> Option<u16> {
    (arguments.nth(1)? == STUB).then(|| arguments.next().unwrap().parse().unwrap())
}

/// Serves until the input closes.
pub(crate) fn serve_stub(port: u16) -> ExitCode {
    raise_open_file_limit();
    let stub = Stub::start_at(port, |mut talk| {
        talk.wire().set_deadline(Duration::from_secs(3600));
        let words = ImapWords::default();
        talk.send(&format!("* OK [CAPABILITY {}] stub ready\r\n", words.before))?;
        if !talk.imap_login(&words)? {
            return Ok(());
        }
        loop {
            let line = talk.line()?;
            let tag = line.split(' ').next().unwrap_or_default();
            talk.send(&format!("{tag} OK echo\r\n"))?;
        }
    });
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop(stub);
    ExitCode::SUCCESS
}

/// Makes sure that this process and its children may open so many files.
pub(crate) fn need_files(needed: usize) {
    raise_open_file_limit();
    let (files, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let needed = u64::try_from(needed).unwrap();
    assert!(files >= needed, "{needed} open files are needed, {files} allowed: see `ulimit -Hn`");
}

/// Posthouse before this stub, with these lines in its limits.
pub(crate) fn door(stub: &StubProcess, limits: &str) -> Door {
    Door::open(&format!(
        "state = \"state\"\ngrace = \"5m\"\n{LISTENERS}[limits]\nconnections_per_address = 0\n\
         {limits}{}{}",
        backend("a", stub.port(), stub.port()),
        everybody_at("a")
    ))
}

pub(crate) fn log_in(door: &Door, number: usize) -> Client {
    let mut client = if number.is_multiple_of(2) {
        Client::connect(("127.0.0.1", door.imap)).unwrap()
    } else {
        Client::connect_tls(("127.0.0.1", door.imaps), "localhost", &door.trust()).unwrap()
    };
    client.set_deadline(Duration::from_secs(30));
    client.read_line().unwrap();
    let name = format!("user{number}");
    client.ask(&format!("l LOGIN {name} {}", password(&name)), "l OK").unwrap();
    client
}

/// Logs all of them in, several at a time, and says what each costs in memory.
pub(crate) fn fill(door: &Door) -> (Vec<Client>, usize) {
    // What all share is there before anything is counted.
    for number in 0..20 {
        drop(log_in(door, number));
    }
    let before = resident(door.pid());
    let held: Vec<Client> = thread::scope(|scope| {
        let some = |first: usize| (first..SESSIONS).step_by(CLIENTS);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|first| {
                scope.spawn(move || {
                    some(first).map(|number| log_in(door, number)).collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let each = resident(door.pid()).saturating_sub(before) / SESSIONS;
    (held, each)
}

fn among_five_thousand_idle_sessions_logins_are_quick_and_memory_is_small(_: &House) {
    need_files(SESSIONS * 2 + 500);
    let stub = StubProcess::start();
    let mut door = door(&stub, "");
    let (mut held, each) = fill(&door);
    println!("{each} bytes for each of {SESSIONS} idle sessions");
    assert!(each < BYTES_EACH, "{each} bytes for each session");
    let mut took: Vec<Duration> = (0..100)
        .map(|number| {
            let began = Instant::now();
            drop(log_in(&door, number));
            began.elapsed()
        })
        .collect();
    took.sort();
    println!("logins beside them: median {:?}, slowest {:?}", took[50], took[99]);
    assert!(took[90] < Duration::from_millis(500), "{took:?}");
    let began = Instant::now();
    let listed = door.json(&["session", "list"]);
    assert!(listed.as_array().unwrap().len() >= SESSIONS);
    assert!(began.elapsed() < SOON);
    for client in &mut held {
        client.ask("n NOOP", "n OK").unwrap();
    }
    door.terminate().unwrap();
    door.line(|line| line.contains("stopping"));
    assert!(TcpStream::connect(("127.0.0.1", door.imap)).is_err());
    held[SESSIONS - 1].ask("n NOOP", "n OK").unwrap();
    door.terminate().unwrap();
    assert!(door.wait_exit(SOON).unwrap().success());
    drop(held);
}
