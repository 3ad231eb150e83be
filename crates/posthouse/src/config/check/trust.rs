//! Servers that are asked by HTTP: how each is believed, and what we show it. Nothing here asks one.

use std::path::PathBuf;

use ::directory::Url;
use transport::tls::{CertificateFiles, ClientTls, Verify};

use super::{listener::pair, refuse, secrets::warn_of_readers};
use crate::config::{
    Purpose,
    mistake::Mistake,
    read::{At, Field, Listed, Reader},
};

/// The keys of a table that say it.
pub(super) struct Trust<'t> {
    pub(super) ca_file: &'t Field<PathBuf>,
    pub(super) pin_sha256: &'t Field<Listed<[u8; 32]>>,
    pub(super) certificate: &'t Field<PathBuf>,
    pub(super) key: &'t Field<PathBuf>,
}

/// How the server at an address is believed, and our own certificate for it.
pub(super) fn of_server(
    url: &At<Url>,
    trust: &Trust<'_>,
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> (Verify, Option<CertificateFiles>) {
    if !url.value.is_private() {
        refuse!(reader, trust, [ca_file, pin_sha256, certificate, key], "the address has no TLS");
        if !url.value.host().is_loopback() {
            let title = "what is asked and answered crosses the network in clear, passwords too";
            reader.note(Mistake::warning(&url.span, title).help("write https://, and set ca_file"));
        }
        return (Verify::Nothing, None);
    }
    let verify = match trust.pin_sha256.given() {
        Some(pins) => {
            let because = "a pinned certificate is believed for itself, whoever signed it";
            refuse!(reader, trust, [ca_file], because);
            if pins.value.0.is_empty() {
                reader.note(Mistake::error(&pins.span, "no certificate fits an empty list"));
            }
            let Listed(pins) = &pins.value;
            Verify::Pins(pins.iter().map(|pin| pin.value).collect())
        }
        None => Verify::Roots { file: trust.ca_file.value().cloned() },
    };
    if let (true, Some(file)) = (purpose.reads_files(), trust.ca_file.given())
        && let Err(error) = ClientTls::new(&verify)
    {
        let title = format!("this file cannot be used: {error}");
        reader.note(Mistake::error(&file.span, title));
    }
    let files = pair(trust.certificate, trust.key, reader);
    if let (true, Some(files), Some(key)) = (purpose.reads_files(), &files, trust.key.given()) {
        if let Err(error) = files.check() {
            let title = format!("this file cannot be used: {error}");
            reader.note(Mistake::error(&key.span, title));
        }
        warn_of_readers(key, reader);
    }
    (verify, files)
}
