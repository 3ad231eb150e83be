//! The traps of IMAP's framing, one by one.

use model::{Protocol, Reason, Scope};
use proto::relay::{Changed, Event, Lost};

use super::session::Session;

fn session() -> Session {
    Session::new(Protocol::Imap)
}

fn changed(scope: Scope, mailbox: Option<&str>) -> Vec<Changed> {
    vec![Changed { scope, mailbox: mailbox.map(|name| name.as_bytes().to_vec()) }]
}

const COMPRESSION: &str = "z NO Compression is not available\r\n";

#[test]
fn a_command_is_in_flight_until_its_tagged_answer_has_ended() {
    let mut s = session();
    assert!(s.at_boundary());
    s.passes_up("a NOOP\r\n");
    assert!(s.in_flight());
    s.passes_down("* 3 EXISTS\r\na OK done");
    assert!(s.in_flight());
    s.passes_down("\r\n");
    assert!(s.at_boundary());
}

#[test]
fn a_refused_synchronizing_literal_never_comes() {
    for refusal in ["a NO [TOOBIG] no\r\n", "a BAD no\r\n"] {
        let mut s = session();
        s.passes_up("a APPEND x {50}\r\n");
        s.passes_down(refusal);
        assert!(s.at_boundary());
        s.answers("z COMPRESS DEFLATE\r\n", COMPRESSION);
        s.passes_up("b NOOP\r\n");
        s.passes_down("b OK\r\n");
        assert!(s.at_boundary());
    }
}

#[test]
fn a_synchronizing_literal_is_not_read_as_commands() {
    let mut s = session();
    s.passes_up("a APPEND x {20}\r\n");
    s.passes_down("+ go\r\n");
    s.passes_up("z COMPRESS DEFLATE\r\n");
    s.passes_up("\r\n");
    s.passes_down("a OK\r\n");
    assert!(s.at_boundary());
}

#[test]
fn bytes_that_do_not_wait_for_the_plus_are_kept_back_until_their_meaning_is_known() {
    let mut s = session();
    assert_eq!(s.client("a APPEND x {4}\r\nz CO\r\nb NOOP\r\n"), "a APPEND x {4}\r\n");
    let mut refused = s.clone();
    s.passes_down("+ go\r\n");
    assert!(s.to_backend.ends_with(b"{4}\r\nz CO\r\nb NOOP\r\n"));
    refused.passes_down("a NO\r\n");
    assert!(refused.to_backend.ends_with(b"{4}\r\nz CO\r\nb NOOP\r\n"));
    assert!(refused.in_flight());
}

#[test]
fn a_synchronizing_literal_that_an_untagged_bad_may_have_refused_can_still_be_asked_for() {
    let mut s = session();
    s.passes_up("a APPEND x {20}\r\n");
    s.passes_down("* BAD disk trouble\r\n");
    let mut given_up = s.clone();
    s.passes_down("+ go\r\n");
    s.passes_up("z COMPRESS DEFLATE\r\n\r\n");
    s.passes_down("a OK\r\n");
    assert!(s.at_boundary());
    given_up.passes_up("b NOOP\r\n");
    given_up.passes_down("b OK\r\n");
    assert!(given_up.at_boundary());
}

#[test]
fn literals_that_need_no_word_are_passed_over() {
    let mut s = session();
    s.passes_up(
        "a APPEND {1+}\r\nx {20+}\r\nz COMPRESS DEFLATE\r\n (\\Seen) {0+}\r\n\r\nb NOOP\r\n",
    );
    s.passes_down("a OK\r\n");
    assert!(!s.at_boundary());
    s.passes_down("b OK\r\n");
    assert!(s.at_boundary());
}

#[test]
fn a_literal_without_bytes_is_still_asked_for() {
    let mut s = session();
    s.passes_up("a SEARCH TEXT {0}\r\n");
    s.passes_down("+\r\n");
    s.passes_up(" SUBJECT {2}\r\n");
    s.passes_down("+ \r\n");
    s.passes_up("ab\r\n");
    s.passes_down("* SEARCH\r\na OK\r\n");
    assert!(s.at_boundary());
}

