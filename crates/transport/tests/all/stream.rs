//! One leg before the relay: handshakes, STARTTLS, conversations.

use std::io::{self, Write};

use proto::{Machine, Step};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use transport::{Lost, Received, Stream, converse};

use crate::{
    keys::Keys,
    peer::{self, Peer},
    within,
};

async fn heard(stream: &mut Stream) -> Vec<u8> {
    let mut heard = Vec::new();
    stream.receive(|bytes| heard.extend_from_slice(bytes)).await.unwrap();
    heard
}

#[tokio::test]
async fn bytes_that_come_with_the_end_of_the_handshake_are_not_lost() {
    let work = async {
        let keys = Keys::new(&["localhost"]);
        let (mut client, mut ours) = peer::connected().await;
        client.speak_tls_as_client(keys.foreign_client(), "localhost");
        // Kept by the library until the handshake is done, then sent along with its last words.
        let tls = client.tls.as_mut().unwrap();
        tls.writer().write_all(b"a LOGIN me secret\r\n").unwrap();
        let server = keys.server();
        let (result, ()) = tokio::join!(ours.accept_tls(server.config()), async {
            client.shake_hands().await.unwrap();
            client.flush().await.unwrap();
            client.finish().await;
        });
        result.unwrap();
        assert_eq!(heard(&mut ours).await, b"a LOGIN me secret\r\n");
        assert_eq!(ours.receive(|_| ()).await.unwrap(), Received::Closed);
        ours.write_all(b"a OK\r\n").await.unwrap();
        client.hear("a OK\r\n").await;
    };
    within(work).await;
}

#[tokio::test]
async fn a_stream_is_upgraded_by_starttls_as_a_server() {
    let work = async {
        let keys = Keys::new(&["localhost"]);
        let (mut client, mut ours) = peer::connected().await;
        client.say("a STARTTLS\r\n").await;
        assert_eq!(heard(&mut ours).await, b"a STARTTLS\r\n");
        assert_eq!(ours.tls_version(), None);
        ours.write_all(b"a OK\r\n").await.unwrap();
        client.hear("a OK\r\n").await;
        client.speak_tls_as_client(keys.foreign_client(), "localhost");
        let server = keys.server();
        let (result, theirs) = tokio::join!(ours.accept_tls(server.config()), client.shake_hands());
        result.unwrap();
        theirs.unwrap();
        client.say("b NOOP\r\n").await;
        assert_eq!(heard(&mut ours).await, b"b NOOP\r\n");
        ours.write_all(b"b OK\r\n").await.unwrap();
        client.hear("b OK\r\n").await;
        assert_eq!(ours.tls_version(), Some("1.3"));
    };
    within(work).await;
}

#[tokio::test]
async fn a_stream_is_upgraded_by_starttls_as_a_client() {
    let work = async {
        let keys = Keys::new(&["localhost"]);
        let (mut server, mut ours) = peer::connected().await;
        server.say("* OK\r\n").await;
        assert_eq!(heard(&mut ours).await, b"* OK\r\n");
        ours.write_all(b"a STARTTLS\r\n").await.unwrap();
        server.hear("a STARTTLS\r\n").await;
        server.speak_tls_as_server(keys.foreign_server_of(&[&rustls::version::TLS12]));
        let talk = async {
            server.shake_hands().await.unwrap();
            server.hear("b NOOP\r\n").await;
            server.say("b OK\r\n").await;
        };
        let ours = async {
            let name = ServerName::try_from("localhost").unwrap();
            ours.connect_tls(&keys.client(), name).await.unwrap();
            assert_eq!(ours.tls_version(), Some("1.2"));
            ours.write_all(b"b NOOP\r\n").await.unwrap();
            assert_eq!(heard(&mut ours).await, b"b OK\r\n");
        };
        tokio::join!(talk, ours);
    };
    within(work).await;
}

