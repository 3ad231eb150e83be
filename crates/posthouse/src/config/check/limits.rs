//! `[limits]` and `[deadlines]`: how much is allowed, and how long.

use std::time::Duration;

use backends::Deadlines;
use proto::front;

use crate::config::{
    Limits,
    file::{self, File},
    mistake::Mistake,
    read::{Field, Reader},
};

/// CAPABILITY, STARTTLS, CAPABILITY, ID and LOGIN; on POP3 CAPA, STLS, CAPA, USER and PASS.
const COMMANDS_OF_A_LOGIN: u32 = 5;
/// What RFC 2683 section 3.2.1.5 lets clients rely on.
const SHORTEST_LINE: u32 = 1000;
/// RFC 4954 section 4: the response of a SASL mechanism, in base64.
const SHORTEST_SASL_LINE: u32 = 12_288;
/// As long as a user name may be.
const SHORTEST_LITERAL: u32 = 512;
/// What the specification of the PROXY protocol asks for: a lost packet is sent again within it.
const SHORTEST_HEADER_WAIT: Duration = Duration::from_secs(3);

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
        before_login: before_login(table, defaults.before_login, reader),
        proxy_header_wait: proxy_header_wait(table, defaults.proxy_header_wait, reader),
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

/// What a client may say before login.
fn before_login(
    table: &file::Limits,
    defaults: front::Limits,
    reader: &mut Reader<'_>,
) -> front::Limits {
    let few = "a login with STARTTLS takes five commands";
    at_least(&table.commands, COMMANDS_OF_A_LOGIN, few, reader);
    let short = "clients rely on lines of 1000 bytes (RFC 2683)";
    at_least(&table.line, SHORTEST_LINE, short, reader);
    let short = "a SASL response may have 12288 bytes (RFC 4954)";
    at_least(&table.sasl_line, SHORTEST_SASL_LINE, short, reader);
    let short = "a user name may have 512 bytes";
    at_least(&table.literal, SHORTEST_LITERAL, short, reader);
    let line = count(&table.line, defaults.line);
    front::Limits {
        commands: table.commands.or(defaults.commands),
        line,
        sasl_line: count(&table.sasl_line, defaults.sasl_line).max(line),
        literal: count(&table.literal, defaults.literal),
    }
}

fn at_least(field: &Field<u32>, least: u32, reason: &str, reader: &mut Reader<'_>) {
    if let Some(few) = field.given().filter(|at| at.value < least) {
        let help = format!("write {least} or more, or leave it out to have the default");
        reader.note(Mistake::error(&few.span, reason).help(help));
    }
}

fn proxy_header_wait(table: &file::Limits, default: Duration, reader: &mut Reader<'_>) -> Duration {
    let field = &table.proxy_header_wait;
    if let Some(short) = field.given().filter(|at| at.value < SHORTEST_HEADER_WAIT) {
        let title = "a PROXY header may take 3 s, for packets get lost on the way";
        let help = "write \"3s\" or more, or leave it out to have the default";
        reader.note(Mistake::error(&short.span, title).help(help));
    }
    field.or(default)
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