#[test]
fn binary_literals_are_literals_both_ways() {
    let mut s = session();
    s.passes_up("a APPEND x ~{6+}\r\n\0\r\n{9}\r\nb FETCH 1 BINARY[1]\r\n");
    s.passes_down("a OK\r\n* 1 FETCH (BINARY[1] ~{8}\r\nb OK x\r\n");
    s.passes_down(")\r\n");
    assert!(s.in_flight());
    s.passes_down("b OK x\r\n");
    assert!(s.at_boundary());
}

#[test]
fn braces_in_quotes_or_within_an_atom_are_no_literal() {
    let mut s = session();
    s.passes_up("a SELECT \"x {5}\"\r\nb SELECT x{5+}\r\nc LIST \"\" {5} \r\nd NOOP\r\n");
    s.passes_down("* LIST () \"/\" \"x {5}\"\r\na OK\r\nb BAD\r\nc BAD\r\nd OK\r\n");
    assert!(s.at_boundary());
}

#[test]
fn braces_at_the_end_of_text_are_no_literal() {
    let mut s = session();
    s.passes_up("a NOOP\r\nb NOOP\r\nc NOOP\r\nd APPEND x {1}\r\n");
    s.passes_down(
        "* OK x {50}\r\n* NO x {50}\r\n* BAD x {50}\r\n* PREAUTH {50}\r\n* BYE x {50}\r\n",
    );
    s.passes_down("a OK {50}\r\nb NO {50}\r\nc BAD {50}\r\n+ give me {50}\r\n");
    s.passes_up("x\r\n");
    s.passes_down("d OK\r\n");
    assert!(s.at_boundary());
}

#[test]
fn idle_lasts_until_its_tagged_answer() {
    let mut s = session();
    s.passes_up("a IDLE\r\n");
    s.passes_down("+ idling\r\n");
    s.passes_down("* 4 EXISTS\r\n");
    assert!(s.in_flight() && s.between_responses());
    s.passes_up("DONE\r\nb NOOP\r\n");
    s.passes_down("a OK\r\n");
    assert!(s.in_flight());
    s.passes_down("b OK\r\n");
    assert!(s.at_boundary());
}

#[test]
fn done_that_does_not_wait_for_the_plus_comes_after_it() {
    let mut s = session();
    assert_eq!(s.client("a IDLE\r\nDONE\r\nz COMPRESS DEFLATE\r\n"), "a IDLE\r\n");
    s.passes_down("+ idling\r\n");
    assert!(s.to_backend.ends_with(b"a IDLE\r\nDONE\r\n"));
    assert_eq!(s.backend("a OK\r\n"), format!("a OK\r\n{COMPRESSION}"));
    assert!(s.at_boundary());
}

#[test]
fn an_idle_that_is_refused_or_ended_by_the_back_end_is_over() {
    for answer in ["a BAD what\r\n", "+ idling\r\na NO enough\r\n", "+ idling\r\na OK enough\r\n"] {
        let mut s = session();
        s.passes_up("a IDLE\r\n");
        s.passes_down(answer);
        assert!(s.at_boundary(), "{answer}");
        s.answers("z COMPRESS DEFLATE\r\n", COMPRESSION);
        s.passes_up("b NOOP\r\n");
        s.passes_down("b OK\r\n");
        assert!(s.at_boundary());
    }
}

#[test]
fn done_that_crosses_the_end_of_idle_is_answered_before_the_next_boundary() {
    for answer in ["DONE BAD what\r\n", "* BAD what\r\n"] {
        let mut s = session();
        s.passes_up("a IDLE\r\n");
        s.passes_down("+ idling\r\na OK enough\r\n");
        s.passes_up("DONE\r\n");
        assert!(!s.at_boundary());
        s.passes_down(answer);
        assert!(s.at_boundary(), "{answer}");
    }
    let mut silent = session();
    silent.passes_up("DONE\r\nb NOOP\r\n");
    silent.passes_down("b OK\r\n");
    assert!(silent.at_boundary());
}

#[test]
fn half_of_done_when_idle_ends_is_still_a_line() {
    let mut s = session();
    s.passes_up("a IDLE\r\n");
    s.passes_down("+ idling\r\n");
    s.passes_up("DO");
    s.passes_down("a OK enough\r\n");
    assert!(!s.at_boundary());
    s.passes_up("NE\r\n");
    assert!(!s.at_boundary());
    s.passes_down("* BAD what\r\n");
    assert!(s.at_boundary());
}