#[tokio::test]
async fn a_handshake_that_comes_byte_by_byte_works() {
    let work = async {
        let keys = Keys::new(&["localhost"]);
        let (mut client, mut ours) = peer::connected().await;
        client.dripping = true;
        client.speak_tls_as_client(keys.foreign_client(), "localhost");
        let server = keys.server();
        let (result, ()) = tokio::join!(ours.accept_tls(server.config()), async {
            client.shake_hands().await.unwrap();
            client.say("a NOOP\r\n").await;
        });
        result.unwrap();
        assert_eq!(heard(&mut ours).await, b"a NOOP\r\n");
    };
    within(work).await;
}

#[tokio::test]
async fn a_peer_that_closes_in_the_middle_of_the_handshake_is_an_error() {
    let work = async {
        let keys = Keys::new(&["localhost"]);
        let hello = client_hello(&keys);
        for cut in [0, 3, 5, 100, hello.len()] {
            let (mut client, mut ours) = peer::connected().await;
            client.write_all(&hello[..cut]).await.unwrap();
            client.cut_off().await;
            let error = ours.accept_tls(keys.server().config()).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "after {cut} bytes");
        }
        let (mut client, mut ours) = peer::connected().await;
        client.write_all(&hello[..100]).await.unwrap();
        client.reset();
        let error = ours.accept_tls(keys.server().config()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let (mut server, mut ours) = peer::connected().await;
        server.cut_off().await;
        let name = ServerName::try_from("localhost").unwrap();
        let error = ours.connect_tls(&keys.client(), name).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    };
    within(work).await;
}

fn client_hello(keys: &Keys) -> Vec<u8> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = rustls::ClientConnection::new(keys.foreign_client().into(), name).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test]
async fn garbage_instead_of_a_client_hello_is_answered_by_an_alert() {
    let work = async {
        let keys = Keys::new(&["localhost"]);
        let fragment_then_garbage =
            [&[22, 3, 1, 0, 10, 1, 0, 2, 0, 3, 3, 0, 0, 0, 0][..], b"GARBAGE"];
        for garbage in [b"a LOGIN me secret\r\n".to_vec(), fragment_then_garbage.concat()] {
            let (mut client, mut ours) = peer::connected().await;
            client.write_all(&garbage).await.unwrap();
            let error = ours.accept_tls(keys.server().config()).await.unwrap_err();
            assert!(!transport::tls::is_alpn_mismatch(&error));
            drop(ours);
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            // RFC 8446 section 6: an alert, fatal, decode_error.
            assert_eq!((answer[0], &answer[5..]), (21, &[2, 50][..]));
        }
    };
    within(work).await;
}

#[tokio::test]
async fn a_stream_whose_handshake_failed_sends_nothing_more() {
    let work = async {
        let keys = Keys::new(&["localhost"]);
        let (mut client, mut ours) = peer::connected().await;
        client.say("a LOGIN me secret\r\n").await;
        ours.accept_tls(keys.server().config()).await.unwrap_err();
        ours.write_all(b"secret").await.unwrap_err();
        ours.receive(|_| ()).await.unwrap_err();
        client.cut_off().await;
        ours.close_and_drain(std::time::Duration::from_secs(1)).await;
        drop(ours);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer.len(), 7, "only the alert: {answer:?}");
    };
    within(work).await;
}

#[tokio::test]
async fn a_client_hello_without_an_end_is_not_kept_for_ever() {
    let work = async {
        let keys = Keys::new(&["localhost"]);
        let (mut client, mut ours) = peer::connected().await;
        let send = async {
            // A message of 60,000 bytes, in records of 1,000.
            let mut first = vec![22, 3, 1, 3, 232, 1, 0, 234, 96];
            first.resize(1005, 0);
            client.write_all(&first).await.unwrap();
            let mut next = vec![22, 3, 1, 3, 232];
            next.resize(1005, 0);
            for _ in 0..58 {
                if client.write_all(&next).await.is_err() {
                    break;
                }
            }
        };
        let server = keys.server();
        let (result, ()) = tokio::join!(ours.accept_tls(server.config()), send);
        let error = result.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Other, "{error}");
    };
    within(work).await;
}

