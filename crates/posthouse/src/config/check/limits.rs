//! `[limits]` and `[deadlines]`: how much is allowed, and how long.

use std::time::Duration;

use backends::Deadlines;

use crate::config::{
    Limits,
    file::{self, File},
    mistake::Mistake,
    read::{Field, Reader},
};

/// What counts where nothing is said; see [`proxy::Limits`].
fn defaults() -> proxy::Limits {
    proxy::Limits::with_connections(usize::MAX)
}

pub(super) fn limits(file: &File, reader: &mut Reader<'_>) -> Limits {
    let defaults = defaults();
    let Some(table) = file.limits.value() else {
        return Limits { connections: None, others: defaults };
    };
    if let Some(none) = table.connections.given().filter(|at| at.value == 0) {
        let title = "with 0 connections nobody could log in";
        let help = "leave it out to have as many as the limit on open files allows";
        reader.note(Mistake::error(&none.span, title).help(help));
    }
    let others = proxy::Limits {
        connections: defaults.connections,
        connections_per_address: count(
            &table.connections_per_address,
            defaults.connections_per_address,
        ),
        sessions_per_user: count(&table.sessions_per_user, defaults.sessions_per_user),
        logins_per_address: table.logins_per_address.or(defaults.logins_per_address),
        logins_per_user: table.logins_per_user.or(defaults.logins_per_user),
        longest_wait: table.longest_login_wait.or(defaults.longest_wait),
        failure_delay: table.failure_delay.or(defaults.failure_delay),
        client_wait: wait(&table.client_wait, defaults.client_wait, reader),
        handshakes: count(&table.handshakes, defaults.handshakes),
        handshakes_per_address: count(
            &table.handshakes_per_address,
            defaults.handshakes_per_address,
        ),
        handshake_wait: wait(&table.handshake_wait, defaults.handshake_wait, reader),
        idle: wait(&table.idle, defaults.idle, reader),
        disconnect_spread: table.disconnect_spread.or(defaults.disconnect_spread),
    };
    Limits { connections: table.connections.value().map(|count| size(*count)), others }
}

/// How long to wait for a back end.
pub(super) fn deadlines(field: &Field<file::Deadlines>, reader: &mut Reader<'_>) -> Deadlines {
    let defaults = Deadlines::default();
    let Some(table) = field.value() else { return defaults };
    Deadlines {
        connect: wait(&table.connect, defaults.connect, reader),
        greeting: wait(&table.greeting, defaults.greeting, reader),
        verdict: wait(&table.login, defaults.verdict, reader),
    }
}

/// A number that was given, or the default.
pub(super) fn count(field: &Field<u32>, default: usize) -> usize {
    field.value().map_or(default, |count| size(*count))
}

fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// How long to wait for somebody, which cannot be no time at all.
pub(super) fn wait(
    field: &Field<Duration>,
    default: Duration,
    reader: &mut Reader<'_>,
) -> Duration {
    if let Some(none) = field.given().filter(|at| at.value.is_zero()) {
        let title = "nobody could answer in no time";
        let help = "leave it out to have the default, or write a longer time";
        reader.note(Mistake::error(&none.span, title).help(help));
    }
    field.or(default)
}
