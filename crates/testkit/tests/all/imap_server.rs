//! The IMAP server with habits and faults, spoken to by hand and by the product's own client.

mod by_client;

use std::time::Duration;

use testkit::imap_server::{Act, Cut, ImapServer, Mail, Privacy, Profile, Quirk, Rule};
use testkit::scripted::Client;
use testkit::wait;
use testkit::wire::Trust;

/// A server with alice, who has three messages.
fn server(profile: Profile) -> ImapServer {
    let server = ImapServer::start(profile).unwrap();
    let mut world = server.world();
    world.add_account("alice", "sesame");
    for text in ["one", "two", "three"] {
        world.deliver("alice", "INBOX", mail(text));
    }
    drop(world);
    server
}

fn mail(text: &str) -> Mail {
    Mail::new(format!("Message-ID: <{text}@x>\r\nSubject: {text}\r\n\r\n{text}\r\n"))
}

fn client(server: &ImapServer) -> Client {
    let mut client = Client::connect(server.address()).unwrap();
    client.read_until_line_starting("* OK").unwrap();
    client.ask("a LOGIN alice sesame", "a OK").unwrap();
    client
}

fn texts(server: &ImapServer, mailbox: &str) -> Vec<String> {
    let held = server.world().messages("alice", mailbox);
    held.iter().map(|held| String::from_utf8_lossy(&held.body).into_owned()).collect()
}

#[test]
fn a_mailbox_is_selected_read_and_changed() {
    let server = server(Profile::dovecot());
    let mut client = client(&server);
    let said = client.ask("b SELECT inbox", "b ").unwrap();
    assert!(said.contains(&"* 3 EXISTS".to_owned()), "{said:?}");
    assert!(said.contains(&"* OK [UIDNEXT 4] next".to_owned()), "{said:?}");
    let said =
        client.ask("c UID FETCH 2:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])", "c ").unwrap();
    let expected = [
        "* 2 FETCH (UID 2 FLAGS () BODY[HEADER.FIELDS (SUBJECT)] {16}",
        "SUBJECT: two",
        "",
        ")",
        "* 3 FETCH (UID 3 FLAGS () BODY[HEADER.FIELDS (SUBJECT)] {18}",
        "SUBJECT: three",
        "",
        ")",
        "c OK done",
    ];
    assert_eq!(said, expected);
    assert_eq!(
        client.ask("d UID STORE 1,3 +FLAGS.SILENT (\\deleted $x)", "d ").unwrap(),
        ["d OK done"]
    );
    let said = client.ask("e UID SEARCH RETURN (ALL COUNT) KEYWORD $x", "e ").unwrap();
    assert_eq!(said, ["* ESEARCH (TAG \"e\") UID ALL 1,3 COUNT 2", "e OK done"]);
    let said = client.ask("f UID EXPUNGE 1:2", "f ").unwrap();
    assert_eq!(said, ["* 1 EXPUNGE", "f OK done"]);
    let said = client.ask("g UID SEARCH OR SUBJECT two NOT UNDELETED", "g ").unwrap();
    assert_eq!(said, ["* SEARCH 2 3", "g OK done"]);
    client.ask("h CREATE \"a b/c\"", "h OK").unwrap();
    let said = client.ask("i UID MOVE 2 \"a b/c\"", "i OK").unwrap();
    assert!(said[0].starts_with("* OK [COPYUID ") && said[1] == "* 1 EXPUNGE", "{said:?}");
    let said = client.ask("j LIST \"\" %", "j OK").unwrap();
    let listed =
        ["* LIST (\\HasNoChildren) \"/\" \"INBOX\"", "* LIST (\\HasChildren) \"/\" \"a b\""];
    assert_eq!(said[..2], listed);
    assert_eq!(texts(&server, "a b/c").len(), 1);
    assert!(server.log().contains(&"UID EXPUNGE 1:2".to_owned()));
}

