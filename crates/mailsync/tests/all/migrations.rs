//! One way: what arrives, and what does not.

use mailsync::{
    Gone, Guards, Holdable, MailboxPath, MarkedDeleted, Outcome, PairState, Policy, Progress,
    SpecialUse, StateError, Uid, Verify,
    ends::{RefusalCause, memory::Trouble},
};

use crate::house::{House, count, date, deliver, fill, flags, holdings, mail, path, trouble};

#[tokio::test]
async fn a_first_run_copies_all_and_a_second_one_nothing() {
    let house = House::migration();
    fill(&house.left, "INBOX", 1..=300);
    fill(&house.left, "Work/Old", 300..=310);
    house.left.with(|a| a.make(&path("Empty"), None).subscribed = true);
    let survey = house.survey().await;
    assert_eq!(survey.mailboxes.iter().map(|m| m.copy).sum::<u64>(), 311);
    assert_eq!(count(&house.right, "INBOX"), 0);
    let report = house.run().await;
    assert_eq!(report.outcome, Outcome::Complete, "{report:#?}");
    assert_eq!((report.total.copied, report.total.left, report.total.right), (311, 311, 311));
    house.assert_equal();
    assert!(house.right.with(|a| a.mailboxes[&path("Empty")].subscribed));
    house.assert_settled().await;
}

#[tokio::test]
async fn a_later_run_copies_what_is_new_and_carries_flags_over() {
    let house = House::migration();
    fill(&house.left, "INBOX", 1..=20);
    house.run().await;
    fill(&house.left, "INBOX", 21..=22);
    house.left.with(|a| a.set_flags(&MailboxPath::inbox(), uid(3), flags("\\Deleted Late")));
    house.right.with(|a| a.set_flags(&MailboxPath::inbox(), uid(4), flags("\\Flagged")));
    let report = house.run().await;
    assert_eq!((report.total.copied, report.total.flagged, report.total.known), (2, 1, 20));
    let at = |uid| {
        house.right.with(|a| a.mailboxes[&MailboxPath::inbox()].messages[&uid].flags.to_string())
    };
    assert_eq!(at(uid(3)), "\\Deleted Late");
    assert_eq!(at(uid(4)), "\\Flagged", "the target's own change stays");
    house.assert_settled().await;
}

#[tokio::test]
async fn the_future_of_a_job_can_be_spawned() {
    let house = House::migration();
    fill(&house.left, "INBOX", 1..=3);
    let report = tokio::spawn(async move { house.run().await }).await.unwrap();
    assert_eq!(report.total.copied, 3);
}

#[tokio::test]
async fn case_01_identical_mails_keep_their_number() {
    let house = House::migration();
    for _ in 0..3 {
        deliver(&house.left, "INBOX", &mail(1), "\\Seen");
    }
    deliver(&house.right, "INBOX", &mail(1), "\\Seen");
    let report = house.run().await;
    assert_eq!((report.total.adopted, report.total.copied), (1, 2));
    house.assert_equal();
    house.assert_settled().await;
}

#[tokio::test]
async fn case_02_two_mails_with_one_message_id_are_two() {
    let house = House::migration();
    let one = b"Message-ID: <1@x>\r\nSubject: s\r\n\r\nfirst\r\n";
    let two = b"Message-ID: <1@x>\r\nSubject: s\r\n\r\nother\r\n";
    deliver(&house.left, "INBOX", one, "");
    deliver(&house.left, "INBOX", two, "");
    deliver(&house.right, "INBOX", two, "");
    let report = house.run().await;
    assert_eq!((report.total.adopted, report.total.copied), (1, 1));
    house.assert_equal();
}

#[tokio::test]
async fn case_03_mails_without_headers_or_without_anything_are_copied() {
    let house = House::migration();
    let strange: [&[u8]; 6] =
        [b"", b"\r\n", b"\r\n\r\nbody", b"no header at all", b"Subject: x\r\n", b"\n"];
    for bytes in strange {
        deliver(&house.left, "INBOX", bytes, "");
        deliver(&house.left, "INBOX", bytes, "");
    }
    deliver(&house.right, "INBOX", b"\r\n", "");
    let report = house.run().await;
    assert_eq!((report.total.adopted, report.total.copied), (1, 11), "{report:#?}");
    house.assert_equal();
    house.assert_settled().await;
}

