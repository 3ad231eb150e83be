//! Our own certificate, for back ends that ask for one; it follows its files.

use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use rustls::sign::CertifiedKey;

use super::files::{CertificateFiles, Stamps, TlsFileError, follow, read_key_pair, stamps};

/// A certificate and its key, as they are in their files now.
#[derive(Debug)]
pub(super) struct OwnCertificate {
    files: CertificateFiles,
    paths: Vec<PathBuf>,
    /// How the files looked before they were read.
    read: Stamps,
    pair: ArcSwap<CertifiedKey>,
}

impl OwnCertificate {
    pub(super) fn load(files: &CertificateFiles) -> Result<Self, TlsFileError> {
        let paths = files.paths().to_vec();
        let read = stamps(&paths);
        let pair = ArcSwap::from_pointee(read_key_pair(files)?);
        Ok(Self { files: files.clone(), paths, read, pair })
    }

    /// Follows the files for ever. Files that cannot be used are reported once, and what is in use stays.
    pub(super) async fn follow_files(&self) {
        let file = self.files.certificate.display();
        follow(&self.paths, &self.read, || match read_key_pair(&self.files) {
            Ok(pair) => {
                self.pair.store(Arc::new(pair));
                tracing::info!(%file, "our certificate for back ends reloaded");
            }
            Err(error) => tracing::error!(%error, "new certificate not used, the old one stays"),
        })
        .await;
    }

    /// Both, as they are now.
    pub(super) fn pair(&self) -> Arc<CertifiedKey> {
        self.pair.load_full()
    }
}
