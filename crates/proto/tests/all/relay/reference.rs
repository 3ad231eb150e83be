//! Slow parsers of whole streams, written to be seen to be right.

use std::collections::BTreeSet;

/// Where the commands of a client end that only uses literals that need no word, and what of its
/// stream may reach the back end. A command that is not complete is left out.
pub(crate) struct Commands {
    pub(crate) ends: BTreeSet<usize>,
    pub(crate) passed: Vec<u8>,
}

pub(crate) fn commands(stream: &[u8]) -> Commands {
    let mut commands = Commands { ends: BTreeSet::from([0]), passed: Vec::new() };
    let mut start = 0;
    while let Some(end) = unit_end(stream, start, is_apart) {
        let text = String::from_utf8_lossy(&stream[start..end]).to_uppercase();
        let line = text.split('\n').next().unwrap();
        let word = line.split_whitespace().nth(1).unwrap_or_default();
        let word = word.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap();
        if !matches!(word, "COMPRESS" | "UNAUTHENTICATE") {
            commands.passed.extend(&stream[start..end]);
            commands.ends.insert(commands.passed.len());
        }
        start = end;
    }
    commands
}

/// Where responses of a back end may begin.
pub(crate) fn responses(stream: &[u8]) -> BTreeSet<usize> {
    let mut starts = BTreeSet::from([0]);
    let mut start = 0;
    while let Some(line) = line_end(stream, start) {
        let text = String::from_utf8_lossy(&stream[start..line]).to_uppercase();
        let words: Vec<_> = text.trim_end_matches(['\r', '\n']).split([' ', '\r']).collect();
        let is_data = text.starts_with("* ")
            && !matches!(words[1], "OK" | "NO" | "BAD" | "BYE" | "PREAUTH" | "CAPABILITY");
        let end = if is_data { unit_end(stream, start, |_| true) } else { Some(line) };
        let Some(end) = end else {
            break;
        };
        starts.insert(end);
        start = end;
    }
    starts
}

/// Where responses of a POP3 back end may begin, given which commands ask for further lines.
pub(crate) fn answers(stream: &[u8], commands: &[bool]) -> BTreeSet<usize> {
    let mut starts = BTreeSet::from([0]);
    let mut commands = commands.iter();
    let mut start = 0;
    while let Some(line) = line_end(stream, start) {
        let status = stream[start..line].to_ascii_uppercase();
        let is_answer = status.starts_with(b"+OK") || status.starts_with(b"-ERR");
        let further = is_answer && *commands.next().unwrap_or(&false) && status.starts_with(b"+OK");
        let (end, back) = if status.ends_with(b"\r\n") { ("\r\n.\r\n", 2) } else { ("\n.\n", 1) };
        start = match further {
            false => line,
            true => {
                let windows = &mut stream[line - back..].windows(end.len());
                match windows.position(|window| window == end.as_bytes()) {
                    Some(place) => line - back + place + end.len(),
                    None => break,
                }
            }
        };
        starts.insert(start);
    }
    starts
}

/// The end of the lines and literals that begin at `start`.
fn unit_end(stream: &[u8], start: usize, may_follow: impl Fn(u8) -> bool) -> Option<usize> {
    let mut line = start;
    loop {
        let end = line_end(stream, line)?;
        let text = String::from_utf8_lossy(&stream[line..end]).into_owned();
        let text = text.strip_suffix("\n").unwrap();
        let text = text.strip_suffix("\r").unwrap_or(text);
        let announced = text.strip_suffix("}").and_then(|text| text.rsplit_once('{'));
        let size = announced.and_then(|(before, size)| {
            let size = size.strip_suffix("+").unwrap_or(size);
            let digits = !size.is_empty() && size.chars().all(|c| c.is_ascii_digit());
            let apart = may_follow(*before.as_bytes().last().unwrap_or(&0));
            (digits && apart).then(|| size.parse::<usize>().unwrap())
        });
        let Some(size) = size else {
            return Some(end);
        };
        line = end + size;
        if line > stream.len() {
            return None;
        }
    }
}

fn line_end(stream: &[u8], start: usize) -> Option<usize> {
    Some(start + stream[start..].iter().position(|byte| *byte == b'\n')? + 1)
}

fn is_apart(byte: u8) -> bool {
    b" (~".contains(&byte)
}
