//! One TLS connection over rustls' unbuffered API, without IO.
//!
//! It holds keys and state and no buffer: ciphertext is decrypted where the caller read it. That
//! halves the memory of an idle connection and lets records be read by the 128 KiB.

use std::sync::Arc;

use rustls::{
    ClientConfig, Error, ProtocolVersion, ServerConfig,
    client::UnbufferedClientConnection,
    pki_types::ServerName,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus},
};

use crate::scratch::Outgoing;

/// Room that each record needs beyond its plain bytes: header, explicit nonce and tag
/// (RFC 5246 section 6.2.3, RFC 8446 section 5.2: at most 256 bytes of expansion).
const EXPANSION: usize = 5 + 256;
/// Plain bytes in a record at most (RFC 8446 section 5.1).
const RECORD: usize = 16 * 1024;

enum Side {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// How far a connection is once it used up what came in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Progress {
    /// The handshake waits for the peer.
    Handshaking,
    /// Both may send.
    Open,
    /// The peer said close_notify: nothing more comes from it.
    PeerClosed,
}

/// One TLS connection.
pub(crate) struct Session {
    side: Side,
    peer_closed: bool,
}

/// The same expression on whichever side it is: the library's two types share no trait.
macro_rules! on_side {
    ($session:expr, $connection:ident => $work:expr) => {
        match &mut $session.side {
            Side::Client($connection) => $work,
            Side::Server($connection) => $work,
        }
    };
}

/// What one call of the library asked for.
enum Next {
    /// Call again.
    Again,
    /// Both have said close_notify: nothing more comes or goes.
    Closed,
    /// It used up its input.
    Rest(Progress),
}

impl Session {
    /// The server's side of a new connection.
    pub(crate) fn server(config: Arc<ServerConfig>) -> Result<Self, Error> {
        let side = Side::Server(UnbufferedServerConnection::new(config)?);
        Ok(Self { side, peer_closed: false })
    }

    /// The client's side of a new connection.
    pub(crate) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, Error> {
        let side = Side::Client(UnbufferedClientConnection::new(config, name)?);
        Ok(Self { side, peer_closed: false })
    }

    /// The version agreed on, after the handshake.
    pub(crate) fn version(&self) -> Option<ProtocolVersion> {
        match &self.side {
            Side::Client(connection) => connection.protocol_version(),
            Side::Server(connection) => connection.protocol_version(),
        }
    }

    /// Uses up the whole records in `incoming`: plain bytes go to `plain`, what TLS itself has to say to
    /// `outgoing`. Gives back how many bytes of `incoming` were used up; the rest is the
    /// beginning of a record.
    pub(crate) fn receive(
        &mut self,
        incoming: &mut [u8],
        plain: &mut Vec<u8>,
        outgoing: &mut Outgoing,
    ) -> Result<(usize, Progress), Error> {
        let mut used = 0;
        loop {
            let unused = incoming.get_mut(used..).unwrap_or_default();
            let (discard, next) = on_side!(self, side => {
                handle(side.process_tls_records(unused), plain, outgoing)
            });
            used = used.saturating_add(discard);
            match next {
                Ok(Next::Again) => {}
                Ok(Next::Rest(progress)) => {
                    self.peer_closed |= progress == Progress::PeerClosed;
                    let progress = if self.peer_closed { Progress::PeerClosed } else { progress };
                    return Ok((used, progress));
                }
                Ok(Next::Closed) => return Ok((used, Progress::PeerClosed)),
                Err(error) => {
                    self.alert(outgoing);
                    return Err(error);
                }
            }
        }
    }

    /// Encrypts `plain` to the end of `outgoing`.
    pub(crate) fn encrypt(&mut self, plain: &[u8], outgoing: &mut Outgoing) -> Result<(), Error> {
        self.write(outgoing, &mut |traffic, outgoing| {
            let records = plain.len().div_ceil(RECORD).max(1);
            let size = plain.len().saturating_add(records.saturating_mul(EXPANSION));
            traffic(Write::Plain(plain), outgoing.space(size))
        })
    }

