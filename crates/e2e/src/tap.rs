//! A relay in front of a real server that hears what clients say in clear.
//! Nothing here changes a byte.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use testkit::wait;

/// A relay on a port of its own. Its threads end with their connections.
pub struct Tap {
    port: u16,
    heard: Arc<Heard>,
}

#[derive(Default)]
struct Heard {
    connections: AtomicUsize,
    bytes: Mutex<Vec<u8>>,
}

impl Tap {
    /// Before a port of this host.
    pub fn before(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Heard::default());
        let weak = Arc::downgrade(&heard);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Some(heard)) = (client, weak.upgrade()) else { return };
                heard.connections.fetch_add(1, Ordering::Relaxed);
                let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                let (back, forth) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || pass(client, server, |bytes| heard.keep(bytes)));
                thread::spawn(move || pass(back, forth, |_| {}));
            }
        });
        Self { port, heard }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.heard.connections.load(Ordering::Relaxed)
    }

    /// How many bytes clients said.
    pub fn bytes(&self) -> usize {
        self.heard.lock().len()
    }

    /// The commands said since there were so many bytes, by their names.
    pub fn commands_since(&self, bytes: usize) -> Vec<String> {
        let heard = self.heard.lock();
        let text = String::from_utf8_lossy(&heard[bytes..]);
        let name = |line: &str| line.split(' ').nth(1).unwrap_or_default().to_owned();
        text.lines().map(name).collect()
    }

    /// Waits until clients have said so much.
    pub fn wait_for(&self, bytes: usize) {
        assert!(wait::until(crate::door::SOON, || self.bytes() >= bytes), "not so much was said");
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.heard = Arc::default();
        // Wakes the thread that listens.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Heard {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, bytes: &[u8]) {
        self.lock().extend_from_slice(bytes);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, hear: impl Fn(&[u8])) {
    let mut room = vec![0; 64 << 10];
    while let Ok(count) = from.read(&mut room)
        && count > 0
    {
        hear(&room[..count]);
        if to.write_all(&room[..count]).is_err() {
            break;
        }
    }
    // The other side may have gone already.
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
