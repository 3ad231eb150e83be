//! Which mailboxes and messages are taken along, what they become, and how fast: from the command line to the
//! engine's policy.
//!
//! Nothing here reads a file or speaks to anybody.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use mailsync::{
    Deletes, Flags, InternalDate, MailboxPath, MarkedDeleted, Policy, SpecialUse, Verify,
};
use regex::Regex;

/// Seconds of a day.
const DAY: i64 = 86_400;

/// What is taken along.
#[derive(Args, Debug)]
pub(super) struct Choice {
    /// Only mailboxes whose whole name fits; `*` is any text, `?` any character, `/` separates parts. Again for more.
    #[arg(long, value_name = "GLOB", help_heading = "Mailboxes")]
    include: Vec<String>,
    /// Not mailboxes whose whole name fits, whatever else.
    #[arg(long, value_name = "GLOB", help_heading = "Mailboxes")]
    exclude: Vec<String>,
    /// Only mailboxes in whose name this regular expression is found.
    #[arg(long, value_name = "REGEX", help_heading = "Mailboxes")]
    include_regex: Vec<String>,
    /// Not mailboxes in whose name this regular expression is found.
    #[arg(long, value_name = "REGEX", help_heading = "Mailboxes")]
    exclude_regex: Vec<String>,
    /// Only mailboxes that are for this, by the old server's word (RFC 6154).
    #[arg(long, value_name = "USE", value_enum, help_heading = "Mailboxes")]
    special_use: Vec<Use>,
    /// Only mailboxes that the user is subscribed to.
    #[arg(long, help_heading = "Mailboxes")]
    subscribed: bool,
    /// The mailbox OLD becomes NEW, and what is within it goes along.
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], help_heading = "Mailboxes")]
    map: Vec<String>,
    /// In names of mailboxes, replace what the regular expression finds; $1 is its first group. Tried after --map.
    #[arg(long, num_args = 2, value_names = ["REGEX", "TEXT"], allow_hyphen_values = true, help_heading = "Mailboxes")]
    rename: Vec<String>,
    /// Put everything into this mailbox of the new server, INBOX too.
    #[arg(long, value_name = "MAILBOX", help_heading = "Mailboxes")]
    subfolder: Option<String>,
    /// Go by names alone; else the mailboxes for sent mail, drafts and so on are one each, whatever their names.
    #[arg(long, help_heading = "Mailboxes")]
    no_special_use: bool,
    /// Do not subscribe the user on the new server to what he is subscribed to on the old one.
    #[arg(long, help_heading = "Mailboxes")]
    no_subscribe: bool,
    /// Only messages of at most so many bytes; 25M and 200k are understood.
    #[arg(long, value_name = "BYTES", value_parser = bytes, help_heading = "Messages")]
    max_size: Option<u64>,
    /// Only messages of at least so many bytes.
    #[arg(long, value_name = "BYTES", value_parser = bytes, help_heading = "Messages")]
    min_size: Option<u64>,
    /// Only messages that arrived on this day or later: 2024-01-31.
    #[arg(long, value_name = "DATE", value_parser = date, help_heading = "Messages")]
    since: Option<i64>,
    /// Only messages that arrived before this day.
    #[arg(long, value_name = "DATE", value_parser = date, help_heading = "Messages")]
    before: Option<i64>,
    /// Only messages that arrived in the last so many days.
    #[arg(long, value_name = "DAYS", conflicts_with = "since", help_heading = "Messages")]
    max_age: Option<u32>,
    /// Only messages that arrived so many days ago or earlier.
    #[arg(long, value_name = "DAYS", conflicts_with = "before", help_heading = "Messages")]
    min_age: Option<u32>,
    /// Only messages with this flag, such as seen, flagged or a keyword.
    #[arg(long, value_name = "FLAG", help_heading = "Messages")]
    with_flag: Vec<String>,
    /// Only messages without this flag.
    #[arg(long, value_name = "FLAG", help_heading = "Messages")]
    without_flag: Vec<String>,
    /// Only messages that this expression of IMAP's SEARCH finds, such as 'FROM boss UNSEEN'.
    #[arg(long, value_name = "EXPRESSION", help_heading = "Messages")]
    search: Option<String>,
    /// What becomes of messages that are marked as deleted.
    #[arg(long, value_enum, default_value = "copy", help_heading = "Messages")]
    deleted: Marked,
    /// Leave the flags of messages alone that are on the new server already.
    #[arg(long, help_heading = "Messages")]
    no_flags: bool,
    /// On the new server, take away what has been migrated and is gone from the old one since. It is moved to the
    /// mailbox posthouse-undo first. More than --delete-percent of a mailbox is never taken.
    #[arg(long, help_heading = "Messages")]
    delete: bool,
    /// How many of a hundred messages of a mailbox --delete may take in one run; fifty messages always may go.
    #[arg(
        long, value_name = "NUMBER", requires = "delete", help_heading = "Messages",
        value_parser = clap::value_parser!(u32).range(0..=100)
    )]
    delete_percent: Option<u32>,
}

