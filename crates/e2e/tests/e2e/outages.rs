//! User databases that stop for a moment while logins go on; those that stop for a minute are among the long tests.

use std::time::Duration;

use e2e::{
    cases,
    house::House,
    outage::{Strain, of_mariadb, of_postgres, of_slapd},
    runner::Case,
};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        while_postgresql_stops_under_load_nobody_is_refused_or_sent_elsewhere,
        while_mariadb_stops_under_load_nobody_is_refused_or_sent_elsewhere,
        while_slapd_stops_under_load_nobody_is_refused_or_sent_elsewhere,
    ]
}

const STRAIN: Strain = Strain { per_second: 40, outage: Duration::from_secs(3) };

fn while_postgresql_stops_under_load_nobody_is_refused_or_sent_elsewhere(_: &House) {
    of_postgres(STRAIN);
}

fn while_mariadb_stops_under_load_nobody_is_refused_or_sent_elsewhere(_: &House) {
    of_mariadb(STRAIN);
}

fn while_slapd_stops_under_load_nobody_is_refused_or_sent_elsewhere(_: &House) {
    of_slapd(STRAIN);
}