#[test]
fn appended_messages_are_held_byte_for_byte() {
    let server = server(Profile::dovecot());
    let mut client = client(&server);
    client.send("b APPEND INBOX (\\Flagged k) \"01-Feb-2003 04:05:06 +0000\" {3+}\r\na\0b {2+}\r\n\r\n\r\n").unwrap();
    let said = client.read_line().unwrap();
    assert!(said.starts_with("b OK [APPENDUID ") && said.ends_with(" 4:5] done"), "{said}");
    client.send("c APPEND INBOX {2}\r\n").unwrap();
    client.expect("+ OK\r\n").unwrap();
    client.send("()\r\n").unwrap();
    client.read_until_line_starting("c OK").unwrap();
    let held = server.world().messages("alice", "INBOX");
    assert_eq!(
        (&*held[3].body, &*held[4].body, &*held[5].body),
        (&b"a\0b"[..], &b"\r\n"[..], &b"()"[..])
    );
    assert_eq!(held[3].date, "01-Feb-2003 04:05:06 +0000");
    assert_eq!(held[3].flags.iter().collect::<Vec<_>>(), ["\\Flagged", "k"]);
}

#[test]
fn what_others_do_is_told_during_idle_and_resynchronised_later() {
    let server = server(Profile::cyrus());
    let mut client = client(&server);
    client.ask("b ENABLE QRESYNC", "b OK").unwrap();
    let said = client.ask("c SELECT INBOX", "c OK").unwrap();
    let (validity, _) = server.world().numbers("alice", "INBOX");
    assert!(said.contains(&"* OK [HIGHESTMODSEQ 4] highest".to_owned()), "{said:?}");
    client.ask("d IDLE", "+ ").unwrap();
    server.world().deliver("alice", "INBOX", mail("four"));
    client.expect("* 4 EXISTS\r\n").unwrap();
    server.world().expunge("alice", "INBOX", &[1]);
    client.expect("* VANISHED 1\r\n").unwrap();
    server.world().set_flags("alice", "INBOX", 2, &["\\Seen"]);
    client.expect("* 1 FETCH (UID 2 FLAGS (\\Seen) MODSEQ (7))\r\n").unwrap();
    client.ask("DONE", "d OK").unwrap();
    let said = client.ask(&format!("e SELECT INBOX (QRESYNC ({validity} 4))"), "e OK").unwrap();
    assert_eq!(said[0], "* OK [CLOSED] closed");
    assert!(said.contains(&"* VANISHED (EARLIER) 1".to_owned()), "{said:?}");
    assert!(said.contains(&"* 1 FETCH (UID 2 FLAGS (\\Seen) MODSEQ (7))".to_owned()), "{said:?}");
}

#[test]
fn makes_have_their_habits() {
    let append = |profile: Profile, body: &str| {
        let server = server(profile);
        let mut client = client(&server);
        client.send(format!("b APPEND INBOX (\\Flagged) {{{}}}\r\n", body.len())).unwrap();
        client.expect("+ OK\r\n").unwrap();
        client.send(format!("{body}\r\n")).unwrap();
        let said = client.read_line().unwrap();
        let held = server.world().messages("alice", "INBOX").last().unwrap().clone();
        (said, held)
    };
    assert_eq!(append(Profile::cyrus(), "a\nb").0, "b NO Message contains bare newlines");
    assert_eq!(append(Profile::cyrus(), "a\0b").0, "b NO Message contains NUL characters");
    assert_eq!(append(Profile::gmail(), "a\0b").0, "* BYE Invalid character in literal");
    assert_eq!(
        append(Profile::exchange(), &"x".repeat(10_300)).0,
        "b BAD Command Argument Error. 11"
    );
    assert!(append(Profile::exchange(), "a").1.flags.is_empty());
    assert_eq!(&*append(Profile::yahoo(), "a").1.body, b"a\r\n");
    let (said, held) = append(Profile::gmail(), "Message-ID: <two@x>\r\n\r\nother");
    assert!(said.contains(" 2] done") && held.uid == 3, "{said}");
}

