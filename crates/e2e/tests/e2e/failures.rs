//! A back end that closes, resets or hangs in each phase of a login: the word in the log, and the client's answer.

use std::{
    fmt::Write as _,
    fs, io,
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use e2e::{
    cases,
    door::{Door, ports, usual},
    house::House,
    runner::Case,
    secrets::password,
    stub::{Stub, Talk},
};
use socket2::{Domain, Socket, Type};

pub(crate) fn cases() -> Vec<Case> {
    cases![a_back_end_that_fails_in_any_phase_has_its_word_and_the_client_may_try_later]
}

const DEADLINES: &str = "[deadlines]\nconnect = \"1s\"\ngreeting = \"2s\"\nlogin = \"4s\"\n";
/// All deadlines one after the other, on a busy machine.
const AT_THE_LATEST: Duration = Duration::from_secs(12);

/// What a back end does before it fails: `> ` says a line, `>> ` bytes, `< ` hears lines up to one with this
/// word, `byte` hears a byte of whatever it is, `tls` does the handshake. `@` is the last tag heard.
type Script = &'static [&'static str];

struct Phase {
    protocol: &'static str,
    tls: &'static str,
    script: Script,
    /// The word when it closes or resets.
    ends: &'static str,
    /// The word when it says nothing more.
    hangs: &'static str,
}

const fn imap(tls: &'static str, script: Script, ends: &'static str, hangs: &'static str) -> Phase {
    Phase { protocol: "imap", tls, script, ends, hangs }
}

const fn pop3(tls: &'static str, script: Script, ends: &'static str, hangs: &'static str) -> Phase {
    Phase { protocol: "pop3", tls, script, ends, hangs }
}

const LOST: &str = "backend-lost";
const GREETING: &str = "backend-greeting";
const TLS: &str = "backend-tls";
const VERDICT: &str = "backend-verdict";

const CAN: &str = "> * OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] ready";

const PHASES: [Phase; 28] = [
    imap("none", &[], LOST, GREETING),
    imap("none", &[">> * OK hal"], LOST, GREETING),
    imap("none", &["> * OK ready", "< CAPABILITY"], LOST, VERDICT),
    imap("none", &["> * OK ready", "< CAPABILITY", ">> * CAPABILITY IMAP4rev1 AU"], LOST, VERDICT),
    imap("starttls", &[CAN, "< STARTTLS"], LOST, VERDICT),
    imap("starttls", &[CAN, "< STARTTLS", "> @ OK go"], TLS, TLS),
    imap("starttls", &[CAN, "< STARTTLS", "> @ OK go", "byte"], TLS, TLS),
    imap("starttls", &[CAN, "< STARTTLS", "> @ OK go", "tls"], LOST, VERDICT),
    imap("starttls", &[CAN, "< STARTTLS", "> @ OK go", "tls", "< CAPABILITY"], LOST, VERDICT),
    imap("implicit", &[], TLS, TLS),
    imap("implicit", &["byte"], TLS, TLS),
    imap("implicit", &["tls"], LOST, GREETING),
    imap("none", &[CAN, "< AUTHENTICATE"], LOST, VERDICT),
    imap("none", &[CAN, "< AUTHENTICATE", "> + "], LOST, VERDICT),
    imap("none", &[CAN, "< AUTHENTICATE", "> + ", "< "], LOST, VERDICT),
    imap("none", &[CAN, "< AUTHENTICATE", "> + ", "< ", ">> @ OK lo"], LOST, VERDICT),
    imap(
        "none",
        &[CAN, "< AUTHENTICATE", "> + ", "< ", "> @ OK in", "< CAPABILITY"],
        LOST,
        VERDICT,
    ),
    pop3("none", &[], LOST, GREETING),
    pop3("none", &[">> +OK hal"], LOST, GREETING),
    pop3("starttls", &["> +OK ready", "< STLS"], LOST, VERDICT),
    pop3("starttls", &["> +OK ready", "< STLS", "> +OK go", "byte"], TLS, TLS),
    pop3("starttls", &["> +OK ready", "< STLS", "> +OK go", "tls"], LOST, VERDICT),
    pop3("implicit", &["byte"], TLS, TLS),
    pop3("implicit", &["tls"], LOST, GREETING),
    pop3("none", &["> +OK ready", "< USER"], LOST, VERDICT),
    pop3("none", &["> +OK ready", "< USER", "> +OK", "< PASS"], LOST, VERDICT),
    pop3("none", &["> +OK ready", "< USER", "> +OK", "< PASS", ">> +OK lo"], LOST, VERDICT),
    pop3("none", &["> +OK ready", "< CAPA", "> +OK", ">> SASL PL"], LOST, VERDICT),
];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    Close,
    Hang,
    Reset,
}

fn play(mut talk: Talk, script: Script, end: End) -> io::Result<()> {
    let mut tag = String::new();
    for step in script {
        if let Some(text) = step.strip_prefix(">> ") {
            talk.send(&text.replace('@', &tag))?;
        } else if let Some(text) = step.strip_prefix("> ") {
            talk.send(&format!("{}\r\n", text.replace('@', &tag)))?;
        } else if let Some(word) = step.strip_prefix("< ") {
            let line = heard(&mut talk, word)?;
            // The second line of AUTHENTICATE has no tag.
            if let (Some((first, _)), false) = (line.split_once(' '), word.is_empty()) {
                first.clone_into(&mut tag);
            }
        } else if *step == "byte" {
            talk.wire().read_exact(1)?;
        } else {
            talk = talk.start_tls()?;
        }
    }
    match end {
        End::Close => Ok(()),
        End::Hang => talk.rest().map(|_| ()),
        End::Reset => talk.reset(),
    }
}

