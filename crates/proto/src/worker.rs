//! What Posthouse and `posthouse-worker` say to each other over a pipe: first how to connect to a database, then
//! questions by number, each with its answer under the same number.
//!
//! Nothing here starts a process or reads a pipe. A frame is the length of its body in four bytes, high byte first,
//! and the body: one byte for its kind, then its fields. Whatever the bytes, reading them takes memory in
//! proportion to them, and bytes that are left over are as wrong as bytes that are missing.

mod fields;
#[cfg(test)]
mod tests;

use model::Secret;
use zeroize::Zeroizing;

use self::fields::{Reader, Writer};

/// The version of what is said here. Posthouse and a worker of another do not speak to each other.
pub const VERSION: u8 = 1;

/// The longest body of a frame, in bytes.
pub const LONGEST_BODY: usize = 128 * 1024;

/// The longest value of a column that is passed on, in bytes; what is longer is [`Cell::Long`].
pub const LONGEST_VALUE: usize = 4096;

/// The longest name of a column, and the longest word for a failure, in bytes.
pub const LONGEST_NAME: usize = 1024;

/// The most columns that an answer can have.
pub const MOST_COLUMNS: usize = 16;

/// Bytes are no frame, or something is too long for one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidFrame {
    /// Its body would be longer than [`LONGEST_BODY`], or empty.
    #[error("a frame of {0} bytes")]
    Length(usize),
    /// There is no such kind of frame or field.
    #[error("a frame of an unknown kind")]
    Kind,
    /// It ends in the middle of a field, or has bytes behind its last one.
    #[error("a frame whose fields do not fill it")]
    Fields,
    /// A field is longer than it may be, or has more members.
    #[error("a frame with too much in a field")]
    TooMuch,
    /// A text is not UTF-8, or a secret has a NUL byte.
    #[error("a frame with a text that is none")]
    Text,
    /// It was made by a program of another version.
    #[error("a frame of version {0}, not {VERSION}")]
    Version(u8),
}

/// The length of the body that follows these four bytes.
///
/// # Errors
/// [`InvalidFrame::Length`] if none follows, or one longer than [`LONGEST_BODY`].
pub fn body_length(head: [u8; 4]) -> Result<usize, InvalidFrame> {
    let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if (1..=LONGEST_BODY).contains(&length) {
        Ok(length)
    } else {
        Err(InvalidFrame::Length(length))
    }
}

/// What a worker connects to, and what it will be asked.
#[derive(Clone, Debug)]
pub struct Open {
    /// The connection string.
    pub connection: Secret,
    /// The statement, with a `?` for each value.
    pub statement: String,
    /// How long connecting may take, in seconds.
    pub connect_seconds: u32,
    /// How long the statement may take, in seconds.
    pub statement_seconds: u32,
    /// So many rows are read of an answer.
    pub rows: u32,
}

/// What Posthouse says to a worker.
#[derive(Clone, Debug)]
pub enum Request {
    /// A question.
    Ask {
        /// Its number.
        number: u64,
        /// What stands for the statement's parameters, in order.
        values: Vec<String>,
    },
    /// Connect. It comes first, and once.
    Open(Open),
}

