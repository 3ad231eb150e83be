//! What is printed: tables for people, JSON for programs.

use std::io::{self, BufWriter, Write};

use serde::Serialize;

use super::Failure;

/// Where and how results are printed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether programs read it.
    pub(super) fn is_json(self) -> bool {
        self.json
    }

    /// Prints a result as JSON, or as the text that `text` makes of it.
    pub(super) fn print<T: Serialize>(
        self,
        result: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        if self.json {
            let json = serde_json::to_string_pretty(result).map_err(io::Error::other)?;
            return write(&format!("{json}\n"));
        }
        write(&text(result))
    }
}

/// Prints a text as it is.
pub(super) fn write(text: &str) -> Result<(), Failure> {
    let mut output = BufWriter::new(io::stdout().lock());
    output.write_all(text.as_bytes())?;
    output.flush()?;
    Ok(())
}

/// A table with a line of headings; columns as wide as their widest cell.
pub(super) fn table<const COLUMNS: usize>(
    headings: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) -> String {
    let rows: Vec<_> = std::iter::once(headings.map(str::to_owned)).chain(rows).collect();
    let mut widths = [0; COLUMNS];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A value, or a dash where there is none.
pub(super) fn or_dash(value: Option<&str>) -> String {
    value.unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["anna".to_owned(), "a".to_owned()], ["b".to_owned(), "bb".to_owned()]];
        assert_eq!(table(["USER", "ON"], rows), "USER  ON\nanna  a\nb     bb\n");
    }
}
