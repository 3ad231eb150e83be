//! What each option of imapsync means here.
//!
//! Nothing here reads options.

use admin::migrate::{Location, Scheme};
use model::{HostPort, UserName};
use regex::Regex;

use super::{Given, Translated, last, switch};

/// What imapsync was told of one account.
pub(super) struct Account<'g> {
    host: Option<&'g str>,
    port: Option<&'g str>,
    user: Option<&'g str>,
    ssl: Option<bool>,
    tls: Option<bool>,
    secret: Secret<'g>,
    provider: Option<&'static str>,
}

enum Secret<'g> {
    File(&'g str),
    Password,
    Token,
    /// imapsync looks into the environment then.
    Unsaid,
}

impl<'g> Account<'g> {
    /// `number` is 1 for where mail comes from, 2 for where it goes to.
    pub(super) fn of(given: &'g [Given], number: &str) -> Self {
        let value = |name: &str| last(given, &format!("{name}{number}"));
        let on = |name: &str| switch(given, &format!("{name}{number}"));
        let secret = match (value("passfile"), value("oauthaccesstoken"), value("oauthdirect")) {
            (_, Some(_), _) | (_, _, Some(_)) => Secret::Token,
            (Some(file), ..) => Secret::File(file),
            _ if value("password").is_some() => Secret::Password,
            _ => Secret::Unsaid,
        };
        let providers = [("gmail", "gmail"), ("office", "office365"), ("exchange", "exchange")];
        let provider = providers.into_iter().find(|(theirs, _)| on(theirs) == Some(true));
        Self {
            host: value("host"),
            port: value("port"),
            user: value("user"),
            ssl: on("ssl"),
            tls: on("tls"),
            secret,
            provider: provider.map(|(_, ours)| ours),
        }
    }

    pub(super) fn translate(
        &self,
        side: &str,
        number: &str,
        to: &mut Translated,
    ) -> Result<(), String> {
        if let Some(provider) = self.provider {
            to.push([&format!("--{side}-provider"), provider]);
        }
        let user = self.user.map(UserName::new).transpose();
        let user = user.map_err(|error| format!("--user{number} of imapsync: {error}"))?;
        match self.host {
            Some(host) => {
                let location = self.location(host, number, user)?;
                to.push([&format!("--{side}"), &location.to_string()]);
            }
            None if self.provider.is_some_and(|provider| provider != "exchange") => {
                if let Some(user) = user {
                    to.push([&format!("--{side}-user"), user.as_str()]);
                }
            }
            None => return Err(format!("--host{number} of imapsync is missing")),
        }
        self.encryption(number, to);
        self.secret(side, number, to);
        Ok(())
    }

    fn location(
        &self,
        host: &str,
        number: &str,
        user: Option<UserName>,
    ) -> Result<Location, String> {
        let wrong = |error| format!("--host{number} of imapsync: {error}");
        let mut at = HostPort { host: host.parse().map_err(wrong)?, port: None };
        if let Some(port) = self.port {
            let port =
                port.parse().map_err(|_| format!("--port{number} of imapsync is no port"))?;
            at.port = Some(port);
        }
        let tls_later = self.ssl == Some(false) || self.tls == Some(true) || at.port == Some(143);
        let scheme = if tls_later && self.ssl != Some(true) { Scheme::Imap } else { Scheme::Imaps };
        Ok(Location { scheme, user, at })
    }

    fn encryption(&self, number: &str, to: &mut Translated) {
        if self.ssl == Some(false) && self.tls == Some(false) {
            to.push(["--allow-clear-text"]);
            to.remark(format!(
                "--nossl{number} --notls{number}: clear text goes only to a server that offers no STARTTLS"
            ));
        }
    }

    fn secret(&self, side: &str, number: &str, to: &mut Translated) {
        match self.secret {
            Secret::File(file) => to.push([&format!("--{side}-password-file"), file]),
            Secret::Password => {
                let file = format!("password{number}");
                to.push([&format!("--{side}-password-file"), &file]);
                to.remark(format!(
                    "--password{number}: write it into the file {file}, which nobody else can read; it is not \
                     repeated here"
                ));
            }
            Secret::Token => {
                let file = format!("token{number}");
                to.push([&format!("--{side}-token-file"), &file]);
                to.remark(format!(
                    "--oauthaccesstoken{number}: have the access token in the file {file}; it is read anew for \
                     each connection"
                ));
            }
            Secret::Unsaid => {
                let variable = format!("IMAPSYNC_PASSWORD{number}");
                to.push([&format!("--{side}-password-env"), &variable]);
            }
        }
    }
}

