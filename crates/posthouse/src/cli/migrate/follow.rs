//! What is told while accounts are migrated: bars on a terminal, lines elsewhere, JSON for programs.
//!
//! Nothing here holds up a migration for longer than a write takes.

use std::{
    collections::HashMap,
    io::{self, IsTerminal, Write},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use admin::migrate::{Came, Ended, Pair, Watch};
use indicatif::{HumanBytes, HumanDuration, MultiProgress, ProgressBar, ProgressStyle};
use mailsync::Progress;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    super::{failure::say, output::Output},
    show,
};

/// How often a line tells how far an account is.
const EVERY: Duration = Duration::from_secs(10);

/// Who tells it.
pub(super) struct Follow {
    how: How,
    accounts: Mutex<HashMap<usize, Standing>>,
    /// Where there is more than one, lines say which.
    many: bool,
}

enum How {
    Bars { all: MultiProgress, total: Option<ProgressBar> },
    Json,
    Lines,
}

/// How far an account is.
struct Standing {
    from: String,
    messages: u64,
    copied: u64,
    bytes: u64,
    since: Instant,
    told: Instant,
    bar: Option<ProgressBar>,
}

/// Something that happened to an account, as programs read it.
#[derive(Serialize)]
struct Event<'e> {
    /// Its place in the list, from 1.
    account: usize,
    #[serde(flatten)]
    progress: Progress<'e>,
}

impl Follow {
    pub(super) fn new(pairs: &[Pair], output: Output) -> Self {
        let many = pairs.len() > 1;
        let how = if output.is_json() {
            How::Json
        } else if io::stderr().is_terminal() {
            let all = MultiProgress::new();
            let total = many.then(|| {
                let bar = ProgressBar::new(u64::try_from(pairs.len()).unwrap_or(u64::MAX));
                all.add(
                    bar.with_style(style("{prefix} [{wide_bar}] {pos}/{len} accounts"))
                        .with_prefix("all"),
                )
            });
            How::Bars { all, total }
        } else {
            How::Lines
        };
        Self { how, accounts: Mutex::default(), many }
    }

    /// It is over: what moves is taken off the screen.
    pub(super) fn done(&self) {
        if let How::Bars { all, total } = &self.how {
            total.iter().for_each(ProgressBar::finish_and_clear);
            let _ = all.clear();
        }
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<usize, Standing>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells people something, above the bars if there are any.
    fn tell(&self, standing: &Standing, what: &str) {
        let line = if self.many { format!("{}: {what}", standing.from) } else { what.to_owned() };
        match &self.how {
            How::Bars { all, .. } => drop(all.println(line)),
            How::Json => {}
            How::Lines => say(&format!("{line}\n")),
        }
    }

    fn bar(&self, from: &str) -> Option<ProgressBar> {
        let How::Bars { all, .. } = &self.how else { return None };
        let bar = ProgressBar::new(0).with_style(style(
            "{prefix} [{wide_bar}] {human_pos}/{human_len}, {msg}{per_sec}, {eta} left",
        ));
        let bar = all.add(bar.with_prefix(from.to_owned()));
        bar.enable_steady_tick(Duration::from_millis(500));
        Some(bar)
    }
}

impl Watch for Follow {
    fn begins(&self, number: usize, pair: &Pair) {
        let (from, to) = (pair.from.to_string(), pair.to.to_string());
        if let How::Json = self.how {
            print(&json!({ "account": number + 1, "event": "begun", "from": from, "to": to }));
        }
        let now = Instant::now();
        let bar = self.bar(&from);
        let standing =
            Standing { from, messages: 0, copied: 0, bytes: 0, since: now, told: now, bar };
        self.accounts().insert(number, standing);
    }

    fn sees(&self, number: usize, progress: Progress<'_>) {
        if let How::Json = self.how {
            return print(&Event { account: number + 1, progress });
        }
        let mut accounts = self.accounts();
        let Some(standing) = accounts.get_mut(&number) else { return };
        if let Some(line) = standing.take(progress, Instant::now()) {
            self.tell(standing, &line);
        }
    }

