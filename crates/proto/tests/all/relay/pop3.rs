//! The traps of POP3's framing, one by one.

use model::{Protocol, Reason, Scope};
use proto::relay::{Changed, Event};

use super::session::Session;

fn session() -> Session {
    Session::new(Protocol::Pop3)
}

#[test]
fn further_lines_follow_only_where_the_command_asks_for_them() {
    for command in ["RETR 1", "top 1 0", "LIST", "LIST ", "UIDL", "CAPA", "LANG", "AUTH"] {
        let mut s = session();
        s.passes_up(&format!("{command}\r\n"));
        s.passes_down("+OK\r\n");
        assert!(s.in_flight() && !s.between_responses(), "{command}");
        s.passes_down("+OK x\r\n-ERR x\r\n..\r\n.x\r\n");
        assert!(!s.at_boundary(), "{command}");
        s.passes_down(".\r\n");
        assert!(s.at_boundary(), "{command}");
    }
    for command in ["LIST 1", "UIDL 1", "STAT", "NOOP", "LANG en", "", "RETRX 1", "RET 1"] {
        let mut s = session();
        s.passes_up(&format!("{command}\r\n"));
        s.passes_down("+OK\r\n");
        assert!(s.at_boundary(), "{command}");
    }
}

#[test]
fn a_refusal_has_no_further_lines() {
    let mut s = session();
    s.passes_up("RETR 9\r\nLIST\r\n");
    s.passes_down("-ERR no such message\r\n");
    assert!(s.in_flight() && s.between_responses());
    s.passes_down("-ERR\r\n");
    assert!(s.at_boundary());
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    let mut s = session();
    s.passes_up("STAT\r\nRETR 1\r\nNOOP\r\nUIDL\r\n");
    s.passes_down("+OK 1 2\r\n+OK\r\n+OK\r\n.\r\n+OK\r\n+OK\r\n");
    assert!(!s.at_boundary());
    s.passes_down(".\r\n");
    assert!(s.at_boundary());
}

#[test]
fn the_last_line_may_be_cut_anywhere() {
    let answer = "+OK\r\nx\r\n\r\n..\r\n.y\r\n\r\r\n.\r\n";
    for cut in 1..answer.len() {
        let mut s = session();
        s.passes_up("RETR 1\r\n");
        s.passes_down(&answer[..cut]);
        assert!(!s.at_boundary(), "{cut}");
        s.passes_down(&answer[cut..]);
        assert!(s.at_boundary(), "{cut}");
    }
}

#[test]
fn a_message_without_lines_is_over_at_once() {
    let mut s = session();
    s.passes_up("RETR 1\r\n");
    s.passes_down("+OK\r\n.\r\n");
    assert!(s.at_boundary());
}

#[test]
fn a_dot_between_bare_line_feeds_ends_nothing_unless_the_back_end_ends_all_lines_so() {
    let mut s = session();
    s.passes_up("RETR 1\r\n");
    s.passes_down("+OK\r\nx\n.\n+OK\r\n.\nx\n.\r\n");
    assert!(!s.between_responses());
    s.passes_down("\r\n.\r\n");
    assert!(s.at_boundary());
    s.passes_up("RETR 1\n");
    s.passes_down("+OK\nx\n.\n");
    assert!(s.at_boundary());
}

#[test]
fn a_sasl_exchange_is_not_read_as_commands() {
    let mut s = session();
    s.passes_up("NOOP\r\nAUTH X\r\n");
    assert_eq!(s.client("RETR 1\r\n"), "");
    s.passes_down("+OK\r\n+ \r\n");
    assert!(s.to_backend.ends_with(b"RETR 1\r\n"));
    s.passes_down("+ more\r\n");
    s.passes_up("*\r\n");
    assert_eq!(s.client("STAT\r\n"), "");
    s.passes_down("-ERR\r\n");
    s.passes_down("+OK\r\n");
    assert!(s.at_boundary());
}

#[test]
fn a_sasl_exchange_that_is_ended_early_is_over() {
    let mut s = session();
    s.passes_up("AUTH X\r\n");
    s.passes_down("+ \r\n-ERR\r\n");
    assert!(s.at_boundary());
    s.passes_up("AUTH X\r\n");
    s.passes_down("+ \r\n");
    s.passes_up("ab");
    s.passes_down("-ERR\r\n");
    s.passes_up("LIST\r\n");
    assert!(s.in_flight());
    s.passes_down("+OK\r\n");
    assert!(s.at_boundary());
}

