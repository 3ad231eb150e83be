//! What came of it, for people, and the status that the program ends with.
//!
//! Nothing here is printed.

use std::fmt::Write;

use admin::migrate::{Came, Ended, Side, Why};
use indicatif::{HumanBytes, HumanDuration};
use mailsync::{MailboxReport, Outcome, Report, Survey};

use crate::cli::output::table;

/// Refused messages that are shown of an account; the report in the state folder has all.
const SHOWN: usize = 20;

/// Status of a run in which some of many accounts were not migrated; imapsync's number for errors.
const WITH_ERRORS: u8 = 111;

/// All accounts.
pub(super) fn all(ended: &[Ended]) -> String {
    match ended {
        [one] => account(one),
        many => several(many),
    }
}

/// The status to end with: 0, or imapsync's number for what went wrong.
pub(super) fn status(ended: &[Ended]) -> u8 {
    match ended {
        [one] => one.why().map_or(0, number),
        many if many.iter().all(|one| one.why().is_none()) => 0,
        _ => WITH_ERRORS,
    }
}

fn number(why: Why) -> u8 {
    match why {
        Why::Ours => 1,
        Why::Locked => 8,
        Why::Lost(Side::From) => 101,
        Why::Lost(Side::To) => 102,
        Why::Mailboxes => WITH_ERRORS,
        Why::Tls(_) => 12,
        Why::Refusals => 112,
        Why::Full => 113,
        Why::Access(Side::From) => 161,
        Why::Access(Side::To) => 162,
    }
}

/// What came of an account, in a word for programs.
pub(super) fn word(ended: &Ended) -> &'static str {
    match &ended.came {
        Ok(Came::Migrated(report, _)) => match report.outcome {
            Outcome::Complete => "complete",
            Outcome::CompleteWithWarnings => "complete-with-warnings",
            Outcome::Failed => "failed",
        },
        Ok(Came::Skipped) => "skipped",
        Ok(Came::Surveyed(_)) => "surveyed",
        Err(_) => "failed",
    }
}

/// What came of an account, in a line for people.
pub(super) fn outcome(ended: &Ended) -> String {
    let came = came(ended);
    match ended.why() {
        Some(Why::Tls(side)) => format!(
            "{came}; --{side}-ca-file and --{side}-pin-sha256 say whose certificate is believed, \
             --{side}-tls-legacy that old TLS will do"
        ),
        _ => came,
    }
}

fn came(ended: &Ended) -> String {
    match &ended.came {
        Ok(Came::Migrated(report, _)) => match &report.failure {
            Some(failure) => format!("{}: {failure}", report.outcome),
            None => report.outcome.to_string(),
        },
        Ok(Came::Skipped) => "COMPLETE already".to_owned(),
        Ok(Came::Surveyed(survey)) => {
            let copy: u64 = survey.mailboxes.iter().map(|mailbox| mailbox.copy).sum();
            format!("{copy} messages would be copied")
        }
        Err(not_done) => format!("{}: {not_done}", Outcome::Failed),
    }
}

fn account(ended: &Ended) -> String {
    match &ended.came {
        Ok(Came::Migrated(report, kept)) => {
            let mut text = migrated(ended, report);
            let _ = writeln!(text, "\nReport: {}", kept.display());
            text
        }
        Ok(Came::Surveyed(survey)) => surveyed(survey),
        Ok(Came::Skipped) | Err(_) => {
            format!("{} to {}\n{}\n", ended.from, ended.to, outcome(ended))
        }
    }
}

fn migrated(ended: &Ended, report: &Report) -> String {
    let mut text = format!("{} to {}\n\n", report.left, report.right);
    let rows = report.mailboxes.iter().map(|mailbox| {
        let counts = &mailbox.counts;
        [
            mailbox.left.to_string(),
            mailbox.right.to_string(),
            counts.left.to_string(),
            counts.right.to_string(),
            counts.copied.to_string(),
            (counts.known + counts.adopted).to_string(),
            counts.skipped.to_string(),
            counts.failed.to_string(),
        ]
    });
    text.push_str(&table(
        ["MAILBOX", "BECAME", "OLD", "NEW", "COPIED", "THERE", "SKIPPED", "REFUSED"],
        rows,
    ));
    text.push('\n');
    remarks(report, &mut text);
    let counts = &report.total;
    let (bytes, took) = (HumanBytes(counts.copied_bytes), HumanDuration(report.took));
    let _ = writeln!(text, "{} messages, {bytes} copied in {took}", counts.copied);
    for (count, what) in [
        (counts.flagged, "messages had their flags changed"),
        (counts.gone, "messages were deleted on the new server after an earlier run, and left so"),
        (
            counts.deleted,
            "messages were moved to posthouse-undo, as they are gone on the old server",
        ),
        (
            counts.held,
            "messages are gone on the old server and were kept: more than --delete-percent allows",
        ),
    ] {
        if count > 0 {
            let _ = writeln!(text, "{count} {what}");
        }
    }
    let _ = writeln!(text, "{}", outcome(ended));
    text
}

