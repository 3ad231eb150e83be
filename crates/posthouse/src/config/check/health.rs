//! `[health]`: how it is judged whether a back end lives.

use backends::HealthSettings;

use crate::config::{
    file,
    mistake::Mistake,
    read::{Field, Reader},
};

pub(super) fn health(field: &Field<file::Health>, reader: &mut Reader<'_>) -> HealthSettings {
    let default = HealthSettings::default();
    let Some(table) = field.value() else { return default };
    for (field, none) in [
        (&table.failures, "with 0 failures every back end would be down at once"),
        (&table.looks, "with 0 looks every back end would be down at once"),
    ] {
        if let Some(given) = field.given().filter(|given| given.value == 0) {
            reader.note(Mistake::error(&given.span, none));
        }
    }
    if let Some(given) = table.rest.given().filter(|given| given.value.is_zero()) {
        let title = "without a rest every login would try a back end that is down";
        reader.note(Mistake::error(&given.span, title));
    }
    let failures = table.failures.value().map(|count| usize::try_from(*count));
    HealthSettings {
        failures: failures.and_then(Result::ok).unwrap_or(default.failures),
        window: table.window.or(default.window),
        look_every: table.look_every.or(default.look_every),
        looks: table.looks.or(default.looks),
        rest: table.rest.or(default.rest),
        longest_rest: table.longest_rest.or(default.longest_rest),
        slow_start: table.slow_start.or(default.slow_start),
    }
}