#[tokio::test]
async fn case_04_to_08_and_12_whatever_is_in_a_mail_arrives_as_it_was() {
    let house = House::migration();
    let long =
        |line: usize| [b"Subject: ".to_vec(), vec![b'x'; line], b"\r\n\r\nb\r\n".to_vec()].concat();
    let many: Vec<u8> = (0..10_000).flat_map(|n| format!("X-{n}: y\r\n").into_bytes()).collect();
    let mails = [
        b"Message-ID: <1@x>\r\nMessage-ID:\r\n <2@x>\r\n\r\n".to_vec(),
        b"Message-ID: <\xc3\xa4\xff@x>\r\nSubject: \xe4\r\n\r\n\xff".to_vec(),
        b"X\0: y\r\n\r\na\0b\0".to_vec(),
        b"Subject: a\nTo: b\n\nbare\rand\r\r\n.\r\nFrom x\r\n>From y".to_vec(),
        b"a: b\r\n\r\n)\r\na1 OK done\r\n{123}\r\n+ go\r\n* BYE\r\n".to_vec(),
        long(10_000),
        long(1_000_000),
        [many, b"\r\nbody".to_vec()].concat(),
    ];
    for bytes in &mails {
        deliver(&house.left, "INBOX", bytes, "");
    }
    house.run().await;
    house.assert_equal();
}

#[tokio::test]
async fn case_09_a_large_mail_takes_no_memory_and_one_too_large_is_listed() {
    let mut house = House::migration();
    house.policy.limits.memory = 256 * 1024;
    let size = |bytes: usize| [b"Subject: big\r\n\r\n".to_vec(), vec![b'x'; bytes - 16]].concat();
    let limit = 3_000_000;
    house.right.with(|a| a.abilities.append_limit = Some(limit));
    for bytes in [2_999_999, 3_000_000, 3_000_001] {
        deliver(&house.left, "INBOX", &size(bytes), "");
    }
    let survey = house.survey().await;
    assert_eq!(survey.mailboxes[0].refused.len(), 1);
    let report = house.run().await;
    assert_eq!(report.outcome, Outcome::CompleteWithWarnings, "{report:#?}");
    assert_eq!((report.total.copied, report.total.failed), (2, 1));
    assert_eq!(
        (report.mailboxes[0].failed[0].uid, report.mailboxes[0].failed[0].size),
        (3, 3_000_001)
    );
    let left: Vec<_> = std::fs::read_dir(house.state_folder()).unwrap().collect();
    assert!(
        left.iter().all(|f| !f.as_ref().unwrap().file_name().to_string_lossy().contains("message"))
    );
    // The limit was raised: it is tried again.
    house.right.with(|a| a.abilities.append_limit = None);
    let report = house.run().await;
    assert_eq!(
        (report.total.copied, report.total.failed, report.outcome),
        (1, 0, Outcome::Complete)
    );
    house.assert_equal();
}

#[tokio::test]
async fn case_11_a_refused_mail_costs_no_other() {
    let house = House::migration();
    fill(&house.left, "INBOX", 1..=40);
    house.right.with(|a| a.refuses.push((b"This is mail 17.".to_vec(), RefusalCause::Other)));
    house.right.with(|a| a.refuses.push((b"This is mail 33.".to_vec(), RefusalCause::TooLarge)));
    let report = house.run().await;
    assert_eq!((report.total.copied, report.total.failed), (38, 2), "{report:#?}");
    let failed: Vec<u32> = report.mailboxes[0].failed.iter().map(|f| f.uid).collect();
    assert_eq!(failed, [17, 33]);
    assert_eq!(report.mailboxes[0].failed[0].said, "NO not this one");
    assert_eq!(report.outcome, Outcome::CompleteWithWarnings);
    let again = house.run().await;
    assert_eq!((again.total.copied, again.total.failed), (0, 2));
}

