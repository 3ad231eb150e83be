//! The blind relay between two peers that are not ours.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{Context as Digest, SHA256};
use futures_util::task::AtomicWaker;
use model::{Protocol, Reason};
use proptest::prelude::*;
use proto::relay::{Changed, Framer};
use rustls_pki_types::ServerName;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    task::JoinHandle,
    time::timeout,
};
use transport::{Direction, Ended, Pair, Standing, Stream, Watch};

use crate::{
    keys::Keys,
    peer::{self, Peer},
    within, within_long,
};

/// Counts what moves, and holds or ends the relay on demand.
#[derive(Default)]
pub(crate) struct Log {
    up: AtomicUsize,
    down: AtomicUsize,
    ending: AtomicBool,
    waker: AtomicWaker,
    changed: Mutex<Vec<Changed>>,
    unheard: AtomicBool,
    looks: AtomicUsize,
    holding: AtomicBool,
    standing: Mutex<Standing>,
}

impl Log {
    pub(crate) fn moved(&self) -> (usize, usize) {
        (self.up.load(Ordering::SeqCst), self.down.load(Ordering::SeqCst))
    }

    pub(crate) fn changed(&self) -> Vec<Changed> {
        self.changed.lock().unwrap().clone()
    }

    pub(crate) fn changed_unheard(&self) -> bool {
        self.unheard.load(Ordering::SeqCst)
    }

    /// Lets the relay look around, as a watcher does now and then.
    pub(crate) fn nudge(&self) {
        self.waker.wake();
    }

    /// Returns when the relay has looked around once more, and had time to act on what it saw.
    pub(crate) async fn looked(&self) {
        let before = self.looks.load(Ordering::SeqCst);
        while self.looks.load(Ordering::SeqCst) < before + 3 {
            self.nudge();
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn hold(&self, wanted: bool) {
        self.holding.store(wanted, Ordering::SeqCst);
        self.waker.wake();
    }

    /// Returns when the relay stands so.
    pub(crate) async fn stood(&self, standing: Standing) {
        while *self.standing.lock().unwrap() != standing {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        *self.standing.lock().unwrap()
    }

    /// Returns when something has moved and then nothing for a while.
    async fn stalled(&self) {
        let mut before = (0, 0);
        let mut same = 0;
        while same < 10 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let now = self.moved();
            same = if now == before && now != (0, 0) { same + 1 } else { 0 };
            before = now;
        }
    }

    pub(crate) fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
        self.waker.wake();
    }
}

impl Watch for Log {
    fn relayed(&self, direction: Direction, bytes: usize) {
        let counter = match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        };
        counter.fetch_add(bytes, Ordering::SeqCst);
    }

    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        self.waker.register(cx.waker());
        if self.ending.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn changed(&self, changed: &Changed) {
        self.changed.lock().unwrap().push(changed.clone());
    }

    fn changed_unheard(&self) {
        self.unheard.store(true, Ordering::SeqCst);
    }

    fn reason(&self) -> Reason {
        Reason::Kicked
    }

    fn wants_hold(&self) -> bool {
        self.holding.load(Ordering::SeqCst)
    }

    fn stands(&self, standing: Standing) {
        *self.standing.lock().unwrap() = standing;
    }
}

/// A client and a back end with a running relay between them.
pub(crate) struct Lab {
    pub(crate) client: Peer,
    pub(crate) backend: Peer,
    pub(crate) log: Arc<Log>,
    pub(crate) relay: JoinHandle<Ended>,
}

/// Whether the client's and the back end's leg have TLS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Legs {
    client: bool,
    backend: bool,
}

pub(crate) const PLAIN: Legs = Legs { client: false, backend: false };
const CLIENT_TLS: Legs = Legs { client: true, backend: false };
const BACKEND_TLS: Legs = Legs { client: false, backend: true };
pub(crate) const TLS: Legs = Legs { client: true, backend: true };
pub(crate) const ALL: [Legs; 4] = [PLAIN, CLIENT_TLS, BACKEND_TLS, TLS];

impl Lab {
    async fn new(legs: Legs) -> Self {
        Self::held(legs, Duration::ZERO).await
    }

    /// A client that lost its back end has its turn after this time.
    async fn held(legs: Legs, turn: Duration) -> Self {
        Self::with(legs, None, turn, peer::connected().await, peer::connected().await).await
    }

