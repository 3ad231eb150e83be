//! Peers that speak TLS as no library does, in memory.

use std::io::{Read, Write as _};

use aws_lc_rs::aead;
use rustls::{ClientConnection, ConnectionTrafficSecrets};

use super::*;
use crate::tls::{CertificateFiles, ServerSettings, ServerTls, Verify, client, make_self_signed};

/// Our server's side, and what it said last.
struct Ours {
    session: Session,
    buffer: Vec<u8>,
    plain: Vec<u8>,
}

impl Ours {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = CertificateFiles {
            certificate: folder.path().join("cert.pem"),
            key: folder.path().join("key.pem"),
        };
        make_self_signed(&files).unwrap();
        let settings = ServerSettings {
            certificates: vec![files],
            protocol: model::Protocol::Imap,
            clients: None,
        };
        let session = Session::server(ServerTls::load(settings).unwrap().config()).unwrap();
        Self { session, buffer: vec![0; 128 * 1024], plain: Vec::new() }
    }

    /// Takes bytes as if they had been read at once; gives back what is to be sent.
    fn take(&mut self, bytes: &[u8]) -> (Result<Progress, Error>, Vec<u8>) {
        let mut outgoing = Outgoing::default();
        let kept = self.session.kept();
        self.buffer[kept..kept + bytes.len()].copy_from_slice(bytes);
        let progress =
            self.session.receive(&mut self.buffer, bytes.len(), &mut self.plain, &mut outgoing);
        (progress, outgoing.filled().to_vec())
    }

    fn say(&mut self, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let mut outgoing = Outgoing::default();
        self.session.encrypt(plain, &mut outgoing).map(|()| outgoing.filled().to_vec())
    }
}

fn client() -> ClientConnection {
    let mut config = client::config(&Verify::Nothing, None).unwrap();
    config.enable_secret_extraction = true;
    ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap()
}

/// Lets the client finish the handshake, its bytes cut into pieces of so many bytes.
fn shake_hands(ours: &mut Ours, client: &mut ClientConnection, piece: usize) {
    while client.is_handshaking() || client.wants_write() {
        let mut flight = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut flight).unwrap();
        }
        for piece in flight.chunks(piece) {
            let (progress, answer) = ours.take(piece);
            progress.unwrap();
            let mut answer = answer.as_slice();
            while !answer.is_empty() {
                client.read_tls(&mut answer).unwrap();
                client.process_new_packets().unwrap();
            }
        }
    }
}

/// Writes records of any content under a client's keys (RFC 8446 section 5.2).
struct Forger {
    key: aead::LessSafeKey,
    iv: [u8; 12],
    count: u64,
}

impl Forger {
    fn after_handshake(ours: &mut Ours) -> Self {
        let mut client = client();
        shake_hands(ours, &mut client, usize::MAX);
        let (count, secrets) = client.dangerous_extract_secrets().unwrap().tx;
        let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else {
            panic!("another cipher suite");
        };
        let key = aead::UnboundKey::new(&aead::AES_256_GCM, key.as_ref()).unwrap();
        Self { key: aead::LessSafeKey::new(key), iv: iv.as_ref().try_into().unwrap(), count }
    }

    fn record(&mut self, content_type: u8, content: &[u8]) -> Vec<u8> {
        let mut sealed = [content, &[content_type]].concat();
        let size = u16::try_from(sealed.len() + 16).unwrap().to_be_bytes();
        let header = [23, 3, 3, size[0], size[1]];
        let mut nonce = self.iv;
        for (byte, count) in nonce[4..].iter_mut().zip(self.count.to_be_bytes()) {
            *byte ^= count;
        }
        self.count += 1;
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        let additional = aead::Aad::from(header);
        self.key.seal_in_place_append_tag(nonce, additional, &mut sealed).unwrap();
        [&header, sealed.as_slice()].concat()
    }
}

const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;
/// RFC 8446 section 4.6.3: a key update that asks for another.
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 1];

#[test]
fn a_handshake_and_data_cut_into_single_bytes_come_through() {
    let (mut ours, mut client) = (Ours::new(), client());
    shake_hands(&mut ours, &mut client, 1);
    client.writer().write_all(b"a NOOP\r\n").unwrap();
    shake_hands(&mut ours, &mut client, 1);
    assert_eq!(ours.plain, b"a NOOP\r\n");
    assert_eq!(ours.session.kept(), 0);
    let answer = ours.say(b"a OK\r\n").unwrap();
    for byte in answer {
        client.read_tls(&mut [byte].as_slice()).unwrap();
        client.process_new_packets().unwrap();
    }
    let mut heard = [0; 6];
    client.reader().read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"a OK\r\n");
}

