//! Random histories on both ends.

use mailsync::{Guards, MailboxPath, Uid, ends::memory::MemoryEnd};
use proptest::{collection::vec, prelude::*};

use crate::house::{House, count, date, flags, holdings, mail, path};

#[derive(Clone, Debug)]
enum Act {
    Deliver { left: bool, mailbox: usize, mail: u32, flags: usize },
    Flag { left: bool, mailbox: usize, nth: usize, flags: usize },
    Remove { left: bool, mailbox: usize, nth: usize },
    Renumber { left: bool, mailbox: usize },
    Sync,
}

const MAILBOXES: [&str; 3] = ["INBOX", "Work", "Work/Old"];
const FLAGS: [&str; 5] = ["", "\\Seen", "\\Flagged", "\\Seen Work", "\\Answered $Junk"];

fn act() -> impl Strategy<Value = Act> {
    let (left, mailbox, nth, flags) =
        (any::<bool>(), 0..MAILBOXES.len(), 0_usize..8, 0..FLAGS.len());
    prop_oneof![
        5 => (left, mailbox.clone(), 1_u32..5, flags.clone())
            .prop_map(|(left, mailbox, mail, flags)| Act::Deliver { left, mailbox, mail, flags }),
        3 => (left, mailbox.clone(), nth.clone(), flags)
            .prop_map(|(left, mailbox, nth, flags)| Act::Flag { left, mailbox, nth, flags }),
        2 => (left, mailbox.clone(), nth)
            .prop_map(|(left, mailbox, nth)| Act::Remove { left, mailbox, nth }),
        1 => (left, mailbox).prop_map(|(left, mailbox)| Act::Renumber { left, mailbox }),
        2 => Just(Act::Sync),
    ]
}

impl Act {
    fn happen(&self, house: &House) {
        let end = |left: bool| if left { &house.left } else { &house.right };
        let at = |mailbox: usize| path(MAILBOXES[mailbox]);
        match *self {
            Self::Deliver { left, mailbox, mail: number, flags: which } => {
                let words = flags(FLAGS[which]);
                end(left).with(|a| {
                    a.deliver(&at(mailbox), &mail(number), &words, date(i64::from(number)))
                });
            }
            Self::Flag { left, mailbox, nth, flags: which } => {
                if let Some(uid) = nth_uid(end(left), &at(mailbox), nth) {
                    end(left).with(|a| a.set_flags(&at(mailbox), uid, flags(FLAGS[which])));
                }
            }
            Self::Remove { left, mailbox, nth } => {
                if let Some(uid) = nth_uid(end(left), &at(mailbox), nth) {
                    end(left).with(|a| a.remove(&at(mailbox), uid));
                }
            }
            Self::Renumber { left, mailbox } => end(left).with(|a| a.renumber(&at(mailbox))),
            Self::Sync => {}
        }
    }
}

fn nth_uid(end: &MemoryEnd, mailbox: &MailboxPath, nth: usize) -> Option<Uid> {
    end.with(|a| {
        let messages = &a.mailboxes.get(mailbox)?.messages;
        messages.keys().nth(nth % messages.len().max(1)).copied()
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

const NO_GUARDS: Guards = Guards { percent: 100, messages: u64::MAX, empty: u64::MAX };

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_ends_agree_after_any_history_and_then_rest(acts in vec(act(), 1..24)) {
        let mut house = House::mirror();
        house.policy.guards = NO_GUARDS;
        runtime().block_on(async {
            for act in &acts {
                act.happen(&house);
                if matches!(act, Act::Sync) {
                    let report = house.run().await;
                    assert_eq!(report.failure, None, "{report:#?}");
                }
            }
            // Where UIDs were void, deletes rest for two runs.
            for _ in 0..4 {
                house.run().await;
            }
            house.assert_equal();
            let survey = house.survey().await;
            let left: u64 = survey.mailboxes.iter().map(|m| m.copy + m.flag + m.delete + m.held).sum();
            assert_eq!(left, 0, "{survey:#?}");
        });
    }

    #[test]
    fn one_way_every_mail_arrives_as_often_as_it_is_there(acts in vec(act(), 1..24)) {
        let house = House::migration();
        runtime().block_on(async {
            // Nothing is removed on the target but by its user, which is a story of its own.
            let acts = acts.iter().filter(|act| !matches!(act, Act::Remove { left: false, .. }));
            for act in acts {
                act.happen(&house);
                if matches!(act, Act::Sync) {
                    house.run().await;
                }
            }
            let report = house.run().await;
            assert_eq!(report.failure, None, "{report:#?}");
            let right = holdings(&house.right);
            for (mailbox, mails) in holdings(&house.left) {
                for mail in &mails {
                    let often = |held: &[(String, String, Option<i64>)]| {
                        held.iter().filter(|other| other.0 == mail.0).count()
                    };
                    assert!(often(&mails) <= often(&right[&mailbox]), "{mailbox}: {report:#?}");
                }
            }
            let before = MAILBOXES.map(|mailbox| count(&house.right, mailbox));
            assert_eq!(house.run().await.total.copied, 0);
            assert_eq!(before, MAILBOXES.map(|mailbox| count(&house.right, mailbox)));
        });
    }
}