/// How fast it goes, and what is looked at in the end.
#[derive(Args, Debug)]
pub(super) struct Pace {
    /// Messages a second and user, at most.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Speed")]
    messages_per_second: Option<u32>,
    /// Bytes a second and user, at most; 500k and 2M are understood.
    #[arg(long, value_name = "BYTES", value_parser = bytes, help_heading = "Speed")]
    bytes_per_second: Option<u64>,
    /// Sessions of one user at each server at a time [default: 3, or what --from-provider and --to-provider allow].
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=50), help_heading = "Speed")]
    sessions: Option<u16>,
    /// Give a user up after so many messages that the new server refuses; else they are listed.
    #[arg(long, value_name = "NUMBER", help_heading = "Speed")]
    max_failed: Option<u64>,
    /// What is compared at the end: how many messages there are, all sizes and flags too, or the bytes of 20
    /// messages of each mailbox too.
    #[arg(long, value_enum, default_value = "counts", help_heading = "Speed")]
    verify: Proof,
}

/// What a mailbox is for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Use {
    All,
    Archive,
    Drafts,
    Flagged,
    Junk,
    Sent,
    Trash,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Marked {
    /// They are copied with the mark.
    Copy,
    /// They stay behind.
    Skip,
    /// They are copied without it.
    Unmark,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Proof {
    Bodies,
    Counts,
    Listings,
}

/// What an option has that cannot be used.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("{option}: {problem}")]
pub(super) struct Unusable {
    option: &'static str,
    problem: String,
}

impl Choice {
    /// The policy of these options, at this moment.
    pub(super) fn policy(&self, pace: &Pace, now: SystemTime) -> Result<Policy, Unusable> {
        let mut policy = Policy::migrate();
        policy.left_to_right.flags = !self.no_flags;
        if self.delete {
            policy.left_to_right.deletes = Deletes::Own;
        }
        if let Some(percent) = self.delete_percent {
            policy.guards.percent = percent;
        }
        policy.marked_deleted = match self.deleted {
            Marked::Copy => MarkedDeleted::Copy,
            Marked::Skip => MarkedDeleted::Skip,
            Marked::Unmark => MarkedDeleted::Unmark,
        };
        self.select(&mut policy, now)?;
        self.name(&mut policy)?;
        pace.set(&mut policy);
        Ok(policy)
    }

    fn select(&self, policy: &mut Policy, now: SystemTime) -> Result<(), Unusable> {
        let selection = &mut policy.selection;
        let globs = |option, globs: &[String]| {
            globs.iter().map(|glob| regex(option, &anchored(glob))).collect::<Result<Vec<_>, _>>()
        };
        let regexes = |option, texts: &[String]| {
            texts.iter().map(|text| regex(option, text)).collect::<Result<Vec<_>, _>>()
        };
        selection.include = globs("--include", &self.include)?;
        selection.include.extend(regexes("--include-regex", &self.include_regex)?);
        selection.exclude = globs("--exclude", &self.exclude)?;
        selection.exclude.extend(regexes("--exclude-regex", &self.exclude_regex)?);
        selection.special_use = self.special_use.iter().map(|it| (*it).into()).collect();
        selection.subscribed_only = self.subscribed;
        (selection.max_size, selection.min_size) = (self.max_size, self.min_size);
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let today = i64::try_from(since_epoch).unwrap_or(i64::MAX);
        let ago = |days: u32| today.saturating_sub(i64::from(days) * DAY);
        let at = |seconds| InternalDate { seconds, zone: 0 };
        selection.since = self.since.or_else(|| self.max_age.map(ago)).map(at);
        selection.before = self.before.or_else(|| self.min_age.map(ago)).map(at);
        selection.with_flags = flags("--with-flag", &self.with_flag)?;
        selection.without_flags = flags("--without-flag", &self.without_flag)?;
        if self
            .search
            .as_ref()
            .is_some_and(|text| text.trim().is_empty() || text.contains(char::is_control))
        {
            let problem = "it is empty or has control characters".to_owned();
            return Err(Unusable { option: "--search", problem });
        }
        selection.search.clone_from(&self.search);
        Ok(())
    }

    fn name(&self, policy: &mut Policy) -> Result<(), Unusable> {
        let mapping = &mut policy.mapping;
        for pair in self.map.chunks_exact(2) {
            if let [old, new] = pair {
                mapping.exact.push((path("--map", old)?, path("--map", new)?));
            }
        }
        for pair in self.rename.chunks_exact(2) {
            if let [pattern, with] = pair {
                mapping.rename.push((regex("--rename", pattern)?, with.clone()));
            }
        }
        mapping.subfolder =
            self.subfolder.as_ref().map(|outer| path("--subfolder", outer)).transpose()?;
        mapping.by_special_use = !self.no_special_use;
        mapping.subscribe = !self.no_subscribe;
        Ok(())
    }
}

impl Pace {
    /// Sessions of one user, where that was said.
    pub(super) fn sessions(&self) -> Option<usize> {
        self.sessions.map(usize::from)
    }

    /// Messages a second, where that was said.
    pub(super) fn messages_per_second(&self) -> Option<u32> {
        self.messages_per_second
    }

    fn set(&self, policy: &mut Policy) {
        policy.limits.bytes_per_second = self.bytes_per_second;
        policy.limits.max_failed = self.max_failed;
        policy.verify = match self.verify {
            Proof::Bodies => Verify::Bodies(20),
            Proof::Counts => Verify::Counts,
            Proof::Listings => Verify::Listings,
        };
    }
}

impl From<Use> for SpecialUse {
    fn from(it: Use) -> Self {
        match it {
            Use::All => Self::All,
            Use::Archive => Self::Archive,
            Use::Drafts => Self::Drafts,
            Use::Flagged => Self::Flagged,
            Use::Junk => Self::Junk,
            Use::Sent => Self::Sent,
            Use::Trash => Self::Trash,
        }
    }
}

fn regex(option: &'static str, text: &str) -> Result<Regex, Unusable> {
    Regex::new(text).map_err(|error| Unusable { option, problem: error.to_string() })
}

fn path(option: &'static str, text: &str) -> Result<MailboxPath, Unusable> {
    text.parse().map_err(|error| Unusable { option, problem: format!("{text:?}: {error}") })
}

/// The regular expression of a glob.
fn anchored(glob: &str) -> String {
    let mut pattern = String::from("^(?s:");
    let mut letters = glob.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '*' => pattern.push_str(".*"),
            '?' => pattern.push('.'),
            '\\' => {
                let literal = letters.next().unwrap_or('\\');
                pattern.push_str(&regex::escape(&literal.to_string()));
            }
            letter => pattern.push_str(&regex::escape(&letter.to_string())),
        }
    }
    pattern.push_str(")$");
    pattern
}

