//! How long and how often something is tried again.
//!
//! Nothing here decides what is tried.

use std::time::Duration;

use super::Stop;
use crate::{FaultKind, Progress, apply::Context};

/// Longer than this nobody is kept waiting, whatever an end asks for.
const LONGEST: Duration = Duration::from_secs(600);

/// Of one thing that is tried again and again.
pub(super) struct Patience<'p> {
    context: &'p Context<'p>,
    tries: u32,
}

impl<'p> Patience<'p> {
    pub(super) fn new(context: &'p Context<'p>) -> Self {
        Self { context, tries: 0 }
    }

    /// Something was done since: it goes on.
    pub(super) fn renew(&mut self) {
        self.tries = 0;
    }

    /// Waits until it may be tried again.
    ///
    /// # Errors
    /// The reason itself, if it is of no use to try again.
    pub(super) async fn bear(&mut self, stop: Stop) -> Result<(), Stop> {
        let limits = &self.context.policy.limits;
        let Stop::End(_, fault) = &stop else { return Err(stop) };
        let asked = match fault.kind {
            FaultKind::Busy(asked) => asked,
            FaultKind::Lost => None,
            FaultKind::Access
            | FaultKind::Disk
            | FaultKind::Full
            | FaultKind::Mailbox
            | FaultKind::Refusals
            | FaultKind::Tls => {
                return Err(stop);
            }
        };
        if self.tries >= limits.retries {
            return Err(stop);
        }
        let doubled =
            limits.pause.saturating_mul(1_u32.checked_shl(self.tries).unwrap_or(u32::MAX));
        self.tries += 1;
        // Jobs that were cut off together do not come back together.
        let spread = doubled.saturating_mul(fastrand::u32(75..=125)) / 100;
        let pause = spread.max(asked.unwrap_or_default()).min(LONGEST);
        self.context.observer.see(Progress::Waiting { said: &fault.said, pause });
        tokio::time::sleep(pause).await;
        Ok(())
    }
}
