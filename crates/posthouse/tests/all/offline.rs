//! Without a daemon.

use std::{fs, os::unix::fs::PermissionsExt, process::Stdio};

use crate::program::{Place, done};

#[test]
fn check_prints_what_follows_from_a_good_configuration_and_makes_nothing() {
    let place = Place::new();
    let checked = place.run(&["check"]).good();
    for words in ["is good", "imap-", "127.0.0.1", "table", "are possible with"] {
        assert!(checked.out.contains(words), "{checked:?}");
    }
    assert!(!place.state("").exists());
    let json = place.run(&["check", "--json"]).good().json();
    assert_eq!(json["listeners"][0]["addresses"][0], place.imap.to_string());
    assert_eq!(json["backends"][1]["name"], "b");
    assert!(json["connections"]["possible"].as_u64().unwrap() > 0);
}

#[test]
fn check_tells_all_mistakes_at_once_and_exits_with_2() {
    let place = Place::new();
    place.add("tsl = \"none\"\n[[directory]]\nsource = \"statik\"\n");
    let checked = place.run(&["check"]);
    assert_eq!((checked.status, checked.out.as_str()), (Some(2), ""));
    for words in
        ["unknown key `tsl`", "did you mean `tls`?", "did you mean \"static\"?", "2 mistakes"]
    {
        assert!(checked.err.contains(words), "{words}: {}", checked.err);
    }
    assert!(!checked.err.contains('\u{1b}'), "colours in a pipe: {}", checked.err);
}

#[test]
fn check_needs_no_certificate_where_it_would_be_made() {
    let place = Place::new();
    let listener = "[[listener]]\nprotocol = \"pop3\"\naddress = \"127.0.0.1:0\"\n\
                    certificate = \"cert.pem\"\nkey = \"key.pem\"\n";
    place.add(&format!("{listener}self_signed = true\n"));
    place.run(&["check"]).good();
    assert!(!place.folder.path().join("cert.pem").exists());
    place.configure(&fs::read_to_string(place.config()).unwrap().replace("self_signed = true", ""));
    let checked = place.run(&["check"]);
    assert_eq!(checked.status, Some(2));
    assert!(checked.err.contains("self_signed = true makes both files"), "{}", checked.err);
}

#[test]
fn every_valid_example_that_makes_its_certificate_passes_check() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/config/valid/static.toml");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_posthouse"));
    done(command.args(["check", "--config", folder])).good();
}

#[test]
fn a_missing_configuration_and_a_wrong_command_line_exit_with_2() {
    let place = Place::new();
    fs::remove_file(place.config()).unwrap();
    for arguments in [&["check"][..], &["serve"], &["user", "list"]] {
        let run = place.run(arguments);
        assert_eq!(run.status, Some(2), "{run:?}");
        assert!(run.err.contains("--config FILE"), "{run:?}");
    }
    assert_eq!(place.run(&["user", "plaice"]).status, Some(2));
    assert_eq!(place.run(&["session", "kick"]).status, Some(2));
}

#[test]
fn the_version_is_told_to_people_and_to_programs() {
    let place = Place::new();
    assert_eq!(
        place.run(&["version"]).good().out,
        concat!("posthouse ", env!("CARGO_PKG_VERSION"), "\n")
    );
    let json = place.run(&["version", "--json"]).good().json();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    assert!(place.run(&["--version"]).good().out.starts_with("posthouse "));
}

