//! Whoever logs in, however he writes his name, meets his own mail on his own server, and nobody else's.

use std::{
    fs,
    io::Write,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use e2e::{
    cases,
    chance::{Chance, SEED},
    door::{Door, backend, usual},
    house::House,
    runner::Case,
    secrets::password,
};
use testkit::{
    scripted::Client,
    servers::{
        Service,
        dovecot::{Dovecot, DovecotOptions},
    },
};

pub(crate) fn cases() -> Vec<Case> {
    cases![no_session_ever_sees_another_users_mail_or_the_wrong_server]
}

const USERS: usize = 1000;
/// Sessions beside the one that each user has at least.
const MORE_SESSIONS: usize = 600;
/// Clients at a time.
const CLIENTS: usize = 12;
const DEADLINE: Duration = Duration::from_secs(60);
/// A client's patience with one answer: a busy machine, and a server that starts a process per session.
const PATIENCE: Duration = Duration::from_secs(30);

const NAMES: &str = r#"
[names]
delimiters = "%"
detail = "+"
strip_domain = ["home.example"]

[limits]
connections_per_address = 0
"#;

/// A user, the server that has his mail, and what he may type.
struct User {
    /// The one name by which he is known.
    name: String,
    password: String,
    /// 0 or 1.
    server: usize,
}

impl User {
    /// Every fifth has the part before the `@` of the user before him, on the other server.
    fn number(number: usize) -> Self {
        let name = match number % 5 {
            4 => format!("user{}@other.example", number - 1),
            _ => format!("user{number}"),
        };
        // Neighbours are apart, and so are namesakes.
        Self { password: password(&format!("of-{number}")), server: number % 2, name }
    }

    /// A way to write the name that the rules lead back to it.
    fn written(&self, chance: &mut Chance) -> String {
        let (user, domain) = self.name.split_once('@').unwrap_or((&self.name, ""));
        let mut user = (*chance.pick(&[user.to_owned(), user.to_uppercase()])).clone();
        if chance.below(4) == 0 {
            user += "+detail";
        }
        let at = *chance.pick(&["@", "%"]);
        match (domain, chance.below(3)) {
            ("", 0) => format!("{user}{at}Home.Example"),
            ("", _) => user,
            (domain, 0) => format!("{user}{at}{}", domain.to_uppercase()),
            (domain, _) => format!("{user}{at}{domain}"),
        }
    }

    fn subject(&self) -> String {
        format!("{} on {}", self.name, ["a", "b"][self.server])
    }
}

/// What a session tries.
#[derive(Clone, Copy, Debug)]
enum Attempt {
    /// The right password.
    Right,
    /// Another's password, then the right one.
    WrongThenRight,
    /// A name that nobody has, then the right one.
    UnknownThenRight,
    /// Another user's failed login, and behind it in the same write the right one and all commands.
    PipelinedBehindFailure,
    /// The right login, and behind it another's and all commands.
    PipelinedBehindSuccess,
}

fn no_session_ever_sees_another_users_mail_or_the_wrong_server(_: &House) {
    let seed = Chance::seed();
    println!("right door: {SEED}={seed}");
    let users: Vec<_> = (0..USERS).map(User::number).collect();
    let servers = [0, 1].map(|server| server_with_all(&users, server));
    let config = usual(&format!(
        "{}{}{NAMES}",
        backend("a", servers[0].port(Service::Imap), servers[0].port(Service::Pop3)),
        backend("b", servers[1].port(Service::Imap), servers[1].port(Service::Pop3)),
    ));
    let door = Door::open(&config);
    import(&door, &users);
    let mut order: Vec<_> = (0..USERS).collect();
    let mut chance = Chance::new(seed);
    order.extend((0..MORE_SESSIONS).map(|_| chance.below(USERS)));
    chance.shuffle(&mut order);
    let began = Instant::now();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while let Some((at, user)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    order.get(at).map(|user| (at, *user))
                } {
                    let mut chance = Chance::new(seed.wrapping_add(u64::try_from(at).unwrap()));
                    Session { door: &door, users: &users, own: user }.play(&mut chance);
                }
            });
        }
    });
    let took = began.elapsed();
    assert!(took < DEADLINE, "{} sessions took {took:?}", order.len());
    check_log(&door, &users);
}

