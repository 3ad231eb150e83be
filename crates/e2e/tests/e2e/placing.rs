//! Users who get a home by a pool, keep it, and are held while their mail is moved.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use e2e::{
    cases,
    door::{Door, backend, usual},
    house::House,
    runner::Case,
    secrets::password,
    stub::Stub,
};
use testkit::scripted::Client;

pub(crate) fn cases() -> Vec<Case> {
    cases![
        a_back_end_is_added_under_load_and_not_one_login_changes_server,
        a_held_user_waits_and_goes_on_where_he_was_placed_meanwhile,
        a_held_back_end_tells_those_who_wait_too_long_to_try_later,
    ]
}

/// The back ends `a` and `b` in a pool, `c` beside it, and everybody by a hash.
fn opened(stubs: &[Stub; 3]) -> Door {
    let [a, b, c] = stubs.each_ref().map(Stub::port);
    let back_ends = backend("a", a, a) + &backend("b", b, b) + &backend("c", c, c);
    let pool = "[pool.main]\nbackends = [\"a\", \"b\"]\n";
    Door::open(&usual(&format!(
        "{back_ends}{pool}[[directory]]\nsource = \"hash\"\npool = \"main\"\n"
    )))
}

fn stubs() -> [Stub; 3] {
    ["a", "b", "c"].map(Stub::named)
}

fn log_in(door: &Door, name: &str) -> Client {
    let mut client = door.raw_imap();
    client.ask(&format!("l LOGIN {name} {}", password(name)), "l OK").unwrap();
    client
}

/// Where a login leads.
fn home(door: &Door, name: &str) -> String {
    where_is(&mut log_in(door, name))
}

fn where_is(client: &mut Client) -> String {
    let answer = client.ask("n NOOP", "n OK here is ").unwrap();
    answer.join("").trim_end().rsplit(' ').next().unwrap_or_default().to_owned()
}

fn a_back_end_is_added_under_load_and_not_one_login_changes_server(_: &House) {
    let stubs = stubs();
    let door = opened(&stubs);
    let names: Vec<String> = (0..24).map(|number| format!("user{number}")).collect();
    let homes: Vec<String> = names.iter().map(|name| home(&door, name)).collect();
    assert!(homes.contains(&"a".to_owned()) && homes.contains(&"b".to_owned()), "{homes:?}");
    let added = AtomicBool::new(false);
    thread::scope(|scope| {
        for part in 0..3 {
            let (door, names, homes, added) = (&door, &names, &homes, &added);
            scope.spawn(move || {
                let mut last = false;
                while !last {
                    // One round more, after it was added.
                    last = added.load(Ordering::SeqCst);
                    for (name, before) in names.iter().zip(homes).skip(part).step_by(3) {
                        assert_eq!(&home(door, name), before, "{name}");
                    }
                }
            });
        }
        let plan = door.json(&["backend", "add", "c"]);
        added.store(true, Ordering::SeqCst);
        let moves = plan["would_move"].as_array().unwrap().iter();
        let count: u64 = moves.map(|line| line["count"].as_u64().unwrap()).sum();
        assert!(count.abs_diff(65_536 / 3) < 1_500, "{plan}");
    });
}

/// What the back ends may get, in their order.
fn states(door: &Door) -> Vec<String> {
    let list = door.json(&["backend", "list"]);
    let state = |row: &serde_json::Value| row["state"].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(state).collect()
}

fn a_held_user_waits_and_goes_on_where_he_was_placed_meanwhile(_: &House) {
    let stubs = stubs();
    let door = opened(&stubs);
    let mut open = log_in(&door, "anna");
    let before = where_is(&mut open);
    let held = door.json(&["user", "hold", "Anna", "--kick"]);
    assert_eq!((&held["kicked"], &held["changed"]), (&1.into(), &true.into()));
    open.read_to_end().unwrap();
    // Others are not held.
    home(&door, "bert");
    let mut waiting = door.raw_imap();
    waiting.send(format!("l LOGIN anna {}\r\n", password("anna"))).unwrap();
    let refused = door.command(&["user", "place", "anna", "c"]).unwrap();
    assert!(!refused.status.success());
    door.does(&["user", "place", "anna", "c", "--mail-is-already-there"]);
    door.does(&["user", "release", "anna"]);
    waiting.read_until_line_starting("l OK").unwrap();
    assert_ne!(before, "c");
    assert_eq!(where_is(&mut waiting), "c");
    let shown = door.json(&["user", "show", "anna"]);
    assert_eq!((&shown["backend"], &shown["mailbox"]["from"]), (&"c".into(), &"own".into()));
    let history: Vec<_> =
        shown["history"].as_array().unwrap().iter().map(|line| line["act"].clone()).collect();
    assert_eq!(history, ["release", "place", "hold"]);
}

fn a_held_back_end_tells_those_who_wait_too_long_to_try_later(_: &House) {
    let stubs = stubs();
    let door = opened(&stubs);
    let at = |wanted: &str| {
        (0..100).map(|number| format!("user{number}")).find(|name| home(&door, name) == wanted)
    };
    let (there, elsewhere) = (at("a").unwrap(), at("b").unwrap());
    door.does(&["backend", "hold", "a"]);
    assert_eq!(states(&door), ["held", "enabled", "enabled"]);
    door.does(&["backend", "drain", "a"]);
    door.does(&["backend", "drain", "c"]);
    assert_eq!(states(&door), ["drained and held", "enabled", "drained"]);
    let shown = door.does(&["backend", "list"]);
    assert!(shown.contains("STATE") && shown.contains("drained and held"), "{shown}");
    assert_eq!(home(&door, &elsewhere), "b");
    let began = Instant::now();
    // A raw client waits longer than the ten seconds of a hold; the other kind does not.
    let mut held = door.raw_imap();
    held.ask(&format!("l LOGIN {there} {}", password(&there)), "l NO [UNAVAILABLE]").unwrap();
    assert!(began.elapsed() >= Duration::from_secs(9), "{:?}", began.elapsed());
    door.line(|line| line.contains("reason=held") && line.contains("backend=a"));
    door.does(&["backend", "release", "a"]);
    assert_eq!(states(&door), ["drained", "enabled", "drained"]);
    assert_eq!(home(&door, &there), "a");
}