#[test]
fn users_are_placed_shown_listed_and_removed_without_a_daemon() {
    let place = Place::new();
    place.run(&["user", "place", "Anna@Example.ORG", "a"]).good();
    let refused = place.run(&["user", "place", "anna@example.org", "b"]);
    assert_eq!(refused.status, Some(1));
    assert!(refused.err.contains("--mail-is-already-there"), "{refused:?}");
    let again = place.run(&[
        "user",
        "place",
        "anna@example.org",
        "b",
        "--as",
        "anna",
        "--mail-is-already-there",
        "--json",
    ]);
    assert_eq!(again.good().json()["change"], "changed");
    let shown = place.run(&["user", "show", "ANNA@example.org"]).good();
    for words in ["anna@example.org", "back end", "here:"] {
        assert!(shown.out.contains(words), "{shown:?}");
    }
    let json = place.run(&["user", "show", "anna@example.org", "--json"]).good().json();
    assert_eq!((&json["backend"], &json["as"]), (&"b".into(), &"anna".into()));
    assert_eq!(json["history"][0]["before"], "a");
    place.run(&["user", "place", "bert", "a"]).good();
    assert_eq!(place.run(&["user", "list"]).good().out, "anna@example.org\tb\tanna\nbert\ta\n");
    let list = place.run(&["user", "list", "--prefix", "b", "--json"]).good().json();
    assert_eq!((list.as_array().unwrap().len(), &list[0]["user"]), (1, &"bert".into()));
    place.run(&["user", "remove", "bert"]).good();
    let gone = place.run(&["user", "show", "bert"]);
    assert_eq!((gone.status, gone.out.as_str()), (Some(1), ""));
    assert!(gone.err.contains("`bert` is not in the table"), "{gone:?}");
    assert_eq!(place.run(&["user", "list", "--prefix", "x", "--json"]).good().out, "[]\n");
}

#[test]
fn a_user_is_not_placed_where_nothing_is() {
    let place = Place::new();
    let refused = place.run(&["user", "place", "anna", "c"]);
    assert_eq!(refused.status, Some(1));
    assert!(refused.err.contains("`c` is neither the name nor the address"), "{refused:?}");
}

#[test]
fn a_password_comes_from_a_file_and_is_never_printed() {
    let place = Place::new();
    let file = place.file("anna.secret", "hunter2\n");
    let file = file.to_str().unwrap();
    place.run(&["user", "place", "anna", "a", "--password-file", file]).good();
    let shown = place.run(&["user", "show", "anna", "--json"]).good();
    assert_eq!(shown.json()["has_password"], true);
    assert!(!shown.out.contains("hunter2"), "{shown:?}");
    place.run(&["user", "place", "anna", "a", "--forget-password"]).good();
    assert_eq!(place.run(&["user", "show", "anna", "--json"]).json()["has_password"], false);
}

#[test]
fn a_directory_without_a_table_takes_no_users() {
    let place = Place::new();
    place.add("[[directory]]\nsource = \"static\"\nbackend = \"a\"\n");
    let refused = place.run(&["user", "place", "anna", "a"]);
    assert_eq!(refused.status, Some(1));
    assert!(refused.err.contains("source = \"table\""), "{refused:?}");
}

#[test]
fn an_import_is_all_or_nothing_unless_wrong_lines_are_to_be_left_out() {
    let place = Place::new();
    let file = place.file("map", "anna:a\nbert:nowhere\ncarl:b\n");
    let file = file.to_str().unwrap();
    let refused = place.run(&["user", "import", "--format", "perdition", file]);
    assert_eq!(refused.status, Some(1));
    assert!(refused.err.contains("line 2: "), "{refused:?}");
    assert!(refused.err.contains("nothing was imported"), "{refused:?}");
    assert_eq!(place.run(&["user", "list"]).good().out, "");
    place.run(&["user", "import", "--format", "perdition", "--skip-wrong", file]).good();
    assert_eq!(place.run(&["user", "list"]).good().out, "anna\ta\ncarl\tb\n");
    let csv = ["user", "import", "--format", "csv", "-", "--json"];
    let text = "anna,b\ndora,a,dora.there\n";
    // An import moves no mail.
    let refused = place.run_with(&csv, text);
    assert!(refused.out.contains("--mail-is-already-there"), "{refused:?}");
    let csv = [&csv[..], &["--mail-is-already-there"]].concat();
    let imported = place.run_with(&csv, text).good().json();
    assert_eq!((&imported["added"], &imported["changed"]), (&1.into(), &1.into()));
}

#[test]
fn an_import_from_a_file_that_is_not_there_is_told() {
    let place = Place::new();
    let refused = place.run(&["user", "import", "--format", "csv", "no-such-file"]);
    assert_eq!(refused.status, Some(1));
    assert!(refused.err.contains("no-such-file"), "{refused:?}");
}

