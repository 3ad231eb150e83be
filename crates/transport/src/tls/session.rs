//! One TLS connection over rustls' unbuffered API, without IO.
//!
//! It holds keys and state, and a buffer only while a record or a handshake message is unfinished:
//! ciphertext is decrypted where the caller read it. That halves the memory of an idle connection
//! and lets records be read by the 128 KiB.

use std::sync::Arc;

use rustls::{
    ClientConfig, Error, InvalidMessage, ProtocolVersion, ServerConfig,
    client::UnbufferedClientConnection,
    pki_types::{CertificateDer, ServerName},
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus},
};

use crate::scratch::Outgoing;

/// Room that each record needs beyond its plain bytes: header, explicit nonce and tag
/// (RFC 5246 section 6.2.3, RFC 8446 section 5.2: at most 256 bytes of expansion).
const EXPANSION: usize = 5 + 256;
/// Plain bytes in a record at most (RFC 8446 section 5.1).
const RECORD: usize = 16 * 1024;
/// What may be kept of a client's unfinished record and handshake message: clients have no reason to
/// send more than one record's worth.
const KEPT_OF_CLIENT: usize = 32 * 1024;
/// The same for a back end, whose certificates may be long: the library allows 64 KiB for a message.
const KEPT_OF_BACKEND: usize = 96 * 1024;

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
    /// What has not been used up: the beginning of a record, or parts of a handshake message, which the
    /// library has decrypted in place and must find again at the same offsets in every call.
    kept: Vec<u8>,
    peer_closed: bool,
    /// After an error the library must not be called again: it would judge the same bytes twice.
    failed: bool,
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
        Ok(Self::new(Side::Server(UnbufferedServerConnection::new(config)?)))
    }

    /// The client's side of a new connection.
    pub(crate) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, Error> {
        Ok(Self::new(Side::Client(UnbufferedClientConnection::new(config, name)?)))
    }

    fn new(side: Side) -> Self {
        Self { side, kept: Vec::new(), peer_closed: false, failed: false }
    }

    /// The version agreed on, after the handshake.
    pub(crate) fn version(&self) -> Option<ProtocolVersion> {
        match &self.side {
            Side::Client(connection) => connection.protocol_version(),
            Side::Server(connection) => connection.protocol_version(),
        }
    }

    /// The peer's certificates, after the handshake.
    pub(crate) fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        match &self.side {
            Side::Client(connection) => connection.peer_certificates(),
            Side::Server(connection) => connection.peer_certificates(),
        }
    }

    /// How many bytes are kept: the next ones are read to the buffer behind that many.
    pub(crate) fn kept(&self) -> usize {
        self.kept.len()
    }

    #[cfg(test)]
    pub(crate) fn kept_capacity(&self) -> usize {
        self.kept.capacity()
    }

    /// Whether the peer has said close_notify.
    pub(crate) fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Takes the `count` bytes that were read to `buffer` behind [`Self::kept`] ones: plain bytes go to
    /// `plain`, what TLS itself has to say to `outgoing`, the alert of an error included.
    pub(crate) fn receive(
        &mut self,
        buffer: &mut [u8],
        count: usize,
        plain: &mut Vec<u8>,
        outgoing: &mut Outgoing,
    ) -> Result<Progress, Error> {
        self.check()?;
        let kept = self.kept.len();
        if let Some(space) = buffer.get_mut(..kept) {
            space.copy_from_slice(&self.kept);
        }
        let incoming = buffer.get_mut(..kept.saturating_add(count)).unwrap_or_default();
        let result = self.use_up(incoming, plain, outgoing);
        self.kept = match result {
            Ok((used, Progress::Handshaking | Progress::Open)) => {
                incoming.get(used..).unwrap_or_default().to_vec()
            }
            // RFC 8446 section 6.1: what comes after close_notify is ignored.
            _ => Vec::new(),
        };
        let result = result.and_then(|(_, progress)| self.within_bounds().map(|()| progress));
        if result.is_err() {
            self.failed = true;
            self.kept = Vec::new();
            self.alert(outgoing);
        }
        result
    }

    /// Uses up whole records; gives back how many bytes that was.
    fn use_up(
        &mut self,
        incoming: &mut [u8],
        plain: &mut Vec<u8>,
        outgoing: &mut Outgoing,
    ) -> Result<(usize, Progress), Error> {
        let mut used: usize = 0;
        loop {
            let unused = incoming.get_mut(used..).unwrap_or_default();
            let (discard, next) = on_side!(self, side => {
                handle(side.process_tls_records(unused), plain, outgoing)
            });
            used = used.saturating_add(discard);
            let progress = match next? {
                Next::Again => continue,
                Next::Rest(progress) => progress,
                Next::Closed => Progress::PeerClosed,
            };
            self.peer_closed |= progress == Progress::PeerClosed;
            return Ok((used, if self.peer_closed { Progress::PeerClosed } else { progress }));
        }
    }

    /// Fails once a peer has sent too much of something that it does not finish.
    fn within_bounds(&self) -> Result<(), Error> {
        let most = match self.side {
            Side::Server(_) => KEPT_OF_CLIENT,
            Side::Client(_) => KEPT_OF_BACKEND,
        };
        if self.kept.len() > most {
            return Err(InvalidMessage::HandshakePayloadTooLarge.into());
        }
        Ok(())
    }

    /// Fails once the connection has failed.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.failed {
            return Err(Error::General("the TLS connection has failed before".into()));
        }
        Ok(())
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
        self.check()?;
        loop {
            // What is kept must be shown: the library looks at it again, even in order to write.
            let Self { kept, .. } = self;
            let next = on_side!(self, side => match side.process_tls_records(kept) {
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
                // What is kept completes nothing, so it yields no plain bytes and is not used up.
                status => handle(status, &mut Vec::new(), outgoing).1,
            });
            self.failed |= next.is_err();
            match next? {
                Next::Again => {}
                // Said once; the next call goes on to `WriteTraffic`.
                Next::Rest(Progress::PeerClosed) => self.peer_closed = true,
                Next::Rest(_) => return Err(Error::HandshakeNotComplete),
                Next::Closed => return Err(Error::General("closed by both sides".into())),
            }
        }
    }

    /// After an error the library has an alert for the peer, perhaps behind a flight that was not sent.
    /// It must be called for nothing else: without its input it would look beyond the end.
    fn alert(&mut self, outgoing: &mut Outgoing) {
        while on_side!(self, side => side.wants_write()) {
            let (_, next) = on_side!(self, side => {
                handle(side.process_tls_records(&mut []), &mut Vec::new(), outgoing)
            });
            if next.is_err() {
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

/// Does what one status of the library asks for. Gives back how many bytes were used up.
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

#[cfg(test)]
mod tests;
