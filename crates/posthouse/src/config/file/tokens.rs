//! The shape of `[tokens]`.

use std::{path::PathBuf, time::Duration};

use ::directory::Url;
use model::Secret;
use toml::{Spanned, de::DeValue};

use crate::config::read::{Field, Keyed, Listed, Read, Reader, table};

table! {
    /// How OAuth 2.0 tokens are judged here.
    TokensTable, "[tokens]" {
        /// Who must have issued them.
        "issuer" = issuer: String,
        /// For whom they must be: one of these.
        "audience" = audiences: Listed<String>,
        /// What they must allow: all of these.
        "scope" = scopes: Listed<String>,
        /// Which claim names the user.
        "user_claim" = user_claim: String,
        /// By how much clocks may differ.
        "leeway" = leeway: Duration,
        /// Where the issuer's keys are,
        "jwks_url" = jwks_url: Url,
        "jwks_file" = jwks_file: PathBuf,
        /// or where it is asked of each token.
        "introspection_url" = introspection_url: Url,
        /// Who we are to it.
        "client_id" = client_id: String,
        "client_secret" = client_secret: Secret,
        "client_secret_file" = client_secret_file: PathBuf,
        "ca_file" = ca_file: PathBuf,
        "pin_sha256" = pin_sha256: Listed<[u8; 32]>,
        /// Our own certificate, and its key.
        "certificate" = certificate: PathBuf,
        "key" = key: PathBuf,
        /// After how long keys are fetched anew,
        "refresh" = refresh: Duration,
        /// how much time is between two fetches at least,
        "refresh_pause" = refresh_pause: Duration,
        /// and how old they may be while they cannot be fetched.
        "stale_for" = stale_for: Duration,
        /// How long the issuer may take for an answer.
        "deadline" = deadline: Duration,
        /// How long a token that was right is not judged again,
        "remember_for" = remember_for: Duration,
        /// and how many of those.
        "remember_most" = remember_most: u32,
    }
}
