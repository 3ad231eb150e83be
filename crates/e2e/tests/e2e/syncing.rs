//! The sync engine between real servers. What they hold is asked for by another client than its own.

use std::{collections::BTreeSet, path::Path, sync::Arc, thread, time::Duration};

use e2e::{
    account::{Account, Held, Mail, Parts},
    cases,
    house::{House, Kind, Person},
    runner::Case,
    tap::Tap,
};
use mailsync::{
    Job, Outcome, PairState, Policy, Progress, Report, StateError,
    ends::imap::{ImapEnd, ImapServer, ImapSettings, ImapWay, Privacy},
};
use model::{Host, Secret, UserName};
use proto::back::{How, Login, Whose};
use tempfile::TempDir;
use testkit::{servers::Service, wait, workspace};
use tokio::runtime::{Builder, Runtime};
use transport::tls::{ClientTls, Verify};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        from_maildir_to_sdbox_all_arrives_as_it_was_and_is_not_asked_for_twice,
        from_maildir_to_cyrus_all_arrives_as_it_was_and_is_not_asked_for_twice,
        from_sdbox_to_maildir_all_arrives_as_it_was_and_is_not_asked_for_twice,
        from_sdbox_to_cyrus_all_arrives_as_it_was_and_is_not_asked_for_twice,
        from_cyrus_to_maildir_all_arrives_as_it_was_and_is_not_asked_for_twice,
        from_cyrus_to_sdbox_all_arrives_as_it_was_and_is_not_asked_for_twice,
        what_a_user_does_during_a_run_from_dovecot_arrives_by_the_next,
        what_a_user_does_during_a_run_from_cyrus_arrives_by_the_next,
        what_a_server_alters_is_told_where_bodies_are_compared,
        stopped_again_and_again_towards_maildir_a_job_loses_nothing_and_doubles_nothing,
        stopped_again_and_again_towards_sdbox_a_job_loses_nothing_and_doubles_nothing,
        stopped_again_and_again_towards_cyrus_a_job_loses_nothing_and_doubles_nothing,
    ]
}

/// How long a run may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody who moves from one server to another.
struct Move<'h> {
    house: &'h House,
    left: Account,
    right: Account,
    tap: Tap,
    policy: Policy,
    state: TempDir,
    runtime: Runtime,
}

impl<'h> Move<'h> {
    fn new(house: &'h House, from: Kind, to: Kind) -> Self {
        let state = workspace::temporary_folder("syncing").unwrap();
        let mut policy = Policy::migrate();
        policy.limits.spill = state.path().to_owned();
        policy.limits.settle = Duration::from_millis(200);
        Self {
            house,
            left: Account::new(house, from),
            right: Account::new(house, to),
            tap: Tap::before(house.port(to, Service::Imap)),
            policy,
            state,
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
        }
    }

    /// The old server is reached by TLS, the new one in clear.
    fn job(&self) -> Job<ImapEnd, ImapEnd> {
        let kind = self.left.kind;
        let verify = Verify::Roots { file: Some(self.house.authority(kind)) };
        let tls = Privacy::Implicit(ClientTls::new(&verify).unwrap());
        let left = end("left", self.house.port(kind, Service::Imaps), tls, &self.left.person);
        let right = end("right", self.tap.port(), Privacy::Clear, &self.right.person);
        Job::new(left, right, self.policy.clone(), memory(self.state.path()))
    }

    fn run(&self) -> Report {
        let job = self.job();
        let ignore = |_: Progress<'_>| {};
        let run = async { tokio::time::timeout(PATIENCE, job.run(&ignore)).await };
        let report = self.runtime.block_on(run).unwrap();
        assert_eq!(report.failure, None, "{report:#?}");
        let failed = report.mailboxes.iter().any(|m| m.failure.is_some() || !m.failed.is_empty());
        assert!(!failed, "{report:#?}");
        report
    }

    /// Runs until so much more has been said to the new server; whether it came to its end before.
    fn run_until(&self, more: usize) -> bool {
        let job = self.job();
        let end = self.tap.bytes() + more;
        let said = async {
            while self.tap.bytes() < end {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        self.runtime.block_on(async {
            let ignore = |_: Progress<'_>| {};
            tokio::select! {
                report = job.run(&ignore) => {
                    assert_eq!(report.failure, None, "{report:#?}");
                    true
                }
                () = said => false,
            }
        })
    }

    /// Both hold the same.
    fn compare(&mut self) {
        let (from, to) = (self.left.kind, self.right.kind);
        let (left, right) = (self.left.held(), self.right.held());
        let left = moved(left, from, to);
        let names = |held: &Held| held.mailboxes.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&left), names(&right), "{from:?} to {to:?}");
        for (name, mails) in &left.mailboxes {
            let there = &right.mailboxes[name];
            let differ = (beyond(mails, there), beyond(there, mails));
            assert_eq!(differ, (vec![], vec![]), "{from:?} to {to:?}: {name:?}");
        }
        assert!(
            left.subscribed.is_subset(&right.subscribed),
            "{from:?} to {to:?}: {:?} {:?}",
            left.subscribed,
            right.subscribed
        );
        assert_eq!(left.uses, right.uses, "{from:?} to {to:?}");
    }
}

