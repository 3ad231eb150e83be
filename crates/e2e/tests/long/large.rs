//! A message of 100 MB for a slow reader: it arrives as it was, and nobody keeps it meanwhile.

use std::{io, sync::LazyLock, thread, time::Duration};

use e2e::{
    cases,
    door::{Door, backend, everybody_at, listening},
    house::House,
    processes::{peak, resident},
    runner::Case,
    secrets::password,
    stub::Stub,
};
use testkit::{scripted::Client, wire::Wire};

pub(crate) fn cases() -> Vec<Case> {
    cases![a_message_of_100_megabytes_passes_both_ways_and_memory_does_not_grow]
}

const LARGE: usize = 100 << 20;
const PIECE: usize = 1 << 20;
/// More than the buffers of one session; the kernel's are not ours.
const GROWTH: usize = 4 << 20;
const PATIENCE: Duration = Duration::from_secs(120);

/// The bytes of a piece: within it no place is like another, and it begins with its number.
fn piece(number: usize) -> Vec<u8> {
    static ANY: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let words = 0..u32::try_from(PIECE / 4).unwrap();
        words.flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
    });
    let mut piece = ANY.clone();
    let number = number.to_le_bytes();
    piece[..number.len()].copy_from_slice(&number);
    piece
}

/// Sends the message; the other side takes its time.
fn send(wire: &mut Wire) -> io::Result<()> {
    (0..LARGE / PIECE).try_for_each(|number| wire.send(&piece(number)))
}

/// Reads the message slowly: at first not at all, so that all buffers on the way are full.
fn read_slowly(wire: &mut Wire) -> io::Result<()> {
    wire.set_deadline(PATIENCE);
    for number in 0..LARGE / PIECE {
        let pause = if number % 25 == 0 { 500 } else { 5 };
        thread::sleep(Duration::from_millis(pause));
        assert!(wire.read_exact(PIECE)? == piece(number), "piece {number}");
    }
    Ok(())
}

fn stub() -> Stub {
    Stub::imap(|mut talk| {
        let command = talk.line()?;
        if command.contains("FETCH") {
            talk.send(&format!("* 1 FETCH (BODY[] {{{LARGE}}}\r\n"))?;
            send(talk.wire())?;
            talk.send(")\r\nf OK done\r\n")?;
        } else {
            talk.send("+ go\r\n")?;
            read_slowly(talk.wire())?;
            assert_eq!(talk.line()?, "");
            talk.send("a OK done\r\n")?;
        }
        talk.rest().map(|_| ())
    })
}

fn logged_in(door: &Door, tls: bool) -> Client {
    let mut client = if tls {
        Client::connect_tls(("127.0.0.1", door.imaps), "localhost", &door.trust()).unwrap()
    } else {
        Client::connect(("127.0.0.1", door.imap)).unwrap()
    };
    client.set_deadline(PATIENCE);
    client.read_line().unwrap();
    client.ask(&format!("l LOGIN anna {}", password("anna")), "l OK").unwrap();
    client
}

fn fetch(client: &mut Client) {
    client.send("f FETCH 1 BODY[]\r\n").unwrap();
    client.expect(format!("* 1 FETCH (BODY[] {{{LARGE}}}\r\n")).unwrap();
    read_slowly(client.wire()).unwrap();
    client.expect(")\r\nf OK done\r\n").unwrap();
}

fn append(client: &mut Client) {
    client.ask(&format!("a APPEND INBOX {{{LARGE}}}"), "+ ").unwrap();
    send(client.wire()).unwrap();
    client.send("\r\n").unwrap();
    client.read_until_line_starting("a OK").unwrap();
}

fn a_message_of_100_megabytes_passes_both_ways_and_memory_does_not_grow(_: &House) {
    let stub = stub();
    for clean_bye in ["clean_bye = false", "clean_bye = true"] {
        let rest = backend("a", stub.port(), stub.port()) + &everybody_at("a");
        let door = Door::open(&listening(clean_bye, &rest));
        for tls in [false, true] {
            logged_in(&door, tls).send("n NOOP\r\n").unwrap();
            let before = resident(door.pid());
            fetch(&mut logged_in(&door, tls));
            append(&mut logged_in(&door, tls));
            let grown = peak(door.pid()).saturating_sub(before);
            println!("{clean_bye}, tls {tls}: {grown} bytes more");
            assert!(grown < GROWTH, "{clean_bye}, tls {tls}: {grown} bytes more");
        }
    }
}
