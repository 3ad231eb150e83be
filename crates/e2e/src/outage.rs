//! A user database that stops under load, in one way after the other, and what must become of the logins meanwhile:
//! who was seen before comes in where he belongs, who was not is told to try later, and afterwards all is as ever.
//! Nothing here stops anything.

use std::{
    fmt::Write as _,
    thread,
    time::{Duration, Instant},
};

use testkit::{
    servers::{
        mariadb::Mariadb,
        postgres::Postgres,
        slapd::{PEOPLE, READER, READER_PASSWORD, Slapd},
    },
    wait,
};

use crate::{
    database::Database,
    door::{Door, SOON, backend, usual},
    load::{Load, Login},
    secrets::password,
    stub::Stub,
};

/// Users who are seen before anything stops; those with even numbers belong to the back end `a`, the others to `b`.
const KNOWN: u64 = 40;

/// How much, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Strain {
    /// Logins per second; one in ten is somebody's whom nobody knows.
    pub per_second: u32,
    /// How long the database is away each time.
    pub outage: Duration,
}

/// A way to stop a database, and to have it back.
struct Way<D> {
    name: &'static str,
    stop: fn(&mut D),
    start: fn(&mut D),
}

/// Each login asks again after a second, and waits no longer than two.
const CACHE: &str = "[directory.cache]\nfound = \"1s\"\nnot_found = \"0s\"\ndeadline = \"2s\"\n";

/// Stops a PostgreSQL that hangs, and one that is gone. What was seen, for a person.
pub fn of_postgres(strain: Strain) -> String {
    let mut server = Postgres::start().unwrap();
    let source = sql(Database::Postgres(&server));
    let ways = [
        Way {
            name: "PostgreSQL hangs",
            stop: |server: &mut Postgres| server.pause().unwrap(),
            start: |server| server.resume().unwrap(),
        },
        Way {
            name: "PostgreSQL is stopped",
            stop: |server| server.stop(),
            start: |server| server.start_again().unwrap(),
        },
    ];
    behind(&source, |door| endure(door, &mut server, strain, &ways))
}

/// As [`of_postgres`], for MariaDB.
pub fn of_mariadb(strain: Strain) -> String {
    let mut server = Mariadb::start().unwrap();
    let source = sql(Database::Mariadb(&server));
    let ways = [
        Way {
            name: "MariaDB hangs",
            stop: |server: &mut Mariadb| server.pause().unwrap(),
            start: |server| server.resume().unwrap(),
        },
        Way {
            name: "MariaDB is stopped",
            stop: |server| server.stop(),
            start: |server| server.start_again().unwrap(),
        },
    ];
    behind(&source, |door| endure(door, &mut server, strain, &ways))
}

/// As [`of_postgres`], for slapd.
pub fn of_slapd(strain: Strain) -> String {
    let mut server = Slapd::start("").unwrap();
    for number in 0..KNOWN {
        server.add_user(&known(number), "any", &[("mailHost", home(number))]).unwrap();
    }
    let source = format!(
        "[[directory]]\nsource = \"ldap\"\naddress = \"127.0.0.1:{}\"\ntls = \"none\"\nbind_dn = \"{READER}\"\n\
         password = \"{READER_PASSWORD}\"\nbase = \"{PEOPLE}\"\nfilter = \"(uid={{user}})\"\n\
         attributes = {{ backend = \"mailHost\" }}\n",
        server.ldap_port()
    );
    let ways = [
        Way {
            name: "slapd hangs",
            stop: |server: &mut Slapd| server.pause().unwrap(),
            start: |server| server.resume().unwrap(),
        },
        Way {
            name: "slapd is stopped",
            stop: |server| server.stop(),
            start: |server| server.start_again().unwrap(),
        },
    ];
    behind(&source, |door| endure(door, &mut server, strain, &ways))
}

/// The known users in a table, and the source that asks for them.
fn sql(database: Database<'_>) -> String {
    let row = |number| format!("('{}', '{}')", known(number), home(number));
    let rows = (0..KNOWN).map(row).collect::<Vec<_>>().join(", ");
    database.table("outlived", "name VARCHAR(100), backend VARCHAR(100)", &rows);
    database.source("SELECT backend FROM outlived WHERE name = :user", "")
}

/// Opens a door with two back ends and this source.
fn behind(source: &str, act: impl FnOnce(&Door) -> String) -> String {
    let [a, b] = ["a", "b"].map(Stub::named);
    let back_ends = backend("a", a.port(), 1) + &backend("b", b.port(), 1);
    // They all come from one address, and while the database is away strangers wait for it.
    let limits = "[limits]\nconnections_per_address = 0\n";
    act(&Door::open(&usual(&(limits.to_owned() + &back_ends + source + CACHE))))
}