/// Flags by their words; those of the protocol go without their `\` too.
fn flags(option: &'static str, words: &[String]) -> Result<Flags, Unusable> {
    let mut all = Vec::new();
    for word in words {
        let bare = word.strip_prefix('\\').unwrap_or(word);
        // RFC 3501 section 9: the characters of an atom.
        let fits = |c: char| c.is_ascii_graphic() && !"(){%*\"\\]".contains(c);
        if bare.is_empty() || !bare.chars().all(fits) {
            return Err(Unusable { option, problem: format!("{word:?} cannot be a flag") });
        }
        let is_system = mailsync::SystemFlag::ALL
            .into_iter()
            .any(|flag| flag.as_str().trim_start_matches('\\').eq_ignore_ascii_case(bare));
        all.push(if is_system { format!("\\{bare}") } else { word.clone() });
    }
    Ok(Flags::read(all.iter().map(String::as_str)))
}

/// A number of bytes, with a unit.
fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.char_indices().next_back() {
        Some((at, unit)) if !unit.is_ascii_digit() => (text.get(..at).unwrap_or_default(), unit),
        _ => (text, '1'),
    };
    let shift = match unit.to_ascii_lowercase() {
        '1' => 0,
        'k' => 10,
        'm' => 20,
        'g' => 30,
        _ => return Err("write a number, or one with k, M or G behind it".to_owned()),
    };
    let number: u64 =
        number.parse().map_err(|_| "write a number, or one with k, M or G behind it")?;
    number.checked_mul(1 << shift).ok_or_else(|| "it is too large".to_owned())
}

