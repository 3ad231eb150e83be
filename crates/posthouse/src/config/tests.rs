//! The examples are walked, and the look of the messages is kept.

use std::{env, fs, path::PathBuf};

use backends::{IdentityMode, LoginMode, Trusted};
use model::Mechanism;
use proto::front;

use super::*;

/// The repository's folder of example configurations.
fn examples(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(kind);
    let mut files: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

fn variable(name: &str) -> Option<String> {
    (name == "HOME").then(|| "/home/operator".to_owned())
}

fn around(purpose: Purpose) -> Surroundings<'static> {
    Surroundings { purpose, variable: &variable, root: false, owns_system_state: false }
}

fn read(text: &str) -> Result<(Config, Mistakes), Unusable> {
    parse(text, Path::new("posthouse.toml"), Path::new("/etc/posthouse"), &around(Purpose::Act))
}

fn mistakes(text: &str) -> String {
    match read(text) {
        Err(Unusable::Mistaken(mistakes)) => mistakes.render(false),
        other => panic!("no mistakes: {other:?}"),
    }
}

/// A proxy that works, to which a test adds what it is about.
const WORKING: &str = "
[[listener]]
protocol = \"imap\"
address = \"[::]:993\"
certificate = \"cert.pem\"
key = \"key.pem\"

[backend.a]
address = \"10.0.0.1\"
";