#[test]
fn half_a_handshake_message_does_not_disturb_writing() {
    let mut ours = Ours::new();
    let mut forger = Forger::after_handshake(&mut ours);
    let first = forger.record(HANDSHAKE, &KEY_UPDATE[..2]);
    assert_eq!(ours.take(&first).0, Ok(Progress::Open));
    assert!(ours.session.kept() > 0);
    ours.say(b"* OK\r\n").unwrap();
    // The rest comes in two reads.
    let rest = forger.record(HANDSHAKE, &KEY_UPDATE[2..]);
    assert_eq!(ours.take(&rest[..9]).0, Ok(Progress::Open));
    let plain_only = ours.say(b"* OK\r\n").unwrap();
    assert_eq!(ours.take(&rest[9..]).0, Ok(Progress::Open));
    assert_eq!(ours.session.kept(), 0);
    let with_update = ours.say(b"* OK\r\n").unwrap();
    assert_eq!(with_update.len(), plain_only.len() + 5 + KEY_UPDATE.len() + 1 + 16);
}

#[test]
fn an_error_behind_half_a_handshake_message_is_answered_by_an_alert() {
    let mut ours = Ours::new();
    let mut forger = Forger::after_handshake(&mut ours);
    ours.take(&forger.record(HANDSHAKE, &KEY_UPDATE[..2])).0.unwrap();
    let mut bad = forger.record(DATA, b"data");
    *bad.last_mut().unwrap() ^= 1;
    let (result, alert) = ours.take(&bad);
    assert_eq!(result, Err(Error::DecryptError));
    assert_eq!(alert.len(), 5 + 2 + 1 + 16);
    assert_eq!(ours.session.kept(), 0);
    ours.say(b"more").unwrap_err();
    ours.take(b"more").0.unwrap_err();
}

#[test]
fn data_within_a_handshake_message_is_refused() {
    let mut ours = Ours::new();
    let mut forger = Forger::after_handshake(&mut ours);
    ours.take(&forger.record(HANDSHAKE, &KEY_UPDATE[..2])).0.unwrap();
    ours.take(&forger.record(DATA, b"data")).0.unwrap_err();
    assert!(ours.plain.is_empty());
}

#[test]
fn a_change_of_keys_within_a_record_is_refused() {
    let mut ours = Ours::new();
    let mut forger = Forger::after_handshake(&mut ours);
    // RFC 8446 section 5.1: it must stand at the end of its record.
    ours.take(&forger.record(HANDSHAKE, &KEY_UPDATE.repeat(1000))).0.unwrap_err();
}

#[test]
fn a_message_that_is_not_finished_is_kept_up_to_a_bound() {
    let mut ours = Ours::new();
    let mut forger = Forger::after_handshake(&mut ours);
    ours.take(&forger.record(HANDSHAKE, &[4, 0, 234, 96])).0.unwrap();
    let mut sent = 0;
    while ours.take(&forger.record(HANDSHAKE, &[0; 1000])).0.is_ok() {
        sent += 1000;
        assert!(ours.session.kept() <= KEPT_OF_CLIENT && sent < 60_000);
    }
    assert_eq!(ours.session.kept(), 0);
}

#[test]
fn many_records_in_one_read_and_a_beginning_of_the_next_are_used_up_rightly() {
    let mut ours = Ours::new();
    let mut forger = Forger::after_handshake(&mut ours);
    let records: Vec<u8> =
        (0..100_u8).flat_map(|n| forger.record(DATA, &vec![n; usize::from(n) * 3 + 1])).collect();
    let last = forger.record(DATA, b"last");
    let (cut, expected): (usize, usize) = (7, (0..100).map(|n| n * 3 + 1).sum());
    ours.take(&[&records, &last[..cut]].concat()).0.unwrap();
    assert_eq!((ours.plain.len(), ours.session.kept()), (expected, cut));
    ours.take(&last[cut..]).0.unwrap();
    assert!(ours.plain.ends_with(b"last") && ours.session.kept() == 0);
}
