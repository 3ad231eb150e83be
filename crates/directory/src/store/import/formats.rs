//! How the lines of a list of users are read: comma-separated values, Perdition's maps, passwd-files, and
//! exports of the classic table `user, servername`.
//!
//! Nothing here opens a file or knows what is stored already.

use model::{HostPort, Secret, UserName};

use super::ImportFormat;
use crate::{
    Answer,
    lines::{self, Wrong},
    passwords::{DefaultScheme, Limits, PlainText, Stored},
    sources::fields::mailbox_id,
};

/// What a line says of a user.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) name: UserName,
    /// Where he is; none where that is left open.
    pub(super) answer: Option<Answer>,
    pub(super) details: Details,
}

/// What a line says of a user beside his place. What it leaves out stays as it is stored.
#[derive(Debug, Default)]
pub(in crate::store) struct Details {
    pub(in crate::store) password: Option<Secret>,
    pub(in crate::store) verifier: Option<Secret>,
    pub(in crate::store) id: Option<Box<str>>,
    pub(in crate::store) disabled: Option<bool>,
}

/// A column of a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Column {
    Backend,
    Disabled,
    Id,
    Password,
    PasswordHash,
    Port,
    User,
    UserThere,
}

impl Column {
    /// By the name that a heading gives it.
    fn named(name: &str, format: ImportFormat) -> Option<Self> {
        match (name, format) {
            ("user", _) => Some(Self::User),
            ("backend", ImportFormat::Csv) => Some(Self::Backend),
            ("user_there", ImportFormat::Csv) => Some(Self::UserThere),
            ("password", ImportFormat::Csv) => Some(Self::Password),
            ("password_hash", ImportFormat::Csv) => Some(Self::PasswordHash),
            ("id", ImportFormat::Csv) => Some(Self::Id),
            ("disabled", ImportFormat::Csv) => Some(Self::Disabled),
            ("servername", ImportFormat::Mysql) => Some(Self::Backend),
            ("port", ImportFormat::Mysql) => Some(Self::Port),
            _ => None,
        }
    }
}

/// Reads lines, one after the other: a heading counts for those behind it.
pub(super) struct Format {
    format: ImportFormat,
    columns: Vec<Column>,
    /// Whether these columns are those of a heading.
    has_heading: bool,
}

impl Format {
    pub(super) fn new(format: ImportFormat) -> Self {
        let columns = match format {
            ImportFormat::Mysql => vec![Column::User, Column::Backend, Column::Port],
            _ => vec![Column::User, Column::Backend, Column::UserThere, Column::Password],
        };
        Self { format, columns, has_heading: false }
    }

    /// What the line with this number says; none if it says nothing of a user.
    pub(super) fn read(&mut self, number: u64, line: &str) -> Result<Option<Said>, Wrong> {
        match self.format {
            ImportFormat::Csv | ImportFormat::Mysql if line.trim().is_empty() => Ok(None),
            ImportFormat::Csv => self.fields(number, lines::csv_fields(line)?),
            ImportFormat::Mysql if line.contains('\t') => self.fields(number, tab_fields(line)),
            ImportFormat::Mysql => self.fields(number, lines::csv_fields(line)?),
            ImportFormat::PasswdFile => passwd_entry(line),
            ImportFormat::Perdition => {
                let entry = lines::map_entry(line)?;
                Ok(entry.map(|(name, answer)| Said {
                    name,
                    answer: Some(answer),
                    details: Details::default(),
                }))
            }
        }
    }

    fn fields(&mut self, number: u64, fields: Vec<String>) -> Result<Option<Said>, Wrong> {
        if let Some(columns) = self.heading(number, &fields) {
            // One that says no more than what is so without it changes nothing.
            if !Self::new(self.format).columns.starts_with(&columns) {
                self.columns = columns;
                self.has_heading = true;
            }
            return Ok(None);
        }
        if fields.len() < 2 || fields.len() > self.columns.len() {
            return Err(Wrong::Columns { found: fields.len(), most: self.columns.len() });
        }
        let of = |column| {
            let mut cells = self.columns.iter().zip(&fields);
            let cell = cells.find(|(of, _)| **of == column).map(|(_, cell)| cell.as_str());
            cell.filter(|cell| !cell.is_empty())
        };
        let (named, port) = (of(Column::Backend), of(Column::Port));
        let answer = match named {
            // Only a heading of its own makes clear that nothing is missing.
            None if !self.has_heading || self.format == ImportFormat::Mysql => Some("".parse()?),
            None => None,
            Some(named) => Some(place(named, port, of(Column::UserThere))?),
        };
        let details = Details {
            password: of(Column::Password).map(Secret::new).transpose()?,
            verifier: of(Column::PasswordHash).map(verifier).transpose()?,
            id: of(Column::Id).map(mailbox_id).transpose().map_err(Wrong::Id)?,
            disabled: of(Column::Disabled).map(flag).transpose()?,
        };
        let name = UserName::new(of(Column::User).unwrap_or_default())?;
        Ok(Some(Said { name, answer, details }))
    }

