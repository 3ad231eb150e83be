//! `posthouse user list --source`: the users of a database, row by row as it gives them.

use std::io::{self, BufWriter, Write as _};

use directory::{ListProblem, SourceUser, list_users};
use serde::Serialize;

use crate::{
    cli::{Failure, failure::say, output::Output, reach::block_on},
    config::Config,
};

/// One user of a source.
#[derive(Serialize)]
struct Line {
    user: String,
    backends: Vec<String>,
    #[serde(rename = "as")]
    name_there: Option<String>,
    disabled: bool,
}

impl From<SourceUser> for Line {
    fn from(user: SourceUser) -> Self {
        Self {
            user: user.name.to_string(),
            backends: user.places.iter().map(ToString::to_string).collect(),
            name_there: user.user_there.map(|there| there.to_string()),
            disabled: user.disabled,
        }
    }
}

pub(super) fn list(config: &Config, name: &str, output: Output) -> Result<(), Failure> {
    let Some(source) = config.sources.iter().find(|source| source.name == name) else {
        let names: Vec<_> = config.sources.iter().map(|source| source.name.as_str()).collect();
        let message = format!("there is no source `{name}`; there are: {}", names.join(", "));
        return Err(Failure::new(message));
    };
    let (mut listed, mut unusable) = (0_u64, 0_u64);
    let mut printed = BufWriter::new(io::stdout());
    let mut each = |row: Result<SourceUser, String>| {
        match row {
            Ok(user) => {
                printed.write_all(shown(&user.into(), listed == 0, output)?.as_bytes())?;
                listed += 1;
            }
            Err(problem) => {
                say(&format!("{name}: {problem}\n"));
                unusable += 1;
            }
        }
        Ok(())
    };
    block_on(list_users(&source.kind, &mut each))?.map_err(|problem| match problem {
        ListProblem::Closed(error) => error.into(),
        problem => Failure::new(format!("source `{name}`: {problem}")),
    })?;
    if output.is_json() {
        printed.write_all(if listed == 0 { b"[]\n" } else { b"\n]\n" })?;
    }
    printed.flush()?;
    if unusable > 0 {
        return Err(Failure::new(format!("{unusable} rows of source `{name}` cannot be used")));
    }
    Ok(())
}

/// One user on a line, without headings or padding, for the tools that come behind a pipe.
fn shown(line: &Line, first: bool, output: Output) -> io::Result<String> {
    if output.is_json() {
        let json = serde_json::to_string(line).map_err(io::Error::other)?;
        return Ok(format!("{}{json}", if first { "[\n  " } else { ",\n  " }));
    }
    let there = line.name_there.as_ref().map(|there| format!("\t{there}")).unwrap_or_default();
    Ok(format!("{}\t{}{there}\n", line.user, line.backends.join(",")))
}