/// The first second of a day, in Greenwich.
fn date(text: &str) -> Result<i64, String> {
    let wrong = || "write a day as 2024-01-31".to_owned();
    let parts: Vec<u16> =
        text.split('-').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
    let &[year, month, day] = parts.as_slice() else { return Err(wrong()) };
    crate::time::start_of_day(year, month, day).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        choice: Choice,
        #[command(flatten)]
        pace: Pace,
    }

    fn policy(words: &[&str]) -> Result<Policy, String> {
        let line = Line::try_parse_from(std::iter::once(&"migrate").chain(words));
        let line = line.map_err(|error| error.to_string())?;
        let now = UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        line.choice.policy(&line.pace, now).map_err(|error| error.to_string())
    }

    #[test]
    fn without_options_everything_goes_along_and_nothing_is_deleted() {
        let policy = policy(&[]).unwrap();
        assert_eq!(policy.left_to_right, Policy::migrate().left_to_right);
        assert!(policy.selection.include.is_empty() && policy.selection.search.is_none());
    }

    #[test]
    fn a_glob_is_about_the_whole_name_and_its_other_characters_stand_for_themselves() {
        let policy =
            policy(&["--include", "Lists/*", "--exclude", "a.b?", "--include", "x\\*"]).unwrap();
        let includes = |name: &str| policy.selection.include.iter().any(|re| re.is_match(name));
        let excludes = |name: &str| policy.selection.exclude.iter().any(|re| re.is_match(name));
        assert!(includes("Lists/a/b") && !includes("Lists") && !includes("My Lists/a"));
        assert!(includes("x*") && !includes("xy"));
        assert!(excludes("a.bc") && !excludes("axbc") && !excludes("a.b"));
    }

    #[test]
    fn days_and_ages_become_seconds() {
        let days = policy(&["--since", "2024-02-29", "--before", "2024-03-01"]).unwrap().selection;
        assert_eq!(days.since.unwrap().seconds, 1_709_164_800);
        assert_eq!(days.before.unwrap().seconds, 1_709_251_200);
        let ages = policy(&["--max-age", "10", "--min-age", "1"]).unwrap().selection;
        assert_eq!(ages.since.unwrap().seconds, 1_700_000_000 - 864_000);
        assert_eq!(ages.before.unwrap().seconds, 1_700_000_000 - 86_400);
    }

    #[test]
    fn names_flags_sizes_and_speeds_reach_the_policy() {
        let policy = policy(&[
            "--map",
            "Old Sent",
            "Sent",
            "--rename",
            "^A/(.*)$",
            "-${1}",
            "--subfolder",
            "from old",
            "--with-flag",
            "flagged",
            "--with-flag",
            "$Work",
            "--without-flag",
            "\\Deleted",
            "--max-size",
            "25M",
            "--delete",
            "--delete-percent",
            "5",
            "--deleted",
            "skip",
            "--bytes-per-second",
            "500k",
            "--verify",
            "bodies",
            "--no-special-use",
            "--no-flags",
        ])
        .unwrap();
        assert_eq!(policy.mapping.exact[0].1.to_string(), "Sent");
        assert_eq!(policy.mapping.rename[0].1, "-${1}");
        assert_eq!(policy.mapping.subfolder.unwrap().to_string(), "from old");
        let with: Vec<_> = policy.selection.with_flags.words().map(str::to_owned).collect();
        assert_eq!(with, ["\\Flagged", "$Work"]);
        assert_eq!(policy.selection.without_flags.words().collect::<Vec<_>>(), ["\\Deleted"]);
        assert_eq!(policy.selection.max_size, Some(25 << 20));
        assert_eq!(policy.left_to_right.deletes, Deletes::Own);
        assert_eq!((policy.guards.percent, policy.marked_deleted), (5, MarkedDeleted::Skip));
        assert_eq!(policy.limits.bytes_per_second, Some(500 << 10));
        assert_eq!(policy.verify, Verify::Bodies(20));
        assert!(!policy.mapping.by_special_use && !policy.left_to_right.flags);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_option_and_what_to_write() {
        for (words, told) in [
            (&["--include-regex", "("][..], "--include-regex"),
            (&["--rename", "[", "x"], "--rename"),
            (&["--map", "a//b", "x"], "--map"),
            (&["--map", "a"], "--map"),
            (&["--subfolder", ""], "--subfolder"),
            (&["--with-flag", "a b"], "--with-flag"),
            (&["--search", " "], "--search"),
            (&["--since", "2024-02-30"], "2024-01-31"),
            (&["--since", "yesterday"], "2024-01-31"),
            (&["--since", "2024-01-01", "--max-age", "3"], "--max-age"),
            (&["--max-size", "25X"], "k, M or G"),
            (&["--max-size", "99999999999999G"], "too large"),
            (&["--delete-percent", "5"], "--delete"),
            (&["--sessions", "0"], "--sessions"),
            (&["--special-use", "important"], "--special-use"),
        ] {
            let error = policy(words).unwrap_err();
            assert!(error.contains(told), "{words:?}: {error}");
        }
    }
}
