//! Killed or cut off at every call, nothing is lost and nothing doubled.

use mailsync::{
    Outcome, Twins,
    ends::memory::{MemoryEnd, Trouble},
};

use crate::house::{House, count, deliver, fill, mail, trouble};

/// Two mailboxes with duplicates, in small batches.
fn house(sessions: usize) -> House {
    let mut house = House::migration();
    house.policy.limits.batch_messages = 4;
    house.policy.limits.sessions = sessions;
    fill(&house.left, "INBOX", 1..=9);
    deliver(&house.left, "INBOX", &mail(3), "\\Seen");
    deliver(&house.left, "INBOX", &mail(3), "");
    fill(&house.left, "Work", 4..=8);
    house
}

/// Does it with trouble at each call of one end in turn, until there is no such call.
async fn at_every_call(which: fn(&House) -> &MemoryEnd, what: Trouble, sessions: usize) {
    for call in 1.. {
        let house = house(sessions);
        trouble(which(&house), call, what);
        let first = house.run_until_hung().await;
        let met = which(&house).with(|account| std::mem::take(&mut account.troubles).is_empty());
        let report = match first {
            Some(report) => report,
            None => house.run().await,
        };
        let context = format!("{what:?} at call {call}: {report:#?}");
        assert_eq!(report.failure, None, "{context}");
        assert_ne!(report.outcome, Outcome::Failed, "{context}");
        // What comes late is taken away at the latest by the next run.
        house.run().await;
        for _ in 0..10 {
            house.right.with(|account| account.calls += 1);
        }
        let last = house.run().await;
        assert_eq!(last.total.copied, 0, "{context}");
        house.assert_equal();
        if !met {
            return;
        }
    }
}

#[tokio::test]
async fn case_27_a_connection_lost_at_any_call_is_made_good_in_the_same_run() {
    for what in [Trouble::LostBefore, Trouble::LostAfter] {
        at_every_call(|house| &house.left, what, 1).await;
        at_every_call(|house| &house.right, what, 1).await;
        at_every_call(|house| &house.right, what, 2).await;
    }
}

#[tokio::test]
async fn case_28_killed_at_any_call_the_next_run_goes_on() {
    for what in [Trouble::HangBefore, Trouble::HangAfter] {
        at_every_call(|house| &house.left, what, 1).await;
        at_every_call(|house| &house.right, what, 1).await;
        at_every_call(|house| &house.right, what, 2).await;
    }
}

#[tokio::test]
async fn case_29_a_batch_of_which_half_was_stored_is_completed() {
    at_every_call(|house| &house.right, Trouble::LostHalfway, 1).await;
}

#[tokio::test]
async fn case_29_a_copy_that_turns_up_late_is_taken_away() {
    for late in [2, 4, 7] {
        at_every_call(|house| &house.right, Trouble::LostLate(late), 1).await;
    }
}

#[tokio::test]
async fn case_29_a_late_copy_is_only_told_where_the_policy_says_so() {
    let mut house = House::migration();
    house.policy.twins = Twins::Tell;
    fill(&house.left, "INBOX", 1..=3);
    // Overview, listing, then the append; late enough to be missed by the looks that follow.
    trouble(&house.right, 3, Trouble::LostLate(6));
    let report = house.run().await;
    let told = |r: &mailsync::Report| {
        r.mailboxes.iter().any(|m| m.warnings.iter().any(|w| w.0.contains("stored late")))
    };
    let again = house.run().await;
    assert!(told(&report) || told(&again), "{report:#?} {again:#?}");
    assert_eq!(count(&house.right, "INBOX"), 6);
}

#[tokio::test]
async fn case_33_a_mail_delivered_meanwhile_is_nobodys_twin() {
    let house = House::migration();
    fill(&house.left, "INBOX", 1..=3);
    trouble(&house.right, 3, Trouble::LostBefore);
    // The same mails come in by delivery, at another time of day.
    for number in 1..=3 {
        deliver(&house.right, "Elsewhere", &mail(number), "");
    }
    house.run().await;
    for number in 1..=3 {
        deliver(&house.right, "INBOX", &mail(number), "");
    }
    house.run().await;
    house.run().await;
    assert_eq!(count(&house.right, "INBOX"), 6, "what others deliver stays");
}

#[tokio::test]
async fn without_uidplus_nothing_is_lost_or_doubled_either_where_the_end_holds_still() {
    for what in [Trouble::HangAfter, Trouble::LostAfter, Trouble::LostHalfway, Trouble::LostBefore]
    {
        for call in 1..14 {
            let house = house(1);
            house.right.with(|account| account.abilities.uidplus = false);
            trouble(&house.right, call, what);
            house.run_until_hung().await;
            house.right.with(|account| account.troubles.clear());
            house.run().await;
            house.assert_equal();
        }
    }
}
