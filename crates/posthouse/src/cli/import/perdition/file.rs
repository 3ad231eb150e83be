//! Reads perdition.conf: an option and its value to a line, as Perdition's own reader takes them.
//!
//! Nothing here knows what an option means.

use std::{collections::BTreeMap, path::Path};

use crate::cli::import::{Draft, Place, Unusable};

/// One-letter options and their long names.
const LETTERS: &[(&str, &str)] = &[
    ("A", "add_domain"),
    ("B", "no_bind_banner"),
    ("C", "connection_logging"),
    ("D", "domain_delimiter"),
    ("F", "log_facility"),
    ("I", "capability"),
    ("L", "connection_limit"),
    ("M", "map_library"),
    ("O", "ok_line"),
    ("P", "protocol"),
    ("S", "strip_domain"),
    ("U", "username_from_database"),
    ("a", "authenticate_in"),
    ("b", "bind_address"),
    ("c", "client_server_specification"),
    ("d", "debug"),
    ("e", "explicit_domain"),
    ("f", "config_file"),
    ("g", "group"),
    ("h", "help"),
    ("i", "inetd_mode"),
    ("l", "listen_port"),
    ("m", "map_library_opt"),
    ("n", "no_lookup"),
    ("o", "server_resp_line"),
    ("p", "outgoing_port"),
    ("q", "quiet"),
    ("s", "outgoing_server"),
    ("t", "timeout"),
    ("u", "username"),
];

/// An option's value and where it stands.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) value: String,
    pub(super) at: Place,
}

/// The options by their long names. What is taken is gone.
#[derive(Debug)]
pub(super) struct Settings {
    whole: Place,
    options: BTreeMap<String, Setting>,
}

impl Settings {
    pub(super) fn take(&mut self, key: &str) -> Option<Setting> {
        self.options.remove(key)
    }

    /// Where an option stands; the file as a whole where it does not.
    pub(super) fn place(&self, key: &str) -> Place {
        self.options.get(key).map_or_else(|| self.whole.clone(), |set| set.at.clone())
    }

    /// All that nobody has taken.
    pub(super) fn rest(&mut self) -> BTreeMap<String, Setting> {
        std::mem::take(&mut self.options)
    }
}

pub(super) fn settings(path: &Path, text: &str, draft: &mut Draft) -> Result<Settings, Unusable> {
    let mut options = BTreeMap::new();
    let mut begun = String::new();
    for (line, number) in text.lines().chain([""]).zip(1..) {
        let at = Place::new(path, number);
        begun.push_str(line);
        // A backslash before the end of a line joins the next one to it.
        if begun.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1 {
            begun.pop();
            continue;
        }
        let Some((key, value)) =
            option(&std::mem::take(&mut begun)).map_err(|what| at.unusable(what))?
        else {
            continue;
        };
        let key = key.trim_start_matches('-');
        let long = LETTERS.iter().find(|(letter, _)| *letter == key).map_or(key, |(_, long)| long);
        let set = Setting { value, at };
        if let Some(before) = options.insert(long.to_owned(), set) {
            draft.remark(&before.at, format!("{}: a later line counts", long.escape_debug()));
        }
    }
    Ok(Settings { whole: Place::new(path, 0), options })
}

/// An option and its value, without the quotation marks and backslashes; nothing where there is none.
fn option(line: &str) -> Result<Option<(String, String)>, String> {
    let mut words = [String::new(), String::new()];
    let mut quote = None;
    // Up to here white space at the end is meant.
    let mut meant = 0;
    let mut in_value = false;
    let mut rest = line.trim_start().chars();
    while let Some(c) = rest.next() {
        let [key, value] = &mut words;
        let word = if in_value { &mut *value } else { &mut *key };
        match (c, quote) {
            ('\\', None | Some('"')) => {
                word.extend(rest.next());
                meant = word.len();
            }
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(mark)) if c == mark => {
                quote = None;
                meant = word.len();
            }
            ('#', None) => break,
            (c, None) if c.is_whitespace() && !in_value => {
                (in_value, meant) = (true, 0);
            }
            // White space before the value is not of it.
            (c, None) if c.is_whitespace() && word.is_empty() => {}
            (c, _) => word.push(c),
        }
    }
    if quote.is_some() {
        return Err("a quotation mark is not closed".to_owned());
    }
    let [key, mut value] = words;
    if in_value {
        value.truncate(value.trim_end().len().max(meant));
    }
    Ok((!key.is_empty()).then_some((key, value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_read_as_perdition_reads_it() {
        for (line, key, value) in [
            ("protocol IMAP4", "protocol", "IMAP4"),
            ("U", "U", ""),
            ("  ok_line  You are  so in   # said", "ok_line", "You are  so in"),
            ("query_key '\\U,\\d'", "query_key", "\\U,\\d"),
            ("query_key \\\\U", "query_key", "\\U"),
            ("query_key \\U", "query_key", "U"),
            ("ok_line \"a # b\" ", "ok_line", "a # b"),
            ("ok_line 'kept ' ", "ok_line", "kept "),
        ] {
            let expected = Some((key.to_owned(), value.to_owned()));
            assert_eq!(option(line).unwrap(), expected, "{line}");
        }
        assert_eq!(option("# all").unwrap(), None);
        assert_eq!(option("").unwrap(), None);
        assert!(option("ok_line 'open").is_err());
    }
}
