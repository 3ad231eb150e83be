//! Both ways.

use mailsync::Uid;

use crate::house::{House, count, deliver, fill, flags, mail, path};

#[tokio::test]
async fn what_is_new_on_either_end_is_on_both_after_one_run() {
    let house = House::mirror();
    fill(&house.left, "INBOX", 1..=10);
    fill(&house.right, "INBOX", 8..=20);
    fill(&house.right, "Only/Right", 1..=3);
    let report = house.run().await;
    assert_eq!(report.failure, None, "{report:#?}");
    assert_eq!(count(&house.left, "INBOX"), 20);
    house.assert_equal();
    assert_eq!(house.run().await.total.copied, 0);
}

#[tokio::test]
async fn case_44_a_deletion_wins_over_a_flag_and_can_be_taken_back() {
    let house = House::mirror();
    fill(&house.left, "INBOX", 1..=30);
    house.run().await;
    house.left.with(|a| a.remove(&path("INBOX"), uid(4)));
    house.right.with(|a| a.set_flags(&path("INBOX"), uid(4), flags("\\Flagged New")));
    house.right.with(|a| a.remove(&path("INBOX"), uid(5)));
    house.left.with(|a| a.remove(&path("INBOX"), uid(6)));
    house.right.with(|a| a.remove(&path("INBOX"), uid(6)));
    let report = house.run().await;
    assert_eq!(report.total.deleted, 2, "{report:#?}");
    house.assert_equal();
    assert_eq!((count(&house.left, "INBOX"), count(&house.right, "posthouse-undo")), (27, 1));
    assert_eq!(count(&house.left, "posthouse-undo"), 1);
}

#[tokio::test]
async fn case_17_both_change_flags_of_one_mail_and_both_changes_stay() {
    let house = House::mirror();
    deliver(&house.left, "INBOX", &mail(1), "\\Seen Work");
    house.run().await;
    house.left.with(|a| a.set_flags(&path("INBOX"), uid(1), flags("\\Seen \\Flagged Work")));
    house.right.with(|a| a.set_flags(&path("INBOX"), uid(1), flags("Play")));
    house.run().await;
    house.assert_equal();
    let there =
        house.left.with(|a| a.mailboxes[&path("INBOX")].messages[&uid(1)].flags.to_string());
    assert_eq!(there, "\\Flagged Play");
}

fn uid(number: u32) -> Uid {
    Uid::new(number).unwrap()
}
