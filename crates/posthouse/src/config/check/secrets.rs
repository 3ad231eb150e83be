//! Secrets: given in the configuration, or in a file of their own. Nothing here knows what they are for.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use model::Secret;

use crate::config::{
    Purpose,
    mistake::Mistake,
    read::{At, Field, Reader},
};

impl Purpose {
    /// Whether the file of a source's secret is read. An operator who may not read it cannot ask the source
    /// either, and what he does may not need it.
    pub(super) fn reads_secret_of_source(self, file: &Field<PathBuf>) -> bool {
        self.reads_files() || file.given().is_some_and(|file| fs::File::open(&file.value).is_ok())
    }
}

/// What stands in the configuration, or in the file that it names, as `read` reads that. None if neither is
/// given, or the file is not to be read, or there is a mistake, which has been told. `what` names it.
pub(super) fn given_or_in_file<T: Clone>(
    what: &str,
    (given, file): (&Field<T>, &Field<PathBuf>),
    reads_file: bool,
    reader: &mut Reader<'_>,
    read: impl FnOnce(&At<PathBuf>, &mut Reader<'_>) -> Option<T>,
) -> Option<T> {
    match (given, file) {
        (Field::Given(given), Field::Given(file)) => {
            let mistake = Mistake::error(&given.span, format!("{what} is given twice"));
            reader.note(mistake.other(&file.span, "and here"));
            None
        }
        (Field::Given(given), _) => Some(given.value.clone()),
        (_, Field::Given(file)) if reads_file => read(file, reader),
        _ => None,
    }
}

/// The secret in a file, without the line end that editors leave behind it.
pub(super) fn secret_file(file: &At<PathBuf>, reader: &mut Reader<'_>) -> Option<Secret> {
    let read = || -> Result<Secret, String> {
        let mut bytes = fs::read(&file.value).map_err(|error| error.to_string())?;
        if bytes.ends_with(b"\n") {
            bytes.pop();
        }
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
        let secret = Secret::new(bytes).map_err(|error| error.to_string())?;
        if secret.reveal().is_empty() {
            return Err("it is empty".to_owned());
        }
        Ok(secret)
    };
    let secret = match read() {
        Ok(secret) => secret,
        Err(error) => {
            let title = format!("the secret cannot be read from {}: {error}", file.value.display());
            reader.note(Mistake::error(&file.span, title));
            return None;
        }
    };
    warn_of_readers(file, reader);
    Some(secret)
}

/// Warns of a secret that everybody can read.
pub(super) fn warn_of_readers(file: &At<PathBuf>, reader: &mut Reader<'_>) {
    let mode = fs::metadata(&file.value).map_or(0, |data| data.permissions().mode());
    if mode & 0o004 != 0 {
        let title = format!("everybody on this machine can read {}", file.value.display());
        let help = format!("chmod 600 {}", file.value.display());
        reader.note(Mistake::warning(&file.span, title).help(help));
    }
}