/// What the one has more of than the other.
fn beyond<'m>(mails: &'m [Mail], others: &[Mail]) -> Vec<&'m Mail> {
    let mut others: Vec<&Mail> = others.iter().collect();
    let mut beyond: Vec<&Mail> = mails.iter().collect();
    beyond.retain(|mail| match others.iter().position(|other| other == mail) {
        Some(at) => {
            others.swap_remove(at);
            false
        }
        None => true,
    });
    beyond
}

/// What was begun to be written by a job that was stopped still is; the lock is free then.
fn memory(folder: &Path) -> PairState {
    let open = || match PairState::open(folder, "left", "right") {
        Err(StateError::Locked(_)) => None,
        state => Some(state.unwrap()),
    };
    wait::poll(PATIENCE, open).unwrap()
}

fn end(name: &str, port: u16, privacy: Privacy, person: &Person) -> ImapEnd {
    let login = Login {
        user: UserName::new(person.name.as_str()).unwrap(),
        how: How::Password(Secret::new(person.password.as_str()).unwrap()),
        whose: Whose::Client,
    };
    ImapEnd::new(ImapSettings {
        name: name.to_owned(),
        way: ImapWay::Server(ImapServer {
            host: "localhost".parse::<Host>().unwrap(),
            port,
            privacy,
            logins: Arc::new(login),
        }),
        read_only: name == "left",
        connect_limit: PATIENCE,
        answer_limit: PATIENCE,
        disbelieved: Vec::new(),
    })
}

/// Where sent mail is: Dovecot knows it by its name.
fn sent(kind: Kind) -> &'static str {
    if kind == Kind::Cyrus { "Gesendete Objekte" } else { "Sent" }
}

/// What should be there after a move.
fn moved(held: Held, from: Kind, to: Kind) -> Held {
    let part = |part: &String| match &**part {
        there if there == sent(from) => sent(to).to_owned(),
        "v1.2" if to == Kind::Maildir => "v1_2".to_owned(),
        other => other.to_owned(),
    };
    let parts = |parts: Parts| -> Parts { parts.iter().map(part).collect() };
    Held {
        mailboxes: held.mailboxes.into_iter().map(|(name, held)| (parts(name), held)).collect(),
        subscribed: held.subscribed.into_iter().map(parts).collect::<BTreeSet<_>>(),
        uses: held.uses.into_iter().map(|(name, what)| (parts(name), what)).collect(),
    }
}

const LONG_AGO: &str = "\"17-Jul-1996 02:44:25 -0700\" ";
const PROJECTS: [&str; 1] = ["Projekte"];
const JAPANESE: [&str; 3] = ["Projekte", "Entw&APw-rfe", "&ZeVnLIqe-"];
const INBOX: [&str; 1] = ["INBOX"];

fn mail(number: usize) -> Vec<u8> {
    format!(
        "Received: from a by b; {number}\r\nMessage-ID: <{number}@example.org>\r\n\
         From: a@example.org\r\nSubject: mail {number}\r\n\r\nbody {number}\r\n{}",
        "line\r\n".repeat(number * 7 % 200)
    )
    .into_bytes()
}

/// What mail looks like that came over many years.
fn odd_mails() -> Vec<Vec<u8>> {
    let mut mails = vec![
        // One Message-ID, two mails.
        b"Message-ID: <one@x>\r\nSubject: one\r\n\r\nthis\r\n".to_vec(),
        b"Message-ID: <one@x>\r\nSubject: one\r\n\r\nthat\r\n".to_vec(),
        b"Subject: no Message-ID\r\n\r\nbody\r\n".to_vec(),
        b"Subject: no Message-ID\r\n\r\nydob\r\n".to_vec(),
        b"Subject: nothing else\r\n\r\n".to_vec(),
        b"Subject: no line end at the end\r\n\r\nbody".to_vec(),
        b"Subject: 8 bits\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xe4\xf6\xfc \xff\xfe\r\n"
            .to_vec(),
        "Subject: IMAP\r\n\r\n* 1 EXISTS\r\na1 OK done\r\n{5}\r\n)\r\n.\r\n".as_bytes().to_vec(),
        [b"Subject: a long line\r\n\r\n".as_slice(), &[b'x'; 70_000], b"\r\n"].concat(),
    ];
    let mut large = b"Message-ID: <large@x>\r\nSubject: large\r\n\r\n".to_vec();
    for number in 0..65_000_u32 {
        let line = number.wrapping_mul(2_654_435_761);
        large.extend(format!("{line:010} {} \r\n", "large ".repeat(11)).into_bytes());
    }
    assert!(large.len() > 5_000_000);
    mails.push(large);
    // Twins stay twins.
    mails.extend([mail(1), mail(1), mail(1)]);
    mails
}

