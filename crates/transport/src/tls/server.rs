//! TLS towards clients: certificates by SNI that follow their files.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use model::{DnsName, Protocol, UserName};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::{Ticketer, default_provider},
    pki_types::{CertificateDer, UnixTime},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, danger::ClientCertVerifier},
    sign::CertifiedKey,
};

use super::{
    asked,
    clients::{ClientCertificates, NamesNobody, UserField},
    files::{CertificateFiles, Stamps, TlsFileError, follow, read_key_pair, stamps},
};
use crate::Stream;

/// What a listener needs for TLS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerSettings {
    /// The first is shown to clients that name no host, or one that no certificate is for; the others
    /// are picked by SNI, by the names in them.
    pub certificates: Vec<CertificateFiles>,
    /// The protocol, whose ALPN identifier is the only one accepted (none at all is accepted too).
    pub protocol: Protocol,
    /// Whether clients are asked for a certificate, and which ones are believed.
    pub clients: Option<ClientCertificates>,
}

/// The TLS of a listener. New certificates and new authorities count for new connections.
#[derive(Debug)]
pub struct ServerTls {
    ready: ArcSwap<Ready>,
    settings: ServerSettings,
    files: Vec<PathBuf>,
    /// How the files looked before they were read.
    read: Stamps,
    /// Whether somebody follows the files already.
    followed: AtomicBool,
}

/// What a client's handshake has told us.
#[derive(Debug)]
pub struct Accepted {
    /// The name by which it called us (SNI).
    pub server_name: Option<DnsName>,
    /// Whom its certificate names, if it has shown one; it has been verified.
    pub certificate: Option<Result<UserName, NamesNobody>>,
}

impl ServerTls {
    /// Reads the certificates and keys.
    ///
    /// # Errors
    /// [`TlsFileError`] names the file and what is wrong with it.
    pub fn load(settings: ServerSettings) -> Result<Arc<Self>, TlsFileError> {
        let authorities = settings.clients.as_ref().map(|clients| clients.authorities.clone());
        let pairs = settings.certificates.iter().flat_map(CertificateFiles::paths);
        let files: Vec<_> = pairs.chain(authorities).collect();
        let read = stamps(&files);
        let ready = ArcSwap::from_pointee(Ready::read(&settings)?);
        Ok(Arc::new(Self { ready, settings, files, read, followed: AtomicBool::new(false) }))
    }

    /// The library's settings as they are now.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.ready.load().config)
    }

    /// Does the server's side of a TLS handshake.
    ///
    /// # Errors
    /// What the kernel or the TLS library said. An alert has been sent where there was one to send.
    pub async fn accept(&self, stream: &mut Stream) -> io::Result<Accepted> {
        let ready = self.ready.load_full();
        let server_name = stream.accept_tls(Arc::clone(&ready.config)).await?;
        let certificate = match (&self.settings.clients, stream.peer_certificates()) {
            (Some(clients), Some(chain)) => ready.user(chain, clients.user)?,
            _ => None,
        };
        Ok(Accepted { server_name, certificate })
    }

    /// Follows the files for ever: when one has changed, all are read again. Files that cannot be used
    /// are reported once, and the certificates in use stay. Of several who call this for one TLS (it
    /// may serve several listeners) the first one does it, and the others are done at once.
    pub async fn follow_files(self: Arc<Self>) {
        if self.followed.swap(true, Ordering::Relaxed) {
            return;
        }
        follow(&self.files, &self.read, || match Ready::read(&self.settings) {
            Ok(ready) => {
                self.ready.store(Arc::new(ready));
                tracing::info!(file = %self.first_file(), "certificate reloaded");
            }
            Err(error) => tracing::error!(%error, "new certificate not used, the old one stays"),
        })
        .await;
    }

    fn first_file(&self) -> String {
        self.files.first().map(|file| file.display().to_string()).unwrap_or_default()
    }
}

/// What was made of the files.
#[derive(Debug)]
struct Ready {
    config: Arc<ServerConfig>,
    /// What judges the certificates of clients; nothing where they are not asked for one.
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl Ready {
    fn read(settings: &ServerSettings) -> Result<Self, TlsFileError> {
        let table = Table::read(&settings.certificates)?;
        let provider = Arc::new(default_provider());
        let clients = settings.clients.as_ref();
        let clients = clients.map(|clients| clients.verifier(&provider)).transpose()?;
        let unusable = |error: rustls::Error| TlsFileError::new(Path::new("TLS"), error);
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let mut config = match &clients {
            Some(clients) => builder.with_client_cert_verifier(Arc::clone(clients)),
            None => builder.with_no_client_auth(),
        }
        .with_cert_resolver(Arc::new(table));
        config.alpn_protocols = vec![settings.protocol.alpn().to_vec()];
        // Tickets only: nothing is kept here for clients that never come back. They hold the client's
        // certificate, and count no more once the files have changed.
        config.ticketer = Ticketer::new().map_err(unusable)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { config: Arc::new(config), clients })
    }

    /// The user that a verified certificate names. In a session that was resumed the library has not
    /// looked at it again, and it may have run out since.
    fn user(
        &self,
        chain: &[CertificateDer<'_>],
        field: UserField,
    ) -> io::Result<Option<Result<UserName, NamesNobody>>> {
        let (Some(verifier), [own, between @ ..]) = (&self.clients, chain) else { return Ok(None) };
        verifier.verify_client_cert(own, between, UnixTime::now()).map_err(io::Error::other)?;
        Ok(Some(field.read(own)))
    }
}

/// The certificates in use.
#[derive(Debug)]
struct Table {
    default: Arc<CertifiedKey>,
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

impl Table {
    fn read(files: &[CertificateFiles]) -> Result<Self, TlsFileError> {
        let mut default = None;
        let mut by_name = HashMap::new();
        for files in files {
            let key = Arc::new(read_key_pair(files)?);
            for name in dns_names(&key, files)? {
                by_name.entry(name).or_insert_with(|| Arc::clone(&key));
            }
            default.get_or_insert(key);
        }
        let missing = || TlsFileError::new(Path::new("certificate"), "none is configured");
        Ok(Self { default: default.ok_or_else(missing)?, by_name })
    }

    /// The certificate for exactly this name, else for `*.` its parent (RFC 6125 section 6.4.3).
    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        self.by_name.get(&name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        })
    }
}

impl ResolvesServerCert for Table {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        asked::note(hello.server_name());
        let named = hello.server_name().and_then(|name| self.find(name));
        Some(Arc::clone(named.unwrap_or(&self.default)))
    }
}

/// The DNS names that a certificate is for, in lower case.
fn dns_names(pair: &CertifiedKey, files: &CertificateFiles) -> Result<Vec<String>, TlsFileError> {
    let bad = |problem: String| TlsFileError::new(&files.certificate, problem);
    let certificate = pair.end_entity_cert().map_err(|error| bad(error.to_string()))?;
    let certificate = webpki::EndEntityCert::try_from(certificate)
        .map_err(|error| bad(format!("not a certificate: {error}")))?;
    Ok(certificate.valid_dns_names().map(str::to_ascii_lowercase).collect())
}
