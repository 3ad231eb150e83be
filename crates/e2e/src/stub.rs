//! A back end that does as a test wants, and remembers all that was said to it.
//! Nothing here decides what is said.

use std::{
    fs, io,
    net::TcpListener,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustls::ServerConfig;
use tempfile::TempDir;
use testkit::{
    certs::{self, Authority, CertFiles, KeyKind},
    wait,
    wire::{Wire, server_config},
    workspace,
};

use crate::door::SOON;

/// Of each connection's thread: thousands must find room, and a TLS handshake in each.
const STACK: usize = 256 << 10;

/// A server on a loopback port; dropped, it accepts no more.
pub struct Stub {
    port: u16,
    shared: Arc<Shared>,
    certificates: CertFiles,
    _folder: TempDir,
}

struct Shared {
    tls: Arc<ServerConfig>,
    stopped: AtomicBool,
    heard: Mutex<Vec<u8>>,
}

/// One connection with the proxy.
pub struct Talk {
    wire: Wire,
    shared: Arc<Shared>,
}

/// What a stub does with a connection; an error ends it, as does its return.
pub type Act = dyn Fn(Talk) -> io::Result<()> + Send + Sync;

impl Stub {
    /// Starts a stub on a free port.
    pub fn start(act: impl Fn(Talk) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::start_at(crate::door::ports::<1>()[0], act)
    }

    /// Starts a stub on this port of 127.0.0.1.
    pub fn start_at(
        port: u16,
        act: impl Fn(Talk) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let folder = workspace::temporary_folder("stub").unwrap();
        let certificates = certs::write_into(folder.path(), &[], KeyKind::Ecdsa).unwrap();
        Self::listen(port, folder, certificates, Arc::new(act))
    }

    /// Starts a stub whose certificate has these names only.
    pub fn start_as(
        names: &[&str],
        act: impl Fn(Talk) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let folder = workspace::temporary_folder("stub").unwrap();
        let authority = Authority::new(KeyKind::Ecdsa).unwrap();
        let certificates = authority.write_into(folder.path(), &[]).unwrap();
        let (certificate, key) = authority.issue(names).unwrap();
        fs::write(&certificates.cert, certificate).unwrap();
        fs::write(&certificates.key, key).unwrap();
        Self::listen(crate::door::ports::<1>()[0], folder, certificates, Arc::new(act))
    }

    fn listen(port: u16, folder: TempDir, certificates: CertFiles, act: Arc<Act>) -> Self {
        let tls = server_config(&certificates.cert, &certificates.key).unwrap();
        let stopped = AtomicBool::new(false);
        let shared = Arc::new(Shared { tls, stopped, heard: Mutex::default() });
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &act, &of_thread));
        Self { port, shared, certificates, _folder: folder }
    }

    /// An IMAP server that lets everybody in, and then does as told.
    pub fn imap(after: impl Fn(Talk) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::imap_with(ImapWords::default(), after)
    }

    /// As [`Self::imap`], on this port of 127.0.0.1.
    pub fn imap_at(
        port: u16,
        after: impl Fn(Talk) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::start_at(port, move |mut talk| {
            let words = ImapWords::default();
            talk.send(&format!("* OK [CAPABILITY {}] stub ready\r\n", words.before))?;
            if talk.imap_login(&words)? { after(talk) } else { Ok(()) }
        })
    }

    /// As [`Self::imap`], with other capabilities.
    pub fn imap_with(
        words: ImapWords,
        after: impl Fn(Talk) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::start(move |mut talk| {
            talk.send(&format!("* OK [CAPABILITY {}] stub ready\r\n", words.before))?;
            if talk.imap_login(&words)? { after(talk) } else { Ok(()) }
        })
    }

    /// An IMAP server that takes an ID before login, and a login whoever comes; with these capabilities beside.
    pub fn taking_id(more: &'static str) -> Self {
        Self::start(move |mut talk| {
            talk.send(&format!("* OK [CAPABILITY IMAP4rev1 LITERAL+ ID {more}] ready\r\n"))?;
            loop {
                let line = talk.line()?;
                let (tag, command) = line.split_once(' ').unwrap_or((&line, ""));
                if command.starts_with("ID") {
                    talk.send("* ID NIL\r\n")?;
                }
                talk.send(&format!("{tag} OK [CAPABILITY IMAP4rev1] done\r\n"))?;
            }
        })
    }

    /// An IMAP server that lets everybody in, and says its name to whatever it is told: `OK here is NAME`.
    pub fn named(name: &'static str) -> Self {
        Self::imap(move |mut talk| {
            loop {
                let line = talk.line()?;
                let tag = line.split(' ').next().unwrap_or_default();
                talk.send(&format!("{tag} OK here is {name}\r\n"))?;
            }
        })
    }

    /// A POP3 server that lets everybody in, and then does as told.
    pub fn pop3(after: impl Fn(Talk) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::start(move |mut talk| {
            talk.send("+OK stub ready\r\n")?;
            if talk.pop3_login()? { after(talk) } else { Ok(()) }
        })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The PEM files of its certificate.
    pub fn certificates(&self) -> &CertFiles {
        &self.certificates
    }

    /// All that was said to it so far, in clear and under TLS.
    pub fn heard(&self) -> String {
        let heard = self.shared.heard.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&heard).into_owned()
    }

    /// Waits until this has been said to it.
    pub fn wait_heard(&self, what: &str) {
        let heard = wait::until(SOON, || self.heard().contains(what));
        assert!(heard, "{what:?} was not heard, but {:?}", self.heard());
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which sees that it is to stop.
        let _ = std::net::TcpStream::connect(("127.0.0.1", self.port));
        let gone = || TcpListener::bind(("127.0.0.1", self.port)).is_ok();
        wait::until(SOON, gone);
    }
}