/// An account of many years.
fn fill(account: &mut Account) {
    for parts in [&PROJECTS[..], &JAPANESE[..2], &JAPANESE, &["Leer"], &["a b &- c"]] {
        account.create(parts, "");
    }
    let cyrus = account.kind == Kind::Cyrus;
    account.create(&[sent(account.kind)], if cyrus { " (USE (\\Sent))" } else { "" });
    account.create(&["Drafts"], if cyrus { " (USE (\\Drafts))" } else { "" });
    if account.kind != Kind::Maildir {
        account.create(&["v1.2"], "");
        account.append(&["v1.2"], "", &mail(7));
    }
    for parts in [&PROJECTS[..], &JAPANESE] {
        let name = account.name(parts);
        account.done(&format!("SUBSCRIBE \"{name}\""));
    }
    for odd in odd_mails() {
        account.append(&INBOX, LONG_AGO, &odd);
    }
    let flags = [
        "",
        "(\\Seen) ",
        "(\\Answered \\Seen $Forwarded) ",
        "(\\Flagged Work NonJunk) ",
        "(\\Deleted \\Seen) ",
        "(\\Draft) ",
    ];
    for (number, flags) in (0..24).zip(flags.iter().cycle()) {
        let day = number + 1;
        let date = format!("{flags}\"{day:02}-Mar-2021 23:{day:02}:59 +1345\" ");
        let places: [&[&str]; 3] = [&INBOX, &JAPANESE, &["a b &- c"]];
        account.append(places[number % 3], &date, &mail(number));
    }
    account.append(&[sent(account.kind)], "(\\Seen) ", &mail(50));
    account.append(&["Drafts"], "(\\Draft) ", &mail(51));
}

/// Cyrus puts an X for each such byte of a header.
const BARE_HEADER: &str = "Subject: h\u{e4}tte kodiert sein m\u{fc}ssen\r\n\r\nbody\r\n";

fn all_arrives(house: &House, from: Kind, to: Kind) {
    let mut moving = Move::new(house, from, to);
    fill(&mut moving.left);
    if to != Kind::Cyrus {
        moving.left.append(&INBOX, "", BARE_HEADER.as_bytes());
    }
    let cyrus = if to == Kind::Cyrus { " (USE (\\Sent))" } else { "" };
    moving.right.create(&[sent(to)], cyrus);
    let first = moving.run();
    moving.compare();
    let messages = first.total.left;
    assert_eq!((first.total.copied, first.total.right), (messages, messages), "{first:#?}");
    assert!(messages > 35, "{first:#?}");

    let (connections, bytes) = (moving.tap.connections(), moving.tap.bytes());
    let second = moving.run();
    assert_eq!((second.total.copied, second.total.flagged), (0, 0), "{second:#?}");
    assert_eq!(second.total.known, messages, "{second:#?}");
    assert_eq!(moving.tap.connections() - connections, 1);
    let commands = moving.tap.commands_since(bytes);
    let looks = ["SELECT", "EXAMINE", "UID", "FETCH", "APPEND", "SUBSCRIBE"];
    assert!(!commands.iter().any(|command| looks.contains(&&**command)), "{commands:?}");

    let left = &mut moving.left;
    left.append(&INBOX, "(\\Seen) ", &mail(90));
    left.create(&["Neu"], "");
    left.append(&["Neu"], "", &mail(91));
    let name = left.name(&JAPANESE);
    left.done(&format!("SELECT \"{name}\""));
    left.done("STORE 1:3 +FLAGS.SILENT (\\Flagged later)");
    left.done("STORE 4:6 -FLAGS.SILENT (\\Seen \\Answered $Forwarded)");
    let third = moving.run();
    assert_eq!(third.total.copied, 2, "{third:#?}");
    moving.compare();
}

fn from_maildir_to_sdbox_all_arrives_as_it_was_and_is_not_asked_for_twice(house: &House) {
    all_arrives(house, Kind::Maildir, Kind::Sdbox);
}

