//! The manual says what is so: every word, key, route, command, table and link in it is looked after.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use clap::{Parser, error::ErrorKind};
use model::{Blame, Reason, Refusal};

use super::{Mistakes, Purpose, Surroundings, Unusable, parse};
use crate::cli::Cli;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn page(name: &str) -> String {
    let path = root().join("docs/manual").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All pages of the repository for people, by their path from its root.
fn pages() -> HashMap<PathBuf, String> {
    let mut pages = HashMap::new();
    for folder in ["", "docs", "docs/manual", "docs/decisions"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let name = Path::new(folder).join(path.file_name().unwrap());
                pages.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    pages
}

/// The text outside of blocks of code.
fn prose(text: &str) -> String {
    let mut code = false;
    let outside = |line: &&str| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    };
    text.lines().filter(outside).map(|line| format!("{line}\n")).collect()
}

/// The anchors that a page's headings make, by the rules of the usual viewers.
fn anchors(text: &str) -> Vec<String> {
    let prose = prose(text);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let kept = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .map(|heading| heading.chars().filter(|c| kept(*c)).collect::<String>().replace(' ', "-"))
        .collect()
}

/// The targets of `[text](target)`.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let behind = prose.split("](").skip(1);
    behind.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned()).collect()
}

/// What a client is told for each reason, in the words of one protocol: the answer to its login, and the
/// last line of its connection. From the tables that are tested against the program.
struct Told {
    answers: HashMap<String, String>,
    goodbyes: HashMap<String, String>,
}

impl Told {
    fn by(protocol: &str) -> Self {
        let path = root().join(format!("crates/proto/tests/refusals/{protocol}.txt"));
        let text = fs::read_to_string(path).unwrap();
        let mut parts = text.split("\n\n").map(|part| {
            let lines = part.lines().filter_map(|line| line.split_once(": "));
            let pairs = lines.map(|(word, line)| (word.to_owned(), line.to_owned()));
            pairs.collect::<HashMap<_, _>>()
        });
        Self { answers: parts.next().unwrap(), goodbyes: parts.next().unwrap() }
    }
}

/// The text for people in a line.
fn words(line: &str) -> &str {
    let status = ["a NO ", "* BYE ", "-ERR ", "+OK "];
    let rest = status.iter().find_map(|status| line.strip_prefix(status)).unwrap();
    rest.split_once("] ").map_or(rest, |(_, text)| text)
}

/// The response code in a line, with its brackets.
fn code(line: &str) -> Option<&str> {
    let from = line.find('[')?;
    line.get(from..=line.find(']')?)
}

/// What stands between quotation marks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('"').skip(1).step_by(2).collect()
}

#[test]
fn every_error_word_is_explained_with_its_level_and_what_the_client_is_told() {
    let page = page("troubleshooting.md");
    let (imap, pop3) = (Told::by("imap"), Told::by("pop3"));
    for (mark, refusal) in
        [("**no**", "wrong-password"), ("**later**", "loop"), ("**TLS**", "client-clear-text")]
    {
        let answer = imap.answers[refusal].trim_start_matches("a ");
        let row = format!("| {mark} | `{answer}` | `{}` |", pop3.answers[refusal]);
        assert!(page.contains(&row), "troubleshooting.md has no row {row}");
    }
    for reason in Reason::ALL {
        let word = reason.word();
        let start = format!("| `{word}` | {} | ", reason.level().word());
        let row = page.lines().find(|line| line.starts_with(&start));
        let row = row.unwrap_or_else(|| panic!("troubleshooting.md has no row {start}"));
        let cell = row.split(" | ").nth(3).unwrap();
        let (answer, goodbye) = (words(&imap.answers[word]), words(&imap.goodbyes[word]));
        let says = |mark| cell.contains(mark);
        assert_eq!(says("**no**"), reason.refusal() == Refusal::AuthenticationFailed, "{row}");
        assert_eq!(says("**TLS**"), reason.refusal() == Refusal::PrivacyRequired, "{row}");
        match reason.refusal() {
            Refusal::AuthenticationFailed | Refusal::PrivacyRequired => {}
            // Not every such end can come while somebody logs in; theirs can.
            Refusal::Unavailable => {
                let of_login = matches!(reason.blame(), Blame::Backend | Blame::Directory);
                assert!(says("**later**") || !of_login, "{row}");
            }
            _ => {
                let codes = [&imap, &pop3].map(|told| code(&told.answers[word]).unwrap());
                assert!(codes.into_iter().all(says) && says(answer), "{row}");
            }
        }
        assert!(says(goodbye) || goodbye == "Try again later", "{row}");
        assert_eq!(words(&pop3.goodbyes[word]), goodbye);
        for quoted in quoted(cell) {
            assert!(quoted == answer || quoted == goodbye, "{row}");
        }
    }
}

