//! Lists with an account on each line.
//!
//! Nothing here knows what a value means.

use super::{Listed, Reading};

/// Whose order imapsync's users keep: `host1;user1;password1;host2;user2;password2`.
const IMAPSYNC: [&str; 6] = ["from", "from_user", "from_password", "to", "to_user", "to_password"];

/// How lines are split.
struct Columns {
    names: Vec<String>,
    separator: char,
    /// Whether values may stand in quotation marks.
    quoted: bool,
}

pub(super) fn read(text: &str, reading: &mut Reading) {
    let mut columns: Option<Columns> = None;
    for (at, line) in text.lines().enumerate() {
        let at = at + 1;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        match &columns {
            None => match heading(line) {
                Some(named) => columns = Some(named),
                None => {
                    let columns = columns.insert(imapsync());
                    read_line(line, at, columns, reading);
                }
            },
            Some(columns) => read_line(line, at, columns, reading),
        }
    }
}

fn imapsync() -> Columns {
    let names = IMAPSYNC.iter().map(|name| (*name).to_owned()).collect();
    Columns { names, separator: ';', quoted: false }
}

/// The columns that a first line names: it has our words, and an account never has.
fn heading(line: &str) -> Option<Columns> {
    let separator = if line.contains(';') { ';' } else { ',' };
    let names = split(line, separator).ok()?;
    let names: Vec<String> = names.iter().map(|name| name.trim().to_lowercase()).collect();
    let ours = |name: &String| {
        matches!(name.as_str(), "from" | "to")
            || name.starts_with("from_")
            || name.starts_with("to_")
    };
    names.iter().any(ours).then_some(Columns { names, separator, quoted: true })
}

fn read_line(line: &str, at: usize, columns: &Columns, reading: &mut Reading) {
    let values = if columns.quoted {
        match split(line, columns.separator) {
            Ok(values) => values,
            Err(what) => return reading.mistaken(at, what),
        }
    } else {
        line.split(columns.separator).map(str::to_owned).collect()
    };
    let beyond = values.iter().skip(columns.names.len());
    if beyond.clone().any(|value| !value.trim().is_empty()) {
        let (most, found) = (columns.names.len(), values.len());
        let what = if columns.quoted {
            format!("there are {found} values for {most} columns")
        } else {
            "there is something behind password2: options for a single account cannot be given; give those \
             for all on the command line"
                .to_owned()
        };
        return reading.mistaken(at, what);
    }
    if !columns.quoted && values.len() < columns.names.len() {
        let found = values.len();
        let what = format!(
            "there are {found} values, and 6 are expected: \
             host1;user1;password1;host2;user2;password2; or begin with a line that names the columns"
        );
        return reading.mistaken(at, what);
    }
    let mut own = Listed { line: at, ..Listed::default() };
    for (name, value) in columns.names.iter().zip(&values) {
        if value.is_empty() {
            continue;
        }
        let is_place = matches!(name.as_str(), "from" | "to");
        if is_place && !value.contains("://") {
            reading.set(&mut own, at, name, &format!("imaps://{value}"));
        } else {
            reading.set(&mut own, at, name, value);
        }
    }
    reading.push(own);
}

/// The values of a line (RFC 4180, where none goes over several lines).
fn split(line: &str, separator: char) -> Result<Vec<String>, &'static str> {
    let mut values = Vec::new();
    let mut rest = line;
    loop {
        let (value, behind) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => match rest.find(separator) {
                Some(end) => {
                    let (value, behind) = rest.split_at(end);
                    (value.to_owned(), behind)
                }
                None => (rest.to_owned(), ""),
            },
        };
        values.push(value);
        if behind.is_empty() {
            return Ok(values);
        }
        rest = behind
            .strip_prefix(separator)
            .ok_or("there is something between a closing quotation mark and the next value")?;
    }
}

/// The value up to its closing quotation mark, and what is behind that.
fn unquote(mut rest: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    loop {
        let (part, behind) = rest.split_once('"').ok_or("a quotation mark is not closed")?;
        value.push_str(part);
        match behind.strip_prefix('"') {
            Some(more) => {
                value.push('"');
                rest = more;
            }
            None => return Ok((value, behind)),
        }
    }
}