#[test]
fn an_append_may_have_several_literals() {
    let mut s = session();
    s.passes_up("a APPEND x (\\Seen) {2}\r\n");
    s.passes_down("+ one\r\n");
    s.passes_up("ab () {3}\r\n");
    s.passes_down("+ two\r\n");
    s.passes_up("c\r\n CATENATE (TEXT {4+}\r\nx {5 URL \"/x\" UTF8 (~{2+}\r\n{9))\r\n");
    assert_eq!(s.changes(), vec![]);
    s.passes_down("a OK [APPENDUID 1 2:3] done\r\n");
    assert_eq!(s.changes(), changed(Scope::Named, Some("x")));
    assert!(s.at_boundary());
}

#[test]
fn an_append_answered_before_its_end_still_ends() {
    let mut s = session();
    s.passes_up("a APPEND x {20+}\r\nz COMP");
    s.passes_down("a NO [OVERQUOTA]\r\n");
    assert!(s.in_flight() && !s.at_boundary());
    s.passes_up("RESS DEFLATE\r\n");
    s.passes_up("\r\n");
    assert!(s.at_boundary());
}

#[test]
fn a_synchronizing_literal_of_a_command_that_was_answered_may_never_come() {
    let mut s = session();
    s.passes_up("a APPEND x {2+}\r\na");
    s.passes_down("a NO\r\n");
    s.passes_up("b {3}\r\n");
    s.passes_up("b NOOP\r\n");
    s.passes_down("b OK\r\n");
    assert!(s.at_boundary());
}

#[test]
fn a_sasl_exchange_is_not_read_as_commands() {
    let mut s = session();
    s.passes_up("a AUTHENTICATE X\r\n");
    s.passes_down("+ \r\n");
    s.passes_up("z COMPRESS DEFLATE\r\n");
    assert_eq!(s.client("b COMPRESS\r\n"), "");
    s.passes_down("+ more\r\n");
    assert!(s.to_backend.ends_with(b"b COMPRESS\r\n"));
    s.passes_down("a NO\r\n");
    assert!(s.at_boundary());
}

#[test]
fn a_sasl_exchange_that_is_refused_early_is_over() {
    let mut s = session();
    s.passes_up("a AUTHENTICATE X {3+}\r\n");
    s.passes_down("a BAD\r\n");
    s.passes_up("abc\r\n");
    assert!(s.at_boundary());
    s.passes_up("a AUTHENTICATE X\r\n");
    s.passes_down("+ \r\n");
    s.passes_up("ab");
    s.passes_down("a NO\r\n");
    s.passes_up("c\r\nb NOOP\r\n");
    s.passes_down("b OK\r\n");
    assert!(s.at_boundary());
}

#[test]
fn an_unknown_command_that_ends_within_a_line_does_not_make_its_rest_a_command() {
    let mut s = session();
    s.passes_up("a XEXCHANGE\r\n");
    assert_eq!(s.client("z COM"), "");
    s.passes_down("+ more\r\n");
    s.passes_down("a OK\r\n");
    s.passes_up("z COMPRESS DEFLATE\r\nb NOOP\r\n");
    s.passes_down("b OK\r\n");
    assert!(s.at_boundary());
}

#[test]
fn an_unknown_command_may_ask_for_more_lines() {
    let mut s = session();
    s.passes_up("a XEXCHANGE\r\n");
    s.passes_down("+ more\r\n");
    s.passes_up("z COMPRESS DEFLATE\r\n");
    assert_eq!(s.client("z COM"), "");
    s.passes_down("+ more\r\n");
    assert!(s.to_backend.ends_with(b"z COM"));
    s.passes_up("PRESS DEFLATE\r\n");
    s.passes_down("a OK\r\n");
    assert!(s.at_boundary());
}

#[test]
fn starttls_and_login_are_the_back_end_s_to_refuse() {
    let mut s = session();
    s.passes_up("a STARTTLS\r\nb LOGIN x y\r\n");
    s.passes_down("a BAD\r\nb BAD\r\n");
    assert!(s.at_boundary());
}

