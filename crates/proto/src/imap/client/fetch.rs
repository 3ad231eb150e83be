//! FETCH responses (RFC 3501 section 7.4.2).
//!
//! Nothing here holds a body: those in literals were passed on before.

use super::code::flags;
use super::input::Text;
use super::reader::{Reader, Value};
use super::{Body, Date, Fetched, Section};

/// A FETCH response as far as it could be read.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) fetched: Fetched,
    /// Sections that came as quoted strings, which were not passed on.
    pub(super) quoted: Vec<(Section, Vec<u8>)>,
}

/// Reads a whole response behind its number and `FETCH`.
pub(super) fn read(sequence: u32, reader: &mut Reader<'_>) -> Option<Reading> {
    let mut reading = Reading::default();
    reading.fetched.sequence = sequence;
    reading.items(reader).filter(|()| reader.at_end())?;
    Some(reading)
}

/// What is going to be passed on: the literal that a text ends with.
pub(super) fn announced(text: &Text) -> Body {
    let mut reader = Reader::new(text, 2);
    let mut reading = Reading::default();
    reading.fetched.sequence = reader.number32().unwrap_or_default();
    let size = text.literals.last().map_or(0, |literal| literal.size);
    // The list has not ended, so that this cannot be read to its end.
    let _ = reader.space().and_then(|()| reader.atom()).and_then(|_| reading.items(&mut reader));
    let passed = text.literals.iter().filter(|literal| !literal.kept).count();
    let Fetched { sequence, uid, mut bodies, .. } = reading.fetched;
    let known = bodies.len() >= passed;
    let section = bodies.pop().filter(|_| known).map(|(section, _)| section);
    Body { sequence, uid, section: section.unwrap_or_else(|| Section::Other(Vec::new())), size }
}

impl Reading {
    fn items(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        reader.spaces();
        reader.list(|reader| {
            let name = item_name(reader)?;
            reader.spaces();
            let before = reader.clone();
            if self.item(&name, reader).is_none() {
                // Whatever it is, the rest of the response is not lost.
                *reader = before;
                reader.skip_value()?;
            }
            Some(())
        })?;
        Some(())
    }

    fn item(&mut self, name: &[u8], reader: &mut Reader<'_>) -> Option<()> {
        let fetched = &mut self.fetched;
        match name {
            b"UID" => fetched.uid = Some(reader.positive()?),
            b"FLAGS" => fetched.flags = Some(flags(reader)?),
            b"INTERNALDATE" => {
                let date = reader.nstring()?.and_then(Value::into_bytes);
                fetched.internal_date = date.map(|date| Date::parse(&date));
            }
            b"RFC822.SIZE" => fetched.size = Some(reader.number()?),
            b"MODSEQ" => {
                fetched.mod_seq = reader.list(Reader::number)?.first().copied();
            }
            b"EMAILID" => fetched.email_id = reader.list(Reader::astring)?.into_iter().next(),
            b"X-GM-MSGID" => fetched.gm_msg_id = Some(reader.number()?),
            b"X-GM-LABELS" => fetched.gm_labels = Some(reader.list(Reader::astring)?),
            _ => self.body(section(name)?, reader)?,
        }
        Some(())
    }

    fn body(&mut self, section: Section, reader: &mut Reader<'_>) -> Option<()> {
        let size = match reader.nstring()? {
            None => None,
            Some(Value::Passed(size)) => Some(size),
            Some(Value::Bytes(bytes)) => {
                self.quoted.push((section.clone(), bytes.to_vec()));
                Some(u64::try_from(bytes.len()).ok()?)
            }
        };
        self.fetched.bodies.push((section, size));
        Some(())
    }
}

/// Reads an item's name, with what stands in brackets, in upper case.
fn item_name(reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    let mut name = reader.word()?;
    if name.contains(&b'[') && !name.contains(&b']') {
        // Between the brackets stand spaces, and fields' names in parentheses.
        name.extend(reader.through(b']')?.to_ascii_uppercase());
    }
    if let (Some(b']'), Some(b'<')) = (name.last(), reader.peek()) {
        name.extend(reader.word()?);
    }
    Some(name)
}

/// What section an item's name means.
fn section(name: &[u8]) -> Option<Section> {
    let name = name.strip_suffix(b"<0>").unwrap_or(name);
    if let Some(inside) = name.strip_prefix(b"BODY[").and_then(|rest| rest.strip_suffix(b"]")) {
        return Some(match inside {
            b"" => Section::Body,
            b"HEADER" => Section::Header,
            fields if fields.starts_with(b"HEADER.FIELDS ") => Section::HeaderFields,
            other => Section::Other(other.to_vec()),
        });
    }
    match name {
        b"BINARY[]" => Some(Section::Binary),
        b"RFC822" => Some(Section::Body),
        b"RFC822.HEADER" => Some(Section::Header),
        _ if name.contains(&b'[') || name == b"RFC822.TEXT" => Some(Section::Other(name.to_vec())),
        _ => None,
    }
}