#[test]
fn some_makes_tell_lies_of_their_own() {
    let select = |profile, command| {
        let server = server(profile);
        client(&server).ask(&format!("b {command} INBOX"), "b OK").unwrap()
    };
    let said = select(Profile::zimbra(), "SELECT");
    assert!(said.contains(&"* 2 EXISTS".to_owned()) && said.contains(&"* 3 EXISTS".to_owned()));
    let validity = |said: Vec<String>| said.into_iter().find(|line| line.contains("UIDVALIDITY"));
    assert_ne!(
        validity(select(Profile::courier(), "SELECT")),
        validity(select(Profile::courier(), "EXAMINE"))
    );
    let server = server(Profile::icloud());
    let mut client = client(&server);
    let said = client.ask("b SELECT INBOX", "b OK").unwrap();
    assert!(said.contains(&"* OK [NOMODSEQ] enable it first".to_owned()), "{said:?}");
    assert_eq!(client.ask("c ENABLE CONDSTORE", "c ").unwrap(), ["* ENABLED", "c OK done"]);
    let said = client.ask("d SELECT INBOX", "d OK").unwrap();
    assert!(said.iter().any(|line| line.contains("HIGHESTMODSEQ")), "{said:?}");
}

#[test]
fn commands_fail_as_told() {
    let server = server(Profile::dovecot());
    let mut client = client(&server);
    server.rule(Rule::new("NOOP", Act::Answer("NO [THROTTLED] slowly")).nth(2));
    server.rule(Rule::new("STATUS", Act::AnswerAfter("BAD what?")));
    server.rule(Rule::new("UID SEARCH", Act::Short(2)));
    server.rule(Rule::new("UID FETCH", Act::WrongSize(-1)));
    server.rule(Rule::new("SELECT", Act::Renumber("INBOX")).nth(2));
    server.rule(Rule::new("APPEND", Act::Answer("NO [OVERQUOTA] full")));
    let answers: Vec<_> = (0..3).map(|_| client.ask("b NOOP", "b").unwrap().concat()).collect();
    assert_eq!(answers, ["b OK done", "b NO [THROTTLED] slowly", "b OK done"]);
    let said = client.ask("c STATUS INBOX (MESSAGES)", "c").unwrap();
    assert_eq!(said, ["* STATUS \"INBOX\" (MESSAGES 3)", "c BAD what?"]);
    let first = client.ask("d SELECT INBOX", "d").unwrap();
    assert_eq!(client.ask("e UID SEARCH ALL", "e").unwrap(), ["* SEARCH 1", "e OK done"]);
    let said = client.ask("f UID FETCH 1 RFC822.SIZE", "f").unwrap();
    let size = mail_size("one") - 1;
    assert_eq!(said[0], format!("* 1 FETCH (UID 1 RFC822.SIZE {size})"));
    assert_ne!(client.ask("d SELECT INBOX", "d").unwrap(), first);
    assert_eq!(client.ask("g APPEND INBOX {3}", "g").unwrap(), ["g NO [OVERQUOTA] full"]);
    server.heal();
    client.ask("h APPEND INBOX {3}", "+").unwrap();
}

fn mail_size(text: &str) -> usize {
    format!("Message-ID: <{text}@x>\r\nSubject: {text}\r\n\r\n{text}\r\n").len()
}