#[test]
fn an_export_is_what_an_import_reads() {
    let place = Place::new();
    let file = place.file("secret", "a, \"b\" ");
    let file = file.to_str().unwrap();
    place.run(&["user", "place", "anna", "a", "--password-file", file]).good();
    place.run(&["user", "place", "bert, jr", "b", "--as", "b"]).good();
    let bare = place.run(&["user", "export"]).good().out;
    let expected = "user,backend,user_there,id,disabled\nanna,a,,,no\n\"bert, jr\",b,b,,no\n";
    assert_eq!(bare, expected);
    let export = place.run(&["user", "export", "--with-passwords"]).good().out;
    assert!(export.contains("anna,a,,,no,\"a, \"\"b\"\" \",\n"), "{export}");
    let other = Place::new();
    let import = ["user", "import", "--format", "csv", "-", "--json"];
    assert_eq!(other.run_with(&import, &export).good().json()["added"], 2);
    // What one who is disabled, hashed and known by an id brings along.
    let rest = "user,backend,id,disabled,password_hash\ncleo,a,cleo-1,yes,{SSHA}c2FsdHNhbHRzYWx0c2FsdHNhbHRzYWx0\n";
    assert_eq!(place.run_with(&import, rest).good().json()["added"], 1);
    let export = place.run(&["user", "export", "--with-passwords"]).good().out;
    assert!(export.contains("\ncleo,a,,cleo-1,yes,,\"{SSHA}c2Fs"), "{export}");
    assert_eq!(other.run_with(&import, &export).good().json()["added"], 1);
    assert_eq!(other.run(&["user", "export", "--with-passwords"]).good().out, export);
    let json = place.run(&["user", "export", "--json"]).good().json();
    assert_eq!((&json[1]["as"], &json[0]["password"]), (&"b".into(), &serde_json::Value::Null));
}

#[test]
fn a_map_with_a_wrong_line_hinders_nobody_who_is_to_be_held() {
    let place = Place::new();
    place.file("map", "bert\n");
    place.add("[[directory]]\nsource = \"file\"\nfile = \"map\"\n");
    for arguments in [
        ["user", "hold", "bert"].as_slice(),
        &["user", "history", "bert"],
        &["user", "release", "bert"],
        &["backend", "hold", "a"],
        &["backend", "drain", "a"],
        &["shard", "list"],
        &["user", "export", "--mailboxes"],
    ] {
        place.run(arguments).good();
    }
    assert_eq!(place.run(&["user", "look-up", "bert"]).status, Some(1));
}

#[test]
fn who_holds_without_a_daemon_is_told_that_no_session_was_ended() {
    let place = Place::new();
    let held = place.run(&["user", "hold", "anna", "--kick"]).good();
    assert!(held.err.contains("no session was ended"), "{held:?}");
    let held = place.run(&["user", "hold", "anna"]).good();
    assert_eq!(held.err, "");
    let _daemon = place.serve();
    let held = place.run(&["user", "hold", "anna", "--kick"]).good();
    assert_eq!(held.err, "");
}

#[test]
fn a_look_up_goes_the_way_of_a_login() {
    let place = Place::new();
    place.file("map", "bert: robert@127.0.0.9:1143\n");
    place.add(
        "[[directory]]\nsource = \"table\"\n[[directory]]\nsource = \"file\"\nfile = \"map\"\n\
         template = \"a\"\n",
    );
    place.run(&["user", "place", "anna", "b"]).good();
    let anna = place.run(&["user", "look-up", " Anna", "--json"]).good().json();
    assert_eq!(
        (&anna["user"], &anna["source"], &anna["backend"]),
        (&"anna".into(), &"table".into(), &"b".into())
    );
    let bert = place.run(&["user", "look-up", "bert"]).good();
    for words in ["file", "127.0.0.9:1143", "robert"] {
        assert!(bert.out.contains(words), "{bert:?}");
    }
    let nobody = place.run(&["user", "look-up", "nobody", "--json"]);
    assert_eq!((nobody.status, nobody.out.as_str()), (Some(1), ""));
    let error: serde_json::Value = serde_json::from_str(&nobody.err).unwrap();
    assert_eq!(error["error"]["word"], "not-found");
}