    /// The columns, if the line is a heading: on the first line any names that are known, later only those
    /// with which every list may begin, for lists that are put one behind the other.
    fn heading(&self, number: u64, fields: &[String]) -> Option<Vec<Column>> {
        let named = |name: &String| Column::named(name, self.format);
        let columns: Vec<Column> = fields.iter().map(named).collect::<Option<_>>()?;
        let all_differ = columns
            .iter()
            .enumerate()
            .all(|(at, one)| !columns.iter().take(at).any(|other| other == one));
        let begins = columns.starts_with(&[Column::User, Column::Backend]);
        let is_heading = all_differ
            && columns.len() > 1
            && columns.contains(&Column::User)
            && (number == 1 || begins);
        is_heading.then_some(columns)
    }
}

/// A place, with the port of another column where it has none.
fn place(named: &str, port: Option<&str>, user_there: Option<&str>) -> Result<Answer, Wrong> {
    let mut answer: Answer = match port.filter(|port| *port != "0" && *port != "NULL") {
        Some(port) if named.parse::<HostPort>().is_ok_and(|at| at.port.is_none()) => {
            let named = if named.parse::<std::net::Ipv6Addr>().is_ok() {
                format!("[{named}]:{port}")
            } else {
                format!("{named}:{port}")
            };
            named.parse()?
        }
        _ => named.parse()?,
    };
    if let Some(user) = user_there {
        answer.user = Some(UserName::new(user)?);
    }
    Ok(answer)
}

/// The fields of a line as the mysql program writes it: tabulators between them, escaped within.
fn tab_fields(line: &str) -> Vec<String> {
    let unescaped = |field: &str| {
        let mut text = String::new();
        let mut rest = field.chars();
        while let Some(c) = rest.next() {
            match c {
                '\\' => text.push(match rest.next() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('0') => '\0',
                    Some(other) => other,
                    None => '\\',
                }),
                c => text.push(c),
            }
        }
        text
    };
    line.split('\t').map(unescaped).collect()
}

/// Reads a line of a passwd-file as Dovecot does:
/// `user:password:uid:gid:gecos:home:shell:extra fields`.
fn passwd_entry(line: &str) -> Result<Option<Said>, Wrong> {
    if line.trim().is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let mut fields = line.splitn(8, ':');
    let name = UserName::new(fields.next().unwrap_or_default())?;
    let stored = fields.next().ok_or(Wrong::NoColon)?;
    let extra = fields.nth(5).unwrap_or_default();
    let value = |key: &str| {
        let mut extras = extra.split_ascii_whitespace();
        extras.find_map(|field| match field.split_once('=') {
            Some((name, value)) if name == key => Some(value),
            None if field == key => Some("y"),
            _ => None,
        })
    };
    let answer = match value("host") {
        Some(host) => Some(place(host, value("port"), value("destuser"))?),
        None => None,
    };
    let is_locked = stored.starts_with(['*', '!']);
    let mut details =
        Details { disabled: Some(is_locked || value("nologin").is_some()), ..Details::default() };
    if let Some(plain) = stored.strip_prefix("{PLAIN}") {
        details.password = Some(Secret::new(plain)?);
    } else if !is_locked && !stored.is_empty() {
        details.verifier = Some(verifier(stored)?);
    }
    Ok(Some(Said { name, answer, details }))
}

/// What a password is compared with, if it can be read: a login is too late to tell.
fn verifier(text: &str) -> Result<Secret, Wrong> {
    let stored = Secret::new(text)?;
    Stored::read(&stored, DefaultScheme::None, PlainText::Refused, &Limits::default())?;
    Ok(stored)
}