    /// With a relay that follows IMAP.
    pub(crate) async fn framed(legs: Legs) -> Self {
        Self::framed_and_held(legs, Duration::ZERO).await
    }

    async fn framed_and_held(legs: Legs, turn: Duration) -> Self {
        let framer = Some(Framer::new(Protocol::Imap));
        Self::with(legs, framer, turn, peer::connected().await, peer::connected().await).await
    }

    /// With kernel buffers so small that a stalled reader is felt soon.
    async fn narrow(legs: Legs) -> Self {
        Self::with(legs, None, Duration::ZERO, narrow().await, narrow().await).await
    }

    async fn with(
        legs: Legs,
        framer: Option<Framer>,
        turn: Duration,
        (mut client, mut client_leg): (Peer, Stream),
        (mut backend, mut backend_leg): (Peer, Stream),
    ) -> Self {
        let keys = Keys::new(&["localhost"]);
        if legs.client {
            client.speak_tls_as_client(keys.foreign_client(), "localhost");
            let server = keys.server();
            let (ours, theirs) =
                tokio::join!(client_leg.accept_tls(server.config()), client.shake_hands());
            ours.unwrap();
            theirs.unwrap();
        }
        if legs.backend {
            backend.speak_tls_as_server(keys.foreign_server());
            let name = ServerName::try_from("localhost").unwrap();
            let shaken = tokio::spawn(async move {
                backend.shake_hands().await.unwrap();
                backend
            });
            backend_leg.connect_tls(&keys.client(), name).await.unwrap();
            // Our last words of the handshake go out with what comes next; here, a flush.
            backend_leg.write_all(b"").await.unwrap();
            backend = shaken.await.unwrap();
        }
        let log = Arc::new(Log::default());
        let watch = Arc::clone(&log);
        let mut pair = match framer {
            None => Pair::new(client_leg, b"", backend_leg, b"").unwrap(),
            Some(framer) => Pair::framed(client_leg, Vec::new(), backend_leg, Vec::new(), framer),
        };
        let relay = tokio::spawn(async move {
            let ended = pair.relay(&*watch).await;
            pair.close(&ended, turn, &*watch).await;
            ended
        });
        Self { client, backend, log, relay }
    }
}

async fn narrow() -> (Peer, Stream) {
    let (peer, ours) = peer::sockets().await;
    for socket in [SockRef::from(&peer), SockRef::from(&ours)] {
        socket.set_recv_buffer_size(96 * 1024).unwrap();
        socket.set_send_buffer_size(96 * 1024).unwrap();
    }
    (Peer::plain(peer), Stream::plain(ours))
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_bytes_in_any_cuts_come_out_the_same_on_both_directions_at_once(
        up in pieces(), down in pieces(),
    ) {
        for legs in ALL {
            run(within(carries(legs, &up, &down)));
        }
    }
}

fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let piece = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 1..200),
        1 => (any::<u8>(), 1_usize..70_000).prop_map(|(byte, count)| vec![byte; count]),
    ];
    prop::collection::vec(piece, 0..12)
}

async fn carries(legs: Legs, up: &[Vec<u8>], down: &[Vec<u8>]) {
    let Lab { client, backend, log, relay } = Lab::new(legs).await;
    let (mut from_relay, mut to_relay) = split(client);
    let client = async {
        tokio::join!(
            async {
                write_pieces(&mut to_relay, up).await;
                to_relay.shutdown().await.unwrap();
            },
            read_all(&mut from_relay),
        )
        .1
    };
    let (mut from_relay, mut to_relay) = split(backend);
    // A server ends when its client has: its end ends the session.
    let backend = async {
        let ((), heard) =
            tokio::join!(write_pieces(&mut to_relay, down), read_all(&mut from_relay));
        to_relay.shutdown().await.unwrap();
        heard
    };
    let (at_client, at_backend) = tokio::join!(client, backend);
    assert!(at_client == down.concat(), "{legs:?}: the client heard something else");
    assert!(at_backend == up.concat(), "{legs:?}: the back end heard something else");
    assert!(matches!(relay.await.unwrap(), Ended::ClientClosed));
    assert_eq!(log.moved(), (up.concat().len(), down.concat().len()));
}