#[test]
fn nobody_is_asked_for_more_before_earlier_commands_are_answered() {
    let mut s = session();
    s.passes_up("NOOP\r\nAUTH X\r\n");
    s.passes_down("+ \r\n");
    assert_eq!(s.client("STAT\r\n"), "");
    s.passes_down("+OK\r\n-ERR\r\n");
    assert!(s.to_backend.ends_with(b"STAT\r\n"));
}

#[test]
fn lines_may_be_of_any_length() {
    let mut s = session();
    let long = " ".repeat(1 << 20);
    s.passes_up(&format!("LIST{long}1\r\n"));
    s.passes_down(&format!("+OK{long}\r\n"));
    assert!(s.at_boundary());
}

#[test]
fn too_many_commands_in_flight_are_not_read_and_none_is_lost() {
    let mut s = session();
    assert_eq!(s.client("NOOP\r\n".repeat(400)).len(), 256 * 6);
    s.passes_down(&"+OK\r\n".repeat(256));
    assert_eq!(s.to_backend.len(), 400 * 6);
    s.passes_down(&"+OK\r\n".repeat(144));
    assert!(s.at_boundary());
}

#[test]
fn what_fits_no_command_passes_and_spoils_every_boundary() {
    for garbage in ["+OK\r\n", "-ERR bored\r\n", "+ \r\n", "* OK\r\n", "\r\n"] {
        let mut s = session();
        s.passes_down(garbage);
        s.passes_up("NOOP\r\n");
        s.passes_down("+OK\r\n");
        assert!(!s.in_flight() && !s.at_boundary(), "{garbage:?}");
    }
}

#[test]
fn a_goodbye_is_said_only_where_a_response_may_begin() {
    let mut s = session();
    s.passes_up("RETR 1\r\nNOOP\r\n");
    s.backend("+OK\r\nx");
    s.framer.say_goodbye(Reason::Kicked);
    assert_eq!(
        s.backend("y\r\n.\r\n+OK\r\n"),
        "y\r\n.\r\n-ERR Session ended by the administrator\r\n"
    );
    assert_eq!(s.events.pop().unwrap().0, Event::Farewell);
}

#[test]
fn a_hold_lets_the_current_command_end_and_keeps_the_next() {
    let mut s = session();
    s.passes_up("RETR 1\r\nDE");
    s.framer.hold();
    assert_eq!(s.client("LE 1\r\nQUIT\r\n"), "LE 1\r\n");
    s.passes_down("+OK\r\n.\r\n+OK\r\n");
    assert!(s.at_boundary());
    s.framer.release();
    assert_eq!(s.client(""), "QUIT\r\n");
}

#[test]
fn a_change_is_told_before_anything_behind_the_answer_is_passed_on() {
    let mut s = session();
    s.passes_up("DELE 1\r\nQUIT\r\n");
    s.passes_down("+OK\r\n+OK\r\nwhat\r\n");
    assert_eq!(s.events.pop().unwrap().1, "+OK\r\n+OK\r\n".len());
}

#[test]
fn deleted_messages_are_gone_when_quit_is_answered() {
    let inbox = Changed { scope: Scope::Named, mailbox: Some(b"INBOX".to_vec()) };
    for (commands, answers, changes) in [
        ("DELE 1\r\nQUIT\r\n", "+OK\r\n+OK\r\n", vec![inbox.clone()]),
        ("DELE 1\r\nQUIT\r\n", "+OK\r\n-ERR some remain\r\n", vec![inbox]),
        ("DELE 1\r\nQUIT\r\n", "-ERR\r\n+OK\r\n", vec![]),
        ("DELE 1\r\nRSET\r\nQUIT\r\n", "+OK\r\n+OK\r\n+OK\r\n", vec![]),
        ("RETR 1\r\nQUIT\r\n", "+OK\r\n.\r\n+OK\r\n", vec![]),
        ("DELE 1\r\nNOOP\r\n", "+OK\r\n+OK\r\n", vec![]),
    ] {
        let mut s = session();
        s.passes_up(commands);
        s.passes_down(answers);
        assert_eq!(s.changes(), changes, "{commands:?} {answers:?}");
    }
}