/// What a worker says to Posthouse.
#[derive(Clone, Debug, PartialEq)]
pub enum Report<'b> {
    /// The names of the columns of what follows.
    Columns(Vec<&'b str>),
    /// There are no more rows than were given.
    End,
    /// It could not be done.
    Failed(Failure<'b>),
    /// It is connected.
    Opened,
    /// The values of a row, in the order of the columns.
    Row(Vec<Cell<'b>>),
}

/// Why a worker could not connect, or not answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Failure<'b> {
    /// Its SQLSTATE; empty where there is none.
    pub state: &'b str,
    /// The driver's words.
    pub text: &'b str,
}

/// A value of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'b> {
    /// True or false.
    Boolean(bool),
    /// Bytes.
    Bytes(&'b [u8]),
    /// A number without a point.
    Integer(i64),
    /// It has more bytes than are passed on.
    Long,
    /// NULL.
    Null,
    /// Of a type that is not passed on, such as a date.
    Other,
    /// A text.
    Text(&'b str),
}

const ASK: u8 = b'A';
const OPEN: u8 = b'O';

impl Request {
    /// The frame that says this.
    ///
    /// # Errors
    /// [`InvalidFrame`] if it is too long for one.
    pub fn frame(&self) -> Result<Zeroizing<Vec<u8>>, InvalidFrame> {
        let mut writer;
        match self {
            Self::Ask { number, values } => {
                let length: usize = values.iter().map(|value| value.len() + 4).sum();
                writer = Writer::new(ASK, length + 16);
                writer.number(*number);
                writer.count(values.len())?;
                for value in values {
                    writer.bytes(value.as_bytes())?;
                }
            }
            Self::Open(open) => {
                let connection = open.connection.reveal();
                writer = Writer::new(OPEN, connection.len() + open.statement.len() + 64);
                writer.byte(VERSION);
                writer.bytes(connection)?;
                writer.bytes(open.statement.as_bytes())?;
                for number in [open.connect_seconds, open.statement_seconds, open.rows] {
                    writer.number(number.into());
                }
            }
        }
        writer.done()
    }

    /// Reads the body of a frame.
    ///
    /// # Errors
    /// [`InvalidFrame`] if it is none, or of another version.
    pub fn read(body: &[u8]) -> Result<Self, InvalidFrame> {
        let mut reader = Reader::new(body);
        let request = match reader.byte()? {
            ASK => {
                let number = reader.number()?;
                let count = reader.count()?;
                let values = (0..count).map(|_| Ok(reader.text(LONGEST_BODY)?.to_owned()));
                Self::Ask { number, values: values.collect::<Result<_, _>>()? }
            }
            OPEN => Self::Open(Open::read(&mut reader)?),
            _ => return Err(InvalidFrame::Kind),
        };
        reader.end()?;
        Ok(request)
    }
}

impl Open {
    fn read(reader: &mut Reader<'_>) -> Result<Self, InvalidFrame> {
        let version = reader.byte()?;
        if version != VERSION {
            return Err(InvalidFrame::Version(version));
        }
        let connection = reader.bytes(LONGEST_BODY)?;
        Ok(Self {
            connection: Secret::new(connection).map_err(|_| InvalidFrame::Text)?,
            statement: reader.text(LONGEST_BODY)?.to_owned(),
            connect_seconds: reader.small_number()?,
            statement_seconds: reader.small_number()?,
            rows: reader.small_number()?,
        })
    }
}

const COLUMNS: u8 = b'C';
const END: u8 = b'E';
const FAILED: u8 = b'F';
const OPENED: u8 = b'O';
const ROW: u8 = b'R';

impl<'b> Report<'b> {
    /// The frame that says this in answer to a question. To connect is none, and has the number 0.
    ///
    /// # Errors
    /// [`InvalidFrame`] if it is too long for one.
    pub fn frame(&self, number: u64) -> Result<Zeroizing<Vec<u8>>, InvalidFrame> {
        let mut writer = Writer::new(self.kind(), self.size() + 64);
        writer.number(number);
        match self {
            Self::Columns(names) => {
                writer.members(names.len(), MOST_COLUMNS)?;
                for name in names {
                    writer.text(name, LONGEST_NAME)?;
                }
            }
            Self::End | Self::Opened => {}
            Self::Failed(failure) => {
                writer.text(failure.state, LONGEST_NAME)?;
                writer.text(failure.text, LONGEST_NAME)?;
            }
            Self::Row(cells) => {
                writer.members(cells.len(), MOST_COLUMNS)?;
                for cell in cells {
                    cell.write(&mut writer)?;
                }
            }
        }
        writer.done()
    }

    /// Reads the body of a frame: the number of the question, and what is said to it.
    ///
    /// # Errors
    /// [`InvalidFrame`] if it is none.
    pub fn read(body: &'b [u8]) -> Result<(u64, Self), InvalidFrame> {
        let mut reader = Reader::new(body);
        let kind = reader.byte()?;
        let number = reader.number()?;
        let report = match kind {
            COLUMNS => {
                let names = (0..reader.members(MOST_COLUMNS)?).map(|_| reader.text(LONGEST_NAME));
                Self::Columns(names.collect::<Result<_, _>>()?)
            }
            END => Self::End,
            FAILED => Self::Failed(Failure {
                state: reader.text(LONGEST_NAME)?,
                text: reader.text(LONGEST_NAME)?,
            }),
            OPENED => Self::Opened,
            ROW => {
                let cells = (0..reader.members(MOST_COLUMNS)?).map(|_| Cell::read(&mut reader));
                Self::Row(cells.collect::<Result<_, _>>()?)
            }
            _ => return Err(InvalidFrame::Kind),
        };
        reader.end()?;
        Ok((number, report))
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Columns(_) => COLUMNS,
            Self::End => END,
            Self::Failed(_) => FAILED,
            Self::Opened => OPENED,
            Self::Row(_) => ROW,
        }
    }

    /// No fewer bytes than its members have.
    fn size(&self) -> usize {
        match self {
            Self::Columns(names) => names.iter().map(|name| name.len() + 4).sum(),
            Self::End | Self::Opened => 0,
            Self::Failed(failure) => failure.state.len() + failure.text.len(),
            Self::Row(cells) => cells.iter().map(Cell::size).sum(),
        }
    }
}

impl<'b> Cell<'b> {
    fn size(&self) -> usize {
        16 + match self {
            Self::Boolean(_) | Self::Integer(_) | Self::Long | Self::Null | Self::Other => 0,
            Self::Bytes(bytes) => bytes.len(),
            Self::Text(text) => text.len(),
        }
    }

    fn write(&self, writer: &mut Writer) -> Result<(), InvalidFrame> {
        match self {
            Self::Boolean(yes) => writer.byte(if *yes { b'y' } else { b'n' }),
            Self::Bytes(bytes) if bytes.len() > LONGEST_VALUE => return Err(InvalidFrame::TooMuch),
            Self::Bytes(bytes) => {
                writer.byte(b'b');
                writer.bytes(bytes)?;
            }
            Self::Integer(number) => {
                writer.byte(b'i');
                writer.number(number.cast_unsigned());
            }
            Self::Long => writer.byte(b'l'),
            Self::Null => writer.byte(b'0'),
            Self::Other => writer.byte(b'o'),
            Self::Text(text) => {
                writer.byte(b't');
                writer.text(text, LONGEST_VALUE)?;
            }
        }
        Ok(())
    }

    fn read(reader: &mut Reader<'b>) -> Result<Self, InvalidFrame> {
        Ok(match reader.byte()? {
            b'y' => Self::Boolean(true),
            b'n' => Self::Boolean(false),
            b'b' => Self::Bytes(reader.bytes(LONGEST_VALUE)?),
            b'i' => Self::Integer(reader.number()?.cast_signed()),
            b'l' => Self::Long,
            b'0' => Self::Null,
            b'o' => Self::Other,
            b't' => Self::Text(reader.text(LONGEST_VALUE)?),
            _ => return Err(InvalidFrame::Kind),
        })
    }
}
