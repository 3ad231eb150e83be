//! The beginning of a client's line: tag and command word (RFC 9051 section 2.2.1).
//!
//! Nothing here checks arguments; that is the back end's work.

/// The longest beginning that is read: tag, word, a second word after UID, and the spaces around them.
pub(super) const LONGEST_HEAD: usize = 256;
/// The longest tag that is followed. Clients use less than twenty bytes.
pub(super) const LONGEST_TAG: usize = 128;

/// The commands that matter to the relay; UID commands stand beside those without.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Word {
    /// APPEND.
    Append,
    /// AUTHENTICATE: more lines follow, each after a `+`.
    Authenticate,
    /// CLOSE, which expunges.
    Close,
    /// COMPRESS.
    Compress,
    /// COPY.
    Copy,
    /// EXAMINE.
    Examine,
    /// EXPUNGE.
    Expunge,
    /// FETCH, which may set \Seen.
    Fetch,
    /// IDLE: one more line follows, after a `+`.
    Idle,
    /// CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE.
    List,
    /// MOVE.
    Move,
    /// What does not concern the relay.
    Other,
    /// REPLACE.
    Replace,
    /// SELECT.
    Select,
    /// STORE.
    Store,
    /// UNAUTHENTICATE.
    Unauthenticate,
}

const WORDS: [(&str, Word); 19] = [
    ("APPEND", Word::Append),
    ("AUTHENTICATE", Word::Authenticate),
    ("CLOSE", Word::Close),
    ("COMPRESS", Word::Compress),
    ("COPY", Word::Copy),
    ("CREATE", Word::List),
    ("DELETE", Word::List),
    ("EXAMINE", Word::Examine),
    ("EXPUNGE", Word::Expunge),
    ("FETCH", Word::Fetch),
    ("IDLE", Word::Idle),
    ("MOVE", Word::Move),
    ("RENAME", Word::List),
    ("REPLACE", Word::Replace),
    ("SELECT", Word::Select),
    ("STORE", Word::Store),
    ("SUBSCRIBE", Word::List),
    ("UNAUTHENTICATE", Word::Unauthenticate),
    ("UNSUBSCRIBE", Word::List),
];

impl Word {
    fn read(text: &[u8]) -> Self {
        let mut words = WORDS.iter();
        let known = words.find(|(word, _)| text.eq_ignore_ascii_case(word.as_bytes()));
        known.map_or(Self::Other, |(_, word)| *word)
    }
}

/// How a client's line begins.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Head<'a> {
    /// With a tag, and perhaps a word.
    Command {
        /// The first word, whatever it is; empty on an empty line.
        tag: &'a [u8],
        /// Whether it has the form of a tag and a word follows: only then is an answer sure to come,
        /// and to bear the tag.
        formed: bool,
        /// What follows.
        word: Word,
        /// Where the arguments begin, with the space before them.
        arguments: usize,
    },
    /// With more than anybody needs.
    TooLong,
}

/// Reads the beginning of a line, of which `head` shows as much as has come: none while it takes more
/// to tell. The answer stays the same when more comes.
pub(super) fn read_head(head: &[u8]) -> Option<Head<'_>> {
    let head = head.get(..LONGEST_HEAD).unwrap_or(head);
    match read(head) {
        None if head.len() == LONGEST_HEAD => Some(Head::TooLong),
        Some(Head::Command { tag, .. }) if tag.len() > LONGEST_TAG => Some(Head::TooLong),
        known => known,
    }
}

fn read(head: &[u8]) -> Option<Head<'_>> {
    let start = run(head, 0, is_space)?;
    let end = run(head, start, |byte| !is_space(byte) && byte != b'\n')?;
    let tag = head.get(start..end)?;
    let after = run(head, end, is_space)?;
    let (word, arguments) = word(head, after)?;
    let (word, arguments) = if word.eq_ignore_ascii_case(b"UID") {
        self::word(head, run(head, arguments, is_space)?)?
    } else {
        (word, arguments)
    };
    let has_word = head.get(after) != Some(&b'\n');
    let formed = start == 0 && is_tag(tag) && has_word;
    Some(Head::Command { tag, formed, word: Word::read(word), arguments })
}

/// The word that begins at `start`, and where it ends.
fn word(head: &[u8], start: usize) -> Option<(&[u8], usize)> {
    let end = run(head, start, |byte| byte.is_ascii_alphanumeric())?;
    Some((head.get(start..end)?, end))
}

/// Where a run of such bytes ends; none if the end has not been seen.
fn run(head: &[u8], start: usize, is_part: impl Fn(u8) -> bool) -> Option<usize> {
    let rest = head.get(start..)?;
    rest.iter().position(|byte| !is_part(*byte)).map(|length| start + length)
}

/// Back ends may be lenient here; what they take for a command we must see as one.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

fn is_tag(tag: &[u8]) -> bool {
    !tag.is_empty()
        && tag.iter().all(|byte| byte.is_ascii_graphic() && !b"(){%*\"\\+".contains(byte))
}

/// The most bytes of a command's arguments that are looked at.
const LONGEST_ARGUMENT: usize = 1024;