#[tokio::test]
async fn case_13_dates_are_kept_and_one_that_cannot_be_read_costs_no_mail() {
    let house = House::migration();
    for seconds in [0, -2_177_452_800, 4_102_444_800, 253_402_300_799] {
        house.left.with(|a| a.deliver(&path("INBOX"), &mail(1), &flags(""), date(seconds)));
    }
    house.left.with(|a| a.deliver(&path("INBOX"), &mail(1), &flags(""), None));
    house.run().await;
    house.assert_equal();
}

#[tokio::test]
async fn case_14_a_target_that_keeps_no_flags_gets_the_mails_all_the_same() {
    let house = House::migration();
    fill(&house.left, "INBOX", 1..=8);
    house.right.with(|a| {
        let none = Holdable { flags: flags(""), new_keywords: false };
        a.make(&path("INBOX"), None).holdable = none;
    });
    let report = house.run().await;
    assert_eq!(report.total.copied, 8);
    let again = house.run().await;
    assert_eq!((again.total.copied, again.total.flagged), (0, 0));
}

#[tokio::test]
async fn case_15_a_thousand_keywords_arrive_and_twins_by_case_are_one() {
    let house = House::migration();
    let words: Vec<String> = (0..1000).map(|n| format!("word{n}")).collect();
    deliver(&house.left, "INBOX", &mail(1), &words.join(" "));
    deliver(&house.left, "INBOX", &mail(2), "$MDNSent $mdnsent a:b");
    house.run().await;
    house.assert_equal();
}

#[tokio::test]
async fn case_16_marks_of_deletion_follow_the_policy() {
    for (policy, arrives) in [
        (MarkedDeleted::Copy, Some("\\Deleted \\Seen")),
        (MarkedDeleted::Unmark, Some("\\Seen")),
        (MarkedDeleted::Skip, None),
    ] {
        let mut house = House::migration();
        house.policy.marked_deleted = policy;
        deliver(&house.left, "INBOX", &mail(1), "\\Deleted \\Seen \\Recent");
        house.run().await;
        let there = house.right.with(|a| {
            a.mailboxes[&path("INBOX")].messages.values().next().map(|m| m.flags.to_string())
        });
        assert_eq!(there.as_deref(), arrives);
        house.assert_settled().await;
    }
}

#[tokio::test]
async fn case_17_a_flag_that_the_target_drops_is_set_again_and_then_left_alone() {
    let house = House::migration();
    house.right.with(|a| a.drops_flags = flags("\\Flagged"));
    fill(&house.left, "INBOX", 1..=12);
    let report = house.run().await;
    assert_eq!(report.outcome, Outcome::Complete, "{report:#?}");
    house.assert_equal();
    house.assert_settled().await;
}

#[tokio::test]
async fn case_18_a_refused_keyword_does_not_cost_the_mail() {
    let house = House::migration();
    house.right.with(|a| a.refuses_flags = flags("TEST:FLAG211"));
    deliver(&house.left, "INBOX", &mail(1), "\\Seen TEST:FLAG211");
    fill(&house.left, "INBOX", 2..=9);
    let report = house.run().await;
    assert_eq!((report.total.copied, report.total.failed), (9, 0), "{report:#?}");
    house.assert_equal();
}