async fn write_pieces(sink: &mut (impl AsyncWrite + Unpin), pieces: &[Vec<u8>]) {
    for piece in pieces {
        sink.write_all(piece).await.unwrap();
        sink.flush().await.unwrap();
    }
}

pub(crate) async fn read_all(source: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut heard = Vec::new();
    source.read_to_end(&mut heard).await.unwrap();
    heard
}

#[tokio::test]
async fn twenty_megabytes_each_way_arrive_unharmed_and_are_counted() {
    const SIZE: usize = 20_000_000;
    for legs in ALL {
        let Lab { client, backend, log, relay } = Lab::new(legs).await;
        let (mut client_in, mut client_out) = split(client);
        let (mut backend_in, mut backend_out) = split(backend);
        let work = async {
            let (sent_up, sent_down, got_up, got_down) = tokio::join!(
                pour(&mut client_out, 1, SIZE),
                pour(&mut backend_out, 2, SIZE),
                soak(&mut backend_in, SIZE),
                soak(&mut client_in, SIZE),
            );
            assert!(sent_up == got_up && sent_down == got_down, "{legs:?}");
            client_out.shutdown().await.unwrap();
            assert_eq!(soak(&mut backend_in, 1).await, digest(&[]));
            backend_out.shutdown().await.unwrap();
            assert_eq!(soak(&mut client_in, 1).await, digest(&[]));
        };
        within_long(work).await;
        assert!(matches!(within(relay).await.unwrap(), Ended::ClientClosed));
        assert_eq!(log.moved(), (SIZE, SIZE));
    }
}

fn digest(bytes: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&SHA256, bytes).as_ref().to_vec()
}

/// Writes pseudo-random bytes; gives back their digest.
async fn pour(sink: &mut (impl AsyncWrite + Unpin), seed: u64, size: usize) -> Vec<u8> {
    let mut digest = Digest::new(&SHA256);
    let mut state = seed;
    let mut left = size;
    while left > 0 {
        let chunk: Vec<u8> = (0..8192)
            .flat_map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()
            })
            .take(left)
            .collect();
        digest.update(&chunk);
        sink.write_all(&chunk).await.unwrap();
        left -= chunk.len();
    }
    sink.flush().await.unwrap();
    digest.finish().as_ref().to_vec()
}

/// Reads so many bytes, or to the end; gives back their digest.
async fn soak(source: &mut (impl AsyncRead + Unpin), size: usize) -> Vec<u8> {
    let mut digest = Digest::new(&SHA256);
    let mut left = size;
    let mut buffer = vec![0; 65536];
    while left > 0 {
        let space = buffer.len().min(left);
        match source.read(&mut buffer[..space]).await.unwrap() {
            0 => break,
            count => {
                digest.update(&buffer[..count]);
                left -= count;
            }
        }
    }
    digest.finish().as_ref().to_vec()
}

#[tokio::test]
async fn a_client_that_has_said_all_still_gets_the_answers() {
    for legs in ALL {
        let work = async {
            let Lab { mut client, mut backend, relay, .. } = Lab::new(legs).await;
            client.say("a FETCH 1:* BODY[]\r\n").await;
            client.finish().await;
            assert_eq!(backend.hear_end().await, b"a FETCH 1:* BODY[]\r\n");
            backend.say("* 1 FETCH ...\r\n").await;
            client.hear("* 1 FETCH ...\r\n").await;
            backend.say("a OK\r\n").await;
            backend.finish().await;
            assert_eq!(client.hear_end().await, b"a OK\r\n");
            assert!(matches!(relay.await.unwrap(), Ended::ClientClosed));
        };
        within(work).await;
    }
}

#[tokio::test]
async fn the_last_bytes_of_a_back_end_reach_a_client_that_goes_on_talking() {
    for legs in ALL {
        let work = async {
            let Lab { mut client, mut backend, relay, .. } = Lab::new(legs).await;
            client.say("a LOGOUT\r\n").await;
            backend.hear("a LOGOUT\r\n").await;
            let bye = "* BYE\r\na OK\r\n".repeat(40_000);
            let (_, ()) = tokio::join!(
                async {
                    backend.say(&bye).await;
                    backend.finish().await;
                },
                // Never read by anybody: closing on it would reset what the client has not read yet.
                async { client.say("b NOOP\r\n").await },
            );
            assert_eq!(client.hear_end().await.len(), bye.len(), "{legs:?}");
            client.finish().await;
            assert!(matches!(relay.await.unwrap(), Ended::BackendClosed));
        };
        within(work).await;
    }
}

