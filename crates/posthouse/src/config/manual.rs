//! The manual says what is so: every word, key, route and link in it is looked after.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use model::Reason;

use super::{Mistakes, Purpose, Surroundings, Unusable, parse};

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

#[test]
fn every_error_word_is_explained() {
    let page = page("troubleshooting.md");
    for reason in Reason::ALL {
        let row = format!("| `{}` |", reason.word());
        assert!(page.contains(&row), "troubleshooting.md has no row {row}");
    }
}

#[test]
fn every_key_of_the_configuration_is_explained() {
    let page = page("configuration.md");
    let shape =
        [include_str!("file.rs"), include_str!("file/source.rs"), include_str!("file/http.rs")]
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
                let path = path.replace("{user}", "NAME");
                let row = format!("| `{} /api/v1{path}` |", method.to_uppercase());
                assert!(page.contains(&row), "operating.md has no row {row}");
            }
        }
    }
    assert!(count >= 11, "{count} routes");
}
