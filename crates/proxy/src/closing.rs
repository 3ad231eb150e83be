//! Whether the program is about to end what is left.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Said once, heard by all who wait and all who ask later.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    begun: AtomicBool,
    told: Notify,
}

impl Closing {
    /// Begins to close.
    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::SeqCst);
        self.told.notify_waiters();
    }

    /// Does the work, or gives it up when closing begins: then there is no result.
    pub(crate) async fn unless_begun<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            result = work => Some(result),
            () = self.begun() => None,
        }
    }

    /// Returns when closing has begun.
    async fn begun(&self) {
        loop {
            let told = self.told.notified();
            if self.begun.load(Ordering::SeqCst) {
                return;
            }
            told.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Arc};

    use super::*;

    #[tokio::test]
    async fn work_is_given_up_when_closing_begins_and_not_begun_after_it() {
        let closing = Arc::new(Closing::default());
        assert_eq!(closing.unless_begun(async { 7 }).await, Some(7));
        let waiting = Arc::clone(&closing);
        let task = tokio::spawn(async move { waiting.unless_begun(pending::<()>()).await });
        tokio::task::yield_now().await;
        closing.begin();
        assert_eq!(task.await.unwrap(), None);
        assert_eq!(closing.unless_begun(pending::<()>()).await, None);
    }
}