/// What is looked for among a command's arguments.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Wanted {
    /// Nothing.
    #[default]
    Nothing,
    /// The mailbox, which is the next argument.
    Mailbox,
    /// Whether a FETCH sets \Seen.
    Seen,
}

/// What of a sequence set has been skipped.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Skipped {
    /// Not even the space before it.
    Nothing,
    /// Its beginning.
    Part,
    /// All of it, or there is none.
    #[default]
    All,
}

/// The arguments of a command, as far as they tell what it changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Arguments {
    wanted: Wanted,
    skipped: Skipped,
    /// The next so many bytes stand before the arguments.
    before: usize,
    raw: Vec<u8>,
    found: Found,
}

/// What a command's arguments have told.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) enum Found {
    /// Nothing that matters.
    #[default]
    Nothing,
    /// The mailbox's name.
    Mailbox(Vec<u8>),
    /// That messages may become \Seen.
    SetsSeen,
}

impl Arguments {
    /// For a command; the next `before` bytes stand before its arguments.
    pub(super) fn of(word: Word, before: usize) -> Self {
        let (wanted, skipped) = match word {
            Word::Append | Word::List => (Wanted::Mailbox, Skipped::All),
            Word::Copy | Word::Move | Word::Replace => (Wanted::Mailbox, Skipped::Nothing),
            Word::Fetch => (Wanted::Seen, Skipped::Nothing),
            _ => (Wanted::Nothing, Skipped::All),
        };
        Self { wanted, skipped, before, ..Self::default() }
    }

    /// Takes more of the command: lines with their ends, and literals.
    pub(super) fn add(&mut self, piece: &[u8]) {
        let before = self.before.min(piece.len());
        self.before -= before;
        if self.wanted == Wanted::Nothing {
            return;
        }
        let rest = self.skip_sequence(piece.get(before..).unwrap_or_default());
        let room = LONGEST_ARGUMENT.saturating_sub(self.raw.len());
        self.raw.extend_from_slice(rest.get(..room).unwrap_or(rest));
        // A name is at hand before a message's body begins, which need not be looked at.
        if self.wanted == Wanted::Mailbox && piece.ends_with(b"\n") {
            self.look_for_mailbox();
        }
    }

    /// What they have told. The command is complete.
    pub(super) fn end(&mut self) -> Found {
        match self.wanted {
            Wanted::Mailbox => self.look_for_mailbox(),
            Wanted::Seen if self.raw.len() == LONGEST_ARGUMENT || sets_seen(&self.raw) => {
                self.found = Found::SetsSeen;
            }
            Wanted::Nothing | Wanted::Seen => {}
        }
        std::mem::take(self).found
    }

    fn look_for_mailbox(&mut self) {
        if let Some(name) = astring(&self.raw) {
            *self = Self { found: Found::Mailbox(name), ..Self::default() };
        }
    }

    fn skip_sequence<'a>(&mut self, mut piece: &'a [u8]) -> &'a [u8] {
        loop {
            let (is_part, next): (fn(u8) -> bool, _) = match self.skipped {
                Skipped::Nothing => (is_space, Skipped::Part),
                Skipped::Part => (|byte| !is_space(byte), Skipped::All),
                Skipped::All => return piece,
            };
            let Some(end) = run(piece, 0, is_part) else {
                return &[];
            };
            self.skipped = next;
            piece = piece.get(end..).unwrap_or_default();
        }
    }
}

/// The string at the beginning of arguments (RFC 9051 section 9, `astring`), if all of it is there.
fn astring(arguments: &[u8]) -> Option<Vec<u8>> {
    let text = arguments.get(run(arguments, 0, is_space)?..)?;
    match text.first()? {
        b'"' => quoted(text.get(1..)?),
        b'{' => {
            let end = memchr::memchr(b'\n', text)? + 1;
            let size = text.get(1..)?.iter().take_while(|byte| byte.is_ascii_digit());
            let size = size.fold(0, |size: usize, digit| {
                size.saturating_mul(10).saturating_add(usize::from(digit - b'0'))
            });
            text.get(end..end.checked_add(size)?).map(<[u8]>::to_vec)
        }
        _ => {
            let end = run(text, 0, |byte| !is_space(byte) && byte != b'\n')?;
            text.get(..end).filter(|name| !name.is_empty()).map(<[u8]>::to_vec)
        }
    }
}

fn quoted(text: &[u8]) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    let mut bytes = text.iter();
    loop {
        match bytes.next()? {
            b'"' => return Some(name),
            b'\\' => name.push(*bytes.next()?),
            byte => name.push(*byte),
        }
    }
}

