//! What clients hear of a back end's refusal: our words by its response code, and its own where that is set.

use e2e::{
    cases,
    door::{Door, backend, everybody_at, listening},
    house::House,
    runner::Case,
    secrets::password,
    stub::{Stub, Talk},
};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        by_imap_a_code_passes_with_our_words_and_its_own_pass_only_where_that_is_set,
        by_pop3_a_code_passes_with_our_words_and_its_own_pass_only_where_that_is_set,
    ]
}

/// What a back end says, what the client hears, and what it hears with `relay_text`.
type Row = (&'static str, &'static str, &'static str);

const IMAP: [Row; 10] = [
    (
        "Login failed",
        "NO [AUTHENTICATIONFAILED] Authentication failed",
        "NO [AUTHENTICATIONFAILED] Login failed",
    ),
    (
        "[AUTHENTICATIONFAILED] No such user",
        "NO [AUTHENTICATIONFAILED] Authentication failed",
        "NO [AUTHENTICATIONFAILED] No such user",
    ),
    (
        "[ALERT] Log in at www.example.org",
        "NO [AUTHENTICATIONFAILED] Authentication failed",
        "NO [ALERT] Log in at www.example.org",
    ),
    ("[INUSE] Locked by 77", "NO [INUSE] The mailbox is in use", "NO [INUSE] Locked by 77"),
    ("[LIMIT] Nine are enough", "NO [LIMIT] Too much at once", "NO [LIMIT] Nine are enough"),
    ("[EXPIRED] Since May", "NO [EXPIRED] The password has expired", "NO [EXPIRED] Since May"),
    ("[UNAVAILABLE] No LDAP", "NO [UNAVAILABLE] Try again later", "NO [UNAVAILABLE] No LDAP"),
    (
        "[CONTACTADMIN] Disk broken",
        "NO [CONTACTADMIN] Ask the administrator",
        "NO [CONTACTADMIN] Disk broken",
    ),
    ("[SERVERBUG] At line 7", "NO [UNAVAILABLE] Try again later", "NO [UNAVAILABLE] At line 7"),
    ("[X-NEW] Whatever", "NO [UNAVAILABLE] Try again later", "NO [UNAVAILABLE] Whatever"),
];

const POP3: [Row; 8] = [
    ("Login failed", "-ERR [AUTH] Authentication failed", "-ERR [AUTH] Login failed"),
    ("[AUTH] No such user", "-ERR [AUTH] Authentication failed", "-ERR [AUTH] No such user"),
    ("[IN-USE] Locked by 77", "-ERR [IN-USE] The mailbox is in use", "-ERR [IN-USE] Locked by 77"),
    (
        "[LOGIN-DELAY] Once a minute",
        "-ERR [LOGIN-DELAY] Too soon after the last login",
        "-ERR [LOGIN-DELAY] Once a minute",
    ),
    ("[SYS/TEMP] No LDAP", "-ERR [SYS/TEMP] Try again later", "-ERR [SYS/TEMP] No LDAP"),
    (
        "[SYS/PERM] Disk broken",
        "-ERR [SYS/PERM] Ask the administrator",
        "-ERR [SYS/PERM] Disk broken",
    ),
    ("[EXPIRED] Since May", "-ERR [AUTH] The password has expired", "-ERR [AUTH] Since May"),
    ("[X-NEW] Whatever", "-ERR [SYS/TEMP] Try again later", "-ERR [SYS/TEMP] Whatever"),
];

/// The row whose number the name of the user in this command is: `user3`.
fn row(rows: &'static [Row], command: &str) -> Option<&'static Row> {
    let (_, behind) = command.split_once("user")?;
    let digits: String = behind.chars().take_while(char::is_ascii_digit).collect();
    rows.get(digits.parse::<usize>().ok()?)
}

/// Refuses each user by his row.
fn refusing_by_imap(mut talk: Talk) -> std::io::Result<()> {
    talk.send("* OK [CAPABILITY IMAP4rev1] ready\r\n")?;
    loop {
        let line = talk.line()?;
        let tag = line.split(' ').next().unwrap_or_default();
        match row(&IMAP, &line) {
            Some((said, ..)) => talk.send(&format!("{tag} NO {said}\r\n"))?,
            None => talk.send(&format!("* CAPABILITY IMAP4rev1\r\n{tag} OK done\r\n"))?,
        }
    }
}

/// The same by POP3, where the refusal comes to the password.
fn refusing_by_pop3(mut talk: Talk) -> std::io::Result<()> {
    talk.send("+OK ready\r\n")?;
    let mut refused = None;
    loop {
        let line = talk.line()?;
        refused = row(&POP3, &line).or(refused);
        match (line.split(' ').next(), refused) {
            (Some("PASS"), Some((said, ..))) => talk.send(&format!("-ERR {said}\r\n"))?,
            (Some("CAPA"), _) => talk.send("+OK\r\nUIDL\r\n.\r\n")?,
            _ => talk.send("+OK\r\n")?,
        }
    }
}

/// Each user hears what his row says, without `relay_text` and with it.
fn assert_heard(rows: &[Row], stub: &Stub, answer: impl Fn(&Door, &str) -> String) {
    let rest = backend("a", stub.port(), stub.port()) + &everybody_at("a");
    let silent = Door::open(&listening("", &rest));
    let relaying = Door::open(&listening("relay_text = true", &rest));
    for (number, (said, ours, theirs)) in rows.iter().enumerate() {
        let user = format!("user{number}");
        assert_eq!(answer(&silent, &user), *ours, "{said}");
        assert_eq!(answer(&relaying, &user), *theirs, "{said}");
        // The log has the words in any case.
        let words = said.rsplit("] ").next().unwrap();
        silent.line(|line| line.contains(&format!("user={user} ")) && line.contains(words));
    }
}

fn by_imap_a_code_passes_with_our_words_and_its_own_pass_only_where_that_is_set(_: &House) {
    let stub = Stub::start(refusing_by_imap);
    assert_heard(&IMAP, &stub, |door, user| door.imap_answer(user, &password(user)));
}

fn by_pop3_a_code_passes_with_our_words_and_its_own_pass_only_where_that_is_set(_: &House) {
    let stub = Stub::start(refusing_by_pop3);
    assert_heard(&POP3, &stub, |door, user| door.pop3_answer(user, &password(user)));
}
