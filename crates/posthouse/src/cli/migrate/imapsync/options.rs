//! The options that imapsync knows, and how they are written.
//!
//! Nothing here knows what they mean.

/// Options with a value.
const VALUES: &[&str] = &[
    "appendlimit1",
    "appendlimit2",
    "authmech1",
    "authmech2",
    "authuser1",
    "authuser2",
    "buffersize",
    "debugssl",
    "delete2foldersbutnot",
    "delete2foldersonly",
    "domain1",
    "domain2",
    "errorsmax",
    "exclude",
    "exitwhenover",
    "f1f2",
    "folder",
    "folderfirst",
    "folderlast",
    "folderrec",
    "host1",
    "host2",
    "include",
    "logdir",
    "logfile",
    "maxage",
    "maxbytesafter",
    "maxbytespersecond",
    "maxlinelength",
    "maxlinelengthcmd",
    "maxmessagespersecond",
    "maxsize",
    "maxsleep",
    "minage",
    "minmaxlinelength",
    "minsize",
    "oauthaccesstoken1",
    "oauthaccesstoken2",
    "oauthdirect1",
    "oauthdirect2",
    "passfile1",
    "passfile2",
    "password1",
    "password2",
    "pidfile",
    "pipemess",
    "port1",
    "port2",
    "prefix1",
    "prefix2",
    "reconnectretry1",
    "reconnectretry2",
    "regexflag",
    "regexmess",
    "regextrans2",
    "search",
    "search1",
    "search2",
    "sep1",
    "sep2",
    "skipheader",
    "skipmess",
    "split1",
    "split2",
    "sslargs1",
    "sslargs2",
    "subfolder1",
    "subfolder2",
    "timeout",
    "timeout1",
    "timeout2",
    "tmpdir",
    "truncmess",
    "useheader",
    "user1",
    "user2",
];

/// Options without; each can have `no` before it.
const SWITCHES: &[&str] = &[
    "abletosearch",
    "abletosearch1",
    "abletosearch2",
    "abort",
    "addheader",
    "allowsizemismatch",
    "authmd51",
    "authmd52",
    "automap",
    "checkfoldersexist",
    "checkselectable",
    "compress1",
    "compress2",
    "debug",
    "debugcontent",
    "debugflags",
    "debugfolders",
    "debugimap",
    "debugimap1",
    "debugimap2",
    "debugmemory",
    "delete",
    "delete1",
    "delete1emptyfolders",
    "delete2",
    "delete2duplicates",
    "delete2folders",
    "disarmreadreceipts",
    "domino1",
    "domino2",
    "dry",
    "dry1",
    "emailreport1",
    "emailreport2",
    "exchange1",
    "exchange2",
    "expunge",
    "expunge1",
    "expunge2",
    "expungeaftereach",
    "fast",
    "filterbuggyflags",
    "filterflags",
    "fixcolonbug",
    "flagscase",
    "foldersizes",
    "foldersizesatend",
    "gmail1",
    "gmail2",
    "help",
    "id",
    "idatefromheader",
    "inet4",
    "inet6",
    "ipv4",
    "ipv6",
    "justconnect",
    "justfolders",
    "justfoldersizes",
    "justlogin",
    "keepalive1",
    "keepalive2",
    "log",
    "messageidnodomain",
    "mixfolders",
    "modulesversion",
    "office1",
    "office2",
    "pidfilelocking",
    "proxyauth1",
    "proxyauth2",
    "releasecheck",
    "resyncflags",
    "resynclabels",
    "showpasswords",
    "skipcrossduplicates",
    "skipemptyfolders",
    "skipsize",
    "ssl1",
    "ssl2",
    "subscribe",
    "subscribeall",
    "subscribed",
    "syncacls",
    "syncduplicates",
    "syncflagsaftercopy",
    "syncinternaldates",
    "synclabels",
    "tests",
    "testslive",
    "testslive6",
    "tls1",
    "tls2",
    "uidexpunge2",
    "usecache",
    "useuid",
    "version",
    "wholeheaderifneeded",
];

/// An option that was given.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Given {
    /// Its name, without `--` and `no`; as it was written where it is not known.
    pub(super) name: String,
    /// Its value; empty where it has none.
    pub(super) value: String,
    /// Not, if it had `no` before it.
    pub(super) on: bool,
    pub(super) known: bool,
}

/// Reads options as Perl's Getopt::Long does: one dash or two, `=` or a blank before a value, any case, as short
/// as they are clear.
pub(super) fn parse(words: &[String]) -> Result<Vec<Given>, String> {
    let mut given = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let dashless = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
        let Some(option) = dashless.filter(|option| !option.is_empty()) else {
            // It may be a command, or what is left of a password with a blank in it.
            if word.ends_with("imapsync") && given.is_empty() {
                continue;
            }
            let place = given
                .last()
                .map_or_else(String::new, |one: &Given| format!(" behind --{}", one.name));
            return Err(format!(
                "there is a word{place} that is neither an option of imapsync nor the value of one: put \
                 quotation marks around values with blanks in them"
            ));
        };
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (option, None),
        };
        let name = name.to_ascii_lowercase();
        let (name, kind) = find(&name);
        let given_now = match kind {
            Kind::Switch(on) => Given { name, value: String::new(), on, known: true },
            Kind::Value => {
                let next = || words.next().cloned();
                let value = value
                    .or_else(next)
                    .ok_or_else(|| format!("--{name} of imapsync wants a value"))?;
                Given { name, value, on: true, known: true }
            }
            Kind::Unknown => {
                // What follows may be its value.
                let _ = words.next_if(|word| !word.starts_with('-'));
                Given { name, value: String::new(), on: true, known: false }
            }
        };
        given.push(given_now);
    }
    Ok(given)
}

enum Kind {
    Switch(bool),
    Unknown,
    Value,
}

fn find(name: &str) -> (String, Kind) {
    let negated = name.strip_prefix("no-").or_else(|| name.strip_prefix("no"));
    if let Some(name) = one_of(VALUES, name) {
        return (name, Kind::Value);
    }
    if let Some(name) = one_of(SWITCHES, name) {
        return (name, Kind::Switch(true));
    }
    if let Some(name) = negated.and_then(|name| one_of(SWITCHES, name)) {
        return (name, Kind::Switch(false));
    }
    (name.to_owned(), Kind::Unknown)
}

/// The name itself, or the only one that begins so.
fn one_of(names: &[&str], name: &str) -> Option<String> {
    if names.contains(&name) {
        return Some(name.to_owned());
    }
    let everywhere = || VALUES.iter().chain(SWITCHES).filter(|known| known.starts_with(name));
    let only = everywhere().count() == 1;
    let found = names.iter().find(|known| known.starts_with(name)).filter(|_| only)?;
    Some((*found).to_owned())
}

/// All options without a value.
#[cfg(test)]
pub(super) fn all_switches() -> impl Iterator<Item = &'static str> {
    SWITCHES.iter().copied()
}