#[tokio::test]
async fn case_19_to_21_names_arrive_as_they_are() {
    let house = House::migration();
    for name in [
        " lead",
        "trail ",
        "a  b",
        "~",
        "#x",
        "-rf",
        "%*",
        "{5}",
        "INBOX/INBOX",
        "\u{1f600}",
        "\u{e4}",
        "a\u{308}",
        "Work",
        "work",
        "..\\/..\\/x",
    ] {
        fill(&house.left, name, 1..=2);
    }
    let deep = (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join("/");
    fill(&house.left, &deep, 1..=1);
    let report = house.run().await;
    assert_eq!(report.failure, None);
    assert_eq!(report.total.copied, 31);
    let mut left = holdings(&house.left);
    let twin = left.remove("work").unwrap();
    left.insert("work (2)".to_owned(), twin);
    let travels = left.remove("..\\/..\\/x").unwrap();
    left.insert(".._.._x".to_owned(), travels);
    assert_eq!(left, holdings(&house.right));
    house.assert_settled().await;
}

#[tokio::test]
async fn case_24_special_use_makes_one_of_two_names() {
    let house = House::migration();
    house.left.with(|a| a.make(&path("Sent"), Some(SpecialUse::Sent)).subscribed = true);
    house.right.with(|a| a.make(&path("Gesendet"), Some(SpecialUse::Sent)).subscribed = true);
    house.left.with(|a| a.make(&path("Bin"), Some(SpecialUse::Trash)).subscribed = false);
    fill(&house.left, "Sent", 1..=3);
    house.run().await;
    assert_eq!(count(&house.right, "Gesendet"), 3);
    let bin = house.right.with(|a| a.mailboxes[&path("Bin")].special_use);
    assert_eq!(bin, Some(SpecialUse::Trash));
    house.assert_settled().await;
}

#[tokio::test]
async fn case_30_without_uidplus_places_are_looked_up() {
    let house = House::migration();
    house.right.with(|a| a.abilities.uidplus = false);
    fill(&house.left, "INBOX", 1..=300);
    deliver(&house.left, "INBOX", &mail(1), "");
    let report = house.run().await;
    assert_eq!(report.outcome, Outcome::Complete, "{report:#?}");
    house.assert_equal();
    house.left.with(|a| a.set_flags(&path("INBOX"), uid(5), flags("Late")));
    assert_eq!(house.run().await.total.flagged, 1);
    house.assert_equal();
}

#[tokio::test]
async fn case_32_a_mail_that_is_expunged_during_the_copy_stops_nothing() {
    let house = House::migration();
    fill(&house.left, "INBOX", 1..=10);
    house.run().await;
    fill(&house.left, "INBOX", 11..=20);
    house.left.with(|a| a.remove(&path("INBOX"), uid(15)));
    let report = house.run().await;
    assert_eq!((report.total.copied, report.total.gone), (9, 0));
}

#[tokio::test]
async fn case_32_a_mail_that_the_user_removes_from_the_target_at_once_stays_away() {
    let house = House::migration();
    fill(&house.left, "INBOX", 1..=10);
    let user = |progress: Progress<'_>| {
        if matches!(progress, Progress::Copied { .. }) {
            house.right.with(|a| a.remove(&path("INBOX"), uid(4)));
        }
    };
    let report = house.run_followed_by(&user).await;
    assert_eq!(report.total.copied, 10);
    let again = house.run().await;
    assert_eq!((again.total.copied, again.total.gone), (0, 1), "{again:#?}");
    assert_eq!(again.failure, None);
    assert_eq!(house.run().await.outcome, Outcome::Complete);
}

#[tokio::test]
async fn case_35_an_end_that_asks_to_wait_is_waited_for() {
    let house = House::migration();
    fill(&house.left, "INBOX", 1..=10);
    for call in [1, 3, 4, 6] {
        trouble(&house.right, call, Trouble::Busy);
        trouble(&house.left, call, Trouble::Busy);
    }
    let report = house.run().await;
    assert_eq!(report.outcome, Outcome::Complete, "{report:#?}");
    house.assert_equal();
}

#[tokio::test]
async fn case_36_a_full_account_stops_at_once_and_goes_on_later() {
    let mut house = House::migration();
    house.policy.limits.batch_messages = 4;
    fill(&house.left, "INBOX", 1..=40);
    house.right.with(|a| a.refuses.push((b"This is mail 17.".to_vec(), RefusalCause::Full)));
    let report = house.run().await;
    assert_eq!(report.outcome, Outcome::Failed);
    assert!(report.failure.unwrap().contains("not this one"));
    let copied = count(&house.right, "INBOX");
    assert_eq!(copied, 16);
    house.right.with(|a| a.refuses.clear());
    let report = house.run().await;
    assert_eq!((report.total.copied, report.outcome), (24, Outcome::Complete));
    house.assert_equal();
}

