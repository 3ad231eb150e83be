//! Our own certificate, for back ends that ask for one; it follows its files.

use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;

use super::files::{CertificateFiles, Stamps, TlsFileError, follow, stamps};

/// A certificate and its key, as they are in their files now, in the form that a TLS library takes.
#[derive(Debug)]
pub(super) struct OwnCertificate<Pair> {
    files: CertificateFiles,
    paths: Vec<PathBuf>,
    /// How the files looked before they were read.
    read: Stamps,
    load: fn(&CertificateFiles) -> Result<Pair, TlsFileError>,
    pair: ArcSwap<Pair>,
}

impl<Pair> OwnCertificate<Pair> {
    pub(super) fn load(
        files: &CertificateFiles,
        load: fn(&CertificateFiles) -> Result<Pair, TlsFileError>,
    ) -> Result<Self, TlsFileError> {
        let paths = files.paths().to_vec();
        let read = stamps(&paths);
        let pair = ArcSwap::from_pointee(load(files)?);
        Ok(Self { files: files.clone(), paths, read, load, pair })
    }

    /// Follows the files for ever. Files that cannot be used are reported once, and what is in use stays.
    pub(super) async fn follow_files(&self) {
        let file = self.files.certificate.display();
        follow(&self.paths, &self.read, || match (self.load)(&self.files) {
            Ok(pair) => {
                self.pair.store(Arc::new(pair));
                tracing::info!(%file, "our certificate for back ends reloaded");
            }
            Err(error) => tracing::error!(%error, "new certificate not used, the old one stays"),
        })
        .await;
    }

    /// Both, as they are now.
    pub(super) fn pair(&self) -> Arc<Pair> {
        self.pair.load_full()
    }
}
