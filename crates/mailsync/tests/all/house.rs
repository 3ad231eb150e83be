//! Two accounts, a policy, and a folder for what is remembered.

use std::{collections::BTreeMap, time::Duration};

use mailsync::{
    Flags, InternalDate, Job, MailboxPath, Observer, PairState, Policy, Progress, Report,
    StateError, Survey, Uid,
    ends::memory::{Account, MemoryEnd, Trouble},
};
use tempfile::TempDir;

pub(crate) struct House {
    pub(crate) left: MemoryEnd,
    pub(crate) right: MemoryEnd,
    pub(crate) policy: Policy,
    state: TempDir,
}

/// What a mailbox holds, in no order.
pub(crate) type Holding = Vec<(String, String, Option<i64>)>;

impl House {
    pub(crate) fn new(policy: Policy) -> Self {
        let state = TempDir::new().unwrap();
        let mut policy = policy;
        policy.limits.pause = Duration::from_millis(1);
        policy.limits.settle = Duration::from_millis(1);
        policy.limits.spill = state.path().to_owned();
        let (left, right) = (MemoryEnd::new("left"), MemoryEnd::new("right"));
        Self { left, right, policy, state }
    }

    pub(crate) fn migration() -> Self {
        Self::new(Policy::migrate())
    }

    pub(crate) fn mirror() -> Self {
        Self::new(Policy::mirror())
    }

    /// What a job that was dropped had begun to write it still writes; the lock is free when that is done.
    async fn state(&self) -> PairState {
        within(async {
            loop {
                match PairState::open(self.state.path(), "left", "right") {
                    Err(StateError::Locked(_)) => tokio::task::yield_now().await,
                    state => return state.unwrap(),
                }
            }
        })
        .await
    }

    async fn job(&self) -> Job<MemoryEnd, MemoryEnd> {
        let state = self.state().await;
        Job::new(self.left.clone(), self.right.clone(), self.policy.clone(), state)
    }

    pub(crate) async fn run(&self) -> Report {
        self.run_followed_by(&|_: Progress<'_>| {}).await
    }

    pub(crate) async fn run_followed_by(&self, observer: &dyn Observer) -> Report {
        let job = self.job().await;
        within(job.run(observer)).await
    }

    pub(crate) async fn survey(&self) -> Survey {
        let job = self.job().await;
        within(job.survey(&|_: Progress<'_>| {})).await.unwrap()
    }

    /// Runs until a call hangs, and is killed then; or to its end.
    pub(crate) async fn run_until_hung(&self) -> Option<Report> {
        let job = self.job().await;
        let observer = |_: Progress<'_>| {};
        within(async {
            tokio::select! {
                report = job.run(&observer) => Some(report),
                () = self.left.hung() => None,
                () = self.right.hung() => None,
            }
        })
        .await
    }

    /// What both hold is the same, byte by byte, flag by flag, and nothing is left to do.
    pub(crate) fn assert_equal(&self) {
        let (left, right) = (holdings(&self.left), holdings(&self.right));
        assert_eq!(left, right);
    }

    /// A second run asks each end once how things are, and no more.
    pub(crate) async fn assert_settled(&self) {
        let calls = || (self.left.with(|a| a.calls), self.right.with(|a| a.calls));
        let before = calls();
        let report = self.run().await;
        assert_eq!(report.failure, None);
        assert_eq!(report.total.copied, 0, "{report:#?}");
        assert_eq!(calls(), (before.0 + 1, before.1 + 1), "{report:#?}");
    }

    pub(crate) fn state_folder(&self) -> &std::path::Path {
        self.state.path()
    }
}

pub(crate) async fn within<T>(act: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), act).await.expect("it ends in time")
}

/// All mailboxes but those that hold what was put aside.
pub(crate) fn holdings(end: &MemoryEnd) -> BTreeMap<String, Holding> {
    end.with(|account| {
        let mailboxes = account.mailboxes.iter();
        mailboxes
            .filter(|(path, _)| path.to_string() != "posthouse-undo")
            .map(|(path, _)| (path.to_string(), holding(account, path)))
            .collect()
    })
}

fn holding(account: &Account, path: &MailboxPath) -> Holding {
    let messages = account.mailboxes[path].messages.values();
    let mut holding: Holding = messages
        .map(|m| {
            let bytes = String::from_utf8_lossy(&m.bytes).into_owned();
            (bytes, m.flags.to_string().to_lowercase(), m.date.map(|date| date.seconds))
        })
        .collect();
    holding.sort();
    holding
}

/// How many messages an account has in a mailbox.
pub(crate) fn count(end: &MemoryEnd, mailbox: &str) -> usize {
    end.with(|account| account.mailboxes.get(&path(mailbox)).map_or(0, |m| m.messages.len()))
}

pub(crate) fn path(text: &str) -> MailboxPath {
    text.parse().unwrap()
}

pub(crate) fn flags(text: &str) -> Flags {
    Flags::read(text.split_whitespace())
}

pub(crate) fn date(seconds: i64) -> Option<InternalDate> {
    Some(InternalDate { seconds, zone: 60 })
}

/// An ordinary mail.
pub(crate) fn mail(number: u32) -> Vec<u8> {
    format!(
        "Received: from a by b; {number}\r\nMessage-ID: <{number}@example.org>\r\nSubject: mail {number}\r\n\
         From: a@example.org\r\n\r\nThis is mail {number}.\r\n"
    )
    .into_bytes()
}

pub(crate) fn deliver(end: &MemoryEnd, mailbox: &str, bytes: &[u8], words: &str) -> Uid {
    end.with(|account| account.deliver(&path(mailbox), bytes, &flags(words), date(1_000_000)))
}

/// Ordinary mails with these numbers.
pub(crate) fn fill(end: &MemoryEnd, mailbox: &str, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        let words = ["", "\\Seen", "\\Seen \\Flagged", "\\Answered Work $Forwarded"];
        let words = words[usize::try_from(number).unwrap() % words.len()];
        end.with(|account| {
            let arrived = date(1_000_000 + i64::from(number));
            account.deliver(&path(mailbox), &mail(number), &flags(words), arrived)
        });
    }
}

pub(crate) fn trouble(end: &MemoryEnd, call: u64, trouble: Trouble) {
    end.with(|account| account.troubles.insert(call, trouble));
}
