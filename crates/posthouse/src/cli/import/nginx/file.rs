//! Reads nginx's configuration: directives, words, blocks, and included files.
//!
//! Nothing here knows what a directive means, but for `include`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::cli::import::{self, Place, Unusable};

/// How deep blocks and included files may lie within one another.
const DEPTH: usize = 16;

/// How many files are read at most.
const FILES: usize = 1000;

/// A directive: `name words ... ;` or `name words ... { block }`.
#[derive(Debug)]
pub(super) struct Directive {
    pub(super) name: String,
    pub(super) words: Vec<String>,
    pub(super) block: Option<Vec<Self>>,
    pub(super) at: Place,
}

impl Directive {
    pub(super) fn word(&self, number: usize) -> Option<&str> {
        self.words.get(number).map(String::as_str)
    }

    /// Its name as it may stand in a comment.
    pub(super) fn shown(&self) -> String {
        self.name.escape_debug().to_string()
    }
}

/// Reads a file and all that it includes.
pub(super) fn read(path: &Path) -> Result<Vec<Directive>, Unusable> {
    let folder = path.parent().unwrap_or_else(|| Path::new("")).to_owned();
    let mut files = Files { folder, left: FILES, follows: true };
    files.file(path, DEPTH)
}

struct Files {
    /// That of the first file, from which names count.
    folder: PathBuf,
    left: usize,
    /// Whether what is included here matters: web servers include files that have nothing to do with mail.
    follows: bool,
}

impl Files {
    fn file(&mut self, path: &Path, depth: usize) -> Result<Vec<Directive>, Unusable> {
        let text = import::read(path)?;
        let tokens = tokens(path, &text)?;
        let mut tokens = tokens.into_iter();
        self.block(&mut tokens, None, depth)
    }

    /// The directives up to the end of a block, or of the file. `begun` is where the block begins.
    fn block(
        &mut self,
        tokens: &mut std::vec::IntoIter<(Place, Token)>,
        begun: Option<&Place>,
        depth: usize,
    ) -> Result<Vec<Directive>, Unusable> {
        let mut directives = Vec::new();
        let mut words: Vec<String> = Vec::new();
        let mut first: Option<Place> = None;
        while let Some((at, token)) = tokens.next() {
            let start = first.clone().unwrap_or_else(|| at.clone());
            match token {
                Token::Word(word) => {
                    first = Some(start);
                    words.push(word);
                    continue;
                }
                Token::Close if words.is_empty() && begun.is_some() => return Ok(directives),
                Token::Close => return Err(at.unusable("`}` is not expected here")),
                Token::Open | Token::End if words.is_empty() => {
                    return Err(at.unusable("a directive is expected here"));
                }
                Token::End => {
                    let name = words.remove(0);
                    let one = Directive {
                        name,
                        words: std::mem::take(&mut words),
                        block: None,
                        at: start,
                    };
                    if one.name == "include" && self.follows {
                        directives.extend(self.include(&one, depth)?);
                    } else {
                        directives.push(one);
                    }
                }
                Token::Open => {
                    let depth = depth
                        .checked_sub(1)
                        .ok_or_else(|| at.unusable("too many blocks within one another"))?;
                    let name = words.remove(0);
                    let followed = self.follows;
                    self.follows &= !matches!(name.as_str(), "http" | "stream");
                    let block = Some(self.block(tokens, Some(&start), depth)?);
                    self.follows = followed;
                    directives.push(Directive {
                        name,
                        words: std::mem::take(&mut words),
                        block,
                        at: start,
                    });
                }
            }
            first = None;
        }
        match (begun, first) {
            (Some(begun), _) => Err(begun.unusable("this block has no `}`")),
            (None, Some(first)) => Err(first.unusable("this directive has no `;`")),
            (None, None) => Ok(directives),
        }
    }

    fn include(&mut self, one: &Directive, depth: usize) -> Result<Vec<Directive>, Unusable> {
        let depth = depth
            .checked_sub(1)
            .ok_or_else(|| one.at.unusable("too many files within one another"))?;
        let pattern = self.folder.join(one.word(0).unwrap_or_default());
        let mut directives = Vec::new();
        for file in matching(&pattern)
            .map_err(|error| one.at.unusable(format!("include {}: {error}", pattern.display())))?
        {
            self.left =
                self.left.checked_sub(1).ok_or_else(|| one.at.unusable("too many files"))?;
            let included = self.file(&file, depth).map_err(|error| match error.at.line {
                0 => one.at.unusable(format!("include {error}")),
                _ => error,
            });
            directives.extend(included?);
        }
        Ok(directives)
    }
}

/// The files of a name in whose last part `*` may stand for anything.
fn matching(pattern: &Path) -> std::io::Result<Vec<PathBuf>> {
    let name =
        pattern.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let Some((start, end)) = name.split_once('*') else {
        return Ok(vec![pattern.to_owned()]);
    };
    // A folder that is not there holds no file, as for nginx.
    let Ok(entries) = fs::read_dir(pattern.parent().unwrap_or_else(|| Path::new(""))) else {
        return Ok(Vec::new());
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name =
            path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let fits =
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end);
        if fits && !name.starts_with('.') && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[derive(Debug, Eq, PartialEq)]
enum Token {
    Close,
    End,
    Open,
    Word(String),
}

/// Parts a text into tokens, each with its line.
fn tokens(path: &Path, text: &str) -> Result<Vec<(Place, Token)>, Unusable> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let at = Place::new(path, line);
        let token = match c {
            '\n' => {
                line += 1;
                continue;
            }
            c if c.is_whitespace() => continue,
            '#' => {
                while rest.next_if(|c| *c != '\n').is_some() {}
                continue;
            }
            ';' => Token::End,
            '{' => Token::Open,
            '}' => Token::Close,
            '"' | '\'' => {
                let mut word = String::new();
                loop {
                    match rest.next() {
                        None => return Err(at.unusable("a quotation mark is not closed")),
                        Some(mark) if mark == c => break,
                        Some('\\') => word.push(escaped(rest.next(), &at)?),
                        Some(other) => {
                            line += usize::from(other == '\n');
                            word.push(other);
                        }
                    }
                }
                Token::Word(word)
            }
            c => {
                let mut word = String::new();
                let mut next = Some(c);
                while let Some(c) = next {
                    word.push(if c == '\\' { escaped(rest.next(), &at)? } else { c });
                    next = rest.next_if(|c| !c.is_whitespace() && !matches!(c, ';' | '{' | '}'));
                }
                Token::Word(word)
            }
        };
        tokens.push((at, token));
    }
    Ok(tokens)
}

fn escaped(c: Option<char>, at: &Place) -> Result<char, Unusable> {
    match c {
        Some('t') => Ok('\t'),
        Some('r') => Ok('\r'),
        Some('n') => Ok('\n'),
        Some(c) => Ok(c),
        None => Err(at.unusable("it ends with a backslash")),
    }
}