#[test]
fn pipelined_commands_may_be_answered_in_any_order() {
    let mut s = session();
    s.passes_up("a NOOP\r\nb NOOP\r\nc NOOP\r\n");
    s.passes_down("b OK\r\nc OK\r\n");
    assert!(s.in_flight());
    s.passes_down("a OK\r\n");
    assert!(s.at_boundary());
}

#[test]
fn a_tag_used_twice_is_answered_twice() {
    let mut s = session();
    s.passes_up("a CREATE x\r\na CREATE y\r\n");
    s.passes_down("a OK\r\n");
    assert_eq!(s.changes(), changed(Scope::List, Some("x")));
    assert!(s.in_flight());
    s.passes_down("a OK\r\n");
    assert_eq!(s.changes(), changed(Scope::List, Some("y")));
    assert!(s.at_boundary());
}

#[test]
fn too_many_commands_in_flight_are_not_read_and_none_is_lost() {
    let mut s = session();
    let commands: Vec<_> = (0..400).map(|n| format!("a{n} NOOP\r\n")).collect();
    assert_eq!(s.client(commands.concat()), commands[..256].concat());
    for n in 0..400 {
        s.passes_down(&format!("a{n} OK\r\n"));
    }
    assert_eq!(s.to_backend, commands.concat().as_bytes());
    assert!(s.at_boundary());
}

#[test]
fn long_names_in_flight_are_limited_and_forgotten_with_their_commands() {
    let mut s = session();
    let create = format!("a CREATE {}\r\n", "x".repeat(1000));
    let passed = s.client(create.repeat(100)).len() / create.len();
    assert!((16..20).contains(&passed), "{passed}");
    for _ in 0..100 {
        s.passes_down("a OK\r\n");
    }
    assert_eq!(s.to_backend.len(), 100 * create.len());
    assert!(s.at_boundary());
}

#[test]
fn empty_lines_that_nobody_answers_hold_up_nothing() {
    let mut s = session();
    s.passes_up(&"\r\n".repeat(1000));
    s.passes_up("a NOOP\r\n");
    s.passes_down("a OK\r\n");
    assert!(s.at_boundary());
}

#[test]
fn nothing_that_only_looks_like_the_tag_answers_the_command() {
    let mut s = session();
    s.passes_up("a FETCH 1 BODY.PEEK[]\r\n");
    s.passes_down("* 1 FETCH (BODY[] {8}\r\na OK x\r\n");
    s.passes_down(" X \"a OK x\")\r\n* a OK x\r\n* OK a OK x\r\n");
    assert!(s.in_flight() && !s.at_boundary());
    s.passes_down("a OK x\r\n");
    assert!(s.at_boundary());
    for longer in
        ["ab OK x\r\n", "A OK x\r\n", "a\tOK x\r\n", "aOK x\r\n", "a  OK x\r\n", "a OKAY\r\n"]
    {
        let mut s = session();
        s.passes_up("a NOOP\r\n");
        s.passes_down(longer);
        assert!(s.in_flight(), "{longer:?}");
    }
}

#[test]
fn lines_may_end_with_lf_alone() {
    let mut s = session();
    s.passes_up("a APPEND x {3+}\na\nb\nb NOOP\n");
    s.passes_down("* 1 FETCH (BODY[] {3}\nb O)\na OK\nb OK\n");
    assert!(s.at_boundary());
}

#[test]
fn lines_may_be_of_any_length() {
    let mut s = session();
    let long = "x ".repeat(1 << 20);
    s.passes_up(&format!("a SEARCH {long}{{3+}}\r\nabc\r\n"));
    s.passes_down(&format!("* SEARCH {long}{{3}}\r\nabc\r\n* OK {long}\r\na OK {long}\r\n"));
    assert!(s.at_boundary());
}

#[test]
fn a_literal_may_be_of_any_size_that_is_a_number() {
    let mut s = session();
    s.passes_up("a APPEND x {18446744073709551615+}\r\nb NOOP\r\n");
    s.passes_down("* X {18446744073709551615}\r\na OK\r\n");
    assert!(s.in_flight() && s.lost.is_none());
}

