//! The framed relay between two peers that are not ours.

use std::{io, time::Duration};

use model::{Protocol, Reason};
use proto::{farewell, relay::Framer};
use tokio::io::{AsyncWriteExt, split};
use transport::{Ended, Pair, Standing};

use crate::{
    peer::{self, Peer},
    relay::{ALL, Lab, Log, PLAIN, TLS, read_all},
    within, within_long,
};

/// A line of the client's, and that it reaches the back end.
async fn up(client: &mut Peer, backend: &mut Peer, text: &str) {
    client.say(text).await;
    backend.hear(text).await;
}

/// A line of the back end's, and that it reaches the client.
async fn down(client: &mut Peer, backend: &mut Peer, text: &str) {
    backend.say(text).await;
    client.hear(text).await;
}

fn goodbye() -> Vec<u8> {
    farewell(Protocol::Imap, Reason::Kicked)
}

#[tokio::test]
async fn commands_literals_and_answers_pass_as_they_are() {
    for legs in ALL {
        let work = async {
            let Lab { mut client, mut backend, relay, log } = Lab::framed(legs).await;
            up(&mut client, &mut backend, "a1 SELECT INBOX\r\na2 NOOP\r\n").await;
            down(&mut client, &mut backend, "* 3 EXISTS\r\na1 OK done\r\na2 OK done\r\n").await;
            up(&mut client, &mut backend, "a3 APPEND INBOX {5}\r\n").await;
            down(&mut client, &mut backend, "+ go\r\n").await;
            up(&mut client, &mut backend, "hello\r\n").await;
            down(&mut client, &mut backend, "a3 OK [APPENDUID 1 4] done\r\n").await;
            up(&mut client, &mut backend, "a4 LOGOUT\r\n").await;
            down(&mut client, &mut backend, "* BYE\r\na4 OK bye\r\n").await;
            backend.finish().await;
            assert_eq!(client.hear_end().await, b"");
            drop(client);
            assert!(matches!(relay.await.unwrap(), Ended::BackendClosed));
            let changed = log.changed();
            assert_eq!(changed.len(), 1, "{changed:?}");
            assert_eq!(changed[0].mailbox.as_deref(), Some(&b"INBOX"[..]));
            assert!(!log.changed_unheard());
        };
        within(work).await;
    }
}

#[tokio::test]
async fn a_change_whose_answer_is_not_heard_is_told_of_when_the_session_ends() {
    for (command, is_told) in [
        ("a1 UID STORE 1 +FLAGS (\\Deleted)\r\n", true),
        ("a1 EXPUNGE\r\n", true),
        ("a1 APPEND INBOX {3+}\r\nx", true),
        ("a1 FETCH 1 BODY[]\r\n", true),
        ("a1 FETCH 1 BODY.PEEK[]\r\n", false),
        ("a1 IDLE\r\n", false),
        ("a1 NOOP\r\n", false),
    ] {
        for client_goes in [true, false] {
            let work = async {
                let Lab { mut client, mut backend, relay, log } = Lab::framed(PLAIN).await;
                up(&mut client, &mut backend, command).await;
                if client_goes {
                    drop(client);
                    drop(backend);
                } else {
                    backend.finish().await;
                    client.hear_end().await;
                    drop((client, backend));
                }
                relay.await.unwrap();
                assert_eq!(log.changed_unheard(), is_told, "{command}");
                assert!(log.changed().is_empty());
            };
            within(work).await;
        }
    }
}

#[tokio::test]
async fn bytes_behind_a_refused_literal_are_a_new_command() {
    let work = async {
        let Lab { mut client, mut backend, .. } = Lab::framed(PLAIN).await;
        // The client does not wait for the answer, as it should.
        client.say("a1 APPEND INBOX {5}\r\na2 COMPRESS DEFLATE\r\n").await;
        backend.hear("a1 APPEND INBOX {5}\r\n").await;
        down(&mut client, &mut backend, "a1 NO full\r\n").await;
        client.hear("a2 NO ").await;
    };
    within(work).await;
}

#[tokio::test]
async fn the_goodbye_stands_between_two_responses_and_not_within_one() {
    for legs in ALL {
        let work = async {
            let Lab { mut client, mut backend, relay, log } = Lab::framed(legs).await;
            up(&mut client, &mut backend, "a1 FETCH 1 BODY[]\r\n").await;
            down(&mut client, &mut backend, "* 1 FETCH (BODY[] {10}\r\n01234").await;
            log.end();
            backend.say("56789)\r\n").await;
            client.hear("56789)\r\n").await;
            assert_eq!(client.hear_end().await, goodbye());
            drop((client, backend));
            assert!(matches!(relay.await.unwrap(), Ended::Watcher));
        };
        within(work).await;
    }
}

