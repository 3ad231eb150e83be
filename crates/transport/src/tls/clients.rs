//! Certificates that clients show: whom we believe, and which user a certificate names.
//!
//! Nothing here decides what the user may do.

use std::{path::PathBuf, sync::Arc};

use model::{InvalidUserName, UserName};
use rustls::{
    RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs::default_provider},
    pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use x509_parser::{extensions::GeneralName, parse_x509_certificate, prelude::X509Certificate};

use super::files::{TlsFileError, read_certificates};

/// Which certificates of clients are believed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientCertificates {
    /// PEM file with the authorities that sign them. Lists of revoked ones (CRLs) may stand in it too.
    pub authorities: PathBuf,
    /// Whether a client without one is sent away.
    pub required: bool,
    /// Which field names the user.
    pub user: UserField,
}

/// The field of a certificate that names the user.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum UserField {
    /// The subject's common name, as Dovecot and Cyrus have it.
    #[default]
    CommonName,
    /// The e-mail address among the subject's alternative names (RFC 5280 section 4.2.1.6).
    Email,
}

/// Why a certificate, though believed, names no user.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NamesNobody {
    /// The field is there more than once, and which one is meant cannot be known.
    #[error("the client's certificate has several of the field that names the user")]
    Ambiguous,
    /// What stands in the field is no user name.
    #[error("the client's certificate names nobody who could be: {0}")]
    Invalid(InvalidUserName),
    /// The field is not there.
    #[error("the client's certificate lacks the field that names the user")]
    Missing,
    /// The certificate, or the field, has a form that is not read.
    #[error("the client's certificate cannot be read")]
    Unreadable,
}

impl ClientCertificates {
    /// Whether the file can be used, which is read for it.
    ///
    /// # Errors
    /// [`TlsFileError`] says what is wrong with it.
    pub fn check(&self) -> Result<(), TlsFileError> {
        self.verifier(&Arc::new(default_provider())).map(|_| ())
    }

    /// What judges certificates by the file.
    pub(super) fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsFileError> {
        let unusable = |problem: String| TlsFileError::new(&self.authorities, problem);
        let mut roots = RootCertStore::empty();
        for authority in read_certificates(&self.authorities)? {
            roots.add(authority).map_err(|error| unusable(error.to_string()))?;
        }
        let revoked: Vec<_> = CertificateRevocationListDer::pem_file_iter(&self.authorities)
            .and_then(Iterator::collect)
            .map_err(|error| unusable(format!("cannot be read as PEM: {error}")))?;
        let mut builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .with_crls(revoked)
                // An authority without a list has revoked nothing.
                .allow_unknown_revocation_status();
        if !self.required {
            builder = builder.allow_unauthenticated();
        }
        builder.build().map_err(|error| unusable(error.to_string()))
    }
}

impl UserField {
    /// The user that a certificate names.
    ///
    /// # Errors
    /// [`NamesNobody`] says why there is none.
    pub(super) fn read(self, certificate: &CertificateDer<'_>) -> Result<UserName, NamesNobody> {
        let (_, certificate) =
            parse_x509_certificate(certificate).map_err(|_| NamesNobody::Unreadable)?;
        let names = match self {
            Self::CommonName => common_names(&certificate)?,
            Self::Email => emails(&certificate)?,
        };
        match names.as_slice() {
            [] => Err(NamesNobody::Missing),
            [name] => UserName::new(*name).map_err(NamesNobody::Invalid),
            _ => Err(NamesNobody::Ambiguous),
        }
    }
}

fn common_names<'c>(certificate: &'c X509Certificate<'_>) -> Result<Vec<&'c str>, NamesNobody> {
    let names = certificate.subject().iter_common_name();
    names.map(|name| name.as_str().map_err(|_| NamesNobody::Unreadable)).collect()
}

fn emails<'c>(certificate: &'c X509Certificate<'_>) -> Result<Vec<&'c str>, NamesNobody> {
    let names = certificate.subject_alternative_name().map_err(|_| NamesNobody::Unreadable)?;
    let names = names.map_or(&[][..], |names| &names.value.general_names);
    let email = |name: &'c GeneralName<'_>| match name {
        GeneralName::RFC822Name(email) => Some(Ok(*email)),
        GeneralName::Invalid(..) => Some(Err(NamesNobody::Unreadable)),
        _ => None,
    };
    names.iter().filter_map(email).collect()
}