/// Translates an option that does not say how an account is reached.
pub(super) fn translate(one: &Given, given: &[Given], to: &mut Translated) {
    let Given { name, value, on, known } = one;
    let said = if *on { format!("--{name}") } else { format!("--no{name}") };
    if !known {
        return to.remark(format!("{said}: imapsync's manual does not know it"));
    }
    match (name.as_str(), *on) {
        ("authuser1", _) => to.push(["--from-admin", value]),
        ("authuser2", _) => to.push(["--to-admin", value]),
        ("dry", true) => to.push(["--dry-run"]),
        ("justfolders" | "justfoldersizes" | "justlogin" | "justconnect", true) => {
            to.push(["--dry-run"]);
            to.remark(format!("{said}: --dry-run logs in, prints the plan and changes nothing"));
        }
        ("errorsmax", _) => number(&said, value, "--max-failed", 0, to),
        ("maxage" | "minage", _) => age(name, value, given, to),
        ("maxbytespersecond", _) => number(&said, value, "--bytes-per-second", 0, to),
        ("maxmessagespersecond", _) => number(&said, value, "--messages-per-second", 0, to),
        // A message of exactly this size is skipped there.
        ("maxsize", _) => number(&said, value, "--max-size", -1, to),
        ("minsize", _) => number(&said, value, "--min-size", 1, to),
        ("resyncflags", false) => to.push(["--no-flags"]),
        ("search" | "search1", _) => to.push(["--search", value]),
        ("subscribe", false) => to.push(["--no-subscribe"]),
        ("subscribed", true) => to.push(["--subscribed"]),
        ("delete2", true) => {
            to.push(["--delete"]);
            to.remark(
                "--delete2: only messages that were migrated or found on both sides are taken away, \
                 never what came to the new server by another way; they are moved to posthouse-undo first",
            );
        }
        ("delete" | "delete1" | "delete1emptyfolders" | "expunge" | "expunge1", true) => {
            to.remark(format!("{said}: the old server is never changed"));
        }
        ("exclude", _) => regex(&said, value, "--exclude-regex", to),
        ("include", _) => regex(&said, value, "--include-regex", to),
        ("f1f2" | "folder" | "folderrec" | "subfolder1" | "subfolder2", _) => {
            folder(&said, name, value, to);
        }
        ("regextrans2", _) => rename(&said, value, to),
        _ if is_place(name) || is_as_ever(name, *on) => {}
        _ => match not_needed(name, *on) {
            Some(why) => to.remark(format!("{said}: not needed, {why}")),
            None => to.remark(format!("{said}: there is nothing like it here")),
        },
    }
}

/// What [`Account`] takes in.
fn is_place(name: &str) -> bool {
    let Some(name) = name.strip_suffix(['1', '2']) else { return false };
    matches!(
        name,
        "host"
            | "port"
            | "user"
            | "password"
            | "passfile"
            | "oauthaccesstoken"
            | "oauthdirect"
            | "ssl"
            | "tls"
            | "gmail"
            | "office"
            | "exchange"
    )
}

/// What is so here without being asked for, and where a `no` that is the default there.
fn is_as_ever(name: &str, on: bool) -> bool {
    match name {
        "automap" => true,
        "resyncflags" | "subscribe" | "syncduplicates" | "syncinternaldates" => on,
        _ => !on && !matches!(name, "mixfolders" | "syncinternaldates" | "filterflags"),
    }
}

/// Why an option has no counterpart, where it wants none.
fn not_needed(name: &str, on: bool) -> Option<&'static str> {
    let why = match name {
        "authmech1" | "authmech2" => "the best way that the server offers is taken",
        "sslargs1" | "sslargs2" => {
            "certificates are always verified; see --from-ca-file, --from-pin-sha256, --from-tls-legacy"
        }
        "prefix1" | "prefix2" | "sep1" | "sep2" => "the server says it",
        "usecache" | "useuid" | "tmpdir" => {
            "what was copied is remembered in the folder of --state"
        }
        "useheader"
        | "skipheader"
        | "wholeheaderifneeded"
        | "messageidnodomain"
        | "skipsize"
        | "allowsizemismatch" => {
            "messages are told apart by many fields of their headers, and none is left out"
        }
        "pidfile" | "pidfilelocking" => "two runs for the same accounts exclude each other",
        "abort" => "SIGINT and SIGTERM end a run at any moment",
        "log" | "logfile" | "logdir" => {
            "progress is told on standard error, the report is kept in --state"
        }
        "filterflags" if on => "flags that a server cannot keep are listed",
        "filterbuggyflags" | "flagscase" | "syncflagsaftercopy" => {
            "flags are set again where they did not stay"
        }
        "foldersizes" | "foldersizesatend" => "--dry-run tells them, and the report does",
        "reconnectretry1" | "reconnectretry2" | "keepalive1" | "keepalive2" => {
            "a connection that breaks is made anew"
        }
        "releasecheck" | "modulesversion" | "showpasswords" | "version" | "help" | "fast"
        | "debug" | "debugfolders" | "debugcontent" | "debugflags" | "debugimap" | "debugimap1"
        | "debugimap2" | "debugmemory" | "debugssl" | "tests" | "testslive" | "testslive6" => {
            "it changes nothing of what is copied"
        }
        "maxsleep" => "limits are kept without sleeping between messages",
        "appendlimit1" | "appendlimit2" => "the server says it; see --max-size",
        _ => return None,
    };
    Some(why)
}