#[tokio::test]
async fn an_idle_session_hears_the_goodbye_at_once() {
    let work = async {
        let Lab { mut client, backend, relay, log } = Lab::framed(TLS).await;
        log.end();
        assert_eq!(client.hear_end().await, goodbye());
        drop((client, backend));
        assert!(matches!(relay.await.unwrap(), Ended::Watcher));
    };
    within(work).await;
}

#[tokio::test]
async fn a_back_end_that_never_ends_its_response_does_not_hold_the_goodbye_for_ever() {
    let work = async {
        let Lab { mut client, mut backend, relay, log } = Lab::framed(PLAIN).await;
        down(&mut client, &mut backend, "* 1 FETCH (BODY[] {10}\r\n01234").await;
        log.end();
        assert_eq!(client.hear_end().await, b"");
        drop((client, backend));
        assert!(matches!(relay.await.unwrap(), Ended::Watcher));
    };
    within(work).await;
}

#[tokio::test]
async fn megabytes_pass_both_ways_in_literals() {
    const SIZE: usize = 5_000_000;
    for legs in ALL {
        let work = async {
            let Lab { client, backend, relay, log } = Lab::framed(legs).await;
            let body = vec![b'x'; SIZE];
            let append = format!("a1 APPEND INBOX {{{SIZE}+}}\r\n");
            let fetch = format!("* 1 FETCH (BODY[] {{{SIZE}}}\r\n");
            let (sent_up, sent_down) = (
                [append.as_bytes(), &body, b"\r\n"].concat(),
                [fetch.as_bytes(), &body, b")\r\n"].concat(),
            );
            let (mut from_relay, mut to_relay) = split(client);
            let client = async {
                let write = async {
                    to_relay.write_all(&sent_up).await.unwrap();
                    to_relay.shutdown().await.unwrap();
                };
                tokio::join!(write, read_all(&mut from_relay)).1
            };
            let (mut from_relay, mut to_relay) = split(backend);
            let backend = async {
                let write = async {
                    to_relay.write_all(&sent_down).await.unwrap();
                    to_relay.flush().await.unwrap();
                };
                let ((), heard) = tokio::join!(write, read_all(&mut from_relay));
                to_relay.shutdown().await.unwrap();
                heard
            };
            let (at_client, at_backend) = tokio::join!(client, backend);
            assert!(at_client == sent_down && at_backend == sent_up, "{legs:?}");
            relay.await.unwrap();
            assert_eq!(log.moved(), (sent_up.len(), sent_down.len()));
        };
        within_long(work).await;
    }
}

#[tokio::test]
async fn a_held_session_moves_nothing_either_way_until_it_is_released() {
    for legs in ALL {
        let work = async {
            let Lab { mut client, mut backend, log, .. } = Lab::framed(legs).await;
            up(&mut client, &mut backend, "a1 NOOP\r\n").await;
            down(&mut client, &mut backend, "a1 OK\r\n").await;
            let moved = log.moved();
            log.hold(true);
            log.stood(Standing::Held).await;
            client.say("a2 NOOP\r\n").await;
            backend.say("* 1 EXISTS\r\n").await;
            log.looked().await;
            assert_eq!(log.moved(), moved, "{legs:?}");
            log.hold(false);
            backend.hear("a2 NOOP\r\n").await;
            client.hear("* 1 EXISTS\r\n").await;
            assert_eq!(log.standing(), Standing::Moving);
        };
        within(work).await;
    }
}

#[tokio::test]
async fn a_hold_within_a_command_waits_for_its_answer_and_keeps_the_next() {
    for legs in ALL {
        let work = async {
            let Lab { mut client, mut backend, log, .. } = Lab::framed(legs).await;
            up(&mut client, &mut backend, "a1 APPEND INBOX {5}\r\n").await;
            log.hold(true);
            down(&mut client, &mut backend, "+ go\r\n").await;
            client.say("hello\r\na2 NOOP\r\n").await;
            backend.hear("hello\r\n").await;
            log.looked().await;
            assert_eq!(log.standing(), Standing::Moving, "{legs:?}");
            down(&mut client, &mut backend, "a1 OK [APPENDUID 1 4] done\r\n").await;
            log.stood(Standing::Held).await;
            // Held or not: nothing of the next command has gone on.
            log.hold(false);
            backend.hear("a2 NOOP\r\n").await;
        };
        within(work).await;
    }
}