#[test]
fn a_literal_whose_size_is_no_number_loses_the_framing() {
    let mut s = session();
    assert_eq!(s.client("a APPEND x {18446744073709551616+}\r\nb NOOP\r\n"), "");
    assert_eq!(s.lost, Some(Lost::ClientLiteral));
    assert!(!s.at_boundary());
    let mut s = session();
    assert_eq!(s.backend("* X {99999999999999999999999999999999999999}\r\n"), "");
    assert_eq!(s.lost, Some(Lost::BackendLiteral));
    assert!(!s.at_boundary());
}

#[test]
fn garbage_from_the_back_end_passes_and_spoils_every_boundary() {
    for garbage in ["HTTP/1.1 400 Bad\r\n", "\r\n", "x OK what\r\n", "+ what\r\n", "\0\0{5}\r\n"] {
        let mut s = session();
        s.passes_down(garbage);
        s.passes_up("a NOOP\r\n");
        s.passes_down("a OK\r\n");
        assert!(!s.in_flight() && !s.at_boundary(), "{garbage:?}");
    }
}

#[test]
fn what_the_back_end_says_unasked_spoils_nothing() {
    let mut s = session();
    s.passes_down("* 3 EXISTS\r\n* OK still here\r\n* BAD disk trouble\r\n* 1 FETCH (X {2}\r\na)");
    assert!(!s.at_boundary());
    s.passes_down(")\r\n");
    assert!(s.at_boundary());
}

#[test]
fn a_client_that_ends_within_a_literal_leaves_its_command_in_flight() {
    let mut s = session();
    s.passes_up("a APPEND x {10+}\r\nabc");
    s.passes_down("* 3 EXISTS\r\n");
    assert!(s.in_flight() && !s.at_boundary() && s.between_responses());
}

#[test]
fn compress_and_unauthenticate_are_answered_by_us() {
    let mut s = session();
    s.answers("z COMPRESS DEFLATE\r\n", COMPRESSION);
    s.answers("z compress {7+}\r\nDEFLATE\r\n", COMPRESSION);
    s.answers("z COMPRESS {7}\r\n", COMPRESSION);
    s.answers("z UNAUTHENTICATE\r\n", "z BAD Unknown command\r\n");
    s.answers("z\t UNAUTHENTICATE\n", "z BAD Unknown command\r\n");
    assert!(s.at_boundary());
    s.passes_up("z UNAUTHENTICATED\r\n");
}

#[test]
fn our_answer_comes_after_those_to_earlier_commands_and_between_responses() {
    let mut s = session();
    assert_eq!(
        s.client("a FETCH 1 X\r\nz COMPRESS DEFLATE\r\nb NOOP\r\n"),
        "a FETCH 1 X\r\nb NOOP\r\n"
    );
    s.passes_down("* 1 FETCH (X {3}\r\n");
    s.passes_down("abc)\r\nb OK\r\na O");
    assert_eq!(s.backend("K\r\n* 3 EXISTS\r\n"), format!("K\r\n{COMPRESSION}* 3 EXISTS\r\n"));
    assert!(s.at_boundary());
}

#[test]
fn our_answer_waits_for_the_end_of_the_command() {
    let mut s = session();
    s.answers("z COMPRESS {7+}\r\nDEF", "");
    assert!(!s.at_boundary());
    s.answers("LATE", "");
    s.answers("\r\n", COMPRESSION);
}

#[test]
fn our_answer_does_not_wait_for_a_line_that_may_never_be_answered() {
    let mut s = session();
    s.passes_up("DONE\r\n");
    s.answers("z COMPRESS DEFLATE\r\n", COMPRESSION);
    assert!(!s.at_boundary());
}

#[test]
fn a_tag_too_long_to_follow_is_refused() {
    let mut s = session();
    let tag = "t".repeat(200);
    s.answers(&format!("{tag} UNAUTHENTICATE\r\n"), "* BAD Tag or command too long\r\n");
    let spaces = " ".repeat(300);
    s.answers(&format!("a{spaces}UNAUTHENTICATE\r\n"), "* BAD Tag or command too long\r\n");
    assert!(s.at_boundary());
}