/// A server that lets all users in with their own passwords, and has a message for each that says whose
/// and where it is: whoever is at the wrong door reads it there.
fn server_with_all(users: &[User], server: usize) -> Dovecot {
    let dovecot = Dovecot::start(DovecotOptions::default()).unwrap();
    for user in users {
        dovecot.add_user(&user.name, &user.password).unwrap();
        let subject = User { server, name: user.name.clone(), password: String::new() }.subject();
        let message = format!("From: x@example.org\r\nSubject: {subject}\r\n\r\n{subject}\r\n");
        dovecot.deliver(&user.name, message.as_bytes()).unwrap();
    }
    dovecot
}

fn import(door: &Door, users: &[User]) {
    let file = door.folder().join("users.map");
    let mut map = fs::File::create(&file).unwrap();
    for user in users {
        writeln!(map, "{}:{}", user.name, ["a", "b"][user.server]).unwrap();
    }
    let printed = door.does(&["user", "import", "--format", "perdition", file.to_str().unwrap()]);
    assert!(printed.contains(&USERS.to_string()), "{printed}");
}

/// Every session that ended was on its user's server.
fn check_log(door: &Door, users: &[User]) {
    let mut sessions = 0;
    for line in door.log_lines().iter().filter(|line| line.contains("session ended")) {
        let field = |name: &str| {
            let (_, rest) = line.split_once(&format!(" {name}=")).unwrap();
            rest.split(' ').next().unwrap().to_owned()
        };
        let name = field("user");
        let user = users.iter().find(|user| user.name == name);
        let user = user.unwrap_or_else(|| panic!("{line}"));
        assert_eq!(field("backend"), ["a", "b"][user.server], "{line}");
        sessions += 1;
    }
    assert!(sessions >= USERS, "{sessions} sessions in the log");
}

struct Session<'t> {
    door: &'t Door,
    users: &'t [User],
    own: usize,
}

