//! Between servers of all makes, over sockets.

use std::{sync::Arc, time::Duration};

use mailsync::{
    End, FaultKind, Job, Outcome, PairState, Policy, Progress, Report, Session,
    ends::imap::{ImapEnd, ImapServer as Server, ImapSettings, ImapWay, Privacy},
};
use model::{Host, Secret, UserName};
use proto::back::{How, Login, Whose};
use tempfile::TempDir;
use testkit::imap_server::{Act, Cut, ImapServer, Mail, Profile, Quirk, Rule};
use transport::tls::{ClientTls, Verify};

use crate::house::within;

const USER: &str = "alice";

struct Street {
    left: ImapServer,
    right: ImapServer,
    state: TempDir,
    policy: Policy,
}

fn start(profile: Profile) -> ImapServer {
    let server = ImapServer::start(profile).unwrap();
    server.world().add_account(USER, "sesame");
    server
}

impl Street {
    fn new(left: Profile, right: Profile) -> Self {
        let state = TempDir::new().unwrap();
        let mut policy = Policy::migrate();
        policy.limits.pause = Duration::from_millis(1);
        policy.limits.settle = Duration::from_millis(1);
        policy.limits.spill = state.path().to_owned();
        policy.limits.sessions = 2;
        Self { left: start(left), right: start(right), state, policy }
    }

    fn end(server: &ImapServer, name: &str, read_only: bool) -> ImapEnd {
        Self::end_by(server, name, read_only, Privacy::Clear)
    }

    fn end_by(server: &ImapServer, name: &str, read_only: bool, privacy: Privacy) -> ImapEnd {
        let login = Login {
            user: UserName::new(USER).unwrap(),
            how: How::Password(Secret::new("sesame").unwrap()),
            whose: Whose::Client,
        };
        ImapEnd::new(ImapSettings {
            name: name.to_owned(),
            way: ImapWay::Server(Server {
                host: Host::Ip(server.address().ip()),
                port: server.port(),
                privacy,
                logins: Arc::new(login),
            }),
            read_only,
            connect_limit: Duration::from_secs(10),
            answer_limit: Duration::from_secs(10),
            disbelieved: Vec::new(),
        })
    }