#[tokio::test]
async fn a_session_that_idles_is_held_when_its_done_was_answered() {
    let work = async {
        let Lab { mut client, mut backend, log, .. } = Lab::framed(PLAIN).await;
        up(&mut client, &mut backend, "a1 IDLE\r\n").await;
        down(&mut client, &mut backend, "+ idling\r\n").await;
        log.hold(true);
        log.looked().await;
        assert_eq!(log.standing(), Standing::Moving);
        // As long as it idles it hears what is new.
        down(&mut client, &mut backend, "* 2 EXISTS\r\n").await;
        up(&mut client, &mut backend, "DONE\r\n").await;
        down(&mut client, &mut backend, "a1 OK\r\n").await;
        log.stood(Standing::Held).await;
    };
    within(work).await;
}

#[tokio::test]
async fn a_held_session_that_is_ended_says_goodbye_and_sends_no_command_on() {
    for legs in ALL {
        let work = async {
            let Lab { mut client, mut backend, log, .. } = Lab::framed(legs).await;
            log.hold(true);
            log.stood(Standing::Held).await;
            client.say("a1 DELETE x\r\n").await;
            log.end();
            assert_eq!(client.hear_end().await, goodbye(), "{legs:?}");
            client.finish().await;
            assert_eq!(backend.hear_end().await, b"");
        };
        within(work).await;
    }
}

#[tokio::test]
async fn a_session_whose_back_end_spoke_out_of_turn_cannot_be_held_and_goes_on() {
    let work = async {
        let Lab { mut client, mut backend, log, .. } = Lab::framed(PLAIN).await;
        down(&mut client, &mut backend, "what OK\r\n").await;
        log.hold(true);
        log.stood(Standing::Doubtful).await;
        up(&mut client, &mut backend, "a1 NOOP\r\n").await;
        down(&mut client, &mut backend, "a1 OK\r\n").await;
    };
    within(work).await;
}

#[tokio::test]
async fn a_client_that_resets_while_it_is_held_is_missed() {
    let work = async {
        let Lab { client, backend, relay, log } = Lab::framed(PLAIN).await;
        log.hold(true);
        log.stood(Standing::Held).await;
        client.reset();
        while !relay.is_finished() {
            log.nudge();
            tokio::task::yield_now().await;
        }
        assert!(matches!(relay.await.unwrap(), Ended::ClientLost(_)));
        drop(backend);
    };
    within(work).await;
}

#[tokio::test]
async fn a_reset_that_shows_when_writing_to_the_back_end_is_no_clean_end_either() {
    let work = async {
        let (mut client, client_leg) = peer::connected().await;
        let (mut backend, backend_leg) = peer::connected().await;
        let framer = Framer::new(Protocol::Imap);
        let mut pair = Pair::framed(client_leg, Vec::new(), backend_leg, Vec::new(), framer);
        // Both are there before the relay looks: it writes first, and that eats the kernel's error.
        client.say("a NOOP\r\n").await;
        backend.say("* 1 FETCH (BODY[] {100}\r\nhalf").await;
        backend.reset();
        let log = Log::default();
        let ended = pair.relay(&log).await;
        assert!(matches!(ended, Ended::BackendLost(_)), "{ended:?}");
        pair.close(&ended, Duration::ZERO, &log).await;
        assert_eq!(client.hear_break().await.1, io::ErrorKind::ConnectionReset);
    };
    within(work).await;
}

#[tokio::test]
async fn what_a_back_end_said_before_it_closed_reaches_a_client_that_is_writing() {
    for legs in ALL {
        let work = async {
            let Lab { mut client, mut backend, relay, .. } = Lab::framed(legs).await;
            backend.say("* BYE idle for too long\r\n").await;
            backend.finish().await;
            drop(backend);
            // What is written now, the kernel of the back end refuses.
            client.say("a NOOP\r\n").await;
            assert_eq!(client.hear_end().await, b"* BYE idle for too long\r\n", "{legs:?}");
            drop(client);
            assert!(matches!(relay.await.unwrap(), Ended::BackendClosed));
        };
        within(work).await;
    }
}