    /// Adds close_notify to the end of `outgoing`; nothing where the connection is not open.
    pub(crate) fn close(&mut self, outgoing: &mut Outgoing) {
        // Fails only before the handshake's end, when there is nothing to close.
        let _ = self.write(outgoing, &mut |traffic, outgoing| {
            traffic(Write::CloseNotify, outgoing.space(EXPANSION))
        });
    }

    /// Lets `work` write, after what TLS itself still has to say.
    fn write(&mut self, outgoing: &mut Outgoing, work: &mut Work<'_>) -> Result<(), Error> {
        loop {
            let next = on_side!(self, side => match side.process_tls_records(&mut []) {
                UnbufferedStatus { state: Ok(ConnectionState::WriteTraffic(mut traffic)), .. } => {
                    let count = work(
                        &mut |what, space| match what {
                            Write::CloseNotify => traffic.queue_close_notify(space),
                            Write::Plain(plain) => traffic.encrypt(plain, space),
                        },
                        outgoing,
                    );
                    outgoing.wrote(count.map_err(|error| Error::General(error.to_string()))?);
                    return Ok(());
                }
                status => {
                    // A call without input yields no plain bytes.
                    let (_, next) = handle(status, &mut Vec::new(), outgoing);
                    self.peer_closed |= matches!(next, Ok(Next::Rest(Progress::PeerClosed)));
                    next
                }
            });
            match next? {
                Next::Again => {}
                // Said once; the next call goes on to `WriteTraffic`.
                Next::Rest(Progress::PeerClosed) => {}
                Next::Rest(_) => return Err(Error::HandshakeNotComplete),
                Next::Closed => return Err(Error::General("closed by both sides".into())),
            }
        }
    }

    /// After an error the library has an alert for the peer: best effort, the connection is lost.
    fn alert(&mut self, outgoing: &mut Outgoing) {
        // Bounded: one alert, perhaps behind a flight that was not sent.
        for _ in 0..4 {
            let (_, next) = on_side!(self, side => {
                handle(side.process_tls_records(&mut []), &mut Vec::new(), outgoing)
            });
            if !matches!(next, Ok(Next::Again)) {
                return;
            }
        }
    }
}

/// What to write.
enum Write<'p> {
    CloseNotify,
    Plain(&'p [u8]),
}

type Traffic<'t> = dyn FnMut(Write<'_>, &mut [u8]) -> Result<usize, EncryptError> + 't;
type Work<'w> = dyn FnMut(&mut Traffic<'_>, &mut Outgoing) -> Result<usize, EncryptError> + 'w;

/// Does what one status of the library asks for.
fn handle<D>(
    status: UnbufferedStatus<'_, '_, D>,
    plain: &mut Vec<u8>,
    outgoing: &mut Outgoing,
) -> (usize, Result<Next, Error>) {
    let mut discard = status.discard;
    let next = match status.state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                None => break Ok(Next::Again),
                Some(Err(error)) => break Err(error),
                Some(Ok(record)) => {
                    discard = discard.saturating_add(record.discard);
                    plain.extend_from_slice(record.payload);
                }
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            let mut encoded = data.encode(outgoing.space(RECORD));
            if let Err(EncodeError::InsufficientSize(size)) = &encoded {
                encoded = data.encode(outgoing.space(size.required_size));
            }
            match encoded {
                Ok(count) => {
                    outgoing.wrote(count);
                    Ok(Next::Again)
                }
                Err(error) => Err(Error::General(error.to_string())),
            }
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            // `outgoing` is written before anything else is, so this is as good as sent.
            data.done();
            Ok(Next::Again)
        }
        Ok(ConnectionState::BlockedHandshake) => Ok(Next::Rest(Progress::Handshaking)),
        Ok(ConnectionState::WriteTraffic(_)) => Ok(Next::Rest(Progress::Open)),
        Ok(ConnectionState::PeerClosed) => Ok(Next::Rest(Progress::PeerClosed)),
        Ok(ConnectionState::Closed) => Ok(Next::Closed),
        // Early data is never offered, so it never comes.
        Ok(_) => Err(Error::General("a TLS state that was not asked for".into())),
    };
    (discard, next)
}
