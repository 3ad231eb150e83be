//! One connection's life: greeting, commands, goodbye; and the faults that a test wants.
//! Nothing here reads what is inside a message.

use std::io::{self, ErrorKind};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::command::{Announced, Arg, Assembly};
use super::connection::Connection;
use super::fault::Act;
use super::profile::Quirk;
use super::selected::Selected;
use super::store::World;
use super::{Privacy, Shared, lock};

/// How often IDLE looks for news.
const LOOK: Duration = Duration::from_millis(10);
/// The largest literal outside APPEND.
const MOST_LITERAL: usize = 1 << 20;

/// One connection with its state.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    connection: Connection,
    under_tls: bool,
    pub(super) user: Option<String>,
    pub(super) selected: Option<Selected>,
    pub(super) enabled: Vec<String>,
    /// Lines that leave with the answer.
    out: Vec<u8>,
    /// What is wrong with the command that is being done.
    pub(super) act: Option<Act>,
}

/// How a command ended: what stands behind its tag. An empty one is not sent.
pub(super) type Answer = io::Result<String>;

impl Session {
    pub(super) fn new(shared: &Arc<Shared>, connection: Connection) -> Self {
        Self {
            shared: Arc::clone(shared),
            connection,
            under_tls: false,
            user: None,
            selected: None,
            enabled: Vec::new(),
            out: Vec::new(),
            act: None,
        }
    }

    /// Serves until the client or a fault ends it.
    pub(super) fn live(mut self, refused: bool) -> io::Result<()> {
        if self.shared.privacy == Privacy::Tls {
            self.start_tls()?;
        }
        if refused {
            return self.connection.send(b"* BYE Too many simultaneous connections.\r\n");
        }
        let capabilities = self.capabilities();
        let name = self.shared.profile.name;
        self.say(format!("* OK [CAPABILITY {capabilities}] {name} ready"));
        self.flush()?;
        while self.command()? {}
        Ok(())
    }

    fn start_tls(&mut self) -> io::Result<()> {
        let config = self.shared.tls.clone().ok_or(ErrorKind::Unsupported)?;
        self.connection.start_tls(config)?;
        self.under_tls = true;
        Ok(())
    }

    /// Adds a line to what leaves next.
    pub(super) fn say(&mut self, line: impl AsRef<[u8]>) {
        self.out.extend_from_slice(line.as_ref());
        self.out.extend_from_slice(b"\r\n");
    }

