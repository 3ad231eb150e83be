//! Certificates for the tests, and settings for peers that are not ours.

use std::{fs, path::Path, sync::Arc};

use model::Protocol;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tempfile::TempDir;
use transport::tls::{CertificateFiles, ClientTls, ServerSettings, ServerTls, Verify};

/// A certificate with its key in a folder of its own.
pub(crate) struct Keys {
    folder: TempDir,
    pub(crate) files: CertificateFiles,
}

impl Keys {
    pub(crate) fn new(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = CertificateFiles {
            certificate: folder.path().join("cert.pem"),
            key: folder.path().join("key.pem"),
        };
        let keys = Self { folder, files };
        keys.renew(names);
        keys
    }

    /// Replaces both files.
    pub(crate) fn renew(&self, names: &[&str]) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        self.put(&self.files.key, &made.signing_key.serialize_pem());
        self.put(&self.files.certificate, &made.cert.pem());
    }

    /// Writes a file as tools do it: beside, then over the old one.
    pub(crate) fn put(&self, path: &Path, text: &str) {
        let beside = self.folder.path().join("new");
        fs::write(&beside, text).unwrap();
        fs::rename(&beside, path).unwrap();
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(&self.files.certificate).unwrap()
    }

    pub(crate) fn server(&self) -> Arc<ServerTls> {
        server(&[self])
    }

    /// Our client's side, which believes this certificate.
    pub(crate) fn client(&self) -> ClientTls {
        ClientTls::new(&Verify::Roots { file: Some(self.files.certificate.clone()) }).unwrap()
    }

    /// A client that is not ours and believes this certificate.
    pub(crate) fn foreign_client(&self) -> ClientConfig {
        self.foreign_client_of(rustls::ALL_VERSIONS)
    }

    pub(crate) fn foreign_client_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    /// A server that is not ours.
    pub(crate) fn foreign_server(&self) -> ServerConfig {
        self.foreign_server_of(rustls::ALL_VERSIONS)
    }

    pub(crate) fn foreign_server_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ServerConfig {
        let key = rustls_pki_types::PrivateKeyDer::from_pem_file(&self.files.key).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate()], key)
            .unwrap()
    }
}

/// Our server's side for IMAP with these certificates.
pub(crate) fn server(keys: &[&Keys]) -> Arc<ServerTls> {
    let certificates = keys.iter().map(|keys| keys.files.clone()).collect();
    ServerTls::load(ServerSettings { certificates, protocol: Protocol::Imap, clients: None })
        .unwrap()
}
