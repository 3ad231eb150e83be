//! What is wrong only between tables: proofs that no back end could judge, or that none could be shown,
//! and back ends that are ourselves. Nothing here asks a name server or the machine's interfaces.

use std::net::SocketAddr;

use ::directory::{Gives, SourceSettings};
use backends::LoginMode;
use model::{Host, Mechanism};

use super::{File, backend::Checked};
use crate::config::{
    Listener,
    mistake::Mistake,
    read::{At, Field, Reader},
};

/// The mechanisms that listeners offer, where they are named.
fn mechanisms(file: &File) -> impl Iterator<Item = &At<Mechanism>> {
    let listeners = file.listeners.value().into_iter().flat_map(|tables| &tables.0);
    listeners.filter_map(|at| at.value.mechanisms.value()).flat_map(|listed| &listed.0)
}

/// A certificate, or SCRAM, proves the user to us only: to a back end that judges by itself there is nothing to
/// show.
pub(super) fn unforwardable(file: &File, backends: &[Checked], reader: &mut Reader<'_>) {
    let Some(forwards) = backends.iter().find_map(|backend| backend.forwards.as_ref()) else {
        return;
    };
    for at in mechanisms(file) {
        let how = match at.value {
            Mechanism::External => "certificate",
            Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => "SCRAM",
            _ => continue,
        };
        let title = format!("who logs in by {how} leaves nothing that could be forwarded");
        let help = "all back ends need another login mode: \"master\", \"authzid\", \"password\" or \
                    \"trusted\"";
        let mistake = Mistake::error(&at.span, title).help(help);
        reader.note(mistake.other(forwards, "this one has login = \"forward\""));
    }
}

/// SCRAM is judged by a verifier, and who has none could not log in by a program that prefers SCRAM.
pub(super) fn scram(file: &File, sources: &[SourceSettings], reader: &mut Reader<'_>) {
    let completed = || sources.iter().any(|other| other.gives == Gives::Attributes && other.scram);
    let has_none = |source: &&SourceSettings| match source.gives {
        _ if source.scram => false,
        _ if source.kind.is_shown_passwords() || source.kind.may_hold_verifiers() => true,
        Gives::Attributes => false,
        Gives::Home => !completed(),
    };
    let Some(without) = sources.iter().find(has_none) else { return };
    for at in mechanisms(file).filter(|at| at.value == Mechanism::ScramSha256) {
        let name = &without.name;
        let title = format!("source `{name}` is not declared to have verifiers for SCRAM");
        let help = if without.kind.may_hold_verifiers() {
            "write scram = true in it if all its passwords are stored as {SCRAM-SHA-256}"
        } else {
            "add a source with gives = \"attributes\" and scram = true, where all passwords are stored as \
             {SCRAM-SHA-256}"
        };
        reader.note(Mistake::error(&at.span, title).help(help));
    }
}

/// Where the back end no longer looks at the client's own password, we must: some source has to know it.
/// Who comes by certificate or token needs none, unless it is what we log in by.
pub(super) fn passwords(
    file: &File,
    backends: &[Checked],
    sources: &[SourceSettings],
    reader: &mut Reader<'_>,
) {
    let knows_passwords = |source: &SourceSettings| source.kind.may_judge();
    if sources.is_empty() || sources.iter().any(knows_passwords) {
        return;
    }
    let judges_tokens = !file.tokens.is_absent();
    let by_something_else = mechanisms(file)
        .any(|at| at.value == Mechanism::External || judges_tokens && is_token(at.value));
    for backend in backends {
        let Some(span) = &backend.judged_here else { continue };
        let needed = backend
            .settings
            .as_ref()
            .is_some_and(|settings| matches!(settings.login, LoginMode::Password));
        if by_something_else && !needed {
            continue;
        }
        let title = "no source of the directory knows passwords, so nobody could log in";
        let help = "all login modes but \"forward\" need a source that knows passwords or judges them: the \
                    table, a TOML file, a database, LDAP, or a server asked by HTTP";
        reader.note(Mistake::error(span, title).help(help));
    }
}

/// Whether a mechanism carries a token.
fn is_token(mechanism: Mechanism) -> bool {
    matches!(mechanism, Mechanism::XOAuth2 | Mechanism::OAuthBearer)
}

/// A token has to be judged: by the back end that it is forwarded to, or here by what is set.
pub(super) fn tokens(
    file: &File,
    backends: &[Checked],
    sources: &[SourceSettings],
    reader: &mut Reader<'_>,
) {
    let mut offered = mechanisms(file).filter(|at| is_token(at.value)).peekable();
    let entered_by_us = backends.iter().find_map(|backend| backend.judged_here.as_ref());
    let verifying = sources.iter().find(|source| source.verify);
    if let Some(table) = file.tokens.given() {
        let (title, help) = if offered.peek().is_none() {
            let help = "write \"oauthbearer\" and \"xoauth2\" among the `mechanisms` of a listener";
            ("no listener takes tokens", help)
        } else if entered_by_us.is_none() && verifying.is_none() {
            let help =
                "write verify = \"directory\" in a source, or another login mode for a back end";
            ("no token is judged here: all back ends are shown them", help)
        } else {
            return;
        };
        reader.note(Mistake::warning(&table.span, title).help(help));
        return;
    }
    if !matches!(file.tokens, Field::Absent) {
        return;
    }
    for at in offered {
        let title = format!(
            "`{}` is a token, and nothing is set by which it could be judged",
            at.value.word()
        );
        let mistake = Mistake::error(&at.span, title);
        if let Some(login) = entered_by_us {
            let help = "write [tokens], or login = \"forward\" for all back ends";
            reader.note(mistake.help(help).other(login, "this one gets no tokens"));
        } else if let Some(source) = verifying {
            let help = format!("write [tokens], or leave `verify` of source `{}` out", source.name);
            reader.note(mistake.help(help));
        }
    }
}

/// A back end at one of our own addresses would be entered again and again. Names, and other addresses of
/// this machine, are looked at when a connection is made.
pub(super) fn loops(backends: &[Checked], listeners: &[Listener], reader: &mut Reader<'_>) {
    for backend in backends {
        for host in &backend.hosts {
            let Host::Ip(ip) = host.value else { continue };
            let meets = |listener: &&Listener| {
                // Only the ports of protocols that are spoken here are ever used.
                let mut ports = listeners.iter().map(|other| backend.ports.of(other.protocol));
                ports.any(|port| {
                    let address = SocketAddr::new(ip, port);
                    listener.addresses.iter().any(|own| is_at(own, &address))
                })
            };
            if let Some(listener) = listeners.iter().find(meets) {
                let title = format!(
                    "this back end is our own listener \"{}\": it would be a loop",
                    listener.name
                );
                let help = "correct `address`, `imap_port` or `pop3_port`";
                reader.note(Mistake::error(&host.span, title).help(help));
            }
        }
    }
}

/// Whether a listener is met at an address.
fn is_at(own: &SocketAddr, address: &SocketAddr) -> bool {
    let here = address.ip().is_loopback() || address.ip().is_unspecified();
    own.port() == address.port()
        && own.is_ipv4() == address.is_ipv4()
        && (own.ip() == address.ip() || (own.ip().is_unspecified() && here))
}