#[tokio::test]
async fn a_reset_of_the_client_reaches_the_back_end_as_a_reset() {
    for legs in ALL {
        let work = async {
            let Lab { mut client, mut backend, relay, .. } = Lab::new(legs).await;
            client.say("a APPEND x {100}\r\nhalf").await;
            backend.hear("a APPEND x {100}\r\nhalf").await;
            client.reset();
            assert_eq!(backend.hear_break().await.1, io::ErrorKind::ConnectionReset, "{legs:?}");
            assert!(matches!(relay.await.unwrap(), Ended::ClientLost(_)));
        };
        within(work).await;
    }
}

#[tokio::test]
async fn a_reset_of_the_back_end_reaches_the_client_as_a_reset() {
    for legs in ALL {
        let work = async {
            let Lab { mut client, mut backend, relay, .. } = Lab::new(legs).await;
            backend.say("* 1 FETCH (BODY[] {100}\r\nhalf").await;
            client.hear("* 1 FETCH (BODY[] {100}\r\nhalf").await;
            backend.reset();
            assert_eq!(client.hear_break().await.1, io::ErrorKind::ConnectionReset, "{legs:?}");
            assert!(matches!(relay.await.unwrap(), Ended::BackendLost(_)));
        };
        within(work).await;
    }
}

