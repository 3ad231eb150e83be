//! What a job tells while it runs.
//!
//! Nothing here shows or stores anything.

use std::time::Duration;

use serde::Serialize;

use crate::MailboxPath;

/// Who follows a job. Called often, and waited for: it must be quick.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn see(&self, progress: Progress<'_>);
}

impl<F: Fn(Progress<'_>) + Send + Sync> Observer for F {
    fn see(&self, progress: Progress<'_>) {
        self(progress);
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Progress<'p> {
    /// Both ends were looked at. Messages and bytes are those of the selected mailboxes of the left end, as
    /// far as it says.
    Surveyed {
        /// How many mailboxes.
        mailboxes: u64,
        /// How many messages.
        messages: u64,
        /// How many bytes; none where the end does not say.
        bytes: Option<u64>,
    },
    /// What is to be done in a mailbox is known.
    Planned {
        /// Which.
        mailbox: &'p MailboxPath,
        /// Messages to copy.
        messages: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// Messages were copied.
    Copied {
        /// Into which mailbox.
        mailbox: &'p MailboxPath,
        /// How many, since the last time.
        messages: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// A message was refused.
    Failed {
        /// In which mailbox.
        mailbox: &'p MailboxPath,
        /// Its number on the end it comes from.
        uid: u32,
        /// Why.
        said: &'p str,
    },
    /// A mailbox is done.
    Finished {
        /// Which.
        mailbox: &'p MailboxPath,
    },
    /// Something is tried again after a pause.
    Waiting {
        /// Why.
        said: &'p str,
        /// For how long.
        #[serde(serialize_with = "as_seconds")]
        pause: Duration,
    },
}

fn as_seconds<S: serde::Serializer>(pause: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(pause.as_secs_f64())
}