fn flag(text: &str) -> Result<bool, Wrong> {
    match text {
        "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" => Ok(false),
        _ => Err(Wrong::Flag),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(format: ImportFormat, lines: &[&str]) -> Vec<Result<Option<Said>, Wrong>> {
        let mut reader = Format::new(format);
        (1..).zip(lines).map(|(number, line)| reader.read(number, line)).collect()
    }

    /// What the last of some lines says, in short.
    fn last(format: ImportFormat, lines: &[&str]) -> String {
        let said = said(format, lines).pop().unwrap().unwrap().unwrap();
        let text = |secret: &Option<Secret>| {
            secret.as_ref().map(|secret| String::from_utf8(secret.reveal().to_vec()).unwrap())
        };
        let Said { name, answer, details } = said;
        let mut parts = vec![name.to_string()];
        parts.extend(answer.map(|answer| format!("at {answer}")));
        parts.extend(text(&details.password).map(|text| format!("password {text}")));
        parts.extend(text(&details.verifier).map(|text| format!("hash {text}")));
        parts.extend(details.id.map(|id| format!("id {id}")));
        parts.extend(details.disabled.map(|disabled| format!("disabled {disabled}")));
        parts.join("; ")
    }

    const HASH: &str = "{SSHA}ZHVtbXlkdW1teWR1bW15ZHVtbXlzYWx0";

    #[test]
    fn a_csv_line_without_a_heading_has_two_to_four_fields() {
        for (line, expected) in [
            ("bob,a", "bob; at a"),
            ("bob , a ,", "bob; at a"),
            ("bob,[::1]:143,robert", "bob; at robert@[::1]:143"),
            ("\"smith, \"\"bob\"\"\",a,\"r,b\"", "smith, \"bob\"; at r,b@a"),
            ("bob,a,,\" a,\"\"b \"", "bob; at a; password  a,\"b "),
            ("user,backend,", "user; at backend"),
        ] {
            assert_eq!(last(ImportFormat::Csv, &[line]), expected, "{line}");
        }
        for line in
            ["", "user,backend", "user, backend , user_there", "user,backend,user_there,password"]
        {
            assert!(matches!(said(ImportFormat::Csv, &["x,a", line])[1], Ok(None)), "{line}");
        }
        for line in ["bob", ",a", "bob,", "bob,a,b,c,d", "bob,x@a@", "\"bob,a", "\"bob\"x,a"] {
            assert!(said(ImportFormat::Csv, &[line])[0].is_err(), "{line}");
        }
    }

    #[test]
    fn a_heading_names_the_columns_in_any_order() {
        let heading = "id,user,password_hash,disabled,backend";
        let line = format!("7,bob,{HASH},no,a");
        let expected = format!("bob; at a; hash {HASH}; id 7; disabled false");
        assert_eq!(last(ImportFormat::Csv, &[heading, &line]), expected);
        assert_eq!(last(ImportFormat::Csv, &[heading, ",bob,,,"]), "bob");
        let long = format!("{},bob,,no,a", "7".repeat(256));
        for wrong in [
            "7,bob,{SSHA}x,no,a",
            "7,bob,,maybe,a",
            "7,,,no,a",
            "7,bob,,no,a,b",
            "7\u{7}7,bob,,no,a",
            &long,
        ] {
            assert!(said(ImportFormat::Csv, &[heading, wrong])[1].is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_passwd_file_gives_hashes_and_what_its_extra_fields_say() {
        let read = |line: &str| last(ImportFormat::PasswdFile, &[line]);
        assert_eq!(
            read(&format!("bob:{HASH}:1000:1000::/home/bob::")),
            format!("bob; hash {HASH}; disabled false")
        );
        assert_eq!(read("bob:{PLAIN}x y:::::"), "bob; password x y; disabled false");
        assert_eq!(read("bob:*"), "bob; disabled true");
        assert_eq!(
            read("bob:::::::proxy=y host=2001:db8::1 port=1143 destuser=rob nologin"),
            "bob; at rob@[2001:db8::1]:1143; disabled true"
        );
        for line in ["", "# bob:x"] {
            assert!(matches!(said(ImportFormat::PasswdFile, &[line])[0], Ok(None)), "{line}");
        }
        for line in ["bob", ":x", "bob:notahash", "bob:{NONSENSE}x"] {
            assert!(said(ImportFormat::PasswdFile, &[line])[0].is_err(), "{line}");
        }
    }

    #[test]
    fn the_classic_table_comes_with_tabulators_or_commas_and_ports_in_either_column() {
        let read = |lines: &[&str]| last(ImportFormat::Mysql, lines);
        assert_eq!(
            read(&["user\tservername\tport", "bob\tmail.example.org\t143"]),
            "bob; at mail.example.org:143"
        );
        assert_eq!(read(&["bob\tmail.example.org:1143\t143"]), "bob; at mail.example.org:1143");
        assert_eq!(read(&["bob\tmail.example.org\tNULL"]), "bob; at mail.example.org");
        assert_eq!(read(&["a\\\\b\trob@mail"]), "a\\b; at rob@mail");
        assert_eq!(read(&["\"bob\",\"mail.example.org\",\"0\""]), "bob; at mail.example.org");
        assert_eq!(read(&["servername,user", "mail,bob"]), "bob; at mail");
        assert!(said(ImportFormat::Mysql, &["bob\t"])[0].is_err());
        // A name with a line end in it is none.
        assert!(said(ImportFormat::Mysql, &["bo\\nb\tmail"])[0].is_err());
    }
}