impl Session<'_> {
    fn user(&self) -> &User {
        &self.users[self.own]
    }

    /// Somebody else, seldom on the same server.
    fn other(&self, chance: &mut Chance) -> &User {
        let step = 1 + chance.below(self.users.len() - 1);
        &self.users[(self.own + step) % self.users.len()]
    }

    fn play(&self, chance: &mut Chance) {
        let attempt = *chance.pick(&[
            Attempt::Right,
            Attempt::Right,
            Attempt::WrongThenRight,
            Attempt::UnknownThenRight,
            Attempt::PipelinedBehindFailure,
            Attempt::PipelinedBehindSuccess,
        ]);
        if chance.below(4) == 0 { self.pop3(attempt, chance) } else { self.imap(attempt, chance) }
    }

    fn imap(&self, attempt: Attempt, chance: &mut Chance) {
        let mut talk = Imap { client: self.connect(self.door.imap, self.door.imaps, chance) };
        let user = self.user();
        let (name, other) = (user.written(chance), self.other(chance));
        match attempt {
            Attempt::Right => {}
            Attempt::WrongThenRight => {
                let status = talk.log_in("w", &name, &other.password, chance);
                assert!(status.starts_with("NO [AUTHENTICATIONFAILED]"), "{name}: {status}");
            }
            Attempt::UnknownThenRight => {
                let unknown = format!("{}@nowhere.example", user.name.replace('@', "."));
                let status = talk.log_in("w", &unknown, &user.password, chance);
                assert!(status.starts_with("NO [AUTHENTICATIONFAILED]"), "{unknown}: {status}");
            }
            Attempt::PipelinedBehindFailure => {
                let wrong = other.written(chance);
                let first = format!("f LOGIN \"{wrong}\" \"{}\"\r\n", user.password);
                talk.pipelined(&first, &name, &user.password, "", "f NO [AUTHENTICATIONFAILED]");
                return talk.check(user);
            }
            Attempt::PipelinedBehindSuccess => {
                let behind = format!("f LOGIN \"{}\" \"{}\"\r\n", other.name, other.password);
                talk.pipelined("", &name, &user.password, &behind, "");
                return talk.check(user);
            }
        }
        let status = talk.log_in("l", &name, &user.password, chance);
        assert!(status.starts_with("OK"), "{name}: {status}\n{}", self.door.log_text());
        talk.send(
            "s SELECT INBOX\r\nt FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]\r\nu LOGOUT\r\n",
        );
        talk.check(user);
    }

    fn pop3(&self, attempt: Attempt, chance: &mut Chance) {
        let mut talk = Pop3 { client: self.connect(self.door.pop3, self.door.pop3s, chance) };
        let user = self.user();
        let (name, other) = (user.written(chance), self.other(chance));
        let fetch = "STAT\r\nTOP 1 0\r\nQUIT\r\n";
        let log_in = format!("USER {name}\r\nPASS {}\r\n", user.password);
        match attempt {
            Attempt::Right => {}
            Attempt::WrongThenRight => {
                let answer = talk.log_in(&name, &other.password, chance);
                assert!(answer.starts_with("-ERR [AUTH]"), "{name}: {answer}");
            }
            Attempt::UnknownThenRight => {
                let unknown = format!("{}@nowhere.example", user.name.replace('@', "."));
                let answer = talk.log_in(&unknown, &user.password, chance);
                assert!(answer.starts_with("-ERR [AUTH]"), "{unknown}: {answer}");
            }
            Attempt::PipelinedBehindFailure => {
                let first = format!("USER {}\r\nPASS {}\r\n", other.name, user.password);
                talk.send(&format!("{first}{log_in}{fetch}"));
                assert!(talk.line().starts_with("+OK"));
                let refused = talk.line();
                assert!(refused.starts_with("-ERR [AUTH]"), "{refused}");
                return talk.check(user, 2);
            }
            Attempt::PipelinedBehindSuccess => {
                talk.send(&format!("{log_in}{fetch}"));
                return talk.check(user, 2);
            }
        }
        let answer = talk.log_in(&name, &user.password, chance);
        assert!(answer.starts_with("+OK"), "{name}: {answer}\n{}", self.door.log_text());
        talk.send(fetch);
        talk.check(user, 0);
    }

    /// Mostly in clear, for the sake of time; the greeting has been read.
    fn connect(&self, clear: u16, tls: u16, chance: &mut Chance) -> Client {
        let mut client = match chance.below(5) {
            0 => Client::connect_tls(("127.0.0.1", tls), "localhost", &self.door.trust()).unwrap(),
            _ => Client::connect(("127.0.0.1", clear)).unwrap(),
        };
        client.set_deadline(PATIENCE);
        client.read_line().unwrap();
        client
    }
}

struct Imap {
    client: Client,
}

impl Imap {
    fn send(&mut self, text: &str) {
        self.client.send(text).unwrap();
    }

    /// Logs in in one of many ways; the status that came.
    fn log_in(&mut self, tag: &str, name: &str, password: &str, chance: &mut Chance) -> String {
        let (length, plain) = (name.len(), STANDARD.encode(format!("\0{name}\0{password}")));
        match chance.below(8) {
            0 => self.send(&format!("{tag} LOGIN {} {password}\r\n", name.replace('%', "@"))),
            1 => self.send(&format!("{tag} login \"{name}\" \"{password}\"\r\n")),
            2 => {
                self.send(&format!("{tag} LOGIN {{{length}}}\r\n"));
                self.go_on(&format!("{name} {{{}}}\r\n", password.len()));
                self.go_on(&format!("{password}\r\n"));
            }
            3 => {
                let more = password.len();
                let login =
                    format!("{tag} LOGIN {{{length}+}}\r\n{name} {{{more}+}}\r\n{password}");
                self.send(&format!("{login}\r\n"));
            }
            4 => self.send(&format!("{tag} LOGIN {{{length}+}}\r\n{name} \"{password}\"\r\n")),
            5 => self.send(&format!("{tag} AUTHENTICATE PLAIN {plain}\r\n")),
            6 => {
                self.send(&format!("{tag} AUTHENTICATE PLAIN\r\n"));
                self.go_on(&format!("{plain}\r\n"));
            }
            _ => {
                self.send(&format!("{tag} AUTHENTICATE LOGIN\r\n"));
                self.go_on(&format!("{}\r\n", STANDARD.encode(name)));
                self.go_on(&format!("{}\r\n", STANDARD.encode(password)));
            }
        }
        let lines = self.client.read_until_line_starting(&format!("{tag} ")).unwrap();
        lines.last().unwrap()[tag.len() + 1..].to_owned()
    }