#[tokio::test]
async fn case_41_after_a_change_of_uidvalidity_nothing_is_copied_twice() {
    for side in 0..2 {
        let house = House::migration();
        fill(&house.left, "INBOX", 1..=40);
        deliver(&house.left, "INBOX", &mail(3), "");
        house.run().await;
        let end = if side == 0 { &house.left } else { &house.right };
        end.with(|a| a.renumber(&path("INBOX")));
        let report = house.run().await;
        assert_eq!((report.total.copied, report.total.deleted), (0, 0), "{report:#?}");
        assert_eq!(report.outcome, Outcome::CompleteWithWarnings);
        house.assert_equal();
        let again = house.run().await;
        assert_eq!(again.outcome, Outcome::Complete, "{again:#?}");
        house.assert_settled().await;
    }
}

#[tokio::test]
async fn case_41_a_mailbox_made_anew_with_the_same_uidvalidity_is_seen_through() {
    let house = House::migration();
    fill(&house.left, "INBOX", 1..=30);
    house.run().await;
    house.left.with(|a| {
        let mailbox = a.mailboxes.get_mut(&path("INBOX")).unwrap();
        mailbox.messages.clear();
        mailbox.uid_next = 1;
    });
    for number in 101..=130 {
        let bytes = [mail(number), vec![b'y'; 2000]].concat();
        house.left.with(|a| a.deliver(&path("INBOX"), &bytes, &flags(""), date(5)));
    }
    let report = house.run().await;
    assert_eq!(report.total.copied, 30, "{report:#?}");
    assert_eq!(count(&house.right, "INBOX"), 60);
}

#[tokio::test]
async fn case_42_an_empty_source_deletes_nothing() {
    let mut house = House::migration();
    house.policy.left_to_right.deletes = mailsync::Deletes::Own;
    fill(&house.left, "INBOX", 1..=30);
    house.run().await;
    let saved = house.left.with(|a| {
        let mailbox = a.mailboxes.get_mut(&path("INBOX")).unwrap();
        std::mem::take(&mut mailbox.messages)
    });
    let report = house.run().await;
    assert_eq!((report.total.held, report.total.deleted), (30, 0), "{report:#?}");
    assert_eq!(count(&house.right, "INBOX"), 30);
    house.left.with(|a| a.mailboxes.get_mut(&path("INBOX")).unwrap().messages = saved);
    let report = house.run().await;
    assert_eq!((report.total.held, report.total.copied), (0, 0), "{report:#?}");
    house.assert_equal();
}

#[tokio::test]
async fn deletes_are_off_until_asked_for_and_then_put_aside() {
    let mut house = House::migration();
    fill(&house.left, "INBOX", 1..=30);
    deliver(&house.right, "INBOX", b"Subject: the target's own\r\n\r\n", "");
    house.run().await;
    house.left.with(|a| a.remove(&path("INBOX"), uid(7)));
    let report = house.run().await;
    assert_eq!((report.total.deleted, count(&house.right, "INBOX")), (0, 31));
    house.policy.left_to_right.deletes = mailsync::Deletes::Own;
    house.left.with(|a| a.remove(&path("INBOX"), uid(8)));
    let report = house.run().await;
    assert_eq!((report.total.deleted, count(&house.right, "INBOX")), (1, 30), "{report:#?}");
    assert_eq!(count(&house.right, "posthouse-undo"), 1);
    assert_eq!(house.run().await.total.deleted, 0);
}

