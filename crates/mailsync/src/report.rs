//! What came of a job, for people and for programs.
//!
//! Nothing here decides whether a job goes on.

use std::{fmt, time::Duration};

use serde::{Serialize, Serializer};

use crate::{FaultKind, MailboxPath};

/// What came of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The end on the left.
    pub left: String,
    /// The end on the right.
    pub right: String,
    /// In a word.
    pub outcome: Outcome,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// Whose failure that was.
    #[serde(skip)]
    pub cause: Option<Cause>,
    /// All mailboxes together.
    pub total: Counts,
    /// Each mailbox, in the order of their paths.
    pub mailboxes: Vec<MailboxReport>,
    /// What is not a mailbox's own.
    pub warnings: Vec<Warning>,
    /// How long it took, in seconds.
    #[serde(rename = "seconds", serialize_with = "as_seconds")]
    pub took: Duration,
}

impl Report {
    /// The outcome that follows from all else.
    pub(crate) fn outcome(&self) -> Outcome {
        let mailboxes = || self.mailboxes.iter();
        if self.failure.is_some() || mailboxes().any(|mailbox| mailbox.failure.is_some()) {
            return Outcome::Failed;
        }
        let told = |m: &MailboxReport| !m.warnings.is_empty() || m.counts.failed > 0;
        if self.warnings.is_empty() && !mailboxes().any(told) {
            Outcome::Complete
        } else {
            Outcome::CompleteWithWarnings
        }
    }
}

/// Whose failure it is that a run has not come to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// That of the end on the left.
    Left(FaultKind),
    /// That of the end on the right.
    Right(FaultKind),
    /// That of our own memory.
    State,
}

/// The outcome in a word.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All is there, and nothing is to be told.
    Complete,
    /// All that could be copied is there; what could not is listed.
    CompleteWithWarnings,
    /// Something that could be copied is not there yet.
    Failed,
}

/// How many messages, and what became of them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Counts {
    /// On the left now.
    pub left: u64,
    /// On the right now.
    pub right: u64,
    /// Copied in this run.
    pub copied: u64,
    /// Bytes of those.
    pub copied_bytes: u64,
    /// Found on both ends without copying, in this run.
    pub adopted: u64,
    /// Known from an earlier run.
    pub known: u64,
    /// Left behind because the selection says so.
    pub skipped: u64,
    /// Refused by the end, now or earlier.
    pub failed: u64,
    /// Gone where they had been copied to, and left away.
    pub gone: u64,
    /// Messages whose flags were changed.
    pub flagged: u64,
    /// Deleted in this run.
    pub deleted: u64,
    /// Not deleted in this run because of a guard.
    pub held: u64,
}

impl Counts {
    pub(crate) fn plus(self, other: &Self) -> Self {
        Self {
            left: self.left + other.left,
            right: self.right + other.right,
            copied: self.copied + other.copied,
            copied_bytes: self.copied_bytes + other.copied_bytes,
            adopted: self.adopted + other.adopted,
            known: self.known + other.known,
            skipped: self.skipped + other.skipped,
            failed: self.failed + other.failed,
            gone: self.gone + other.gone,
            flagged: self.flagged + other.flagged,
            deleted: self.deleted + other.deleted,
            held: self.held + other.held,
        }
    }
}

/// What became of a mailbox.
#[derive(Clone, Debug, Serialize)]
pub struct MailboxReport {
    /// Its path on the left.
    pub left: MailboxPath,
    /// Its path on the right.
    pub right: MailboxPath,
    /// Its messages.
    pub counts: Counts,
    /// A digest of all pairs of messages with their flags, in hexadecimal digits: equal after two runs
    /// means that nothing changed between.
    pub digest: String,
    /// Messages that were refused.
    pub failed: Vec<FailedMessage>,
    /// What is to be told.
    pub warnings: Vec<Warning>,
    /// Why it is not done, if it is not.
    pub failure: Option<String>,
}

/// A message that was refused.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct FailedMessage {
    /// Its number on the end it comes from.
    pub uid: u32,
    /// Its size in bytes.
    pub size: u64,
    /// Why, in the words of the end that refused it.
    pub said: String,
}

/// Something that an administrator has to know.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Warning(pub String);

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Complete => "COMPLETE",
            Self::CompleteWithWarnings => "COMPLETE WITH WARNINGS",
            Self::Failed => "FAILED",
        })
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn as_seconds<S: Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_by_programs() {
        let counts = Counts { left: 3, right: 2, copied: 2, failed: 1, ..Counts::default() };
        let said = "NO [TOOBIG] no".to_owned();
        let mut report = Report {
            left: "imaps://a@old".to_owned(),
            right: "imaps://a@new".to_owned(),
            outcome: Outcome::Complete,
            failure: None,
            cause: None,
            total: counts,
            mailboxes: vec![MailboxReport {
                left: MailboxPath::new(["Sent"]),
                right: MailboxPath::new(["Old", "Sent"]),
                counts,
                digest: "00".to_owned(),
                failed: vec![FailedMessage { uid: 7, size: 99, said }],
                warnings: vec![Warning("flags that the other end does not keep: X".to_owned())],
                failure: None,
            }],
            warnings: Vec::new(),
            took: Duration::from_millis(1500),
        };
        report.outcome = report.outcome();
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["outcome"], "complete-with-warnings");
        assert_eq!(json["mailboxes"][0]["right"], "Old/Sent");
        assert_eq!(json["mailboxes"][0]["failed"][0]["uid"], 7);
        assert_eq!(json["seconds"], 1.5);
    }
}
