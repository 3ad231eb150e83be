//! How messages become APPEND commands (RFC 3501 section 6.3.11, RFC 3502, RFC 7888, RFC 3516, RFC 6855).
//!
//! Nothing here holds a message's bytes: the owner streams them.

use super::super::syntax::Literals;
use super::sending::Part;
use super::write::Writer;
use super::{Code, Flags, InternalDate, MailboxName, MessageKey};

/// The largest literal that goes without waiting where the server has LITERAL- (RFC 7888 section 5).
const MAX_LITERAL_MINUS: u64 = 4096;

/// A message that is to be appended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// The owner's name for it.
    pub key: MessageKey,
    /// Its bytes, exactly.
    pub size: u64,
    /// Its flags. `\Recent` and keywords that are no atoms are left out.
    pub flags: Flags,
    /// When it was received; without it, or with one that no server can take ([`InternalDate::is_valid`]), the
    /// server takes the time of the APPEND.
    pub date: Option<InternalDate>,
    /// In which form it goes.
    pub form: Form,
}

/// In which form a message's bytes are sent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Form {
    /// As a literal.
    #[default]
    Literal,
    /// As a `~{n}` literal, for messages with NUL in them (BINARY, RFC 3516).
    Binary,
    /// As `UTF8 (~{n})`, for messages with 8-bit headers (UTF8=ACCEPT, RFC 6855).
    Utf8,
}

/// How APPENDs are put together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AppendLimits {
    /// The most messages in one command, where the server has MULTIAPPEND.
    pub batch_messages: usize,
    /// The most bytes of messages in one command with several.
    pub batch_bytes: u64,
    /// From this size on a message waits for the server's word even with LITERAL+, alone in its command, so
    /// that a refusal does not cost the upload.
    pub waits_from: u64,
    /// The most APPENDs without an answer.
    pub window: usize,
}

impl Default for AppendLimits {
    /// 128 messages or 2 MiB in a command, 1 MiB and larger wait, 16 commands without an answer.
    fn default() -> Self {
        Self { batch_messages: 128, batch_bytes: 2 << 20, waits_from: 1 << 20, window: 16 }
    }
}

/// The messages of one command.
pub(super) struct Group<'a> {
    pub(super) messages: &'a [Message],
    /// Whether the server has to be waited for.
    pub(super) waits: bool,
}

/// What a server takes.
#[derive(Clone, Copy)]
pub(super) struct Abilities {
    pub(super) literals: Literals,
    pub(super) multiappend: bool,
}

impl Abilities {
    /// Whether a message has to wait for the server's word.
    fn waits(self, message: &Message, limits: &AppendLimits) -> bool {
        message.size >= limits.waits_from
            || match self.literals {
                Literals::Minus => message.size > MAX_LITERAL_MINUS,
                Literals::Plus => false,
                Literals::Synchronizing => true,
            }
    }

    /// Whether a message may share its command. One that waits may not: its refusal would be the others' too.
    /// Neither may an empty one, which servers refuse.
    fn shares(self, message: &Message, limits: &AppendLimits) -> bool {
        self.multiappend
            && message.form == Form::Literal
            && message.size > 0
            && !self.waits(message, limits)
    }
}

/// Divides messages into commands, in their order.
pub(super) fn groups<'a>(
    mut messages: &'a [Message],
    abilities: Abilities,
    limits: &'a AppendLimits,
) -> impl Iterator<Item = Group<'a>> {
    std::iter::from_fn(move || {
        let first = messages.first()?;
        let mut bytes = 0_u64;
        let together = messages.iter().take_while(|message| {
            bytes = bytes.saturating_add(message.size);
            abilities.shares(message, limits) && bytes <= limits.batch_bytes
        });
        let count = together.take(limits.batch_messages).count().max(1);
        let (group, rest) = messages.split_at_checked(count)?;
        messages = rest;
        Some(Group { messages: group, waits: abilities.waits(first, limits) })
    })
}

impl Group<'_> {
    /// Whose messages they are.
    pub(super) fn keys(&self) -> Vec<MessageKey> {
        self.messages.iter().map(|message| message.key).collect()
    }

    /// The command.
    pub(super) fn write(&self, mut writer: Writer, mailbox: &MailboxName) -> Vec<Part> {
        writer.word("APPEND");
        writer.string(mailbox.as_bytes());
        for message in self.messages {
            writer.flags(&message.flags);
            if let Some(date) = message.date.filter(InternalDate::is_valid) {
                writer.word(&format!("\"{date}\""));
            }
            let plus = if self.waits { "" } else { "+" };
            let (before, after) = match message.form {
                Form::Literal => ("", ""),
                Form::Binary => ("~", ""),
                Form::Utf8 => ("UTF8 (~", ")"),
            };
            writer.word(&format!("{before}{{{}{plus}}}\r\n", message.size));
            if self.waits {
                writer.wait();
            }
            writer.part(Part::Message { key: message.key, size: message.size });
            writer.bytes(after.as_bytes());
        }
        writer.finish()
    }
}

/// Where the messages of a command are, in their order: known if the server names as many UIDs as there are
/// messages.
pub(super) fn places(count: usize, code: Option<&Code>) -> Vec<Option<(u32, u32)>> {
    let Some(Code::AppendUid { uid_validity, uids }) = code else {
        return vec![None; count];
    };
    if u64::try_from(count) != Ok(uids.len()) {
        return vec![None; count];
    }
    uids.iter().map(|uid| Some((*uid_validity, uid))).collect()
}

#[cfg(test)]
mod tests;