/// What is not right, mailbox by mailbox.
fn remarks(report: &Report, text: &mut String) {
    let before = text.len();
    for warning in &report.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    let refused = |mailbox: &MailboxReport| mailbox.failed.len();
    for mailbox in &report.mailboxes {
        let name = &mailbox.left;
        if let Some(failure) = &mailbox.failure {
            let _ = writeln!(text, "{name}: failed: {failure}");
        }
        for warning in &mailbox.warnings {
            let _ = writeln!(text, "{name}: warning: {warning}");
        }
        for message in mailbox.failed.iter().take(SHOWN) {
            let size = HumanBytes(message.size);
            let _ = writeln!(
                text,
                "{name}: message {} ({size}) was refused: {}",
                message.uid, message.said
            );
        }
        if let Some(more) = refused(mailbox).checked_sub(SHOWN).filter(|more| *more > 0) {
            let _ = writeln!(text, "{name}: and {more} more, listed in the report");
        }
    }
    if text.len() > before {
        text.push('\n');
    }
}

fn surveyed(survey: &Survey) -> String {
    let mut text = format!("{} to {}\n\n", survey.left, survey.right);
    let rows = survey.mailboxes.iter().map(|mailbox| {
        [
            mailbox.left.to_string(),
            mailbox.right.to_string(),
            if mailbox.create { "create" } else { "there" }.to_owned(),
            mailbox.messages.to_string(),
            mailbox.copy.to_string(),
            HumanBytes(mailbox.copy_bytes).to_string(),
            mailbox.adopt.to_string(),
            mailbox.skip.to_string(),
            mailbox.delete.to_string(),
            mailbox.refused.len().to_string(),
        ]
    });
    text.push_str(&table(
        [
            "MAILBOX",
            "BECOMES",
            "",
            "MESSAGES",
            "COPY",
            "SIZE",
            "FOUND",
            "SKIP",
            "DELETE",
            "TOO LARGE",
        ],
        rows,
    ));
    text.push('\n');
    for warning in &survey.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    for mailbox in &survey.mailboxes {
        for warning in &mailbox.warnings {
            let _ = writeln!(text, "{}: warning: {warning}", mailbox.left);
        }
        for message in mailbox.refused.iter().take(SHOWN) {
            let size = HumanBytes(message.size);
            let _ = writeln!(
                text,
                "{}: message {} ({size}): {}",
                mailbox.left, message.uid, message.said
            );
        }
    }
    if let Some(quota) = survey.quota {
        let (used, limit) = (HumanBytes(quota.used), HumanBytes(quota.limit));
        let _ = writeln!(text, "the new server has {used} of {limit} in use");
    }
    let copy: u64 = survey.mailboxes.iter().map(|mailbox| mailbox.copy).sum();
    let bytes = HumanBytes(survey.mailboxes.iter().map(|mailbox| mailbox.copy_bytes).sum());
    let _ = writeln!(text, "{copy} messages, {bytes} would be copied; nothing was changed");
    text
}

fn several(ended: &[Ended]) -> String {
    let rows = ended.iter().map(|one| {
        let report = match &one.came {
            Ok(Came::Migrated(report, _)) => Some(report),
            _ => None,
        };
        let of = |count: &dyn Fn(&Report) -> String| {
            report.map_or_else(|| "-".to_owned(), |report| count(report))
        };
        [
            one.from.clone(),
            one.to.clone(),
            of(&|report| report.total.copied.to_string()),
            of(&|report| HumanBytes(report.total.copied_bytes).to_string()),
            of(&|report| report.total.failed.to_string()),
            outcome(one),
        ]
    });
    let mut text = table(["FROM", "TO", "COPIED", "SIZE", "REFUSED", "RESULT"], rows);
    let count = |wanted: &[&str]| ended.iter().filter(|one| wanted.contains(&word(one))).count();
    let (complete, warned) = (count(&["complete", "skipped"]), count(&["complete-with-warnings"]));
    let failed = count(&["failed"]);
    let all = ended.len();
    if count(&["surveyed"]) == 0 {
        let _ = writeln!(
            text,
            "\n{all} accounts: {complete} complete, {warned} with warnings, {failed} failed"
        );
    }
    text
}