#[tokio::test]
async fn more_deletes_than_the_guard_allows_are_held() {
    let mut house = House::migration();
    house.policy.left_to_right.deletes = mailsync::Deletes::Own;
    house.policy.guards = Guards { percent: 20, messages: 5, empty: 10 };
    fill(&house.left, "INBOX", 1..=30);
    house.run().await;
    house.left.with(|a| (1..=10).for_each(|n| a.remove(&path("INBOX"), uid(n))));
    for _ in 0..2 {
        let report = house.run().await;
        assert_eq!((report.total.held, report.total.deleted), (10, 0), "{report:#?}");
    }
    house.policy.guards.percent = 50;
    let report = house.run().await;
    assert_eq!((report.total.held, report.total.deleted), (0, 10), "{report:#?}");
    house.assert_equal();
}

#[tokio::test]
async fn a_mail_that_the_user_deletes_on_the_target_stays_away_unless_asked_for() {
    let mut house = House::migration();
    fill(&house.left, "INBOX", 1..=10);
    house.run().await;
    house.right.with(|a| a.remove(&path("INBOX"), uid(2)));
    let report = house.run().await;
    assert_eq!((report.total.copied, report.total.gone), (0, 1), "{report:#?}");
    house.assert_settled().await;
    house.policy.gone = Gone::CopyAgain;
    let report = house.run().await;
    assert_eq!((report.total.copied, report.total.gone), (1, 0), "{report:#?}");
    house.assert_equal();
}

#[tokio::test]
async fn a_mailbox_that_is_gone_on_the_target_is_made_and_filled_again() {
    let house = House::migration();
    fill(&house.left, "Work", 1..=10);
    house.run().await;
    house.right.with(|a| a.mailboxes.remove(&path("Work")));
    let report = house.run().await;
    assert_eq!((report.total.copied, report.outcome), (10, Outcome::CompleteWithWarnings));
    house.assert_equal();
}

#[tokio::test]
async fn only_what_is_selected_is_taken_along_and_another_selection_looks_again() {
    let mut house = House::migration();
    fill(&house.left, "INBOX", 1..=20);
    fill(&house.left, "Junk", 1..=3);
    house.policy.selection.exclude = vec![regex::Regex::new("^Junk$").unwrap()];
    house.policy.selection.with_flags = flags("\\Seen");
    let report = house.run().await;
    assert_eq!((report.total.copied, report.total.skipped), (10, 10));
    assert_eq!(count(&house.right, "Junk"), 0);
    house.assert_settled().await;
    house.policy.selection.with_flags = flags("");
    house.policy.selection.search = Some("UNSEEN".to_owned());
    let report = house.run().await;
    assert_eq!((report.total.copied, report.total.skipped), (10, 0));
}

#[tokio::test]
async fn ends_that_tell_no_changes_come_out_the_same() {
    let house = House::migration();
    for end in [&house.left, &house.right] {
        end.with(|a| (a.tells_changes, a.abilities.batch) = (false, 1));
    }
    fill(&house.left, "INBOX", 1..=20);
    house.run().await;
    fill(&house.left, "INBOX", 21..=25);
    house.left.with(|a| a.set_flags(&path("INBOX"), uid(2), flags("New")));
    let report = house.run().await;
    assert_eq!((report.total.copied, report.total.flagged), (5, 1), "{report:#?}");
    house.assert_equal();
}

#[tokio::test]
async fn what_was_copied_before_by_another_program_is_found() {
    let house = House::migration();
    fill(&house.left, "INBOX", 1..=50);
    fill(&house.right, "INBOX", (1..=40).rev());
    house.right.with(|a| a.deliver(&path("INBOX"), b"Subject: own\r\n\r\n", &flags(""), None));
    let report = house.run().await;
    assert_eq!((report.total.adopted, report.total.copied), (40, 10), "{report:#?}");
    assert_eq!(count(&house.right, "INBOX"), 51);
    house.assert_settled().await;
}