#[test]
fn what_cannot_be_used_is_struck_from_every_list() {
    let mut s = session();
    s.passes_up("a CAPABILITY\r\n");
    let list = "* CAPABILITY IMAP4rev1 COMPRESS=DEFLATE IDLE UNAUTHENTICATE\r\n";
    assert_eq!(s.backend(list), "* CAPABILITY IMAP4rev1 IDLE\r\n");
    let code = "* OK [CAPABILITY X compress=deflate] has COMPRESS=DEFLATE\r\n";
    assert_eq!(s.backend(code), "* OK [CAPABILITY X] has COMPRESS=DEFLATE\r\n");
    let code = "a OK [CAPABILITY UNAUTHENTICATE Y] done\r\n";
    assert_eq!(s.backend(code), "a OK [CAPABILITY Y] done\r\n");
    assert!(s.at_boundary());
    s.passes_down("* CAPABILITY UNAUTHENTICATED COMPRESS X=COMPRESS=DEFLATE\r\n");
    s.passes_down("* LIST () \"/\" COMPRESS=DEFLATE\r\n* ENABLED UNAUTHENTICATE\r\n");
}

#[test]
fn a_list_held_back_at_a_cut_is_given_whole() {
    let mut s = session();
    assert_eq!(s.backend("* OK [CAPABILITY UNAUTH"), "* OK [CAPABILITY");
    assert!(!s.between_responses());
    assert_eq!(s.backend("] x\r\n"), " UNAUTH] x\r\n");
    assert!(s.at_boundary());
}

#[test]
fn a_goodbye_is_said_only_where_a_response_may_begin() {
    let mut s = session();
    s.passes_up("a FETCH 1 X\r\n");
    s.backend("* 1 FETCH (X {4}\r\nab");
    s.framer.say_goodbye(Reason::Kicked);
    assert_eq!(
        s.backend("cd)\r\n* 2 FETCH (Y)\r\n"),
        "cd)\r\n* BYE Session ended by the administrator\r\n"
    );
    assert_eq!(s.events.pop().unwrap().0, Event::Farewell);
    assert_eq!(s.backend("a OK\r\n"), "");
}

#[test]
fn where_a_goodbye_was_said_is_no_boundary() {
    let mut s = session();
    s.framer.say_goodbye(Reason::Kicked);
    assert!(!s.at_boundary());
    assert_eq!(s.backend(""), "* BYE Session ended by the administrator\r\n");
    assert!(!s.at_boundary());
}

#[test]
fn a_hold_lets_the_current_command_end_and_keeps_the_next() {
    let mut s = session();
    s.passes_up("a APPEND x {5}\r\n");
    s.framer.hold();
    s.passes_down("+ go\r\n");
    assert_eq!(s.client("hello\r\nb NOOP\r\n"), "hello\r\n");
    assert!(!s.at_boundary());
    s.passes_down("a OK\r\n");
    assert!(s.at_boundary());
    assert_eq!(s.from_client, b"b NOOP\r\n");
    s.framer.release();
    assert_eq!(s.client(""), "b NOOP\r\n");
}

#[test]
fn a_hold_that_comes_within_the_first_bytes_of_a_command_keeps_them() {
    let mut s = session();
    assert_eq!(s.client("b NO"), "");
    s.framer.hold();
    assert_eq!(s.client("OP\r\n"), "");
    assert!(s.at_boundary());
    s.framer.release();
    assert_eq!(s.client(""), "b NOOP\r\n");
}

