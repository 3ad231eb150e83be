//! Reading a dialogue.
//! Nothing here touches a socket.

use std::collections::HashMap;

use regex::bytes::Regex;

use super::{Role, ScriptError};

/// One step, with the line it stands on.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) line: usize,
    pub(super) act: Act,
}

#[derive(Debug, Clone)]
pub(super) enum Act {
    /// A line or bytes of the speaker, line end included.
    Say(Role, Bytes),
    /// A line of the speaker that fits.
    Fit(Role, Regex),
    Tls,
    Close,
    Reset,
    End,
    Silent,
}

/// Bytes of a dialogue, in which variables may stand.
#[derive(Debug, Clone)]
pub(super) struct Bytes {
    pub(super) text: Vec<u8>,
    /// Whether they end where a line ends.
    pub(super) is_line: bool,
}

/// What named groups have caught so far.
pub(super) type Variables = HashMap<String, Vec<u8>>;

/// Reads all steps, or says which line is no step.
pub(super) fn parse(dialogue: &str) -> Result<Vec<Step>, ScriptError> {
    let meaningful = |text: &&str| !text.trim().is_empty() && !text.trim_start().starts_with('#');
    let lines = dialogue.lines().enumerate().map(|(index, text)| (index + 1, text.trim_start()));
    lines
        .filter(|(_, text)| meaningful(text))
        .map(|(line, text)| Ok(Step { line, act: act(line, text)? }))
        .collect()
}

fn act(line: usize, text: &str) -> Result<Act, ScriptError> {
    match text.trim_end() {
        "TLS" => return Ok(Act::Tls),
        "CLOSE" => return Ok(Act::Close),
        "RESET" => return Ok(Act::Reset),
        "END" => return Ok(Act::End),
        "SILENT" => return Ok(Act::Silent),
        _ => {}
    }
    let mut letters = text.chars();
    let role = match letters.next() {
        Some('S') => Role::Server,
        Some('C') => Role::Client,
        _ => return Err(ScriptError::new(line, format!("{text:?} is no step"))),
    };
    let kind = letters.next();
    let rest = letters.as_str();
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    match kind {
        Some(':') => {
            let mut text = unescape(line, rest)?;
            text.extend_from_slice(b"\r\n");
            Ok(Act::Say(role, Bytes { text, is_line: true }))
        }
        Some('-') => Ok(Act::Say(role, Bytes { text: unescape(line, rest)?, is_line: false })),
        Some('~') => Regex::new(&format!("^(?:{rest})$"))
            .map(|regex| Act::Fit(role, regex))
            .map_err(|error| ScriptError::new(line, error.to_string())),
        _ => Err(ScriptError::new(line, format!("{text:?} is no step"))),
    }
}

fn unescape(line: usize, text: &str) -> Result<Vec<u8>, ScriptError> {
    let mut bytes = Vec::with_capacity(text.len() + 2);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let mut letters = after.chars();
        bytes.push(match letters.next() {
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('\\') => b'\\',
            Some('x') => {
                let digits: String = letters.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16)
                    .map_err(|_| ScriptError::new(line, format!("\\x{digits} is no byte")))?
            }
            other => return Err(ScriptError::new(line, format!("unknown escape \\{other:?}"))),
        });
        rest = letters.as_str();
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

impl Bytes {
    /// The bytes with `${name}` replaced by what was caught under that name.
    pub(super) fn filled_in(&self, variables: &Variables) -> Vec<u8> {
        variables.iter().fold(self.text.clone(), |text, (name, value)| {
            replace(&text, format!("${{{name}}}").as_bytes(), value)
        })
    }
}

fn replace(text: &[u8], what: &[u8], by: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(what) {
            out.extend_from_slice(by);
            rest = after;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(dialogue: &str) -> Vec<u8> {
        let mut steps = parse(dialogue).unwrap();
        match steps.pop().unwrap().act {
            Act::Say(_, bytes) => bytes.text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_get_their_line_end_and_bytes_do_not() {
        assert_eq!(said("S: * OK hello"), b"* OK hello\r\n");
        assert_eq!(said("S- * OK hello"), b"* OK hello");
        assert_eq!(said("S:"), b"\r\n");
    }

    #[test]
    fn escapes_are_bytes() {
        assert_eq!(said(r"C- a\r\n\x00\xffz\\"), b"a\r\n\0\xffz\\");
    }

    #[test]
    fn a_broken_line_is_named_by_its_number() {
        assert_eq!(parse("# first\n\nS: ok\nhello").unwrap_err().line, 4);
        assert_eq!(parse(r"S: \q").unwrap_err().line, 1);
        assert_eq!(parse("C~ (").unwrap_err().line, 1);
    }

    #[test]
    fn variables_are_filled_in() {
        let variables = Variables::from([("tag".to_owned(), b"a7".to_vec())]);
        let bytes = Bytes { text: b"${tag} OK ${other}".to_vec(), is_line: false };
        assert_eq!(bytes.filled_in(&variables), b"a7 OK ${other}");
    }
}