    async fn run(&self) -> Report {
        let state = within(async {
            loop {
                match PairState::open(self.state.path(), "left", "right") {
                    Err(mailsync::StateError::Locked(_)) => tokio::task::yield_now().await,
                    state => return state.unwrap(),
                }
            }
        });
        let left = Self::end(&self.left, "left", true);
        let right = Self::end(&self.right, "right", false);
        let job = Job::new(left, right, self.policy.clone(), state.await);
        within(job.run(&|_: Progress<'_>| {})).await
    }

    /// What both hold, as bytes and flags, is the same in a mailbox.
    fn assert_same(&self, left: &str, right: &str) {
        let held = |server: &ImapServer, mailbox: &str| {
            let world = server.world();
            let mut held: Vec<(Vec<u8>, Vec<String>, String)> =
                (world.messages(USER, mailbox).iter())
                    .map(|m| {
                        let flags = m.flags.iter().filter(|f| *f != "\\Recent").cloned().collect();
                        (m.body.to_vec(), flags, m.date.trim().to_owned())
                    })
                    .collect();
            held.sort();
            held
        };
        assert_eq!(held(&self.left, left), held(&self.right, right));
    }
}

fn mail(number: u32) -> Mail {
    Mail::new(format!(
        "Received: from a by b; {number}\r\nMessage-ID: <{number}@x>\r\nSubject: mail {number}\r\n\r\nbody {number}\r\n"
    ))
    .date("17-Jul-1996 02:44:25 -0700")
}

fn fill(street: &Street, mailbox: &str, numbers: std::ops::RangeInclusive<u32>) {
    for number in numbers {
        let flags = ["\\Seen", "\\Answered", "\\Draft"];
        let mail = mail(number).flag(flags[number as usize % flags.len()]);
        street.left.world().deliver(USER, mailbox, mail);
    }
}

#[tokio::test]
async fn from_every_make_to_every_make() {
    for left in Profile::all() {
        for right in Profile::all() {
            let (from, to) = (left.name, right.name);
            let separator = [left.separator, right.separator];
            let prefix = [left.prefix, right.prefix];
            let street = Street::new(left.clone(), right);
            fill(&street, "INBOX", 1..=25);
            let work = format!("{}Work{}Old", prefix[0], separator[0]);
            street.left.world().create(USER, &work);
            fill(&street, &work, 20..=30);
            let report = street.run().await;
            assert_eq!(report.failure, None, "{from} to {to}: {report:#?}");
            assert_eq!(report.total.copied, 36, "{from} to {to}: {report:#?}");
            street.assert_same("INBOX", "INBOX");
            street.assert_same(&work, &format!("{}Work{}Old", prefix[1], separator[1]));
            let again = street.run().await;
            assert_eq!(
                (again.failure.as_deref(), again.total.copied),
                (None, 0),
                "{from} to {to}: {again:#?}"
            );
            street.left.world().deliver(USER, "INBOX", mail(99));
            let more = street.run().await;
            assert_eq!(
                (more.failure.as_deref(), more.total.copied),
                (None, 1),
                "{from} to {to}: {more:#?}"
            );
            street.assert_same("INBOX", "INBOX");
        }
    }
}

#[tokio::test]
async fn case_27_a_connection_cut_at_any_byte_costs_no_mail_and_doubles_none() {
    for step in 0..60 {
        for cut in [Cut::AfterReceived(40 + step * 23), Cut::AfterSent(60 + step * 61)] {
            let street = Street::new(Profile::dovecot(), Profile::dovecot());
            fill(&street, "INBOX", 1..=6);
            let server = if step % 2 == 0 { &street.right } else { &street.left };
            server.cut_next(cut);
            let report = street.run().await;
            assert_eq!(report.failure, None, "{cut:?}: {report:#?}");
            street.assert_same("INBOX", "INBOX");
        }
    }
}

#[tokio::test]
async fn case_29_and_36_what_a_server_says_and_does_is_understood() {
    for (act, nth) in [
        (Act::CloseAfter, 1),
        (Act::CloseBefore, 1),
        (Act::StoresOnly(2), 1),
        (Act::WrongUids(7), 1),
        (Act::Answer("NO [UNAVAILABLE] later"), 1),
        (Act::Answer("NO [THROTTLED] slower"), 1),
        (Act::Late(Duration::from_millis(30)), 1),
    ] {
        let street = Street::new(Profile::dovecot(), Profile::dovecot());
        fill(&street, "INBOX", 1..=9);
        let shown = format!("{act:?}");
        street.right.rule(Rule::new("APPEND", act).nth(nth));
        let report = street.run().await;
        assert_eq!(report.failure, None, "{shown}: {report:#?}");
        // What came late is gone after the next run.
        street.run().await;
        street.assert_same("INBOX", "INBOX");
    }
}

#[tokio::test]
async fn case_05_a_mail_over_which_the_server_hangs_up_costs_no_other() {
    let profile = Profile::plain().with(Quirk::NulEndsSession);
    let street = Street::new(Profile::plain(), profile);
    fill(&street, "INBOX", 1..=5);
    street.left.world().deliver(USER, "INBOX", Mail::new(b"Subject: nul\r\n\r\na\0b\r\n"));
    fill(&street, "INBOX", 6..=9);
    let report = street.run().await;
    assert_eq!(report.failure, None, "{report:#?}");
    assert_eq!((report.total.copied, report.total.failed), (9, 1), "{report:#?}");
    assert_eq!(report.mailboxes[0].failed[0].uid, 6);
    assert_eq!(street.right.world().messages(USER, "INBOX").len(), 9);
}

#[tokio::test]
async fn case_31_a_short_listing_deletes_nothing_and_is_asked_for_again() {
    let mut street = Street::new(Profile::plain(), Profile::plain());
    street.policy.left_to_right.deletes = mailsync::Deletes::Own;
    fill(&street, "INBOX", 1..=20);
    assert_eq!(street.run().await.total.copied, 20);
    street.left.rule(Rule::new("UID FETCH", Act::Short(12)).nth(1));
    let report = street.run().await;
    assert_eq!((report.total.deleted, report.total.held), (0, 0), "{report:#?}");
    street.assert_same("INBOX", "INBOX");
}

#[tokio::test]
async fn case_32_mail_that_arrives_during_the_copy_is_told_and_copied_by_the_next_run() {
    let street = Street::new(Profile::dovecot(), Profile::dovecot());
    fill(&street, "INBOX", 1..=20);
    let deliver = Act::Deliver { user: USER, mailbox: "INBOX", mail: mail(50) };
    street.left.rule(Rule::new("UID FETCH", deliver).nth(2));
    let report = street.run().await;
    assert_eq!(report.failure, None, "{report:#?}");
    assert_eq!(report.outcome, Outcome::CompleteWithWarnings);
    assert_eq!(street.run().await.total.copied, 1);
    street.assert_same("INBOX", "INBOX");
}

#[tokio::test]
async fn case_20_names_that_are_broken_arrive_and_the_next_run_finds_them() {
    let street = Street::new(Profile::dovecot(), Profile::cyrus());
    for name in [&b"&AGE"[..], b"a&", b"Entw\xc3\xbcrfe", b"Entw&APw-rfe", b"a.b"] {
        street.left.world().create(USER, name);
    }
    let report = street.run().await;
    assert_eq!(report.failure, None, "{report:#?}");
    assert!(report.mailboxes.iter().all(|m| m.failure.is_none()), "{report:#?}");
    let again = street.run().await;
    assert_eq!(again.mailboxes.len(), report.mailboxes.len());
    assert_eq!(again.warnings, report.warnings[..0], "{again:#?}");
}

#[tokio::test]
async fn a_second_run_without_change_is_one_question_to_each() {
    let street = Street::new(Profile::dovecot(), Profile::dovecot());
    fill(&street, "INBOX", 1..=20);
    street.left.world().create(USER, "Work");
    street.run().await;
    let connections = street.right.traffic().len();
    let before = street.right.log().len();
    let report = street.run().await;
    assert_eq!(report.outcome, Outcome::Complete, "{report:#?}");
    let log = street.right.log();
    let commands: Vec<&str> = log[before..].iter().map(|c| c.split(' ').next().unwrap()).collect();
    assert!(!commands.contains(&"SELECT") && !commands.contains(&"EXAMINE"), "{commands:?}");
    assert_eq!(street.right.traffic().len(), connections + 1);
}

#[tokio::test]
async fn case_35_an_end_that_allows_one_connection_is_served_by_one() {
    let mut street = Street::new(Profile::dovecot(), Profile::dovecot());
    street.policy.limits.sessions = 4;
    street.left.limit_connections(1);
    street.right.limit_connections(2);
    fill(&street, "INBOX", 1..=9);
    for name in ["a", "b", "c"] {
        street.left.world().create(USER, name);
        fill(&street, name, 1..=9);
    }
    let report = street.run().await;
    assert_eq!((report.outcome, report.total.copied), (Outcome::Complete, 36), "{report:#?}");
}

#[tokio::test]
async fn flags_that_the_user_takes_away_on_any_make_are_taken_away_by_the_next_run() {
    for profile in Profile::all() {
        let name = profile.name;
        let street = Street::new(profile, Profile::dovecot());
        for number in 1..=9 {
            let mail = mail(number).flag("\\Seen").flag("\\Answered");
            street.left.world().deliver(USER, "INBOX", mail);
        }
        street.run().await;
        street.left.world().set_flags(USER, "INBOX", 5, &["\\Answered"]);
        let report = street.run().await;
        assert_eq!(report.total.flagged, 1, "{name}: {report:#?}");
        street.assert_same("INBOX", "INBOX");
    }
}

#[tokio::test]
async fn case_34_what_vanished_and_was_never_there_is_passed_over() {
    let mut street = Street::new(Profile::dovecot(), Profile::dovecot());
    street.policy.left_to_right.deletes = mailsync::Deletes::Own;
    fill(&street, "INBOX", 1..=20);
    street.run().await;
    street.left.world().expunge(USER, "INBOX", &[3]);
    street.left.rule(Rule::new("EXAMINE", Act::Say("* VANISHED (EARLIER) 500:900")));
    let report = street.run().await;
    assert_eq!((report.total.deleted, report.total.held), (1, 0), "{report:#?}");
    street.assert_same("INBOX", "INBOX");
}

#[tokio::test]
async fn case_31_what_is_said_of_the_mailbox_before_is_not_taken_for_this_one() {
    let street = Street::new(Profile::dovecot(), Profile::dovecot());
    fill(&street, "INBOX", 1..=20);
    street.run().await;
    street.left.world().set_flags(USER, "INBOX", 5, &["\\Answered"]);
    let late = "* 1 FETCH (UID 2 FLAGS (\\Flagged))\r\n* OK [CLOSED] that was the other one";
    street.left.rule(Rule::new("EXAMINE", Act::Say(late)));
    let report = street.run().await;
    assert_eq!(report.total.flagged, 1, "{report:#?}");
    let flagged = street.right.world().messages(USER, "INBOX");
    assert!(flagged.iter().all(|m| !m.flags.contains("\\Flagged")), "{report:#?}");
}

#[tokio::test]
async fn case_38_what_is_said_in_clear_and_to_whom_is_ours_to_decide() {
    let clear = start(Profile::dovecot());
    let secret =
        ImapServer::start_with(Profile::dovecot(), testkit::imap_server::Privacy::Tls).unwrap();
    let later = ImapServer::start_with(Profile::dovecot(), testkit::imap_server::Privacy::StartTls)
        .unwrap();
    for server in [&secret, &later] {
        server.world().add_account(USER, "sesame");
    }
    let trusting =
        |server: &ImapServer| ClientTls::new(&Verify::Roots { file: server.ca() }).unwrap();
    let strict = || ClientTls::new(&Verify::Pins(vec![[7; 32]])).unwrap();
    for (server, privacy, enters) in [
        (&clear, Privacy::StartTls(strict()), false),
        (&clear, Privacy::StartTlsIfOffered(strict()), true),
        (&secret, Privacy::Implicit(trusting(&secret)), true),
        (&secret, Privacy::Implicit(strict()), false),
        (&later, Privacy::StartTls(trusting(&later)), true),
        (&later, Privacy::StartTlsIfOffered(strict()), false),
    ] {
        let shown = format!("{privacy:?}");
        let entered = within(Street::end_by(server, "x", true, privacy).open()).await;
        match entered {
            Ok(session) => {
                assert!(enters, "{shown}");
                session.close().await;
            }
            Err(fault) => {
                assert!(!enters, "{shown}: {fault}");
                assert_eq!(fault.kind, FaultKind::Tls, "{shown}: {fault}");
            }
        }
    }
}

#[tokio::test]
async fn case_38_a_wrong_password_or_no_tls_stops_at_once() {
    let street = Street::new(Profile::dovecot(), Profile::dovecot());
    street.right.world().add_account(USER, "changed");
    let report = street.run().await;
    assert_eq!(report.outcome, Outcome::Failed);
    assert!(!report.failure.unwrap().contains("sesame"));
}
