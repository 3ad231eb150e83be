//! The directory as the other rooms use it: opened from settings, asked over its public face.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

#[path = "all/cdb.rs"]
mod cdb;
#[path = "all/chain.rs"]
mod chain;
#[path = "all/file.rs"]
mod file;
#[path = "all/http.rs"]
mod http;
#[path = "all/judging.rs"]
mod judging;
#[path = "all/passwords.rs"]
mod passwords;
#[path = "all/scram.rs"]
mod scram;
#[path = "all/sqlite.rs"]
mod sqlite;
#[path = "all/table.rs"]
mod table;
#[path = "all/tokens.rs"]
mod tokens;

use std::{path::Path, time::Duration};

use directory::{
    Directory, FileSettings, KnownBackend, Pools, Query, Rules, Settings, SourceKind,
    SourceSettings, StaticSettings, Unavailable, Verdict, passwords::PasswordSettings,
};
use model::{BackendName, Protocol, UserName};

/// No single wait of a test takes longer.
const DEADLINE: Duration = Duration::from_secs(20);

fn backend(name: &str) -> BackendName {
    BackendName::new(name).unwrap()
}

/// Two back ends on one address, told apart by their ports.
fn backends() -> Vec<KnownBackend> {
    let known = |name, imap_port, pop3_port| KnownBackend {
        name: backend(name),
        hosts: vec!["127.0.0.1".parse().unwrap()],
        imap_port,
        pop3_port,
        judges: true,
    };
    vec![known("a", 10143, 10110), known("b", 11143, 11110)]
}

fn source(name: &str, kind: SourceKind) -> SourceSettings {
    SourceSettings::new(name, kind)
}

fn everybody(answer: &str) -> SourceSettings {
    let answer = answer.parse().unwrap();
    source("static", SourceKind::Static(StaticSettings { answer }))
}

fn file(path: &Path) -> SourceSettings {
    let mut settings = FileSettings::new(path);
    settings.check_every = Duration::ZERO;
    source("file", SourceKind::File(settings))
}

fn table() -> SourceSettings {
    source("table", SourceKind::Table)
}

fn settings(state: &Path, chain: Vec<SourceSettings>) -> Settings {
    Settings {
        rules: Rules::default(),
        chain,
        backends: backends(),
        pools: Pools::default(),
        state: state.join("state"),
        passwords: PasswordSettings::default(),
        tokens: None,
    }
}

fn open(state: &Path, chain: Vec<SourceSettings>) -> Directory {
    Directory::open(settings(state, chain)).unwrap()
}

async fn ask(directory: &Directory, user: &str) -> Result<Verdict, Unavailable> {
    let user = directory.canonical(&UserName::new(user).unwrap()).unwrap();
    let query = Query::without_client(user, Protocol::Imap);
    let verdict = tokio::time::timeout(DEADLINE, directory.look_up(&query));
    verdict.await.expect("the directory answers in time")
}

/// A verdict in short: `NAME -> USER@BACKEND`, `unknown NAME`, `misnamed` or the reason's word.
async fn said(directory: &Directory, user: &str) -> String {
    let Ok(known_as) = directory.canonical(&UserName::new(user).unwrap()) else {
        return "misnamed".to_owned();
    };
    match ask(directory, user).await {
        Ok(Verdict::Admit(route)) => {
            format!("{known_as} -> {}@{}", route.user, route.targets[0].backend)
        }
        Ok(Verdict::Refused(refused)) => refused.reason.word().to_owned(),
        Ok(Verdict::Unknown) => format!("unknown {known_as}"),
        Err(unavailable) => unavailable.reason.word().to_owned(),
    }
}