    fn ends(&self, number: usize, ended: &Ended) {
        let standing = self.accounts().remove(&number);
        if let How::Json = self.how {
            return print(&as_json(number, ended));
        }
        let Some(standing) = standing else { return };
        standing.bar.iter().for_each(ProgressBar::finish_and_clear);
        if let How::Bars { total, .. } = &self.how {
            total.iter().for_each(|bar| bar.inc(1));
        }
        // A single one is told of in full at once.
        if self.many {
            self.tell(&standing, &show::outcome(ended));
        }
    }
}

impl Standing {
    /// Takes in what happened; what of it is to be told people at once.
    fn take(&mut self, progress: Progress<'_>, now: Instant) -> Option<String> {
        match progress {
            Progress::Surveyed { mailboxes, messages, .. } => {
                Some(format!("{mailboxes} mailboxes with {messages} messages"))
            }
            Progress::Planned { messages, .. } => {
                self.messages += messages;
                self.bar.iter().for_each(|bar| bar.set_length(self.messages));
                None
            }
            Progress::Copied { mailbox, messages, bytes } => {
                self.copied += messages;
                self.bytes += bytes;
                if let Some(bar) = &self.bar {
                    bar.set_position(self.copied);
                    bar.set_message(format!("{mailbox}, {}, ", HumanBytes(self.bytes)));
                    return None;
                }
                if now.duration_since(self.told) < EVERY {
                    return None;
                }
                self.told = now;
                Some(self.told_so_far(now))
            }
            Progress::Failed { mailbox, uid, said } => {
                Some(format!("{mailbox}: message {uid} was refused: {said}"))
            }
            Progress::Waiting { said, pause } => {
                Some(format!("trying again in {}: {said}", HumanDuration(pause)))
            }
            Progress::Finished { .. } => None,
        }
    }

    fn told_so_far(&self, now: Instant) -> String {
        let (copied, messages) = (self.copied, self.messages);
        let millis = now.duration_since(self.since).as_millis().max(1);
        let rate = u128::from(copied) * 1000 / millis;
        let left = u128::from(messages.saturating_sub(copied)) * millis / u128::from(copied.max(1));
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(u64::MAX));
        let bytes = HumanBytes(self.bytes);
        let left = HumanDuration(left);
        format!("{copied} of {messages} messages copied, {bytes}, {rate} a second, {left} left")
    }
}

fn as_json(number: usize, ended: &Ended) -> Value {
    let mut event = json!({
        "account": number + 1, "event": "ended", "from": ended.from, "to": ended.to,
        "result": show::word(ended),
    });
    let (key, value) = match &ended.came {
        Ok(Came::Migrated(report, _)) => ("report", json!(report)),
        Ok(Came::Surveyed(survey)) => ("survey", json!(survey)),
        Ok(Came::Skipped) => return event,
        Err(not_done) => ("error", json!(not_done.said)),
    };
    if let Some(fields) = event.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
    event
}

/// One line of JSON. Should nobody read it, the migration goes on nevertheless.
fn print(event: &impl Serialize) {
    if let Ok(line) = serde_json::to_string(event) {
        let _ = writeln!(io::stdout().lock(), "{line}");
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use mailsync::MailboxPath;

    use super::*;

    #[test]
    fn a_line_tells_how_far_an_account_is_at_most_every_ten_seconds() {
        let begun = Instant::now();
        let mut standing = Standing {
            from: "a".to_owned(),
            messages: 0,
            copied: 0,
            bytes: 0,
            since: begun,
            told: begun,
            bar: None,
        };
        let inbox = MailboxPath::inbox();
        let planned = Progress::Planned { mailbox: &inbox, messages: 300, bytes: 1 << 20 };
        assert_eq!(standing.take(planned, begun), None);
        let copied = Progress::Copied { mailbox: &inbox, messages: 50, bytes: 1 << 20 };
        assert_eq!(standing.take(copied, begun + Duration::from_secs(5)), None);
        assert_eq!(
            standing.take(copied, begun + Duration::from_secs(10)).unwrap(),
            "100 of 300 messages copied, 2.00 MiB, 10 a second, 20 seconds left"
        );
        assert_eq!(standing.take(copied, begun + Duration::from_secs(11)), None);
        let failed = Progress::Failed { mailbox: &inbox, uid: 7, said: "NO [TOOBIG]" };
        let told = standing.take(failed, begun).unwrap();
        assert_eq!(told, "INBOX: message 7 was refused: NO [TOOBIG]");
    }

    #[test]
    fn what_programs_read_names_the_account_by_its_place() {
        let inbox = MailboxPath::inbox();
        let progress = Progress::Copied { mailbox: &inbox, messages: 2, bytes: 3 };
        let json = serde_json::to_value(Event { account: 4, progress }).unwrap();
        let wanted = json!({
            "account": 4, "event": "copied", "mailbox": "INBOX", "messages": 2, "bytes": 3,
        });
        assert_eq!(json, wanted);
    }
}