    /// Adds bytes to what leaves next; a little at a time goes out at once, so that no memory is needed for a
    /// mailbox.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.extend_from_slice(bytes);
        if self.out.len() > 64 * 1024 { self.flush() } else { Ok(()) }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        self.connection.send(&std::mem::take(&mut self.out))
    }

    pub(super) fn has(&self, quirk: Quirk) -> bool {
        self.shared.profile.has(quirk)
    }

    pub(super) fn can(&self, capability: &str) -> bool {
        self.shared.profile.can(capability)
    }

    pub(super) fn has_enabled(&self, extension: &str) -> bool {
        self.enabled.iter().any(|enabled| enabled == extension)
    }

    fn capabilities(&self) -> String {
        let mut list = vec!["IMAP4rev1"];
        if self.user.is_some() {
            list.extend(&self.shared.profile.capabilities);
        } else {
            list.extend(["SASL-IR", "AUTH=PLAIN", "ID"]);
            if self.shared.privacy == Privacy::StartTls && !self.under_tls {
                list.push("STARTTLS");
            }
        }
        list.join(" ")
    }

    /// Reads a command and does it; `false` after the last.
    fn command(&mut self) -> io::Result<bool> {
        let line = self.connection.line()?;
        let mut assembly = Assembly::new();
        let mut announced = match assembly.line(&line) {
            Ok(announced) => announced,
            Err(why) => return self.misunderstood(&line, &why),
        };
        let (tag, name) = head(assembly.so_far());
        lock(&self.shared.log).push(shown(&line));
        self.act = lock(&self.shared.faults).act(&name);
        if let Some(Act::CloseBefore) = self.act {
            return Ok(false);
        }
        self.before(&name);
        while let Some(literal) = announced {
            if !self.takes(&tag, &name, literal)? {
                return Ok(true);
            }
            assembly.literal(self.connection.exactly(literal.size)?);
            let line = self.connection.line()?;
            announced = match assembly.line(&line) {
                Ok(announced) => announced,
                Err(why) => return self.misunderstood(&line, &why),
            };
        }
        match assembly.finish() {
            Ok(args) => self.serve(&tag, &name, &args),
            Err(why) => self.misunderstood(&line, &why),
        }
    }

    fn misunderstood(&mut self, line: &[u8], why: &str) -> io::Result<bool> {
        let tag = String::from_utf8_lossy(line);
        let tag = tag.split(' ').next().filter(|tag| !tag.is_empty()).unwrap_or("*").to_owned();
        self.say(format!("{tag} BAD {why}"));
        self.flush()?;
        Ok(true)
    }

    /// Faults that come before the command is done.
    fn before(&mut self, name: &str) {
        match self.act.clone() {
            Some(Act::Deliver { user, mailbox, mail }) => {
                self.world().deliver(user, mailbox, mail);
            }
            Some(Act::Expunge { user, mailbox, uids }) => {
                self.world().expunge(user, mailbox, &uids);
            }
            Some(Act::Renumber(mailbox)) => {
                if let Some(user) = self.user.clone() {
                    self.world().renumber(&user, mailbox);
                }
            }
            Some(Act::Say(lines)) => lines.lines().for_each(|line| self.say(line)),
            Some(Act::Delay(time)) => std::thread::sleep(time),
            Some(Act::Late(_)) if name != "APPEND" => self.act = None,
            _ => {}
        }
    }

    /// Whether a literal may come; answers the command if not.
    fn takes(&mut self, tag: &str, name: &str, literal: Announced) -> io::Result<bool> {
        let limit = match name {
            "APPEND" => self.shared.profile.append_limit().unwrap_or(usize::MAX),
            _ => MOST_LITERAL,
        };
        let refusal = match self.act {
            Some(Act::Answer(answer)) if literal.waits => Some(answer.to_owned()),
            _ if literal.size > limit && literal.waits => {
                Some("NO [TOOBIG] Message too large".to_owned())
            }
            _ => None,
        };
        if let Some(refusal) = refusal {
            self.say(format!("{tag} {refusal}"));
            self.flush()?;
            return Ok(false);
        }
        if literal.waits {
            self.say("+ OK");
            self.flush()?;
        }
        Ok(true)
    }

    /// Does a whole command; `false` if it was the last.
    fn serve(&mut self, tag: &str, name: &str, args: &[Arg]) -> io::Result<bool> {
        let words = if name.starts_with("UID ") { 3 } else { 2 };
        let args = args.get(words..).unwrap_or_default();
        let answer = match self.act {
            Some(Act::Answer(answer)) => answer.to_owned(),
            _ => self.done(tag, name, args)?,
        };
        if let Some(Act::Silence) = self.act {
            self.out.clear();
            return self.connection.ignore().map(|()| false);
        }
        let closes = matches!(self.act, Some(Act::CloseAfter | Act::Late(_)));
        let answer = match self.act.take() {
            Some(Act::AnswerAfter(other)) => other.to_owned(),
            _ => answer,
        };
        if closes {
            self.out.clear();
            return Ok(false);
        }
        if answer.starts_with("BYE") {
            self.say(format!("* {answer}"));
            self.flush()?;
            return Ok(false);
        }
        if name != "LOGOUT" && self.selected.is_some() {
            self.tell_news();
        }
        self.say(format!("{tag} {answer}"));
        self.flush()?;
        if name == "STARTTLS" && answer.starts_with("OK") {
            self.start_tls()?;
        }
        Ok(name != "LOGOUT")
    }

    fn done(&mut self, tag: &str, name: &str, args: &[Arg]) -> Answer {
        match name {
            "CAPABILITY" => {
                let line = format!("* CAPABILITY {}", self.capabilities());
                self.say(line);
                ok("done")
            }
            "NOOP" | "CHECK" => ok("done"),
            "ID" => {
                let line = format!("* ID (\"name\" \"{}\")", self.shared.profile.name);
                self.say(line);
                ok("done")
            }
            "LOGOUT" => {
                self.say("* BYE see you");
                ok("done")
            }
            _ if self.user.is_none() => self.login(name, args),
            "ENABLE" => self.enable(args),
            "IDLE" => self.idle(),
            "LIST" | "LSUB" | "STATUS" | "CREATE" | "DELETE" | "RENAME" | "SUBSCRIBE"
            | "UNSUBSCRIBE" | "NAMESPACE" | "GETQUOTAROOT" | "GETACL" | "GETMETADATA" => {
                self.folders(name, args)
            }
            "SELECT" | "EXAMINE" => self.select(name, args),
            "APPEND" => self.append(args),
            _ if self.selected.is_some() => self.in_mailbox(tag, name, args),
            _ => bad("there is no such command now"),
        }
    }

    fn login(&mut self, name: &str, args: &[Arg]) -> Answer {
        let (user, password) = match (name, args) {
            ("LOGIN", [user, password]) => (user.text(), password.text()),
            ("AUTHENTICATE", [mechanism, rest @ ..]) if mechanism.upper() == "PLAIN" => {
                let message = match rest {
                    [] => {
                        self.say("+ ");
                        self.flush()?;
                        self.connection.line()?
                    }
                    [message, ..] => message.bytes().to_vec(),
                };
                let message = STANDARD.decode(message).unwrap_or_default();
                let mut parts = message.split(|byte| *byte == 0);
                let mut part =
                    || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
                let (authzid, user, password) = (part(), part(), part());
                if authzid.is_empty() || authzid == user {
                    (user, password)
                } else if self.world().lets_in(&user, &password) {
                    return self.admit(authzid);
                } else {
                    return no("[AUTHENTICATIONFAILED] wrong");
                }
            }
            ("STARTTLS", []) if self.shared.privacy == Privacy::StartTls && !self.under_tls => {
                return ok("begin");
            }
            _ => return bad("log in first"),
        };
        if self.world().lets_in(&user, &password) {
            self.admit(user)
        } else {
            no("[AUTHENTICATIONFAILED] wrong")
        }
    }

    fn admit(&mut self, user: String) -> Answer {
        self.user = Some(user);
        let capabilities = self.capabilities();
        ok(&format!("[CAPABILITY {capabilities}] welcome"))
    }

    fn enable(&mut self, args: &[Arg]) -> Answer {
        if !self.can("ENABLE") {
            return bad("there is no such command");
        }
        let mut enabled = Vec::new();
        for extension in args.iter().map(Arg::upper) {
            if self.can(&extension) {
                if extension == "QRESYNC" {
                    self.enabled.push("CONDSTORE".to_owned());
                }
                self.enabled.push(extension.clone());
                enabled.push(extension);
            }
        }
        if self.has(Quirk::EmptyEnabled) {
            self.say("* ENABLED");
        } else {
            self.say(format!("* ENABLED {}", enabled.join(" ")));
        }
        ok("done")
    }

    fn idle(&mut self) -> Answer {
        if !self.can("IDLE") {
            return bad("there is no such command");
        }
        self.say("+ idling");
        self.flush()?;
        while !self.connection.hears_within(LOOK)? {
            self.tell_news();
            self.flush()?;
        }
        let line = self.connection.line()?;
        if line.eq_ignore_ascii_case(b"DONE") { ok("done") } else { bad("IDLE ends with DONE") }
    }

    /// What the server holds, until the guard is dropped.
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.shared.world)
    }

    /// Who is logged in; nobody has an empty name.
    pub(super) fn user(&self) -> String {
        self.user.clone().unwrap_or_default()
    }
}

/// Tag, and the command's name with `UID` before it.
fn head(args: &[Arg]) -> (String, String) {
    let word = |at: usize| args.get(at).map(Arg::upper).unwrap_or_default();
    let tag = args.first().map(Arg::text).filter(|tag| !tag.is_empty());
    let mut name = word(1);
    if name == "UID" {
        name = format!("UID {}", word(2));
    }
    (tag.unwrap_or_else(|| "*".to_owned()), name)
}

/// A command for the log, without its tag and without a password.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let command = text.split_once(' ').map_or("", |(_, command)| command);
    let word = command.split(' ').next().unwrap_or_default();
    let secret = ["LOGIN", "AUTHENTICATE"].iter().any(|name| word.eq_ignore_ascii_case(name));
    if secret { word.to_owned() } else { command.to_owned() }
}

pub(super) fn ok(text: &str) -> Answer {
    Ok(format!("OK {text}"))
}

pub(super) fn no(text: &str) -> Answer {
    Ok(format!("NO {text}"))
}

pub(super) fn bad(text: &str) -> Answer {
    Ok(format!("BAD {text}"))
}