#[tokio::test]
async fn tls_cut_off_before_login_is_an_error_and_close_notify_is_an_end() {
    let work = async {
        for clean in [true, false] {
            let (mut client, mut ours) = secured().await;
            if clean {
                client.finish().await
            } else {
                client.cut_off().await
            }
            match ours.receive(|_| ()).await {
                Ok(received) => assert!(clean && received == Received::Closed),
                Err(error) => {
                    assert!(!clean && error.kind() == io::ErrorKind::UnexpectedEof, "{error}");
                }
            }
        }
    };
    within(work).await;
}

#[tokio::test]
async fn what_comes_behind_close_notify_is_ignored() {
    let work = async {
        let (mut client, mut ours) = secured().await;
        client.tls.as_mut().unwrap().send_close_notify();
        client.flush().await.unwrap();
        client.tcp.write_all(&[23, 3, 3, 0, 100, 1, 2, 3]).await.unwrap();
        assert_eq!(ours.receive(|_| ()).await.unwrap(), Received::Closed);
        ours.write_all(b"* BYE\r\n").await.unwrap();
        client.hear("* BYE\r\n").await;
        assert_eq!(ours.receive(|_| ()).await.unwrap(), Received::Closed);
    };
    within(work).await;
}

#[tokio::test]
async fn a_damaged_record_is_answered_by_an_alert_and_ends_the_stream() {
    let work = async {
        let (mut client, mut ours) = secured().await;
        client.tcp.write_all(&[23, 3, 3, 0, 20]).await.unwrap();
        client.tcp.write_all(&[7; 20]).await.unwrap();
        ours.receive(|_| ()).await.unwrap_err();
        ours.write_all(b"more").await.unwrap_err();
        let error = client.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert!(error.to_string().contains("BadRecordMac"), "{error}");
    };
    within(work).await;
}

async fn secured() -> (Peer, Stream) {
    let keys = Keys::new(&["localhost"]);
    let (mut client, mut ours) = peer::connected().await;
    client.speak_tls_as_client(keys.foreign_client(), "localhost");
    let server = keys.server();
    let (result, theirs) = tokio::join!(ours.accept_tls(server.config()), client.shake_hands());
    result.unwrap();
    theirs.unwrap();
    (client, ours)
}

/// Greets, then hands out lines.
#[derive(Default)]
struct Lines {
    greeted: bool,
    kept: Vec<u8>,
}

impl Machine for Lines {
    type Event = String;
    type Answer = ();

    fn receive(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
    }

    fn answer(&mut self, (): ()) {}

    fn step(&mut self) -> Step<String> {
        if !std::mem::replace(&mut self.greeted, true) {
            return Step::Write(b"* OK hello\r\n".to_vec());
        }
        match self.kept.iter().position(|&byte| byte == b'\n') {
            None => Step::Read,
            Some(end) => {
                let line = self.kept.drain(..=end).collect();
                Step::Event(String::from_utf8(line).unwrap())
            }
        }
    }
}

#[tokio::test]
async fn a_machine_is_driven_until_its_event_and_told_when_the_peer_goes() {
    let work = async {
        let (mut client, mut ours) = peer::connected().await;
        let mut machine = Lines::default();
        let talk = async {
            client.hear("* OK hello\r\n").await;
            client.say("one").await;
            client.say(" line\r\nanother\r\nhalf").await;
            client.finish().await;
        };
        let (event, ()) = tokio::join!(converse(&mut ours, &mut machine), talk);
        assert_eq!(event.unwrap(), "one line\r\n");
        assert_eq!(converse(&mut ours, &mut machine).await.unwrap(), "another\r\n");
        assert!(matches!(converse(&mut ours, &mut machine).await, Err(Lost::Closed)));
        let (client, mut ours) = peer::connected().await;
        client.reset();
        let lost = converse(&mut ours, &mut Lines::default()).await;
        assert!(matches!(lost, Err(Lost::Broken(_))));
    };
    within(work).await;
}