#[test]
fn every_key_of_the_configuration_is_explained() {
    let page = page("configuration.md");
    let shape = [
        include_str!("file.rs"),
        include_str!("file/source.rs"),
        include_str!("file/http.rs"),
        include_str!("file/ldap.rs"),
        include_str!("file/pool.rs"),
        include_str!("file/answer.rs"),
        include_str!("file/sql.rs"),
    ]
    .concat();
    // `"key" = field: Type,` in the tables; words are `"word" = Variant,`.
    let key = |line: &str| {
        let (key, rest) = line.trim().strip_prefix('"')?.split_once("\" = ")?;
        rest.contains(": ").then(|| key.to_owned())
    };
    let keys: Vec<_> = shape.lines().filter_map(key).collect();
    assert!(keys.len() > 40, "{keys:?}");
    for key in keys {
        let forms = [
            format!("`{key}`"),
            format!("`[{key}]`"),
            format!("`[[{key}]]`"),
            format!("`[{key}.NAME]`"),
        ];
        let explained = forms.iter().any(|form| page.contains(form));
        assert!(explained, "configuration.md says nothing of `{key}`");
    }
}

#[test]
fn every_complete_configuration_is_good() {
    let mut count = 0;
    for (name, text) in pages() {
        for block in text.split("```toml complete\n").skip(1) {
            let block = block.split("\n```").next().unwrap();
            count += 1;
            let (root, owns_system_state) = (false, true);
            let variable = |_: &str| None;
            let around = Surroundings {
                purpose: Purpose::Act,
                variable: &variable,
                root,
                owns_system_state,
            };
            let refused = |mistakes: &Mistakes| {
                panic!("{}:\n{}", name.display(), mistakes.render(false));
            };
            match parse(block, &name, Path::new("/etc/posthouse"), &around) {
                Ok((_, warnings)) if warnings.is_empty() => {}
                Ok((_, mistakes)) | Err(Unusable::Mistaken(mistakes)) => refused(&mistakes),
                Err(error) => panic!("{}: {error}", name.display()),
            }
        }
    }
    assert!(count >= 6, "{count} blocks");
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let mut count = 0;
    for (name, text) in &pages {
        for link in links(text).iter().filter(|link| !link.contains("://")) {
            count += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let folder = root().join(name.parent().unwrap());
            let target = if path.is_empty() { root().join(name) } else { folder.join(path) };
            assert!(target.exists(), "{}: {link}", name.display());
            if !anchor.is_empty() {
                let target = fs::read_to_string(&target).unwrap();
                let known = anchors(&target);
                let found = known.iter().any(|known| known == anchor);
                assert!(found, "{}: {link} is none of {known:?}", name.display());
            }
        }
    }
    assert!(count > 50, "{count} links");
}

#[test]
fn every_route_of_the_api_is_listed() {
    let page = page("operating.md");
    let routes = root().join("crates/web/src/routes.rs");
    let routes = fs::read_to_string(routes).unwrap();
    let mut count = 0;
    for route in routes.split(".route(\"").skip(1) {
        let (path, acts) = route.split_once("\", ").unwrap();
        let acts = acts.lines().next().unwrap();
        for method in ["get", "post", "put", "delete"] {
            if acts.contains(&format!("{method}(")) {
                count += 1;
                let path = path.replace("{user}", "NAME").replace("{backend}", "NAME");
                let row = format!("| `{} /api/v1{path}` |", method.to_uppercase());
                assert!(page.contains(&row), "operating.md has no row {row}");
            }
        }
    }
    assert!(count >= 11, "{count} routes");
}

