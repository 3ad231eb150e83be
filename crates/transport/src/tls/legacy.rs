//! TLS 1.0 to 1.2 by OpenSSL, towards back ends that speak nothing newer, without IO.
//!
//! Never used for a listener, and for a back end only where its settings say so. Nothing here speaks
//! TLS 1.3: a server that does needs nothing of this, and old ones stumble over its long first message.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    sync::Arc,
};

use openssl::{
    error::ErrorStack,
    hash::MessageDigest,
    pkey::{Id, PKey, Private},
    ssl::{
        Error, ErrorCode, Ssl, SslContext, SslMethod, SslMode, SslOptions, SslStream,
        SslVerifyMode, SslVersion,
    },
    x509::{
        X509, X509VerifyResult,
        store::{X509Store, X509StoreBuilder},
        verify::{X509CheckFlags, X509VerifyFlags},
    },
};
use rustls::pki_types::{CertificateDer, ServerName};

use super::{
    client::{ClientTlsError, Verify},
    files::{CertificateFiles, TlsFileError, read_certificates, read_key},
    hints,
    own::OwnCertificate,
    session::Progress,
};
use crate::scratch::Outgoing;

/// Key exchange by static RSA and CBC suites, 3DES among them, and signatures by SHA-1. Nothing
/// anonymous, in clear, for export, or by RC4, which RFC 7465 forbids and old servers can do without.
const CIPHERS: &str = "HIGH:MEDIUM:!aNULL:!eNULL:!RC4:!MD5:!PSK:!SRP:@SECLEVEL=0";
/// RSA keys of fewer bits are broken by anybody, not only by states. Of DH, OpenSSL itself takes none of
/// fewer at any level.
const FEWEST_BITS: u32 = 1024;
/// OpenSSL's `SSL_OP_LEGACY_SERVER_CONNECT`: servers from before RFC 5746 do not know of secure
/// renegotiation. That we never renegotiate does not help: whoever stands between can say something of his own
/// first, and pass our handshake on as his renegotiation (CVE-2009-3555). The manual says so.
const LEGACY_SERVER_CONNECT: u64 = 1 << 2;
/// OpenSSL's `X509_V_ERR_CERT_NOT_YET_VALID` and `X509_V_ERR_CERT_HAS_EXPIRED`.
const DATES: [i32; 2] = [9, 10];
/// OpenSSL's `X509_V_ERR_HOSTNAME_MISMATCH` and `X509_V_ERR_IP_ADDRESS_MISMATCH`.
const NAMES: [i32; 2] = [62, 64];
/// Plain bytes in a record at most (RFC 5246 section 6.2.1).
const RECORD: usize = 16 * 1024;

/// Why a connection failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Nobody we believe has signed the certificate, or it is out of date, or for another name.
    #[error("invalid peer certificate: {0}")]
    Certificate(X509VerifyResult),
    /// The library must not be called again after an error.
    #[error("the TLS connection has failed before")]
    Before,
    /// What OpenSSL said.
    #[error("{0}")]
    Library(String),
    /// Another certificate than the pinned ones.
    #[error("the certificate is not the pinned one; its SHA-256 is {0}")]
    Pin(String),
    /// A key that protects from nobody; so many bits.
    #[error("the certificate's key has {0} bits, fewer than {FEWEST_BITS}")]
    Weak(u32),
}

impl From<ErrorStack> for Failure {
    fn from(errors: ErrorStack) -> Self {
        Self::Library(reasons(&errors))
    }
}

impl Failure {
    /// What an operator can do about it.
    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Certificate(wrong) if DATES.contains(&wrong.as_raw()) => Some(hints::DATES),
            Self::Certificate(wrong) if NAMES.contains(&wrong.as_raw()) => Some(hints::NAME),
            Self::Certificate(_) => Some(hints::ISSUER),
            Self::Library(said) if said.contains("wrong version number") => Some(hints::NO_TLS),
            _ => None,
        }
    }
}

/// OpenSSL's own words, without numbers and its source files.
fn reasons(errors: &ErrorStack) -> String {
    let reasons: Vec<_> = errors.errors().iter().filter_map(|error| error.reason()).collect();
    reasons.join(", ")
}

/// The settings towards one back end.
#[derive(Clone, Debug)]
pub(super) struct Context {
    library: SslContext,
    verify: Verify,
    own: Option<Arc<OwnCertificate<Papers>>>,
}

/// Our own certificate with its chain, and its key.
#[derive(Debug)]
struct Papers {
    /// The certificate first.
    chain: Vec<X509>,
    key: PKey<Private>,
}

