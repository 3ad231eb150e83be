//! The shape of a source that is asked by HTTP.

use std::path::PathBuf;

use ::directory::{HttpField, Url};
use model::{Secret, Token};
use toml::{Spanned, de::DeValue};

use super::words;
use crate::config::read::{Field, Keyed, Listed, Read, Reader, table};

table! {
    /// A server that is asked by HTTP.
    HttpSource, "source = \"http\"" {
        "url" = url: Url,
        /// In which form it is asked.
        "contract" = contract: Contract,
        "method" = method: Method,
        /// Whether the server judges passwords.
        "judges" = judges: bool,
        /// Whether a server of nginx's contract answers without a password.
        "external" = external: bool,
        "token" = token: Token,
        "token_file" = token_file: PathBuf,
        /// Fields that go with every question.
        "headers" = headers: Listed<HttpField>,
        "headers_file" = headers_file: PathBuf,
        "ca_file" = ca_file: PathBuf,
        "pin_sha256" = pin_sha256: Listed<[u8; 32]>,
        /// Our own certificate, and its key.
        "certificate" = certificate: PathBuf,
        "key" = key: PathBuf,
    }
}

words! {
    /// In which form a server is asked.
    Contract, "a contract" {
        "json" = Json,
        "nginx" = Nginx,
    }
}

words! {
    /// How a question is sent.
    Method, "a method" {
        "get" = Get,
        "post" = Post,
    }
}

impl Read for Url {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        // Some write `NAME:PASSWORD@` before a host, which is a mistake here.
        if matches!(value.get_ref(), DeValue::String(text) if text.contains('@')) {
            reader.hide(value);
        }
        reader.parsed(value, "an address to ask", str::parse)
    }
}

impl Read for Token {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.hidden.push(value.span());
        reader.parsed(value, "a token", |text| Self::new(text))
    }
}

/// `Name: value`; the value may be a secret.
impl Read for HttpField {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.hidden.push(value.span());
        reader.parsed(value, "a header", header)
    }
}

/// Reads `Name: value`.
pub(in crate::config) fn header(text: &str) -> Result<HttpField, String> {
    let (name, value) = text.split_once(':').ok_or("it has no `:`, as in \"X-Key: value\"")?;
    let value = Secret::new(value.trim()).map_err(|error| error.to_string())?;
    HttpField::new(name.trim(), &value).map_err(|error| error.to_string())
}