/// The headings of all tables that the program prints, as they stand in its source.
fn printed_headings() -> Vec<Vec<String>> {
    let folder = root().join("crates/posthouse/src/cli");
    let files = ["backend.rs", "check.rs", "session.rs", "shard.rs", "source.rs"];
    let mut all = Vec::new();
    for file in files.map(|file| fs::read_to_string(folder.join(file)).unwrap()) {
        for call in file.split("table(").skip(1) {
            let Some(list) = call.trim_start().strip_prefix('[') else { continue };
            let list = list.split_once(']').unwrap().0;
            all.push(list.split('"').skip(1).step_by(2).map(str::to_owned).collect());
        }
    }
    all
}

#[test]
fn every_table_that_is_shown_has_the_columns_that_the_program_prints() {
    let printed = printed_headings();
    assert!(printed.len() >= 8, "{printed:?}");
    let mut shown = 0;
    for (page, text) in pages() {
        for line in text.lines() {
            let cells: Vec<_> =
                line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
            let begins = |headings: &&Vec<String>| cells.len() > 2 && headings[0] == cells[0];
            let meant: Vec<_> = printed.iter().filter(begins).collect();
            if !meant.is_empty() {
                shown += 1;
                assert!(
                    meant.iter().any(|headings| **headings == cells),
                    "{}: {line}\nis printed as {meant:?}",
                    page.display()
                );
            }
        }
    }
    assert!(shown >= 6, "{shown} tables");
}

#[test]
fn the_example_unit_lets_the_program_see_how_many_local_ports_there_are() {
    let unit = fs::read_to_string(root().join("examples/posthouse.service")).unwrap();
    // With ProcSubset=pid there is no /proc/sys, where transport reads it.
    assert!(unit.contains("\nProtectProc=") && !unit.contains("\nProcSubset=pid"), "{unit}");
}

/// The words of a command of ours, as a shell would hand them on; none if a line is another program's.
fn command(segment: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut quote = None;
    let mut word = String::new();
    for c in segment.chars().chain([' ']) {
        match quote {
            Some(end) if c == end => quote = None,
            Some(_) => word.push(c),
            None if matches!(c, '\'' | '"') => quote = Some(c),
            None if c.is_whitespace() => words.extend(Some(std::mem::take(&mut word))),
            None => word.push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    let end = words.iter().position(|word| word.starts_with(['>', '<', '#', ')']));
    words.truncate(end.unwrap_or(words.len()));
    let mut words: &[String] = &words;
    loop {
        words = match words {
            [sudo, user, _, rest @ ..] if sudo == "sudo" && user == "-u" => rest,
            [before, rest @ ..] if matches!(before.as_str(), "$" | "sudo") => rest,
            [program, ..] if program == "posthouse" => return Some(words.to_vec()),
            _ => return None,
        };
    }
}

/// The lines that are typed into a shell.
fn typed(text: &str) -> Vec<&str> {
    let mut fence: Option<&str> = None;
    let mut lines = Vec::new();
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), fence) {
            (Some(kind), None) => fence = Some(kind),
            (Some(_), Some(_)) => fence = None,
            (None, Some(kind)) if kind == "sh" || line.starts_with("$ ") => lines.push(line),
            _ => {}
        }
    }
    lines
}

/// The commands that `one|another` means, one by one; none where some of it is left out.
fn each_of(code: &str) -> Vec<String> {
    let several = code.split_whitespace().find(|word| word.contains('|'));
    match several {
        _ if code.contains('…') => Vec::new(),
        Some(several) => several.split('|').map(|one| code.replace(several, one)).collect(),
        None => vec![code.to_owned()],
    }
}

#[test]
fn every_command_that_is_shown_can_be_given() {
    let mut shown = 0;
    for (page, text) in pages() {
        let page = page.display();
        for segment in typed(&text).into_iter().flat_map(|line| line.split(['|', ';', '&'])) {
            let Some(words) = command(segment) else { continue };
            shown += 1;
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{page}: {segment}\n{error}");
            }
        }
        for code in prose(&text).split('`').skip(1).step_by(2).flat_map(each_of) {
            let Some(words) = command(&code).filter(|words| words.len() > 1) else { continue };
            shown += 1;
            let Err(error) = Cli::try_parse_from(words) else { continue };
            // It may be named without all that it needs.
            let named = [
                ErrorKind::DisplayHelp,
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
                ErrorKind::MissingRequiredArgument,
            ];
            assert!(named.contains(&error.kind()), "{page}: {code}\n{error}");
        }
    }
    assert!(shown > 80, "{shown} commands");
}