#[tokio::test]
async fn a_reset_that_shows_when_writing_to_the_back_end_is_no_clean_end_either() {
    let work = async {
        let (mut client, client_leg) = peer::connected().await;
        let (mut backend, backend_leg) = peer::connected().await;
        let mut pair = Pair::new(client_leg, b"", backend_leg, b"").unwrap();
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

/// Returns when our side has closed, with a goodbye of TLS or without.
async fn closed(peer: &mut Peer) {
    let mut heard = Vec::new();
    // An end without the goodbye is an error under TLS.
    let _ = peer.read_to_end(&mut heard).await;
    assert_eq!(heard, b"");
}

#[tokio::test]
async fn a_client_hears_the_last_words_of_its_back_end_at_once_and_its_end_when_its_turn_has_come()
{
    let turn = Duration::from_millis(300);
    for legs in ALL {
        let work = async {
            for framed in [false, true] {
                let lab = if framed {
                    Lab::framed_and_held(legs, turn).await
                } else {
                    Lab::held(legs, turn).await
                };
                let Lab { mut client, mut backend, relay, .. } = lab;
                backend.say("* BYE going down\r\n").await;
                backend.finish().await;
                client.hear("* BYE going down\r\n").await;
                let since = Instant::now();
                // The back end's own connection is not kept that long.
                closed(&mut backend).await;
                assert!(since.elapsed() < turn, "{:?}", since.elapsed());
                client.say("a NOOP\r\n").await;
                assert_eq!(client.hear_end().await, b"", "{legs:?}");
                assert!(since.elapsed() > turn / 2, "{:?}", since.elapsed());
                drop(client);
                assert!(matches!(relay.await.unwrap(), Ended::BackendClosed));
            }
        };
        within(work).await;
    }
}

#[tokio::test]
async fn nobody_waits_for_the_turn_of_a_client_that_leaves_or_is_sent_away() {
    let turn = Duration::from_secs(3600);
    for legs in ALL {
        let work = async {
            let Lab { client, mut backend, relay, .. } = Lab::held(legs, turn).await;
            backend.finish().await;
            drop(client);
            assert!(matches!(relay.await.unwrap(), Ended::BackendClosed));
            let Lab { mut client, mut backend, relay, log } = Lab::held(legs, turn).await;
            backend.finish().await;
            closed(&mut backend).await;
            log.end();
            client.hear_end().await;
            drop(client);
            assert!(matches!(relay.await.unwrap(), Ended::BackendClosed));
        };
        within(work).await;
    }
}

#[tokio::test]
async fn what_a_back_end_said_before_it_closed_reaches_a_client_that_is_writing() {
    for legs in ALL {
        let work = async {
            let Lab { mut client, mut backend, relay, .. } = Lab::new(legs).await;
            backend.say("* BYE idle for too long\r\n").await;
            backend.finish().await;
            drop(backend);
            for _ in 0..100 {
                if client.write_all(b"a NOOP\r\n").await.is_err() || client.flush().await.is_err() {
                    break;
                }
            }
            assert_eq!(client.hear_end().await, b"* BYE idle for too long\r\n", "{legs:?}");
            drop(client);
            assert!(matches!(relay.await.unwrap(), Ended::BackendClosed));
        };
        within(work).await;
    }
}

#[tokio::test]
async fn a_client_cut_off_within_tls_is_not_a_clean_end_to_a_back_end_with_tls() {
    let work = async {
        let Lab { mut client, mut backend, relay, .. } = Lab::new(TLS).await;
        client.say("a APPEND x {100}\r\nhalf").await;
        client.cut_off().await;
        let (heard, end) = backend.hear_break().await;
        assert_eq!(heard, b"a APPEND x {100}\r\nhalf");
        assert_eq!(end, io::ErrorKind::UnexpectedEof);
        drop(backend);
        assert!(matches!(relay.await.unwrap(), Ended::ClientLost(_)));
    };
    within(work).await;
}

#[tokio::test]
async fn the_commands_before_a_careless_end_of_tls_reach_a_back_end_without_tls() {
    let work = async {
        let Lab { mut client, mut backend, relay, .. } = Lab::new(CLIENT_TLS).await;
        client.say("a LOGOUT\r\n").await;
        client.cut_off().await;
        assert_eq!(backend.hear_end().await, b"a LOGOUT\r\n");
        drop(backend);
        assert!(matches!(relay.await.unwrap(), Ended::ClientLost(_)));
    };
    within(work).await;
}

#[tokio::test]
async fn a_back_end_cut_off_within_tls_is_not_a_clean_end_to_a_client_with_tls() {
    let work = async {
        let Lab { mut client, mut backend, relay, .. } = Lab::new(TLS).await;
        backend.say("* 1 FETCH (BODY[] {100}\r\nhalf").await;
        client.hear("* 1 FETCH (BODY[] {100}\r\nhalf").await;
        backend.cut_off().await;
        assert_eq!(client.hear_break().await.1, io::ErrorKind::UnexpectedEof);
        drop(client);
        assert!(matches!(relay.await.unwrap(), Ended::BackendLost(_)));
    };
    within(work).await;
}

#[tokio::test]
async fn the_goodbye_before_a_careless_end_of_tls_reaches_a_client_in_clear_text() {
    let work = async {
        let Lab { mut client, mut backend, relay, .. } = Lab::new(BACKEND_TLS).await;
        backend.say("* BYE\r\na OK LOGOUT completed\r\n").await;
        backend.cut_off().await;
        assert_eq!(client.hear_end().await, b"* BYE\r\na OK LOGOUT completed\r\n");
        drop(client);
        assert!(matches!(relay.await.unwrap(), Ended::BackendLost(_)));
    };
    within(work).await;
}

#[tokio::test]
async fn a_slow_client_stops_the_back_end_and_then_gets_everything() {
    for legs in ALL {
        let Lab { client, backend, relay, log } = Lab::narrow(legs).await;
        within_long(stalls_and_goes_on(backend, client, legs)).await;
        assert_eq!(log.moved().1, BULK);
        assert!(matches!(within(relay).await.unwrap(), Ended::BackendClosed));
    }
}

#[tokio::test]
async fn a_slow_back_end_stops_the_client_and_then_gets_everything() {
    for legs in ALL {
        let Lab { client, backend, relay, log } = Lab::narrow(legs).await;
        within_long(stalls_and_goes_on(client, backend, legs)).await;
        assert_eq!(log.moved().0, BULK);
        assert!(matches!(within(relay).await.unwrap(), Ended::ClientClosed));
    }
}

#[tokio::test]
async fn a_reset_is_noticed_while_the_other_side_does_not_read() {
    for legs in [PLAIN, TLS] {
        let work = async {
            let Lab { mut client, backend, relay, log } = Lab::narrow(legs).await;
            let flood = vec![b'x'; BULK];
            tokio::select! {
                _ = client.write_all(&flood) => panic!("nobody read that"),
                () = log.stalled() => client.reset(),
            }
            while !relay.is_finished() {
                log.nudge();
                tokio::task::yield_now().await;
            }
            assert!(matches!(relay.await.unwrap(), Ended::ClientLost(_)), "{legs:?}");
            drop(backend);
        };
        within(work).await;
    }
}

const BULK: usize = 6_000_000;
/// What may be under way while nobody reads: our one buffer of 128 KiB, and kernel buffers on both legs.
const UNDER_WAY: usize = 1_200_000;

async fn stalls_and_goes_on(mut source: Peer, mut sink: Peer, legs: Legs) {
    let chunk = [b'x'; 4096];
    let mut taken = 0;
    // Nothing moves any more once no chunk is taken for a while.
    while let Ok(result) = timeout(Duration::from_millis(300), source.write(&chunk)).await {
        taken += result.unwrap();
        assert!(taken < UNDER_WAY, "{legs:?}: {taken} bytes were taken with nobody reading");
    }
    let (mut source_in, mut source_out) = split(source);
    let rest = async {
        source_out.write_all(&vec![b'x'; BULK - taken]).await.unwrap();
        source_out.shutdown().await.unwrap();
        let _ = source_in.read(&mut [0; 1]).await;
    };
    let all = async {
        assert_eq!(sink.hear_end().await.len(), BULK, "{legs:?}");
        sink.finish().await;
    };
    tokio::join!(rest, all);
}

#[tokio::test]
async fn a_watcher_ends_a_relay_cleanly_for_both() {
    for legs in ALL {
        let work = async {
            let Lab { mut client, mut backend, log, relay } = Lab::new(legs).await;
            client.say("a IDLE\r\n").await;
            backend.hear("a IDLE\r\n").await;
            log.end();
            assert_eq!(client.hear_end().await, b"");
            assert_eq!(backend.hear_end().await, b"");
            client.finish().await;
            backend.finish().await;
            assert!(matches!(relay.await.unwrap(), Ended::Watcher));
        };
        within(work).await;
    }
}

#[tokio::test]
async fn a_watcher_is_not_kept_waiting_by_peers_that_do_not_listen() {
    let work = async {
        let Lab { client: _client, backend: _backend, log, relay } = Lab::new(TLS).await;
        log.end();
        assert!(matches!(relay.await.unwrap(), Ended::Watcher));
    };
    within(work).await;
}

#[tokio::test]
async fn what_was_read_before_the_relay_goes_first() {
    let work = async {
        let (mut client, client_leg) = peer::connected().await;
        let (mut backend, backend_leg) = peer::connected().await;
        let mut pair = Pair::new(client_leg, b"b SELECT ", backend_leg, b"* 1 EXISTS").unwrap();
        let talk = async {
            client.say("INBOX\r\n").await;
            backend.hear("b SELECT INBOX\r\n").await;
            backend.say("\r\n").await;
            client.hear("* 1 EXISTS\r\n").await;
            backend.finish().await;
            client.hear_end().await;
            drop(client);
        };
        let log = Log::default();
        let relay = async {
            let ended = pair.relay(&log).await;
            pair.close(&ended, Duration::ZERO, &log).await;
            ended
        };
        let (ended, ()) = tokio::join!(relay, talk);
        assert!(matches!(ended, Ended::BackendClosed));
    };
    within(work).await;
}

#[tokio::test]
async fn a_change_of_keys_within_a_session_is_followed_and_answered() {
    for legs in [CLIENT_TLS, BACKEND_TLS] {
        let work = async {
            let Lab { mut client, mut backend, relay, .. } = Lab::new(legs).await;
            for _ in 0..3 {
                for peer in [&mut client, &mut backend] {
                    if let Some(tls) = &mut peer.tls {
                        tls.refresh_traffic_keys().unwrap();
                    }
                }
                client.say("a NOOP\r\n").await;
                backend.hear("a NOOP\r\n").await;
                backend.say("a OK\r\n").await;
                client.hear("a OK\r\n").await;
            }
            backend.finish().await;
            client.hear_end().await;
            client.finish().await;
            assert!(matches!(relay.await.unwrap(), Ended::BackendClosed));
        };
        within(work).await;
    }
}

#[test]
fn a_pair_is_small() {
    assert!(size_of::<Pair>() <= 256, "{}", size_of::<Pair>());
    assert!(size_of::<Stream>() <= 64, "{}", size_of::<Stream>());
}