#[test]
fn changes_are_told_at_the_command_s_end_with_their_mailbox() {
    let named = |name| changed(Scope::Named, Some(name));
    let both = |name| changed(Scope::SelectedAndNamed, Some(name));
    let selected = changed(Scope::Selected, None);
    let list = |name| changed(Scope::List, Some(name));
    for (command, expected) in [
        ("APPEND \"a b\" {1+}\r\nx", named("a b")),
        ("COPY 1:* {3+}\r\na b", named("a b")),
        ("UID COPY 1 x", named("x")),
        ("MOVE 1 x", both("x")),
        ("UID MOVE 1 x", both("x")),
        ("REPLACE 1 x {1+}\r\ny", both("x")),
        ("UID REPLACE 1 x {1+}\r\ny", both("x")),
        ("STORE 1 +FLAGS x", selected.clone()),
        ("uid store 1 +flags x", selected.clone()),
        ("EXPUNGE", selected.clone()),
        ("UID EXPUNGE 1", selected.clone()),
        ("CLOSE", selected.clone()),
        ("FETCH 1 BODY[]", selected.clone()),
        ("CREATE x", list("x")),
        ("DELETE x", list("x")),
        ("RENAME x y", list("x")),
        ("SUBSCRIBE x", list("x")),
        ("UNSUBSCRIBE x", list("x")),
        ("FETCH 1 BODY.PEEK[]", vec![]),
        ("UNSELECT", vec![]),
        ("STATUS x (MESSAGES)", vec![]),
    ] {
        let mut s = session();
        s.passes_up(&format!("a {command}\r\n"));
        s.passes_down("* 1 EXISTS\r\n");
        assert_eq!(s.changes(), vec![], "{command}");
        s.passes_down("a OK\r\n* 2 EXISTS\r\n");
        assert!(s.events.iter().all(|(_, after)| *after == "* 1 EXISTS\r\na OK\r\n".len()));
        assert_eq!(s.changes(), expected, "{command}");
        s.passes_up(&format!("b {command}\r\n"));
        s.passes_down("b BAD\r\n");
        assert_eq!(s.changes(), vec![], "{command}");
    }
}

#[test]
fn a_change_is_told_without_the_mailbox_if_its_name_is_too_long() {
    let mut s = session();
    s.passes_up(&format!("a CREATE {}\r\n", "x".repeat(2000)));
    s.passes_down("a OK\r\n");
    assert_eq!(s.changes(), changed(Scope::List, None));
}

#[test]
fn a_mailbox_selected_read_only_does_not_change() {
    for (select, code) in [("EXAMINE", "READ-WRITE"), ("SELECT", "READ-ONLY")] {
        let mut s = session();
        s.passes_up(&format!("a {select} x\r\n"));
        s.passes_down(&format!("a OK [{code}] done\r\n"));
        s.passes_up("b CLOSE\r\n");
        s.passes_down("b OK\r\n");
        assert_eq!(s.changes(), vec![]);
        s.passes_up("c SELECT x\r\nd CLOSE\r\n");
        s.passes_down("c OK [READ-WRITE]\r\nd OK\r\n");
        assert_eq!(s.changes(), changed(Scope::Selected, None));
    }
}

#[test]
fn a_no_may_have_changed_some_messages() {
    let mut s = session();
    s.passes_up("a STORE 1:9 (UNCHANGEDSINCE 5) FLAGS ()\r\nb APPEND x {1+}\r\ny\r\n");
    s.passes_down("a NO [MODIFIED 7] some\r\nb NO\r\n");
    assert_eq!(s.changes(), changed(Scope::Selected, None));
}

#[test]
fn what_stands_among_many_short_responses_is_seen_wherever_it_stands() {
    let rows = |count| "* 12 FETCH (UID 34 FLAGS (\\Seen))\r\n".repeat(count);
    for pad in 0..300 {
        let before = format!("* 1 FETCH ({})\r\n{}", "x".repeat(pad), rows(20));
        for (said, heard) in [
            ("* 2 FETCH (X {7}\r\n\na OK\r\n)\r\n", "* 2 FETCH (X {7}\r\n\na OK\r\n)\r\n"),
            ("* OK [CAPABILITY A COMPRESS=DEFLATE]\r\n", "* OK [CAPABILITY A]\r\n"),
            ("* CAPABILITY COMPRESS=X A\r\n", "* CAPABILITY A\r\n"),
            ("* ;DATA\r\n", "* ;DATA\r\n"),
        ] {
            let mut s = session();
            s.passes_up("a FETCH 1:* FLAGS\r\n");
            let (all, more) = (format!("{before}{said}{}", rows(20)), rows(9));
            assert_eq!(s.backend(&all), format!("{before}{heard}{}", rows(20)), "{pad}");
            assert!(!s.at_boundary());
            s.passes_down(&format!("{more}a OK\r\n"));
            assert!(s.at_boundary(), "{pad} {said}");
        }
    }
}
