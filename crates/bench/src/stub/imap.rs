//! IMAP as far as a proxy and a load generator need it (RFC 3501, LITERAL+, SASL-IR).
//! Nothing here refuses a user.

use std::io;

use tokio::net::TcpStream;

use super::wire::Wire;

const BEFORE_LOGIN: &str = "IMAP4rev1 LITERAL+ SASL-IR AUTH=PLAIN";
const AFTER_LOGIN: &str = "IMAP4rev1 LITERAL+ IDLE UIDPLUS";

/// A command whose literals have been read and forgotten: names, passwords and messages are of no interest here.
struct Command {
    tag: String,
    /// In upper case; `UID FETCH` is `FETCH`.
    verb: String,
    rest: String,
}

/// Serves one client to his LOGOUT or end.
pub(super) async fn serve(stream: TcpStream, message_bytes: u64) -> io::Result<()> {
    let wire = Wire::new(stream);
    let mut session = Session { wire, bytes: message_bytes, capabilities: BEFORE_LOGIN };
    let greeting = format!("* OK [CAPABILITY {BEFORE_LOGIN}] ready\r\n");
    session.wire.say(greeting.as_bytes()).await?;
    while let Some(command) = next_command(&mut session.wire).await? {
        let answer = session.obey(&command).await?;
        session.wire.say(answer.as_bytes()).await?;
        if command.verb == "LOGOUT" {
            return session.wire.close().await;
        }
    }
    Ok(())
}

struct Session {
    wire: Wire,
    /// Size of the messages in the selected mailbox.
    bytes: u64,
    capabilities: &'static str,
}

impl Session {
    /// Says what comes before the last of the answer, and returns that.
    async fn obey(&mut self, command: &Command) -> io::Result<String> {
        let tag = &command.tag;
        Ok(match command.verb.as_str() {
            "CAPABILITY" => format!("* CAPABILITY {}\r\n{tag} OK done\r\n", self.capabilities),
            "LOGIN" => self.welcome(tag),
            "AUTHENTICATE" => {
                let has_initial_response = command.rest.contains(' ');
                self.ask(b"+ \r\n", !has_initial_response).await?;
                self.welcome(tag)
            }
            "SELECT" | "EXAMINE" => {
                self.bytes = size_in_name(&command.rest).unwrap_or(self.bytes);
                selected(tag)
            }
            "FETCH" if command.rest.to_ascii_uppercase().contains("BODY") => {
                let head = format!("* 1 FETCH (UID 1 BODY[] {{{}}}\r\n", self.bytes);
                self.wire.say(head.as_bytes()).await?;
                self.wire.pour(self.bytes).await?;
                format!(")\r\n{tag} OK done\r\n")
            }
            "FETCH" if command.rest.starts_with("1:*") => {
                self.wire.pour_rows(self.bytes).await?;
                format!("{tag} OK done\r\n")
            }
            "FETCH" => format!("* 1 FETCH (UID 1 FLAGS ())\r\n{tag} OK done\r\n"),
            "IDLE" => {
                self.ask(b"+ idling\r\n", true).await?;
                format!("{tag} OK done\r\n")
            }
            "APPEND" => format!("{tag} OK [APPENDUID 1 1] done\r\n"),
            "LOGOUT" => format!("* BYE\r\n{tag} OK done\r\n"),
            "NOOP" | "CHECK" | "CLOSE" | "ID" => format!("{tag} OK done\r\n"),
            _ => format!("{tag} BAD unknown command\r\n"),
        })
    }

    fn welcome(&mut self, tag: &str) -> String {
        self.capabilities = AFTER_LOGIN;
        format!("{tag} OK [CAPABILITY {AFTER_LOGIN}] logged in\r\n")
    }

    /// Sends a continuation and waits for the client's line, where the client has one to send.
    async fn ask(&mut self, continuation: &[u8], needed: bool) -> io::Result<()> {
        if needed {
            self.wire.say(continuation).await?;
            self.wire.line().await?;
        }
        Ok(())
    }
}

fn selected(tag: &str) -> String {
    format!(
        "* FLAGS ()\r\n* 1 EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY 1] fixed\r\n\
         * OK [UIDNEXT 2] next\r\n{tag} OK [READ-WRITE] selected\r\n"
    )
}

async fn next_command(wire: &mut Wire) -> io::Result<Option<Command>> {
    let Some(mut line) = wire.line().await? else { return Ok(None) };
    while let Some(literal) = announced(&line) {
        if literal.waits {
            wire.say(b"+ go on\r\n").await?;
        }
        wire.sink(literal.bytes).await?;
        let Some(more) = wire.line().await? else { return Ok(None) };
        line.truncate(literal.at);
        line.push_str(&more);
    }
    let mut words = line.splitn(3, ' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (tag, verb, rest) = (word(), word().to_ascii_uppercase(), word());
    Ok(Some(match rest.split_once(' ') {
        Some((verb_of_uid, rest)) if verb == "UID" => {
            Command { tag, verb: verb_of_uid.to_ascii_uppercase(), rest: rest.to_owned() }
        }
        _ => Command { tag, verb, rest },
    }))
}

/// A literal announced at the end of a line.
#[derive(Debug, PartialEq, Eq)]
struct Literal {
    bytes: u64,
    /// Whether the client waits for `+` first.
    waits: bool,
    /// Where in the line the announcement begins.
    at: usize,
}

fn announced(line: &str) -> Option<Literal> {
    let (before, number) = line.strip_suffix('}')?.rsplit_once('{')?;
    let digits = number.strip_suffix('+');
    let bytes = digits.unwrap_or(number).parse().ok()?;
    Some(Literal { bytes, waits: digits.is_none(), at: before.len() })
}

/// The size of messages in a mailbox called `bytes-NUMBER`.
fn size_in_name(mailbox: &str) -> Option<u64> {
    mailbox.trim_matches('"').strip_prefix("bytes-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_literal_are_seen_at_the_end_of_a_line_only() {
        assert_eq!(announced("a LOGIN {4}"), Some(Literal { bytes: 4, waits: true, at: 8 }));
        assert_eq!(announced("a LOGIN x {4+}"), Some(Literal { bytes: 4, waits: false, at: 10 }));
        assert_eq!(announced("a LOGIN {4} x"), None);
        assert_eq!(announced("a LOGIN {x}"), None);
    }

    #[test]
    fn a_mailbox_name_sets_the_size_of_its_messages() {
        assert_eq!(size_in_name("\"bytes-1024\""), Some(1024));
        assert_eq!(size_in_name("INBOX"), None);
    }
}