#[tokio::test]
async fn bodies_that_differ_are_told() {
    let mut house = House::migration();
    house.policy.verify = Verify::Bodies(100);
    fill(&house.left, "INBOX", 1..=10);
    let report = house.run().await;
    assert_eq!(report.outcome, Outcome::Complete, "{report:#?}");
    house.right.with(|a| {
        let mailbox = a.mailboxes.get_mut(&path("INBOX")).unwrap();
        let message = mailbox.messages.get_mut(&uid(4)).unwrap();
        *message.bytes.last_mut().unwrap() = b'!';
    });
    let report = house.run().await;
    assert_eq!(report.outcome, Outcome::CompleteWithWarnings);
    house.right.with(|a| a.mailboxes.get_mut(&path("INBOX")).unwrap().messages.remove(&uid(5)));
    assert_eq!(house.run().await.total.gone, 1);
}

#[tokio::test]
async fn case_47_only_one_works_on_a_pair_and_a_lock_dies_with_its_owner() {
    let house = House::migration();
    let open = || PairState::open(house.state_folder(), "left", "right");
    let first = open().unwrap();
    assert!(matches!(open(), Err(StateError::Locked(_))));
    assert!(PairState::open(house.state_folder(), "left", "another").is_ok());
    drop(first);
    assert!(open().is_ok());
}

#[tokio::test]
async fn case_28_a_lost_or_damaged_memory_costs_no_mail_and_doubles_none() {
    let house = House::migration();
    fill(&house.left, "INBOX", 1..=30);
    deliver(&house.left, "INBOX", &mail(2), "");
    house.run().await;
    PairState::forget(house.state_folder(), "left", "right").unwrap();
    let report = house.run().await;
    assert_eq!((report.total.copied, report.total.adopted), (0, 31), "{report:#?}");
    house.assert_equal();
    let path = PairState::open(house.state_folder(), "left", "right").unwrap().path().to_owned();
    std::fs::write(
        &path,
        b"not a database, and longer than a header of one hundred bytes is ....................",
    )
    .unwrap();
    let error = PairState::open(house.state_folder(), "left", "right").unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, StateError::Damaged { .. }) && said.contains("move it away"), "{said}");
}

#[tokio::test]
async fn case_28_an_old_memory_copies_nothing_twice() {
    let house = House::migration();
    fill(&house.left, "INBOX", 1..=10);
    house.run().await;
    let path = PairState::open(house.state_folder(), "left", "right").unwrap().path().to_owned();
    let old = std::fs::read(&path).unwrap();
    fill(&house.left, "INBOX", 11..=20);
    house.run().await;
    for suffix in ["-wal", "-shm"] {
        let mut file = path.clone().into_os_string();
        file.push(suffix);
        let _ = std::fs::remove_file(file);
    }
    std::fs::write(&path, old).unwrap();
    let report = house.run().await;
    assert_eq!((report.total.copied, report.total.adopted), (0, 10), "{report:#?}");
    house.assert_equal();
}

#[tokio::test]
async fn case_48_uids_far_apart_and_near_their_end_are_uids() {
    let house = House::migration();
    fill(&house.left, "INBOX", 1..=3);
    for end in [&house.left, &house.right] {
        end.with(|a| a.mailboxes.get_mut(&path("INBOX")).unwrap().uid_next = u32::MAX - 9);
    }
    fill(&house.left, "INBOX", 4..=5);
    house.run().await;
    house.run().await;
    house.assert_equal();
    let uids = house.right.with(|a| {
        let messages = &a.mailboxes[&path("INBOX")].messages;
        messages
            .values()
            .map(|m| String::from_utf8_lossy(&m.bytes).into_owned())
            .collect::<Vec<_>>()
    });
    let wanted: Vec<String> = (1..=5).map(|n| String::from_utf8(mail(n)).unwrap()).collect();
    assert_eq!(uids, wanted, "in the order of the source");
}

#[tokio::test]
async fn a_policy_without_copies_changes_nothing() {
    let mut policy = Policy::migrate();
    policy.left_to_right.copy = false;
    let house = House::new(policy);
    fill(&house.left, "INBOX", 1..=3);
    house.run().await;
    assert_eq!(count(&house.right, "INBOX"), 0);
}

fn uid(number: u32) -> Uid {
    Uid::new(number).unwrap()
}
