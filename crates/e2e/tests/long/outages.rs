//! User databases that stop for a minute under two hundred logins per second.

use std::time::Duration;

use e2e::{
    cases,
    house::House,
    outage::{Strain, of_mariadb, of_postgres, of_slapd},
    runner::Case,
};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        a_minute_without_postgresql_refuses_nobody_who_is_known,
        a_minute_without_mariadb_refuses_nobody_who_is_known,
        a_minute_without_slapd_refuses_nobody_who_is_known,
    ]
}

const STRAIN: Strain = Strain { per_second: 200, outage: Duration::from_secs(60) };

fn a_minute_without_postgresql_refuses_nobody_who_is_known(_: &House) {
    print!("{}", of_postgres(STRAIN));
}

fn a_minute_without_mariadb_refuses_nobody_who_is_known(_: &House) {
    print!("{}", of_mariadb(STRAIN));
}

fn a_minute_without_slapd_refuses_nobody_who_is_known(_: &House) {
    print!("{}", of_slapd(STRAIN));
}
