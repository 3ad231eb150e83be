//! Certificates of clients at a `[[listener]]`. Nothing here knows the listener's own certificate.

use model::Mechanism;
use transport::tls::{ClientCertificates, UserField};

use super::refuse;
use crate::config::{
    Purpose,
    file::{self, CertificateUser, ClientCertificate, TlsMode},
    mistake::Mistake,
    read::Reader,
};

/// Which certificates are believed; nothing where clients are not asked for any.
pub(super) fn clients(
    table: &file::Listener,
    mode: TlsMode,
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> Option<ClientCertificates> {
    needed_by_external(table, mode, reader);
    if mode == TlsMode::None {
        let because = "this listener has tls = \"none\"";
        refuse!(
            reader,
            table,
            [client_ca_file, client_certificate, client_certificate_user],
            because
        );
        return None;
    }
    if table.client_ca_file.is_absent() {
        let because = "without client_ca_file no certificate is asked for";
        refuse!(reader, table, [client_certificate, client_certificate_user], because);
    }
    let file = table.client_ca_file.given()?;
    let rule = table.client_certificate.or(ClientCertificate::Optional);
    let clients = ClientCertificates {
        authorities: file.value.clone(),
        required: rule == ClientCertificate::Required,
        user: match table.client_certificate_user.or(CertificateUser::CommonName) {
            CertificateUser::CommonName => UserField::CommonName,
            CertificateUser::Email => UserField::Email,
        },
    };
    if purpose.reads_files()
        && let Err(error) = clients.check()
    {
        let title = format!("this file cannot be used: {error}");
        reader.note(Mistake::error(&file.span, title));
    }
    if !clients.required && table.client_certificate.given().is_none() && !has_external(table) {
        let title = "clients are asked for certificates, and cannot log in by them";
        let help = "add \"external\" to `mechanisms`, or set client_certificate = \"required\"";
        reader.note(Mistake::warning(&file.span, title).help(help));
    }
    Some(clients)
}

fn has_external(table: &file::Listener) -> bool {
    let listed = table.mechanisms.value().into_iter().flat_map(|listed| &listed.0);
    listed.into_iter().any(|at| at.value == Mechanism::External)
}

/// EXTERNAL is of no use where no certificate can be shown.
fn needed_by_external(table: &file::Listener, mode: TlsMode, reader: &mut Reader<'_>) {
    if mode != TlsMode::None && !table.client_ca_file.is_absent() {
        return;
    }
    let listed = table.mechanisms.value().into_iter().flat_map(|listed| &listed.0);
    for at in listed.filter(|at| at.value == Mechanism::External) {
        let title = "`external` is a login by certificate, and this listener asks for none";
        let help = "write client_ca_file = \"FILE\", with the authority that signs your users' \
                    certificates, on a listener with TLS";
        reader.note(Mistake::error(&at.span, title).help(help));
    }
}
