//! The framed relay between two peers that are not ours.

use tokio::io::{AsyncWriteExt, split};
use transport::Ended;

use crate::{
    peer::Peer,
    relay::{ALL, Lab, PLAIN, TLS, read_all},
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
        };
        within(work).await;
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
            assert_eq!(client.hear_end().await, b"* BYE See you\r\n");
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
        assert_eq!(client.hear_end().await, b"* BYE See you\r\n");
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