fn known(number: u64) -> String {
    format!("known{number}")
}

fn home(number: u64) -> &'static str {
    if number.is_multiple_of(2) { "a" } else { "b" }
}

const UNKNOWN: &str = "NO [AUTHENTICATIONFAILED]";
const TRY_LATER: &str = "NO [UNAVAILABLE]";

/// From when to when the database was on its way out, away, and on its way back.
#[derive(Clone, Copy)]
struct Outage {
    stops: Instant,
    away: Instant,
    returns: Instant,
    over: Instant,
}

/// Stops a database in each of these ways under load. What was seen, for a person.
fn endure<D>(door: &Door, database: &mut D, strain: Strain, ways: &[Way<D>]) -> String {
    for number in 0..KNOWN {
        // The first connection to the database may take longer than an answer may, on a busy machine.
        let comes_in = || door.imap_answer(&known(number), &password("any")).starts_with("OK");
        assert!(wait::until(SOON, comes_in), "the log:\n{}", door.log_text());
    }
    let who = |number: u64| match number % 10 {
        9 => format!("stranger{number}"),
        _ => known(number % KNOWN),
    };
    let load =
        Load::begin(door.imap, strain.per_second, usize::try_from(strain.per_second).unwrap(), who);
    let mut outages = Vec::new();
    for way in ways {
        some_more(&load, strain);
        let stops = Instant::now();
        (way.stop)(database);
        let away = Instant::now();
        thread::sleep(strain.outage);
        let returns = Instant::now();
        (way.start)(database);
        let is_back = || door.imap_answer("nobody", &password("any")).starts_with(UNKNOWN);
        assert!(wait::until(SOON, is_back), "{}: the log:\n{}", way.name, door.log_text());
        outages.push(Outage { stops, away, returns, over: Instant::now() });
    }
    some_more(&load, strain);
    let logins = load.end();
    for login in &logins {
        assert_right(door, login, &outages);
    }
    told(&logins, ways, &outages)
}

/// Waits for a second's logins.
fn some_more(load: &Load, strain: Strain) {
    let enough = load.answered() + u64::from(strain.per_second);
    assert!(wait::until(SOON, || load.answered() >= enough), "logins are not answered");
}

fn assert_right(door: &Door, login: &Login, outages: &[Outage]) {
    let Login { name, begun, ended, answer } = login;
    let wrong = |expected: &str| {
        let times = outages.iter().map(|outage| (*begun).saturating_duration_since(outage.stops));
        panic!(
            "{name} got {answer:?} instead of {expected}, after {:?}, begun {:?} after outages; the log:\n{}",
            ended.duration_since(*begun),
            times.collect::<Vec<_>>(),
            door.log_text()
        )
    };
    let Ok(answer) = answer else { return wrong("an answer") };
    if let Some(number) = name.strip_prefix("known") {
        let home = home(number.parse().unwrap());
        if answer.as_deref() != Ok(home) {
            wrong(home);
        }
        return;
    }
    let Err(refused) = answer else { return wrong("a refusal") };
    let within = |outage: &Outage| *begun >= outage.away && *ended <= outage.returns;
    let apart = |outage: &Outage| *ended <= outage.stops || *begun >= outage.over;
    if outages.iter().any(within) && !refused.starts_with(TRY_LATER) {
        wrong(TRY_LATER);
    } else if outages.iter().all(apart) && !refused.starts_with(UNKNOWN) {
        wrong(UNKNOWN);
    } else if !refused.starts_with(TRY_LATER) && !refused.starts_with(UNKNOWN) {
        wrong("one of both");
    }
}

fn told<D>(logins: &[Login], ways: &[Way<D>], outages: &[Outage]) -> String {
    let mut text = String::new();
    for (way, outage) in ways.iter().zip(outages) {
        let during = |login: &&Login| login.begun >= outage.away && login.begun < outage.returns;
        let of = |part: &str| {
            let theirs = logins.iter().filter(during).filter(|login| login.name.starts_with(part));
            let mut took: Vec<_> =
                theirs.map(|login| login.ended.duration_since(login.begun)).collect();
            took.sort();
            assert!(!took.is_empty(), "{}: nobody of {part} came", way.name);
            let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
            format!(
                "{} {part}: median {:?}, p99 {:?}, last {:?}",
                took.len(),
                at(50),
                at(99),
                at(100)
            )
        };
        let (known, strangers) = (of("known"), of("stranger"));
        let away = outage.returns.duration_since(outage.away);
        let back = outage.over.duration_since(outage.returns);
        // Writing to a String never fails.
        let _ = writeln!(
            text,
            "{}: away for {away:?}, back after {back:?}; {known}; {strangers}",
            way.name
        );
    }
    text
}