impl Papers {
    fn read(files: &CertificateFiles) -> Result<Self, TlsFileError> {
        let bad = |file| move |errors: ErrorStack| TlsFileError::new(file, reasons(&errors));
        let chain: Result<Vec<_>, _> = read_certificates(&files.certificate)?
            .iter()
            .map(|certificate| X509::from_der(certificate))
            .collect();
        let chain = chain.map_err(bad(&files.certificate))?;
        let key = PKey::private_key_from_der(read_key(&files.key)?.secret_der());
        let key = key.map_err(bad(&files.key))?;
        let public = chain.first().and_then(|certificate| certificate.public_key().ok());
        if public.is_some_and(|public| public.public_eq(&key)) {
            Ok(Self { chain, key })
        } else {
            Err(TlsFileError::of_another_key(files))
        }
    }
}

impl Context {
    pub(super) fn new(
        verify: &Verify,
        own: Option<&CertificateFiles>,
    ) -> Result<Self, ClientTlsError> {
        let unusable = |errors: ErrorStack| ClientTlsError::Unusable(errors.to_string());
        let roots = match verify {
            Verify::Nothing | Verify::Pins(_) => None,
            Verify::Roots { file: None } => Some(system_roots()?),
            Verify::Roots { file: Some(file) } => Some(read_certificates(file)?),
        };
        let library = context(roots.as_deref()).map_err(unusable)?;
        let own = own.map(|files| OwnCertificate::load(files, Papers::read).map(Arc::new));
        Ok(Self { library, verify: verify.clone(), own: own.transpose()? })
    }

    /// Follows the files of our own certificate for ever; done at once where there is none.
    pub(super) async fn follow_files(&self) {
        if let Some(own) = &self.own {
            own.follow_files().await;
        }
    }

    /// The client's side of a new connection.
    pub(super) fn session(&self, name: &ServerName<'static>) -> Result<Session, Failure> {
        let mut ssl = Ssl::new(&self.library)?;
        let wanted = ssl.param_mut();
        // As the other library has it: the subject is no name.
        wanted.set_hostflags(
            X509CheckFlags::NEVER_CHECK_SUBJECT | X509CheckFlags::NO_PARTIAL_WILDCARDS,
        );
        match name {
            ServerName::DnsName(name) => {
                wanted.set_host(name.as_ref())?;
                ssl.set_hostname(name.as_ref())?;
            }
            ServerName::IpAddress(ip) => wanted.set_ip((*ip).into())?,
            _ => return Err(Failure::Library("the name is of no known kind".into())),
        }
        if let Some(own) = &self.own {
            let papers = own.pair();
            for (depth, link) in papers.chain.iter().enumerate() {
                match depth {
                    0 => ssl.set_certificate(link)?,
                    _ => ssl.add_chain_cert(link.clone())?,
                }
            }
            ssl.set_private_key(&papers.key)?;
        }
        let stream = SslStream::new(ssl, Wire::default())?;
        let state = State::Handshaking;
        Ok(Session { stream, verify: self.verify.clone(), state })
    }
}

fn context(roots: Option<&[CertificateDer<'static>]>) -> Result<SslContext, ErrorStack> {
    let mut builder = SslContext::builder(SslMethod::tls_client())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1))?;
    builder.set_max_proto_version(Some(SslVersion::TLS1_2))?;
    builder.set_cipher_list(CIPHERS)?;
    let legacy_servers = SslOptions::from_bits_retain(LEGACY_SERVER_CONNECT);
    builder.set_options(SslOptions::NO_RENEGOTIATION | legacy_servers);
    // An idle connection owns no buffer.
    builder.set_mode(SslMode::RELEASE_BUFFERS);
    match roots {
        None => builder.set_verify(SslVerifyMode::NONE),
        Some(roots) => {
            builder.set_verify(SslVerifyMode::PEER);
            builder.set_cert_store(store(roots)?);
        }
    }
    Ok(builder.build())
}

fn store(roots: &[CertificateDer<'static>]) -> Result<X509Store, ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    // A certificate that stands among the roots itself needs no chain.
    store.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
    for root in roots {
        store.add_cert(X509::from_der(root)?)?;
    }
    Ok(store.build())
}

/// The same roots as everywhere else, not those of OpenSSL's own folders.
fn system_roots() -> Result<Vec<CertificateDer<'static>>, ClientTlsError> {
    let mut roots = rustls_native_certs::load_native_certs().certs;
    roots.retain(|root| X509::from_der(root).is_ok());
    if roots.is_empty() { Err(ClientTlsError::NoSystemRoots) } else { Ok(roots) }
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Failed,
    Handshaking,
    Open,
    PeerClosed,
}

/// One TLS connection, the client's side.
pub(crate) struct Session {
    stream: SslStream<Wire>,
    verify: Verify,
    state: State,
}

/// What OpenSSL takes for a socket: memory, empty whenever nobody is in a call.
#[derive(Default)]
struct Wire {
    incoming: VecDeque<u8>,
    outgoing: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.incoming.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Session {
    /// The version agreed on, as it stands in the log.
    pub(super) fn version(&self) -> &'static str {
        match self.stream.ssl().version2() {
            Some(SslVersion::TLS1) => "1.0",
            Some(SslVersion::TLS1_1) => "1.1",
            Some(SslVersion::TLS1_2) => "1.2",
            _ => "unknown",
        }
    }