fn accept(listener: &TcpListener, act: &Arc<Act>, shared: &Arc<Shared>) {
    while let Ok((tcp, _)) = listener.accept() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(wire) = Wire::over(tcp) else { continue };
        let mut talk = Talk { wire, shared: Arc::clone(shared) };
        talk.wire.set_deadline(Duration::from_secs(120));
        let act = Arc::clone(act);
        // A peer that leaves ends the act; what was to be said is in the test's assertions.
        let spawned = thread::Builder::new().stack_size(STACK).spawn(move || act(talk).ok());
        spawned.unwrap();
    }
}

/// What a stub says of itself.
#[derive(Clone, Debug)]
pub struct ImapWords {
    /// Capabilities before login.
    pub before: String,
    /// Capabilities after login.
    pub after: String,
}

impl Default for ImapWords {
    fn default() -> Self {
        Self {
            before: "IMAP4rev1 LITERAL+ SASL-IR IDLE AUTH=PLAIN".to_owned(),
            after: "IMAP4rev1 LITERAL+ IDLE".to_owned(),
        }
    }
}

impl Talk {
    /// Says something.
    pub fn send(&mut self, text: &str) -> io::Result<()> {
        self.wire.send(text.as_bytes())
    }

    /// Waits for a line; `UnexpectedEof` at the end.
    pub fn line(&mut self) -> io::Result<String> {
        let line = self.wire.read_line()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.remember(&line);
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Waits for so many bytes.
    pub fn body(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let body = self.wire.read_exact(length)?;
        self.remember(&body);
        Ok(body)
    }

    /// Waits until the other side closes.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let rest = self.wire.read_to_end()?;
        self.remember(&rest);
        Ok(rest)
    }

    fn remember(&self, bytes: &[u8]) {
        let mut heard = self.shared.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.extend_from_slice(bytes);
    }

    /// Goes on under TLS.
    pub fn start_tls(self) -> io::Result<Self> {
        let Self { wire, shared } = self;
        let wire = wire.into_tls_server(Arc::clone(&shared.tls))?;
        Ok(Self { wire, shared })
    }

    /// The connection.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// Resets the connection.
    pub fn reset(self) -> io::Result<()> {
        self.wire.reset()
    }

    /// Answers until a login, which is granted; false if there was none.
    pub fn imap_login(&mut self, words: &ImapWords) -> io::Result<bool> {
        loop {
            let line = self.line()?;
            let (tag, command) = line.split_once(' ').unwrap_or((&line, ""));
            let name = command.split(' ').next().unwrap_or_default().to_ascii_uppercase();
            match name.as_str() {
                "CAPABILITY" => {
                    self.send(&format!("* CAPABILITY {}\r\n{tag} OK done\r\n", words.before))?;
                }
                "LOGIN" | "AUTHENTICATE" => {
                    if command.eq_ignore_ascii_case("AUTHENTICATE PLAIN") {
                        self.send("+ \r\n")?;
                        self.line()?;
                    }
                    self.send(&format!("{tag} OK [CAPABILITY {}] in\r\n", words.after))?;
                    return Ok(true);
                }
                "LOGOUT" => {
                    self.send(&format!("* BYE bye\r\n{tag} OK done\r\n"))?;
                    return Ok(false);
                }
                _ => self.send(&format!("{tag} BAD what\r\n"))?,
            }
        }
    }

    /// Answers until a login, which is granted; false if there was none.
    pub fn pop3_login(&mut self) -> io::Result<bool> {
        loop {
            let line = self.line()?;
            match line.split(' ').next().unwrap_or_default() {
                "CAPA" => self.send("+OK\r\nTOP\r\nUIDL\r\nSASL PLAIN\r\n.\r\n")?,
                "USER" => self.send("+OK\r\n")?,
                "PASS" => {
                    self.send("+OK in\r\n")?;
                    return Ok(true);
                }
                "QUIT" => {
                    self.send("+OK bye\r\n")?;
                    return Ok(false);
                }
                _ => self.send("-ERR what\r\n")?,
            }
        }
    }
}