/// Whether a FETCH with these arguments sets \Seen (RFC 9051 section 6.4.5).
fn sets_seen(arguments: &[u8]) -> bool {
    let arguments = arguments.to_ascii_uppercase();
    [&b"BODY["[..], b"BINARY[", b"RFC822.TEXT", b"RFC822 ", b"RFC822)", b"RFC822\r", b"RFC822\n"]
        .iter()
        .any(|item| memchr::memmem::find(&arguments, item).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> (&str, bool, Word, &str) {
        let Some(Head::Command { tag, formed, word, arguments }) = read_head(line.as_bytes())
        else {
            panic!("{line:?} is not told to be a command");
        };
        (std::str::from_utf8(tag).unwrap(), formed, word, &line[arguments..])
    }

    #[test]
    fn tag_and_word_are_read_whatever_the_case() {
        assert_eq!(command("a1 IDLE\r\n"), ("a1", true, Word::Idle, "\r\n"));
        assert_eq!(command("a1 uid  Store 1"), ("a1", true, Word::Store, " 1"));
        assert_eq!(command("a UID\n"), ("a", true, Word::Other, "\n"));
        assert_eq!(command("a UIDVALIDITY x"), ("a", true, Word::Other, " x"));
        assert_eq!(command("a (x"), ("a", true, Word::Other, "(x"));
    }

    #[test]
    fn a_line_without_tag_and_word_is_not_formed() {
        assert_eq!(command("DONE\r\n"), ("DONE", false, Word::Other, "\n"));
        assert_eq!(command("\r\n"), ("", false, Word::Other, "\n"));
        assert_eq!(command("* COMPRESS x"), ("*", false, Word::Compress, " x"));
        assert_eq!(command(" a COMPRESS x"), ("a", false, Word::Compress, " x"));
    }

    #[test]
    fn a_head_is_told_as_soon_as_more_could_not_change_it() {
        for line in ["a1 UID STORE 1", "a NOOP\r\n", "  x  COMPRESS ", "DONE\r\n", "\r\n"] {
            let told = read_head(line.as_bytes()).unwrap();
            let first = (0..=line.len()).find_map(|end| read_head(&line.as_bytes()[..end]));
            assert_eq!(first, Some(told), "{line:?}");
        }
    }

    #[test]
    fn too_long_a_head_is_told_no_matter_where_it_is_cut() {
        let tag = format!("{} NOOP\r\n", "a".repeat(LONGEST_TAG + 1));
        assert_eq!(read_head(tag.as_bytes()), Some(Head::TooLong));
        let spaces = format!("a{}NOOP\r\n", " ".repeat(LONGEST_HEAD));
        assert_eq!(read_head(spaces.as_bytes()), Some(Head::TooLong));
        assert_eq!(read_head(&spaces.as_bytes()[..LONGEST_HEAD - 1]), None);
    }

    fn found(word: Word, arguments: &str) -> Found {
        let whole = {
            let mut whole = Arguments::of(word, 0);
            whole.add(arguments.as_bytes());
            whole.end()
        };
        let mut cut = Arguments::of(word, 0);
        arguments.as_bytes().chunks(1).for_each(|byte| cut.add(byte));
        assert_eq!(cut.end(), whole, "{arguments:?}");
        whole
    }

    #[test]
    fn a_mailbox_is_found_in_every_form() {
        for (word, arguments) in [
            (Word::Append, " a\"b (\\Seen) {9}\r\n"),
            (Word::Append, " \"a\\\"b\" {9}\r\n"),
            (Word::List, " {3}\r\na\"b\r\n"),
            (Word::List, " {3+}\r\na\"b other\r\n"),
            (Word::Copy, " 1:4,7 a\"b\r\n"),
            (Word::Move, " $ \"a\\\"b\"\n"),
            (Word::Replace, " 4 {3}\r\na\"b {9}\r\n"),
        ] {
            assert_eq!(found(word, arguments), Found::Mailbox(b"a\"b".to_vec()), "{arguments}");
        }
    }

    #[test]
    fn a_mailbox_with_too_long_a_name_is_not_found_and_not_made_up() {
        let name = "x".repeat(LONGEST_ARGUMENT);
        assert_eq!(found(Word::Append, &format!(" {name} {{9}}\r\n")), Found::Nothing);
        assert_eq!(found(Word::Append, &format!(" \"{name}\" {{9}}\r\n")), Found::Nothing);
        assert_eq!(found(Word::List, &format!(" {{1024}}\r\n{name}\r\n")), Found::Nothing);
        let sequence = "1,".repeat(5000);
        let named = Found::Mailbox(b"x".to_vec());
        assert_eq!(found(Word::Copy, &format!(" {sequence}1 x\r\n")), named);
    }

    #[test]
    fn a_fetch_sets_seen_unless_it_only_peeks() {
        for sets in ["1 BODY[]", "1 (FLAGS body[TEXT])", "1:* BINARY[1]", "1 RFC822", "1 (RFC822)"]
        {
            assert_eq!(found(Word::Fetch, &format!(" {sets}\r\n")), Found::SetsSeen, "{sets}");
        }
        for peeks in ["1 BODY.PEEK[]", "1 (UID RFC822.SIZE RFC822.HEADER)", "1 BODY", "1 FLAGS"] {
            assert_eq!(found(Word::Fetch, &format!(" {peeks}\r\n")), Found::Nothing, "{peeks}");
        }
        let long = format!(" 1 ({})\r\n", "X ".repeat(LONGEST_ARGUMENT));
        assert_eq!(found(Word::Fetch, &long), Found::SetsSeen);
    }
}