    #[cfg(test)]
    pub(super) fn holds_nothing(&self) -> bool {
        let wire = self.stream.get_ref();
        wire.incoming.capacity() == 0 && wire.outgoing.capacity() == 0
    }

    /// Whether the peer has said close_notify.
    pub(super) fn peer_closed(&self) -> bool {
        self.state == State::PeerClosed
    }

    /// Fails once the connection has failed.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.state == State::Failed { Err(Failure::Before) } else { Ok(()) }
    }

    /// Takes the first `count` bytes of `buffer`: plain bytes go to `plain`, what TLS itself has to say
    /// to `outgoing`, the alert of an error included.
    pub(super) fn receive(
        &mut self,
        buffer: &[u8],
        count: usize,
        plain: &mut Vec<u8>,
        outgoing: &mut Outgoing,
    ) -> Result<Progress, Failure> {
        let incoming = buffer.get(..count).unwrap_or_default();
        self.stream.get_mut().incoming.extend(incoming);
        let result = self.call(outgoing, |session| session.use_up(plain));
        self.stream.get_mut().incoming = VecDeque::new();
        result
    }

    /// Encrypts `plain` to the end of `outgoing`.
    pub(super) fn encrypt(&mut self, plain: &[u8], outgoing: &mut Outgoing) -> Result<(), Failure> {
        self.call(outgoing, |session| {
            let mut rest = plain;
            while !rest.is_empty() {
                match session.stream.ssl_write(rest) {
                    Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                    Err(error) => return Err(session.failure(&error)),
                }
            }
            Ok(())
        })
    }

    /// Adds close_notify to the end of `outgoing`; nothing where the connection is not open.
    pub(super) fn close(&mut self, outgoing: &mut Outgoing) {
        if matches!(self.state, State::Open | State::PeerClosed) {
            // It was written to memory, which takes everything; whether the peer has answered it shows
            // when its answer is read.
            let _ = self.call(outgoing, |session| {
                session.stream.shutdown().map_err(|error| session.failure(&error))
            });
        }
    }

    /// Calls the library, and takes what it has written.
    fn call<T>(
        &mut self,
        outgoing: &mut Outgoing,
        work: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.check()?;
        // The library keeps errors by thread: another connection's must not be taken for ours.
        drop(ErrorStack::get());
        let result = work(self);
        if result.is_err() {
            self.state = State::Failed;
        }
        let written = std::mem::take(&mut self.stream.get_mut().outgoing);
        if let Some(space) = outgoing.space(written.len()).get_mut(..written.len()) {
            space.copy_from_slice(&written);
        }
        outgoing.wrote(written.len());
        result
    }

    /// Uses up all that came in.
    fn use_up(&mut self, plain: &mut Vec<u8>) -> Result<Progress, Failure> {
        if self.state == State::Handshaking {
            match self.stream.connect() {
                Ok(()) => self.judge()?,
                Err(error) if error.code() == ErrorCode::WANT_READ => {
                    return Ok(Progress::Handshaking);
                }
                Err(error) => return Err(self.failure(&error)),
            }
            self.state = State::Open;
        }
        loop {
            let filled = plain.len();
            plain.resize(filled.saturating_add(RECORD), 0);
            let read = self.stream.ssl_read(plain.get_mut(filled..).unwrap_or_default());
            plain.truncate(filled.saturating_add(*read.as_ref().unwrap_or(&0)));
            match read {
                Ok(_) => {}
                Err(error) if error.code() == ErrorCode::WANT_READ => return Ok(Progress::Open),
                Err(error) if error.code() == ErrorCode::ZERO_RETURN => {
                    self.state = State::PeerClosed;
                    return Ok(Progress::PeerClosed);
                }
                Err(error) => return Err(self.failure(&error)),
            }
        }
    }

    /// Judges what the library does not, once the peer has proved that the key is its own.
    fn judge(&self) -> Result<(), Failure> {
        let shown = self.stream.ssl().peer_certificate();
        let certificate =
            shown.ok_or_else(|| Failure::Library("the server has shown no certificate".into()))?;
        let key = certificate.public_key()?;
        if matches!(key.id(), Id::RSA | Id::DSA) && key.bits() < FEWEST_BITS {
            return Err(Failure::Weak(key.bits()));
        }
        let Verify::Pins(pins) = &self.verify else { return Ok(()) };
        let seen = certificate.digest(MessageDigest::sha256())?;
        if pins.iter().any(|pin| pin.as_slice() == &*seen) {
            return Ok(());
        }
        Err(Failure::Pin(seen.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    fn failure(&self, error: &Error) -> Failure {
        match self.stream.ssl().verify_result() {
            X509VerifyResult::OK => {}
            _ if matches!(self.verify, Verify::Nothing | Verify::Pins(_)) => {}
            wrong => return Failure::Certificate(wrong),
        }
        let said = error.ssl_error().map_or_else(|| error.to_string(), reasons);
        Failure::Library(said)
    }
}

#[cfg(test)]
mod tests;