#[test]
fn a_back_end_is_checked_without_a_login() {
    let place = Place::new();
    let silent = place.run(&["backend", "check", "a"]);
    assert_eq!(silent.status, Some(1));
    assert!(silent.out.contains("a imap  failed: backend-connect"), "{silent:?}");
    assert!(silent.err.contains("cannot be used for imap"), "{silent:?}");
    let unknown = place.run(&["backend", "check", "c"]);
    assert!(unknown.err.contains("there are: a, b"), "{unknown:?}");
    // A Posthouse is as good a back end as any.
    let _daemon = place.serve();
    let front = Place::new();
    front.add(&format!(
        "[backend.posthouse]\naddress = \"127.0.0.1\"\nimap_port = {}\ntls = \"none\"\n",
        place.imap.port()
    ));
    let good = front.run(&["backend", "check", "posthouse"]).good();
    for words in ["posthouse imap  good: 127.0.0.1:", "without TLS", "* OK ", "IMAP4rev1"] {
        assert!(good.out.contains(words), "{good:?}");
    }
    let json = front.run(&["backend", "check", "posthouse", "--protocol", "imap", "--json"]);
    assert_eq!(json.good().json()[0]["protocol"], "imap");
}

#[test]
fn failures_are_json_where_json_is_asked_for() {
    let place = Place::new();
    let told = |arguments: &[&str], status| {
        let run = place.run(arguments);
        assert_eq!((run.status, run.out.as_str()), (Some(status), ""), "{run:?}");
        serde_json::from_str::<serde_json::Value>(&run.err).unwrap()["error"].clone()
    };
    assert_eq!(told(&["session", "list", "--json"], 1)["word"], "not-running");
    assert_eq!(told(&["user", "place", "anna", "c", "--json"], 1)["word"], "invalid");
    place.add("tsl = \"none\"\n");
    let wrong = told(&["check", "--json"], 2);
    assert_eq!(wrong["word"], "configuration");
    assert_eq!(wrong["mistakes"][0]["message"], "unknown key `tsl`");
    assert!(wrong["mistakes"][0]["line"].as_u64().unwrap() > 1, "{wrong}");
}

#[test]
fn a_kick_without_a_session_names_both_ways_to_name_one() {
    let place = Place::new();
    let run = place.run(&["session", "kick"]);
    assert_eq!(run.status, Some(2));
    assert!(run.err.contains("SESSION") && run.err.contains("--user"), "{run:?}");
}

#[test]
fn root_is_warned_of_files_that_are_closed_to_the_configured_user() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let place = Place::with("user = \"nobody\"");
    let map = place.file("map", "anna:a\n");
    place.add("[[directory]]\nsource = \"file\"\nfile = \"map\"\n");
    fs::set_permissions(&map, PermissionsExt::from_mode(0o600)).unwrap();
    let warned = place.run(&["check"]).good();
    assert!(warned.err.contains("the user \"nobody\" cannot read this file"), "{warned:?}");
    fs::set_permissions(&map, PermissionsExt::from_mode(0o644)).unwrap();
    assert_eq!(place.run(&["check"]).good().err, "");
}

#[test]
fn acts_on_sessions_and_back_ends_say_that_no_daemon_runs() {
    let place = Place::new();
    for arguments in
        [&["session", "list"][..], &["backend", "list"], &["session", "kick", "--user", "a"]]
    {
        let refused = place.run(arguments);
        assert_eq!(refused.status, Some(1));
        assert!(
            refused.err.contains("posthouse is not running here (no one listens on "),
            "{refused:?}"
        );
        assert!(refused.err.contains("control.sock"), "{refused:?}");
    }
}

#[test]
fn a_reader_who_goes_away_is_no_failure() {
    let place = Place::new();
    place.run(&["user", "place", "anna", "a"]).good();
    let mut child = place
        .command(&["user", "list"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
