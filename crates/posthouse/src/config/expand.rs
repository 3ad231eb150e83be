//! `${NAME}` and `${NAME:-default}` in string values. Nothing here reads the environment itself.

use std::ops::Range;

/// Why a string could not be completed.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Incomplete {
    /// `${NAME}` without a default, and the variable is not set.
    Missing { name: String, at: Range<usize> },
    /// `${` without its `}`.
    Open { at: Range<usize> },
}

/// Replaces each `${NAME}` by the variable's value and each `${NAME:-default}` by the value or, where
/// the variable is missing or empty, the default. `$${` stands for `${`, and what is no variable's
/// name (`$1`, `${1}`) stays.
pub(super) fn expand(
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Incomplete> {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        let at = text.len() - behind.len() - 2;
        rest = behind;
        if let Some(before) = before.strip_suffix('$') {
            done.push_str(before);
            done.push_str("${");
            continue;
        }
        done.push_str(before);
        if !behind.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            done.push_str("${");
            continue;
        }
        let Some((inside, behind)) = behind.split_once('}') else {
            return Err(Incomplete::Open { at: at..text.len() });
        };
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        match (variable(name), default) {
            (Some(value), None) => done.push_str(&value),
            (Some(value), Some(_)) if !value.is_empty() => done.push_str(&value),
            (_, Some(default)) => done.push_str(default),
            (None, None) => {
                let at = at..at + inside.len() + 3;
                return Err(Incomplete::Missing { name: name.to_owned(), at });
            }
        }
        rest = behind;
    }
    done.push_str(rest);
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, Incomplete> {
        expand(text, &|name| match name {
            "LAB" => Some("/lab".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
    }

    #[test]
    fn a_variable_is_replaced_by_its_value_or_its_default() {
        for (text, wanted) in [
            ("${LAB}/cert.pem", "/lab/cert.pem"),
            ("${LAB:-../target/lab}/state", "/lab/state"),
            ("${NONE:-../target/lab}/state", "../target/lab/state"),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY}", ""),
            ("${NONE:-}", ""),
            ("a${LAB}b${LAB}c", "a/labb/labc"),
        ] {
            assert_eq!(expanded(text).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_no_variable_stays_as_it_is() {
        for text in ["", "$1", "${1}x", "a$", "a}b", "$LAB", "${-}"] {
            assert_eq!(expanded(text).unwrap(), text);
        }
        assert_eq!(expanded("$${LAB}").unwrap(), "${LAB}");
    }

    #[test]
    fn a_missing_variable_and_an_open_brace_are_told_with_their_place() {
        let missing = Incomplete::Missing { name: "NONE".into(), at: 2..9 };
        assert_eq!(expanded("a/${NONE}/b"), Err(missing));
        assert_eq!(expanded("a/${LAB"), Err(Incomplete::Open { at: 2..7 }));
    }
}