#[test]
fn every_valid_example_is_accepted_without_a_word() {
    let files = examples("config/valid");
    assert!(files.len() >= 8, "{files:?}");
    for file in files {
        match load(&file, &around(Purpose::Act)) {
            Ok((_, warnings)) => {
                assert!(warnings.is_empty(), "{}: {}", file.display(), warnings.render(false));
            }
            Err(Unusable::Mistaken(mistakes)) => panic!("{}", mistakes.render(false)),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn every_invalid_example_is_refused_with_the_words_it_expects() {
    let files = examples("config/invalid");
    assert!(files.len() >= 20, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let expected: Vec<_> =
            text.lines().map_while(|line| line.strip_prefix("# expect: ")).collect();
        assert!(!expected.is_empty(), "{}: no line `# expect: WORDS`", file.display());
        let shown = match load(&file, &around(Purpose::Serve)) {
            Err(Unusable::Mistaken(mistakes)) => mistakes.render(false),
            other => panic!("{}: {other:?}", file.display()),
        };
        for words in expected {
            assert!(shown.contains(words), "{}: no `{words}` in\n{shown}", file.display());
        }
    }
}

#[test]
fn every_example_of_a_source_is_accepted_while_nobody_answers() {
    let files = examples("sources");
    let names: Vec<_> = files.iter().filter_map(|file| file.file_stem()?.to_str()).collect();
    for kind in [
        "cdb", "file", "hash", "http", "ldap", "mysql", "postgres", "regex", "sqlite", "static",
        "table",
    ] {
        assert!(names.contains(&kind), "{kind} is not among {names:?}");
    }
    for file in files {
        match load(&file, &around(Purpose::Check)) {
            Ok(_) => {}
            Err(Unusable::Mistaken(mistakes)) => panic!("{}", mistakes.render(false)),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn all_mistakes_are_told_together_in_the_order_of_the_file() {
    let text = "\
stat = \"/tmp\"

[[listener]]
protocol = \"impa\"
adress = \"[::]:993\"
certificate = \"cert.pem\"

[backend.a]
address = \"10.0.0.1\"
imap_port = 70000
master_secrt = \"hunter2\"

[[directory]]
source = \"static\"
backend = \"b\"
";
    let shown = mistakes(text);
    let golden = include_str!("golden.txt");
    assert_eq!(shown.trim_end(), golden.trim_end(), "\n{shown}");
}

#[test]
fn what_postgresql_would_take_from_the_environment_is_told() {
    let source = "[[directory]]\nsource = \"postgres\"\naddress = \"db.example.org\"\ndatabase = \"mail\"\n\
                  user = \"posthouse\"\nquery = \"SELECT backend FROM users WHERE name = :user\"\n";
    let variable = |name: &str| name.starts_with("PG").then(|| "x".to_owned());
    let around = Surroundings { variable: &variable, ..around(Purpose::Act) };
    let told = |more: &str| {
        let text = format!("state = \"/tmp\"\n{WORKING}{source}{more}");
        let read = parse(&text, Path::new("posthouse.toml"), Path::new("/etc/posthouse"), &around);
        let (_, warnings) = read.unwrap();
        warnings.warnings().map(|(_, message)| message.to_owned()).collect::<Vec<_>>().join("\n")
    };
    let all = told("");
    for name in ["PGOPTIONS", "PGSSLCERT", "PGSSLKEY"] {
        assert!(all.contains(name), "{all}");
    }
    let own = told("certificate = \"a.pem\"\nkey = \"a.key\"\n");
    assert!(own.contains("PGOPTIONS") && !own.contains("PGSSL"), "{own}");
}

#[test]
fn a_file_that_is_no_toml_is_told_with_its_place_and_without_its_secrets() {
    let shown = mistakes("[backend.a]\nmaster_secret = hunter2 and more\n");
    assert!(shown.contains("posthouse.toml:2:"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn no_mistake_of_writing_shows_a_secret() {
    for lines in [
        // Not TOML.
        "test_password = \"hunter2\ntest_user = \"x\"",
        "test_password hunter2",
        "test_password = \"\"\"hunter2",
        "test_password = \"\"\"\nhunter2",
        "[[directory]]\nheaders = [\n  \"Authorization: Bearer hunter2",
        "[[directory]]\ntoken = [\n  \"hunter2=\",\n  hunter2",
        "[[directory]]\ntoken = hunter2",
        // Not where it belongs.
        "[[directory]]\nsource = \"http\"\nurl = \"https://posthouse:hunter2@10.0.0.2/\"",
        // Keys that nobody has.
        "pasword = \"hunter2\"",
        "[[directory]]\nsource = \"http\"\ntokn = \"hunter2\"",
        "[[directory]]\nsource = \"http\"\nheadrs = [\"X-Key: hunter2\"]",
        "[[directory]]\nsource = \"ldap\"\nbindpw = \"hunter2\"",
        "drectory = [{ source = \"ldap\", password = \"hunter2\" }]",
        // Whose keys they are is not known.
        "[x]\ny = [{ password = \"hunter2\" }]",
    ] {
        let shown = mistakes(&format!("{WORKING}{lines}\n"));
        assert!(!shown.contains("hunter2"), "{lines}\n{shown}");
    }
    let source = "directory = [{ password = \"hunter2\" }]\n";
    let shown = mistakes(&format!("{source}{WORKING}"));
    assert!(shown.contains("no `source`") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_line_that_is_no_toml_is_shown_where_it_can_hold_no_secret() {
    for line in ["address = 10.0.0.1 or so", "[[directory]", "test_password = \"x\"\n[backend.b"] {
        let shown = mistakes(&format!("{WORKING}{line}\n"));
        assert!(shown.contains(line.lines().last().unwrap()), "{shown}");
    }
}

#[test]
fn a_source_whose_secret_an_operator_may_not_read_is_not_asked_from_here() {
    let cannot = |keys: &str| {
        let text = format!("{WORKING}[[directory]]\n{keys}\n");
        read(&text).unwrap().0.sources[0].cannot_ask.clone()
    };
    let ldap = "source = \"ldap\"\naddress = \"10.0.0.2\"\nbind_dn = \"cn=x\"\n\
                base = \"dc=x\"\nfilter = \"(uid={user})\"\n[directory.attributes]\nhost = \"h\"\n";
    let sql = "source = \"postgres\"\naddress = \"10.0.0.2\"\ndatabase = \"x\"\nuser = \"x\"\n\
               query = \"SELECT backend FROM users WHERE name = :user\"\n";
    let http = "source = \"http\"\nurl = \"https://10.0.0.2/\"\n";
    for (source, key, given) in [
        (ldap, "password_file", "password"),
        (sql, "password_file", "password"),
        (http, "token_file", "token"),
        (http, "headers_file", "headers"),
    ] {
        let source = source.replacen('\n', "\n@\n", 1);
        let why = cannot(&source.replace('@', &format!("{key} = \"/nowhere/secret\"")));
        assert!(why.is_some_and(|why| why.contains("/nowhere/secret cannot be read")), "{key}");
        let readable = tempfile::NamedTempFile::new().unwrap();
        fs::write(readable.path(), "X-Key: x\n").unwrap();
        if key != "token_file" {
            let named = format!("{key} = \"{}\"", readable.path().display());
            assert_eq!(cannot(&source.replace('@', &named)), None, "{key}");
        }
        assert_eq!(cannot(&source.replace('@', &format!("{given} = \"X-Key:x\""))), None);
    }
    let odbc = "source = \"odbc\"\nquery = \"SELECT backend FROM users WHERE name = :user\"\n";
    let why = cannot(&format!("{odbc}connection_file = \"/nowhere/secret\""));
    assert!(why.is_some_and(|why| why.contains("/nowhere/secret cannot be read")));
    assert_eq!(cannot(&format!("{odbc}connection = \"DSN=mail\"")), None);
}

#[test]
fn a_key_of_the_wrong_type_is_not_told_to_be_missing_too() {
    let shown = mistakes(&WORKING.replace("\"10.0.0.1\"", "1"));
    assert_eq!(shown.matches("error").count(), 1, "{shown}");
}

#[test]
fn the_defaults_are_those_of_a_careful_operator() {
    let (config, warnings) = read(WORKING).unwrap();
    assert!(warnings.is_empty());
    assert_eq!(config.state, Path::new("/home/operator/.local/state/posthouse"));
    let limits = &config.limits.others;
    assert_eq!(limits.connections_per_address, 100);
    assert_eq!((limits.logins_per_address, limits.logins_per_user), (50, 10));
    assert_eq!(limits.sessions_per_user, 0);
    assert_eq!(limits.failure_delay, Duration::from_secs(2));
    assert_eq!(limits.idle, Duration::from_secs(35 * 60));
    assert_eq!(limits.before_login, front::Limits::default());
    assert_eq!(limits.proxy_header_wait, Duration::from_secs(5));
    assert_eq!(config.listeners[0].connections, 0);
    assert_eq!(config.listeners[0].name, "imap-993");
    assert!(!config.listeners[0].allow_clear_logins);
    let Privacy::Implicit(certificates) = &config.listeners[0].tls else { panic!() };
    assert_eq!(certificates.files[0].certificate, Path::new("/etc/posthouse/cert.pem"));
    assert_eq!(config.sources[0].name, "table");
    let backend = &config.backends[0];
    assert_eq!((backend.ports.imap, backend.ports.pop3), (993, 995));
    assert!(matches!(backend.verify, transport::tls::Verify::Roots { file: None }));
}

#[test]
fn every_limit_is_what_the_file_says() {
    let limits = "[limits]\nconnections = 7\nconnections_per_address = 0\nlogins_per_address = 1\n\
                  logins_per_user = 2\nlongest_login_wait = \"3s\"\nfailure_delay = \"0s\"\n\
                  sessions_per_user = 4\nclient_wait = \"6s\"\nidle = \"7m\"\ncommands = 5\n\
                  line = 1000\nsasl_line = 12288\nliteral = 512\nproxy_header_wait = \"3s\"\n";
    let text = WORKING.replace("[backend.a]", "connections = 8\n[backend.a]");
    let (config, _) = read(&format!("{text}{limits}")).unwrap();
    assert_eq!(config.listeners[0].connections, 8);
    assert_eq!(config.limits.connections, Some(7));
    let limits = config.limits.others;
    assert_eq!((limits.connections_per_address, limits.sessions_per_user), (0, 4));
    assert_eq!((limits.logins_per_address, limits.logins_per_user), (1, 2));
    assert_eq!(
        (limits.longest_wait, limits.failure_delay),
        (Duration::from_secs(3), Duration::ZERO)
    );
    assert_eq!(
        (limits.client_wait, limits.idle),
        (Duration::from_secs(6), Duration::from_secs(420))
    );
    assert_eq!(limits.proxy_header_wait, Duration::from_secs(3));
    let front::Limits { commands, literal, line, sasl_line } = limits.before_login;
    assert_eq!((commands, literal, line, sasl_line), (5, 512, 1000, 12_288));
}

#[test]
fn a_sasl_response_may_be_as_long_as_any_line() {
    let (config, _) = read(&format!("{WORKING}[limits]\nline = 20000\n")).unwrap();
    let before_login = config.limits.others.before_login;
    assert_eq!((before_login.line, before_login.sasl_line), (20_000, 20_000));
}

#[test]
fn a_listener_s_choices_are_what_the_file_says() {
    let (config, _) = read(WORKING).unwrap();
    let plain = &config.listeners[0];
    assert_eq!(plain.mechanisms, Mechanisms::default());
    assert!(!plain.relay_text && !plain.clean_bye && !plain.forward_client_id);
    assert!(plain.proxy_networks.is_empty() && plain.trusted_networks.is_empty());
    let choices = "mechanisms = [\"plain\", \"oauthbearer\"]\nrelay_text = true\nclean_bye = true\n\
                   forward_client_id = true\nproxy_networks = [\"10.0.0.0/8\", \"::1\"]\n\
                   trusted_networks = \"192.0.2.7\"\n[backend.a]";
    let (config, _) = read(&WORKING.replace("[backend.a]", choices)).unwrap();
    let chosen = &config.listeners[0];
    let mechanisms = [Mechanism::Plain, Mechanism::OAuthBearer].into_iter().collect();
    assert_eq!(chosen.mechanisms, mechanisms);
    assert!(chosen.relay_text && chosen.clean_bye && chosen.forward_client_id);
    let networks = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    assert_eq!(chosen.proxy_networks, networks);
    assert_eq!(chosen.trusted_networks, ["192.0.2.7/32".parse().unwrap()]);
}

#[test]
fn who_believes_everybody_is_warned() {
    for network in ["proxy_networks = \"0.0.0.0/0\"", "trusted_networks = [\"::/0\"]"] {
        let text = WORKING.replace("[backend.a]", &format!("{network}\n[backend.a]"));
        let (_, warnings) = read(&text).unwrap();
        assert!(warnings.render(false).contains("everybody is believed here"));
    }
}

#[test]
fn a_back_end_is_told_who_the_client_is_as_the_file_says() {
    let (config, _) = read(WORKING).unwrap();
    let plain = &config.backends[0];
    assert_eq!(
        (plain.identity.imap, plain.identity.pop3),
        (IdentityMode::None, IdentityMode::None)
    );
    assert!(plain.pipelining);
    assert_eq!(plain.logins_at_once, None);
    assert_eq!(config.deadlines.connect, Duration::from_secs(2));
    let keys = "identity = \"proxy-v2\"\npop3_identity = \"native\"\npipelining = false\n\
                logins_at_once = 7\n[deadlines]\nconnect = \"1s\"\ngreeting = \"3s\"\nlogin = \"4s\"\n";
    let (config, _) = read(&format!("{WORKING}{keys}")).unwrap();
    let told = &config.backends[0];
    assert_eq!(
        (told.identity.imap, told.identity.pop3),
        (IdentityMode::ProxyV2, IdentityMode::Native)
    );
    assert!(!told.pipelining);
    assert_eq!(told.logins_at_once, Some(7));
    let Deadlines { connect, greeting, verdict } = config.deadlines;
    assert_eq!([connect, greeting, verdict].map(|wait| wait.as_secs()), [1, 3, 4]);
}

#[test]
fn legacy_tls_towards_a_back_end_is_asked_for_and_has_to_be_built_in() {
    let (config, _) = read(WORKING).unwrap();
    assert!(!config.backends[0].tls_legacy);
    let (config, warnings) = read(&format!("{WORKING}tls_legacy = false\n")).unwrap();
    assert!(!config.backends[0].tls_legacy && warnings.is_empty());
    let asked = format!("{WORKING}tls_legacy = true\n");
    if transport::tls::LEGACY {
        let (config, warnings) = read(&asked).unwrap();
        assert_eq!(config.backends[0].tls_word(), "implicit (legacy)");
        assert!(warnings.render(false).contains("old TLS"), "{}", warnings.render(false));
    } else {
        let shown = mistakes(&asked);
        assert!(shown.contains("built without old TLS"), "{shown}");
        assert!(shown.contains("--features legacy-tls"), "{shown}");
    }
}

#[test]
fn every_login_mode_can_be_chosen() {
    let mode = |keys: &str| {
        let (config, _) = read(&format!("{WORKING}{keys}\n")).unwrap();
        config.backends[0].login.clone()
    };
    assert!(matches!(mode("login = \"password\""), LoginMode::Password));
    let authzid = "login = \"authzid\"\nmaster_user = \"proxy\"\nmaster_secret = \"key\"";
    let LoginMode::Authzid { user, secret } = mode(authzid) else { panic!() };
    assert_eq!((user.as_str(), secret.reveal()), ("proxy", &b"key"[..]));
    for (keys, sent) in [("", "trusted"), ("\ntrusted_secret = \"x\"", "x")] {
        let trusted = mode(&format!("login = \"trusted\"{keys}"));
        let LoginMode::Trusted(Trusted::Address { dummy }) = trusted else { panic!() };
        assert_eq!(dummy.reveal(), sent.as_bytes());
    }
}

#[test]
fn passwords_in_clear_are_warned_of_unless_they_stay_on_the_machine() {
    let warned = |address: &str| {
        let address = WORKING.replace("\"10.0.0.1\"", address);
        let (_, warnings) = read(&format!("{address}tls = \"none\"\n")).unwrap();
        warnings.render(false).contains("passwords cross the network in clear")
    };
    assert!(warned("\"10.0.0.1\"") && warned("[\"::1\", \"mail.example.org\"]"));
    assert!(!warned("[\"127.0.0.1\", \"::1\", \"localhost\"]"));
}

#[test]
fn a_back_end_that_is_a_listener_is_a_loop() {
    for (listener, backend, is_loop) in [
        ("[::]:993", "\"::1\"", true),
        ("192.0.2.1:993", "\"192.0.2.1\"", true),
        ("0.0.0.0:1143", "[\"10.0.0.1\", \"127.0.0.1\"]\nimap_port = 1143", true),
        ("[::]:993", "\"127.0.0.1\"", false),
        ("0.0.0.0:993", "\"192.0.2.1\"", false),
        ("127.0.0.1:993", "\"127.0.0.1\"\nimap_port = 994\npop3_port = 993", false),
    ] {
        let text = WORKING.replace("[::]:993", listener).replace("\"10.0.0.1\"", backend);
        match read(&text) {
            Err(Unusable::Mistaken(mistakes)) => {
                let shown = mistakes.render(false);
                assert!(is_loop && shown.contains("it would be a loop"), "{shown}");
            }
            other => assert!(other.is_ok() && !is_loop, "{listener} {backend}"),
        }
    }
}

#[test]
fn a_service_and_its_operators_mean_one_state_folder() {
    let state = |root, owns_system_state, given: Option<&'static str>| {
        let variable = move |name: &str| match name {
            "STATE_DIRECTORY" => given.map(str::to_owned),
            name => variable(name),
        };
        let around =
            Surroundings { purpose: Purpose::Act, variable: &variable, root, owns_system_state };
        let folder = Path::new("/etc/posthouse");
        let (config, _) = parse(WORKING, Path::new("posthouse.toml"), folder, &around).unwrap();
        config.state
    };
    let system = Path::new(SYSTEM_STATE);
    // The service under systemd, its user elsewhere, and root.
    assert_eq!(state(false, true, Some("/var/lib/posthouse")), system);
    assert_eq!(state(false, true, None), system);
    assert_eq!(state(true, false, None), system);
    assert_eq!(state(false, false, Some("/srv/a:/srv/b")), Path::new("/srv/a"));
    assert_eq!(state(false, false, Some("")), Path::new("/home/operator/.local/state/posthouse"));
}

#[test]
fn what_looks_like_a_variable_is_a_group_in_a_rewrite() {
    let rewrite = "[names]\nrewrite = [{ match = '(?<who>.*)@old$', replace = '${who}@new' }]\n";
    let (config, _) = read(&format!("{WORKING}{rewrite}")).unwrap();
    assert_eq!(config.rules.rewrites[0].replacement, "${who}@new");
}

#[test]
fn ports_follow_from_protocol_and_tls_where_none_is_given() {
    let text = WORKING.replace("[::]:993", "[::]").replace(
        "[backend.a]",
        "tls = \"starttls\"\n[[listener]]\nprotocol = \"pop3\"\naddress = [\"::1\", \"127.0.0.1:0\"]\n\
         certificate = \"c\"\nkey = \"k\"\n[backend.a]\ntls = \"starttls\"",
    );
    let (config, _) = read(&text).unwrap();
    assert_eq!(config.listeners[0].addresses, ["[::]:143".parse().unwrap()]);
    let pop3 = ["[::1]:995".parse().unwrap(), "127.0.0.1:0".parse().unwrap()];
    assert_eq!(config.listeners[1].addresses, pop3);
    assert_eq!(config.backends[0].ports.imap, 143);
}

#[test]
fn a_variable_counts_in_every_text() {
    let text =
        WORKING.replace("10.0.0.1", "${BACKEND:-10.9.9.9}").replace("\"key", "\"${HOME}/key");
    let (config, _) = read(&text).unwrap();
    assert_eq!(config.backends[0].hosts[0].to_string(), "10.9.9.9");
    let Privacy::Implicit(certificates) = &config.listeners[0].tls else { panic!() };
    assert_eq!(certificates.files[0].key, Path::new("/home/operator/key.pem"));
}

#[test]
fn a_configuration_never_shows_the_master_s_secret() {
    let master = "login = \"master\"\nmaster_user = \"proxy\"\nmaster_secret = \"hunter2\"\n";
    let (config, _) = read(&format!("{WORKING}{master}")).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}
