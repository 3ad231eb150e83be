//! `[passwords]`: how stored passwords are checked here.

use std::num::NonZeroU32;

use ::directory::passwords::{DefaultScheme, Limits, PasswordSettings, PlainText, PoolSettings};

use crate::config::{
    file,
    mistake::Mistake,
    read::{Field, Reader},
};

/// Clients need not go on with fewer iterations of SCRAM-SHA-256 (RFC 7677 section 4).
const FEWEST_ITERATIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(4095);

/// More threads would only wait for each other.
const MAX_THREADS: u32 = 255;

pub(super) fn passwords(
    field: &Field<file::Passwords>,
    reader: &mut Reader<'_>,
) -> PasswordSettings {
    let default = PasswordSettings::default();
    let Some(table) = field.value() else { return default };
    let plain = if table.allow_plain.or(false) { PlainText::Allowed } else { PlainText::Refused };
    PasswordSettings {
        limits: limits(table, default.limits),
        plain,
        default_scheme: default_scheme(table, plain, reader),
        pool: pool(table, default.pool, reader),
        remember_for: table.remember_for.or(default.remember_for),
        remember_most: count(&table.remember_most, default.remember_most),
        scram_iterations: scram_iterations(table, default.scram_iterations, reader),
    }
}

fn default_scheme(
    table: &file::Passwords,
    plain: PlainText,
    reader: &mut Reader<'_>,
) -> DefaultScheme {
    let Some(given) = table.plain_without_scheme.given().filter(|given| given.value) else {
        return DefaultScheme::None;
    };
    if plain == PlainText::Refused {
        let title = "what has no scheme would be a password in clear text, which is not allowed";
        let mistake = Mistake::error(&given.span, title);
        reader.note(mistake.help("write allow_plain = true too, or leave this out"));
    }
    DefaultScheme::Plain
}

fn scram_iterations(
    table: &file::Passwords,
    default: NonZeroU32,
    reader: &mut Reader<'_>,
) -> NonZeroU32 {
    let Some(given) = table.scram_iterations.given() else { return default };
    match NonZeroU32::new(given.value).filter(|number| *number >= FEWEST_ITERATIONS) {
        Some(number) => number,
        None => {
            let title = format!("a number from {FEWEST_ITERATIONS} is expected here");
            let help = "clients refuse fewer (RFC 7677 section 4)";
            reader.note(Mistake::error(&given.span, title).help(help));
            default
        }
    }
}

fn limits(table: &file::Passwords, default: Limits) -> Limits {
    let memory = table.most_megabytes.value().map(|megabytes| u64::from(*megabytes) << 20);
    Limits {
        memory: memory.unwrap_or(default.memory),
        passes: table.most_passes.or(default.passes),
        bcrypt_cost: table.most_bcrypt_cost.or(default.bcrypt_cost),
        rounds: table.most_rounds.or(default.rounds),
    }
}

fn pool(table: &file::Passwords, default: PoolSettings, reader: &mut Reader<'_>) -> PoolSettings {
    if let Some(given) = table.threads.given()
        && !(1..=MAX_THREADS).contains(&given.value)
    {
        let title = format!("a number from 1 to {MAX_THREADS} is expected here");
        reader.note(Mistake::error(&given.span, title));
    }
    if let Some(given) = table.queue.given().filter(|given| given.value == 0) {
        let title = "with a queue of 0 no password could be checked";
        reader.note(Mistake::error(&given.span, title));
    }
    PoolSettings {
        threads: count(&table.threads, default.threads),
        queue: count(&table.queue, default.queue),
        patience: table.patience.or(default.patience),
    }
}

fn count(field: &Field<u32>, default: usize) -> usize {
    field.value().map_or(default, |count| usize::try_from(*count).unwrap_or(default))
}
