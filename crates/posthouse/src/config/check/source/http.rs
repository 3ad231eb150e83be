//! A source that is asked by HTTP: what can be said of it without asking it.

use std::fs;

use ::directory::{
    HttpContract, HttpField, HttpMethod, HttpServer, HttpSettings, Placeholder, SourceKind, Url,
};
use model::Token;

use super::super::{
    refuse,
    secrets::{given_or_in_file, secret_file, warn_of_readers},
    trust::{self, Trust},
};
use crate::config::{
    Purpose,
    file::{self, Contract, Method, header},
    mistake::Mistake,
    read::{At, Reader},
};

pub(super) fn server(
    at: &At<file::Source>,
    table: &file::HttpSource,
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> Option<SourceKind> {
    if table.url.is_absent() {
        let mistake = Mistake::error(&at.span, "this source has no `url`");
        reader.note(mistake.help("write url = \"https://HOST/PATH\""));
    }
    let contract = contract(table, reader);
    let token = token(table, purpose, reader);
    let mut fields: Vec<_> = table
        .headers
        .value()
        .into_iter()
        .flat_map(|listed| &listed.0)
        .map(|at| at.value.clone())
        .collect();
    fields.extend(headers_file(table, purpose, reader));
    let url = table.url.given()?;
    asks_for_somebody(at, url, contract, reader);
    let trust = Trust {
        ca_file: &table.ca_file,
        pin_sha256: &table.pin_sha256,
        certificate: &table.certificate,
        key: &table.key,
    };
    let (verify, certificate) = trust::of_server(url, &trust, purpose, reader);
    let server = HttpServer { url: url.value.clone(), verify, certificate, fields };
    Some(SourceKind::Http(HttpSettings { server, token, contract }))
}

fn contract(table: &file::HttpSource, reader: &mut Reader<'_>) -> HttpContract {
    if table.contract.value() == Some(&Contract::Nginx) {
        refuse!(reader, table, [method], "it belongs to contract = \"json\"");
        let (external, judges) = (table.external.or(false), table.judges.or(false));
        return HttpContract::Nginx { external, judges };
    }
    refuse!(reader, table, [external], "it belongs to contract = \"nginx\"");
    let method = match table.method.value() {
        Some(Method::Get) => HttpMethod::Get,
        Some(Method::Post) | None => HttpMethod::Post,
    };
    if let Some(judges) = table.judges.given().filter(|judges| judges.value)
        && method == HttpMethod::Get
    {
        let title = "a password does not belong into an address, which ends up in logs";
        reader.note(Mistake::error(&judges.span, title).help("leave `method` out"));
    }
    HttpContract::Json { method, judges: table.judges.or(false) }
}

/// Notes an address that would be the same for all users.
fn asks_for_somebody(
    at: &At<file::Source>,
    url: &At<Url>,
    contract: HttpContract,
    reader: &mut Reader<'_>,
) {
    if !matches!(contract, HttpContract::Json { method: HttpMethod::Get, .. }) {
        return;
    }
    if url.value.placeholders().next().is_none() {
        let title = "this address asks for nobody: it is the same for every user";
        let mistake = Mistake::error(&url.span, title);
        reader.note(mistake.help("write `{user}` where his name belongs, or leave `method` out"));
    }
    let uses_key = url.value.placeholders().any(|placeholder| placeholder == Placeholder::Key);
    if let Some(keys) = at.value.common.keys.given().filter(|_| !uses_key) {
        let title = "the address does not use the keys";
        let mistake = Mistake::error(&keys.span, title).other(&url.span, "this one");
        reader.note(mistake.help("write `{key}` in it, or leave `keys` out"));
    }
}

fn token(table: &file::HttpSource, purpose: Purpose, reader: &mut Reader<'_>) -> Option<Token> {
    let reads_file = purpose.reads_secret_of_source(&table.token_file);
    let given = (&table.token, &table.token_file);
    given_or_in_file("the token", given, reads_file, reader, |file, reader| {
        let secret = secret_file(file, reader)?;
        match Token::new(secret.reveal()) {
            Ok(token) => Some(token),
            Err(error) => {
                let title = format!("{} holds no token: {error}", file.value.display());
                reader.note(Mistake::error(&file.span, title));
                None
            }
        }
    })
}

/// The fields in a file, one in each line.
fn headers_file(
    table: &file::HttpSource,
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> Vec<HttpField> {
    let reads_file = purpose.reads_secret_of_source(&table.headers_file);
    let Some(file) = table.headers_file.given().filter(|_| reads_file) else { return Vec::new() };
    let shown = file.value.display();
    let text = match fs::read_to_string(&file.value) {
        Ok(text) => text,
        Err(error) => {
            reader.note(Mistake::error(&file.span, format!("{shown} cannot be read: {error}")));
            return Vec::new();
        }
    };
    warn_of_readers(file, reader);
    let mut fields = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        match header(line) {
            Ok(field) => fields.push(field),
            Err(error) => {
                let title = format!("line {number} of {shown} is not a header: {error}");
                reader.note(Mistake::error(&file.span, title));
            }
        }
    }
    fields
}