#[test]
fn a_message_can_be_stored_and_never_answered_or_late_or_in_part() {
    let server = server(Profile::dovecot());
    server.rule(Rule::new("APPEND", Act::CloseAfter).nth(1));
    server.rule(Rule::new("APPEND", Act::Late(Duration::from_millis(50))).nth(2));
    server.rule(Rule::new("APPEND", Act::StoresOnly(1)).nth(3));
    for (count, text) in [(4, "{1+}\r\nx\r\n"), (4, "{1+}\r\ny\r\n")] {
        let mut client = client(&server);
        client.send(format!("b APPEND INBOX {text}")).unwrap();
        assert_eq!(client.read_to_end().unwrap(), b"");
        assert!(texts(&server, "INBOX").len() >= count);
    }
    assert!(wait::until(Duration::from_secs(5), || texts(&server, "INBOX").len() == 5));
    let mut client = client(&server);
    client.send("b APPEND INBOX {1+}\r\nx {1+}\r\ny\r\n").unwrap();
    assert_eq!(client.read_line().unwrap(), "b NO [SERVERBUG] some of it failed");
    assert_eq!(texts(&server, "INBOX").len(), 6);
}

#[test]
fn somebody_delivers_in_the_middle_of_it() {
    let server = server(Profile::dovecot());
    let (user, mailbox) = ("alice", "INBOX");
    server.rule(Rule::new("UID FETCH", Act::Deliver { user, mailbox, mail: mail("four") }).nth(1));
    let mut client = client(&server);
    client.ask("b SELECT INBOX", "b OK").unwrap();
    let said = client.ask("c UID FETCH 1:* UID", "c OK").unwrap();
    assert_eq!(said.iter().filter(|line| line.contains("FETCH")).count(), 3);
    assert!(said.contains(&"* 4 EXISTS".to_owned()), "{said:?}");
}

#[test]
fn messages_go_away_while_they_are_read() {
    let server = server(Profile::dovecot().with(Quirk::UidBehindBody).with(Quirk::TellsNoUidNext));
    let (user, mailbox) = ("alice", "INBOX");
    server.rule(Rule::new("UID FETCH", Act::NilBodies).nth(1));
    server.rule(Rule::new("UID FETCH", Act::Expunge { user, mailbox, uids: vec![1, 3] }).nth(2));
    server.rule(Rule::new("UID FETCH", Act::Say("* 1 FETCH (FLAGS (x))\n* 9 RECENT")).nth(3));
    let mut client = client(&server);
    let said = client.ask("b SELECT INBOX", "b OK").unwrap();
    assert!(!said.iter().any(|line| line.contains("UIDNEXT")), "{said:?}");
    let said = client.ask("c UID FETCH 1 BODY.PEEK[]", "c OK").unwrap();
    assert_eq!(said[0], "* 1 FETCH (BODY[] NIL UID 1)");
    let said = client.ask("d UID FETCH 1:* FLAGS", "d OK").unwrap();
    let expected = ["* 2 FETCH (FLAGS () UID 2)", "* 3 EXPUNGE", "* 1 EXPUNGE", "d OK done"];
    assert_eq!(said, expected);
    let said = client.ask("e UID FETCH 2 FLAGS", "e OK").unwrap();
    assert_eq!(said[..2], ["* 1 FETCH (FLAGS (x))", "* 9 RECENT"]);
}

#[test]
fn a_command_is_done_and_never_answered() {
    let server = server(Profile::dovecot());
    server.rule(Rule::new("APPEND", Act::Silence));
    let mut client = client(&server);
    client.send("b APPEND INBOX {1+}\r\nx\r\nc NOOP\r\n").unwrap();
    assert!(wait::until(Duration::from_secs(5), || texts(&server, "INBOX").len() == 4));
    client.set_deadline(Duration::from_millis(50));
    assert!(client.read_line().is_err());
}

#[test]
fn a_mailbox_s_numbers_may_lie() {
    let server = server(Profile::dovecot());
    let mut world = server.world();
    world.set_uid_validity("alice", "INBOX", 7);
    world.set_mod_seq("alice", "INBOX", 2);
    world.set_uid_next("alice", "INBOX", 4_000_000_000);
    assert_eq!(world.deliver("alice", "INBOX", mail("four")), 4_000_000_000);
    drop(world);
    let items = "MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ UNSEEN";
    let said = client(&server).ask(&format!("b STATUS INBOX ({items})"), "b OK").unwrap();
    let line =
        "* STATUS \"INBOX\" (MESSAGES 4 UIDNEXT 4000000001 UIDVALIDITY 7 HIGHESTMODSEQ 3 UNSEEN 4)";
    assert_eq!(said[0], line);
}