    fn go_on(&mut self, text: &str) {
        let line = self.client.read_line().unwrap();
        assert!(line.starts_with('+'), "{line}");
        self.send(text);
    }

    /// A login with something before and behind it, and all commands, in one write.
    fn pipelined(&mut self, before: &str, name: &str, password: &str, behind: &str, first: &str) {
        self.send(&format!(
            "{before}l LOGIN \"{name}\" \"{password}\"\r\n{behind}s SELECT INBOX\r\n\
             t FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]\r\nu LOGOUT\r\n"
        ));
        if !first.is_empty() {
            let line = self.client.read_line().unwrap();
            assert!(line.starts_with(first), "{line}");
        }
        let lines = self.client.read_until_line_starting("l ").unwrap();
        assert!(lines.last().unwrap().starts_with("l OK"), "{name}: {lines:?}");
    }

    /// Reads to the end: one message, and it is the user's.
    fn check(mut self, user: &User) {
        let lines = self.client.read_until_line_starting("u ").unwrap();
        let subjects: Vec<_> = lines.iter().filter(|line| line.starts_with("Subject:")).collect();
        assert_eq!(subjects, [&format!("Subject: {}", user.subject())], "{lines:#?}");
        assert!(lines.iter().any(|line| line.starts_with("t OK")), "{lines:#?}");
        assert_eq!(self.client.read_to_end().unwrap(), b"");
    }
}

struct Pop3 {
    client: Client,
}

impl Pop3 {
    fn send(&mut self, text: &str) {
        self.client.send(text).unwrap();
    }

    fn line(&mut self) -> String {
        self.client.read_line().unwrap()
    }

    fn log_in(&mut self, name: &str, password: &str, chance: &mut Chance) -> String {
        let plain = STANDARD.encode(format!("\0{name}\0{password}"));
        match chance.below(4) {
            0 => self.send(&format!("AUTH PLAIN {plain}\r\n")),
            1 => {
                self.send("AUTH PLAIN\r\n");
                self.go_on(&format!("{plain}\r\n"));
            }
            2 => {
                self.send("AUTH LOGIN\r\n");
                self.go_on(&format!("{}\r\n", STANDARD.encode(name)));
                self.go_on(&format!("{}\r\n", STANDARD.encode(password)));
            }
            _ => {
                self.send(&format!("USER {name}\r\n"));
                self.go_on(&format!("PASS {password}\r\n"));
            }
        }
        self.line()
    }

    fn go_on(&mut self, text: &str) {
        let line = self.line();
        assert!(line.starts_with('+'), "{line}");
        self.send(text);
    }

    /// Reads to the end, after so many lines for the login: one message, and it is the user's.
    fn check(mut self, user: &User, login: usize) {
        for _ in 0..login {
            let line = self.line();
            assert!(line.starts_with("+OK"), "{}: {line}", user.name);
        }
        let count = self.line();
        assert!(count.starts_with("+OK 1 "), "{}: {count}", user.name);
        let lines = self.client.read_until_line_starting(".").unwrap();
        let subjects: Vec<_> = lines.iter().filter(|line| line.starts_with("Subject:")).collect();
        assert_eq!(subjects, [&format!("Subject: {}", user.subject())], "{lines:#?}");
        assert!(self.line().starts_with("+OK"));
        assert_eq!(self.client.read_to_end().unwrap(), b"");
    }
}