fn number(said: &str, value: &str, option: &str, more: i64, to: &mut Translated) {
    match value.parse::<i64>().ok().and_then(|value| value.checked_add(more)) {
        Some(value) if value >= 0 => to.push([option, &value.to_string()]),
        _ => to.remark(format!("{said}: its value is no number")),
    }
}

fn age(name: &str, value: &str, given: &[Given], to: &mut Translated) {
    let days = |name| last(given, name).and_then(|value| value.parse::<u32>().ok());
    // There both together mean one or the other, if they do not overlap.
    if let (Some(most), Some(least)) = (days("maxage"), days("minage"))
        && least > most
    {
        return to.remark(format!(
            "--maxage {most} --minage {least}: there is nothing like it here; run twice, with --max-age {most} \
             and with --min-age {least}"
        ));
    }
    let option = if name == "maxage" { "--max-age" } else { "--min-age" };
    number(&format!("--{name}"), value, option, 0, to);
}

fn regex(said: &str, value: &str, option: &str, to: &mut Translated) {
    if let Err(why) = perl(value) {
        return to.remark(format!("{said}: {value:?} {why}"));
    }
    to.push([option, value]);
    parts(said, value, to);
}

/// Whether Perl's expression is one here.
fn perl(expression: &str) -> Result<Regex, &'static str> {
    Regex::new(expression).map_err(|_| {
        "is an expression of Perl that is none here (there is no looking around and no \\1 in it); write \
         another"
    })
}

fn folder(said: &str, name: &str, value: &str, to: &mut Translated) {
    parts(said, value, to);
    let literal = escape(value);
    match name {
        "folder" => to.push(["--include", &literal]),
        "folderrec" => {
            to.push(["--include", &literal]);
            to.push(["--include", &format!("{literal}/*")]);
        }
        "subfolder1" => {
            to.push(["--include", &format!("{literal}/*")]);
            to.push(["--rename", &format!("^{}/", regex::escape(value)), ""]);
        }
        "subfolder2" => to.push(["--subfolder", value]),
        _ => match value.split_once('=') {
            Some((one, two)) => to.push(["--map", one, two]),
            None => to.remark(format!("{said}: it is no A=B")),
        },
    }
}

/// A name in which nothing is a pattern.
fn escape(name: &str) -> String {
    name.chars()
        .flat_map(|c| matches!(c, '*' | '?' | '\\').then_some('\\').into_iter().chain([c]))
        .collect()
}

/// Names there are written with the server's separator.
fn parts(said: &str, value: &str, to: &mut Translated) {
    if value.contains('.') && !value.contains('/') {
        to.remark(format!(
            "{said}: here the parts of a name are separated by `/`, whatever the server does: look whether a \
             `.` has to become one"
        ));
    }
}

/// Perl's `s/pattern/replacement/` becomes a pair.
fn rename(said: &str, value: &str, to: &mut Translated) {
    let Some((pattern, with, flags)) = substitution(value) else {
        return to.remark(format!(
            "{said}: {value:?} is more than s/pattern/replacement/; see --rename"
        ));
    };
    if !flags.chars().all(|flag| matches!(flag, 'g' | 'i')) || with.contains(['\\', '@']) {
        return to.remark(format!(
            "{said}: {value:?} is more than s/pattern/replacement/; see --rename"
        ));
    }
    let pattern = if flags.contains('i') { format!("(?i){pattern}") } else { pattern };
    if let Err(why) = perl(&pattern) {
        return to.remark(format!("{said}: {value:?} {why}"));
    }
    if !flags.contains('g') && !pattern.starts_with('^') && !pattern.ends_with('$') {
        to.remark(format!("{said}: {value:?} replaces once, --rename replaces all that matches"));
    }
    // `$1x` would be read as the group `1x`.
    let digits = Regex::new(r"\$(\d+)|\$\{(\d+)\}");
    let with = match digits {
        Ok(digits) => digits.replace_all(&with, "$${$1$2}").into_owned(),
        Err(_) => with,
    };
    parts(said, &pattern, to);
    to.push(["--rename", &pattern, &with]);
}

/// Pattern, replacement and flags.
fn substitution(value: &str) -> Option<(String, String, &str)> {
    let rest = value.trim().strip_prefix('s')?;
    let mark = rest.chars().next().filter(|mark| mark.is_ascii_punctuation())?;
    if matches!(mark, '{' | '(' | '[' | '<' | '\\') {
        return None;
    }
    let (pattern, rest) = until(rest.get(mark.len_utf8()..)?, mark)?;
    let (with, flags) = until(rest, mark)?;
    Some((pattern, with, flags))
}

/// The text up to a mark that is not escaped, and what is behind it. An escaped mark stands for itself.
fn until(text: &str, mark: char) -> Option<(String, &str)> {
    let mut taken = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => match letters.next()?.1 {
                escaped if escaped == mark && mark == '/' => taken.push(mark),
                escaped => taken.extend(['\\', escaped]),
            },
            _ if letter == mark => return Some((taken, text.get(at + mark.len_utf8()..)?)),
            _ => taken.push(letter),
        }
    }
    None
}
