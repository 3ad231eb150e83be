//! The text form of dialogues.
//!
//! ```text
//! # Why this must stay true.
//! @ setting value
//! C: what the client says        S: what the server says
//! ! what the machine asks        > what the test answers
//! = what is left over at the end
//! ```
//! In the dialogues of `client`, whose owner speaks first, `>` is what the owner does at that point.
//! Each line of `C:` and `S:` ends with CRLF unless it ends with `\c`. `\r \n \\ \xNN` are bytes,
//! `\(3*ab)` is `ababab`, and `...` at the end of what is expected is the rest of a line.

use std::collections::HashMap;

/// Who speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    Client,
    Server,
}

#[derive(Clone, Debug)]
pub(crate) enum Turn {
    Answers(String),
    Asks(String),
    Rest(Vec<u8>),
    Says(Side, Vec<u8>),
}

#[derive(Debug)]
pub(crate) struct Dialogue {
    pub(crate) settings: HashMap<String, String>,
    pub(crate) turns: Vec<Turn>,
}

/// Stands for the rest of a line in what is expected; no test expects this byte.
pub(crate) const ANYTHING: u8 = 0xfe;

impl Dialogue {
    pub(crate) fn read(text: &str) -> Self {
        let mut settings = HashMap::new();
        let mut turns = Vec::new();
        for line in text.lines() {
            let (kind, rest) = line.split_at(line.len().min(2));
            match kind {
                "" | "# " | "#" => {}
                "@ " => {
                    let (key, value) = rest.split_once(' ').unwrap_or((rest, ""));
                    settings.insert(key.to_owned(), value.to_owned());
                }
                "! " => turns.push(Turn::Asks(rest.to_owned())),
                "> " => turns.push(Turn::Answers(rest.to_owned())),
                "= " => turns.push(Turn::Rest(bytes(rest))),
                "C:" => turns.push(Turn::Says(Side::Client, spoken(rest))),
                "S:" => turns.push(Turn::Says(Side::Server, spoken(rest))),
                _ => panic!("a dialogue has no line like {line:?}"),
            }
        }
        Self { settings, turns }
    }

    pub(crate) fn setting(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(String::as_str)
    }
}

fn spoken(rest: &str) -> Vec<u8> {
    let text = rest.strip_prefix(' ').unwrap_or(rest);
    match text.strip_suffix("\\c") {
        Some(text) => bytes(text),
        None => [bytes(text), b"\r\n".to_vec()].concat(),
    }
}

/// Undoes the escapes.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let (text, open) = match text.strip_suffix("...") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let mut out = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend(c.encode_utf8(&mut [0; 4]).bytes());
            continue;
        }
        match chars.next() {
            Some('(') => {
                let inside: String = chars.by_ref().take_while(|c| *c != ')').collect();
                let (count, what) = inside.split_once('*').unwrap();
                out.extend(bytes(what).repeat(count.parse().unwrap()));
            }
            Some('\\') => out.push(b'\\'),
            Some('n') => out.push(b'\n'),
            Some('r') => out.push(b'\r'),
            Some('x') => {
                let digits: String = chars.by_ref().take(2).collect();
                out.push(u8::from_str_radix(&digits, 16).unwrap());
            }
            other => panic!("there is no escape {other:?}"),
        }
    }
    if open {
        out.push(ANYTHING);
    }
    out
}

/// Whether what was said is what was expected.
pub(crate) fn same(expected: &[u8], said: &[u8]) -> bool {
    let mut said = said.iter().peekable();
    for byte in expected {
        if *byte == ANYTHING {
            while said.next_if(|byte| **byte != b'\r').is_some() {}
        } else if said.next() != Some(byte) {
            return false;
        }
    }
    said.next().is_none()
}