#[test]
fn a_connection_is_cut_at_any_byte_of_either_direction() {
    let server = server(Profile::plain());
    let dialogue = |cut: Option<Cut>| {
        cut.map_or_else(|| server.spare_next(), |cut| server.cut_next(cut));
        let mut client = Client::connect(server.address()).unwrap();
        let told = client.send("a LOGIN alice sesame\r\nb SELECT INBOX\r\nc LOGOUT\r\n");
        // Whoever is cut off may also be reset.
        let heard = told.and_then(|()| client.read_to_end()).unwrap_or_default().len();
        let traffic = *server.traffic().last().unwrap();
        (heard, traffic)
    };
    let (heard, whole) = dialogue(None);
    assert_eq!(heard, whole.sent);
    for sent in (0..whole.sent).step_by(7) {
        let (heard, traffic) = dialogue(Some(Cut::AfterSent(sent)));
        assert!(traffic.sent == sent && heard <= sent, "{sent}: {heard}, {traffic:?}");
    }
    for received in (0..whole.received).step_by(5) {
        let (_, traffic) = dialogue(Some(Cut::AfterReceived(received)));
        assert_eq!(traffic.received, received);
    }
    assert_eq!(dialogue(None).1, whole);
}

#[test]
fn connections_are_limited_and_dropped() {
    let server = server(Profile::dovecot());
    server.limit_connections(1);
    let mut first = client(&server);
    let mut second = Client::connect(server.address()).unwrap();
    assert!(second.read_line().unwrap().starts_with("* BYE Too many"));
    first.ask("b NOOP", "b OK").unwrap();
    server.drop_connections();
    assert!(first.ask("c NOOP", "c OK").is_err());
}

#[test]
fn tls_is_made_at_once_or_when_asked() {
    for privacy in [Privacy::Tls, Privacy::StartTls] {
        let server = ImapServer::start_with(Profile::dovecot(), privacy).unwrap();
        server.world().add_account("alice", "sesame");
        let trust = Trust::Ca(server.ca().unwrap());
        let mut client = if privacy == Privacy::Tls {
            let mut client = Client::connect_tls(server.address(), "localhost", &trust).unwrap();
            client.read_until_line_starting("* OK").unwrap();
            client
        } else {
            let mut client = Client::connect(server.address()).unwrap();
            assert!(client.read_line().unwrap().contains(" STARTTLS]"));
            client.ask("a STARTTLS", "a OK").unwrap();
            client.start_tls("localhost", &trust).unwrap()
        };
        let said = client.ask("b CAPABILITY", "b OK").unwrap();
        assert!(!said[0].contains("STARTTLS"), "{said:?}");
        client.ask("c AUTHENTICATE PLAIN AGFsaWNlAHNlc2FtZQ==", "c OK").unwrap();
    }
}

#[test]
fn keywords_may_run_out() {
    let server = server(Profile::dovecot().with(Quirk::MostKeywords(2)));
    let mut client = client(&server);
    client.ask("b SELECT INBOX", "b OK").unwrap();
    let said = client.ask("c UID STORE 1 +FLAGS (a b c)", "c OK").unwrap();
    assert_eq!(said[0], "* 1 FETCH (UID 1 FLAGS (a b))");
}

#[test]
fn a_command_that_is_none_is_answered_with_bad() {
    let server = server(Profile::plain());
    let mut client = client(&server);
    for line in ["b", "b (", "b )", "b \"x", "b FETCH 1 UID", "b UID", "b ENABLE CONDSTORE", ""] {
        let said = client.ask(line, "").unwrap().concat();
        assert!(said.contains(" BAD "), "{line}: {said}");
    }
}