fn from_maildir_to_cyrus_all_arrives_as_it_was_and_is_not_asked_for_twice(house: &House) {
    all_arrives(house, Kind::Maildir, Kind::Cyrus);
}

fn from_sdbox_to_maildir_all_arrives_as_it_was_and_is_not_asked_for_twice(house: &House) {
    all_arrives(house, Kind::Sdbox, Kind::Maildir);
}

fn from_sdbox_to_cyrus_all_arrives_as_it_was_and_is_not_asked_for_twice(house: &House) {
    all_arrives(house, Kind::Sdbox, Kind::Cyrus);
}

fn from_cyrus_to_maildir_all_arrives_as_it_was_and_is_not_asked_for_twice(house: &House) {
    all_arrives(house, Kind::Cyrus, Kind::Maildir);
}

fn from_cyrus_to_sdbox_all_arrives_as_it_was_and_is_not_asked_for_twice(house: &House) {
    all_arrives(house, Kind::Cyrus, Kind::Sdbox);
}

fn busy_user(house: &House, from: Kind, to: Kind) {
    let mut moving = Move::new(house, from, to);
    moving.policy.limits.messages_per_second = Some(100);
    moving.left.create(&PROJECTS, "");
    for number in 0..60 {
        let places = [INBOX, PROJECTS];
        moving.left.append(&places[number % 2], "(\\Seen) ", &mail(number));
    }
    let mut user = moving.left.again(house);
    thread::scope(|scope| {
        let tap = &moving.tap;
        let acts = scope.spawn(move || {
            tap.wait_for(2000);
            for number in 100..105 {
                house.deliver(from, &user.person, &mail(number));
                user.append(&PROJECTS, "(\\Flagged) ", &mail(number));
                user.done("SELECT INBOX");
                user.done("STORE 3:20 +FLAGS.SILENT (\\Answered busy)");
                user.done("STORE 10:15 -FLAGS.SILENT (\\Seen)");
            }
        });
        moving.run();
        acts.join().unwrap();
    });
    moving.run();
    moving.compare();
}

fn what_a_user_does_during_a_run_from_dovecot_arrives_by_the_next(house: &House) {
    busy_user(house, Kind::Maildir, Kind::Cyrus);
}

fn what_a_user_does_during_a_run_from_cyrus_arrives_by_the_next(house: &House) {
    busy_user(house, Kind::Cyrus, Kind::Sdbox);
}

fn what_a_server_alters_is_told_where_bodies_are_compared(house: &House) {
    let mut moving = Move::new(house, Kind::Maildir, Kind::Cyrus);
    moving.policy.verify = mailsync::Verify::Bodies(10);
    moving.left.append(&INBOX, "", &mail(1));
    assert_eq!(moving.run().outcome, Outcome::Complete);
    moving.left.append(&INBOX, "", BARE_HEADER.as_bytes());
    let report = moving.run();
    assert_eq!(report.outcome, Outcome::CompleteWithWarnings, "{report:#?}");
    let told = report.mailboxes.iter().flat_map(|mailbox| &mailbox.warnings);
    let told: Vec<String> = told.map(ToString::to_string).collect();
    let altered = "1 of 2 messages that were read have other bytes on the right end";
    assert_eq!(told, [altered]);
}

fn stopped_again_and_again(house: &House, from: Kind, to: Kind) {
    let mut moving = Move::new(house, from, to);
    moving.policy.limits.batch_messages = 8;
    moving.left.create(&PROJECTS, "");
    for number in 0..80 {
        let places = [INBOX, PROJECTS];
        moving.left.append(&places[number % 2], LONG_AGO, &mail(number / 4));
    }
    let mut stops = 0;
    while !moving.run_until(5_000 + stops * 700) {
        stops += 1;
    }
    assert!(stops >= 4, "{stops}");
    moving.compare();
    let last = moving.run();
    assert_eq!((last.total.copied, last.total.right), (0, 80), "{last:#?}");
}

fn stopped_again_and_again_towards_maildir_a_job_loses_nothing_and_doubles_nothing(house: &House) {
    stopped_again_and_again(house, Kind::Sdbox, Kind::Maildir);
}

fn stopped_again_and_again_towards_sdbox_a_job_loses_nothing_and_doubles_nothing(house: &House) {
    stopped_again_and_again(house, Kind::Cyrus, Kind::Sdbox);
}

fn stopped_again_and_again_towards_cyrus_a_job_loses_nothing_and_doubles_nothing(house: &House) {
    stopped_again_and_again(house, Kind::Maildir, Kind::Cyrus);
}