fn heard(talk: &mut Talk, word: &str) -> io::Result<String> {
    loop {
        let line = talk.line()?;
        if line.contains(word) {
            return Ok(line);
        }
    }
}

/// A user whose back end fails so.
struct Fate {
    user: String,
    secret: String,
    phase: &'static Phase,
    end: End,
    stub: Stub,
}

fn fates() -> Vec<Fate> {
    let phases = PHASES.iter().enumerate();
    let all = phases.flat_map(|(number, phase)| {
        [End::Close, End::Hang, End::Reset].map(|end| (number, phase, end))
    });
    // A reset before a word may come before the connection is looked at: then nothing accepted it.
    let may_be_seen = |(_, phase, end): &(usize, &Phase, End)| {
        *end != End::Reset || phase.script.iter().any(|step| !step.starts_with('>'))
    };
    all.filter(may_be_seen)
        .map(|(number, phase, end)| {
            let user = format!("{}{number}{end:?}", phase.protocol).to_lowercase();
            // What is no ASCII goes by SASL.
            let umlaut = if phase.script.contains(&"< CAPA") { "\u{e4}" } else { "" };
            let secret = password(&format!("{user}{umlaut}"));
            let stub = Stub::start(move |talk| play(talk, phase.script, end));
            Fate { user, secret, phase, end, stub }
        })
        .collect()
}

/// A listener whose queue is full, so that connecting hangs; and what fills it.
fn full() -> (u16, Socket, Vec<TcpStream>) {
    let [port] = ports();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&address.into()).unwrap();
    listener.listen(1).unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok();
    let waiting = std::iter::from_fn(connect).collect();
    (port, listener, waiting)
}

/// What the client is told of a login, and when; afterwards the connection is as good as before.
fn refused(door: &Door, fate: &Fate) -> String {
    let Fate { user, secret, phase, .. } = fate;
    let began = Instant::now();
    let imap = phase.protocol == "imap";
    let mut client = if imap { door.raw_imap() } else { door.raw_pop3() };
    client.set_deadline(AT_THE_LATEST);
    let answer = if imap {
        client.ask(&format!("l LOGIN {user} {secret}"), "").unwrap().concat()
    } else {
        client.ask(&format!("USER {user}"), "+OK").unwrap();
        client.ask(&format!("PASS {secret}"), "").unwrap().concat()
    };
    let took = began.elapsed();
    assert!(took < AT_THE_LATEST, "{user}: {answer} after {took:?}");
    let (command, fine) = if imap { ("n NOOP", "n OK") } else { ("CAPA", "+OK") };
    client.ask(command, fine).unwrap();
    answer
}

fn knows(stub: &Stub, user: &str, secret: &str) -> bool {
    let heard = stub.heard();
    let sasl = BASE64_STANDARD.encode(format!("\0{user}\0{secret}"));
    heard.contains(secret) || heard.contains(&sasl)
}

fn check(door: &Door, fate: &Fate) -> Result<(), String> {
    let Fate { user, secret, phase, end, stub } = fate;
    let later = if phase.protocol == "imap" {
        "l NO [UNAVAILABLE] Try again later"
    } else {
        "-ERR [SYS/TEMP] Try again later"
    };
    let answer = refused(door, fate);
    let word = if *end == End::Hang { phase.hangs } else { phase.ends };
    let line =
        door.line(|line| line.contains("login refused") && line.contains(&format!("user={user} ")));
    let told = line.contains(&format!("reason={word} ")) && line.contains(" warn ");
    let asked_for_secret =
        phase.script.iter().any(|step| ["> + ", "< USER", "< CAPA"].contains(step));
    let betrayed = !asked_for_secret && knows(stub, user, secret);
    if answer == later && told && !betrayed {
        return Ok(());
    }
    Err(format!("{user} {end:?} {:?}: {answer}, not {word}: {line}", phase.script))
}

fn a_back_end_that_fails_in_any_phase_has_its_word_and_the_client_may_try_later(_: &House) {
    let fates = fates();
    let (full, _listener, _waiting) = full();
    let [nobody] = ports();
    let mut config = DEADLINES.to_owned();
    let mut users = String::from("full:full\nnobody:nobody\n");
    for Fate { user, phase, stub, .. } in &fates {
        let (port, tls) = (stub.port(), phase.tls);
        let verify = if tls == "none" { "" } else { "verify = false\n" };
        writeln!(
            config,
            "[backend.{user}]\naddress = \"127.0.0.1\"\nimap_port = {port}\n\
             pop3_port = {port}\ntls = \"{tls}\"\n{verify}"
        )
        .unwrap();
        writeln!(users, "{user}:{user}").unwrap();
    }
    config += &e2e::door::backend("full", full, full);
    config += &e2e::door::backend("nobody", nobody, nobody);
    config += "[[directory]]\nsource = \"file\"\nfile = \"users.map\"\n";
    let door = Door::open_with(&usual(&config), &[], |folder| {
        fs::write(folder.join("users.map"), &users).unwrap();
    });
    let failures: Vec<String> = thread::scope(|scope| {
        let checks: Vec<_> =
            fates.iter().map(|fate| scope.spawn(|| check(&door, fate).err())).collect();
        checks.into_iter().filter_map(|check| check.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    for user in ["full", "nobody"] {
        let secret = password(user);
        assert_eq!(door.imap_answer(user, &secret), "NO [UNAVAILABLE] Try again later");
        assert_eq!(door.pop3_answer(user, &secret), "-ERR [SYS/TEMP] Try again later");
        door.line(|line| {
            line.contains(&format!("user={user} ")) && line.contains("reason=backend-connect ")
        });
    }
}
