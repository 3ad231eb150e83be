//! The columns of an answer and their values, each read as what its type makes of it.
//!
//! Nothing here decides what a column means. No more is read of a value than is passed on.

use odbc_api::{
    Bit, ColumnDescription, Cursor, CursorRow, DataType, Error, Nullable,
    buffers::Indicator,
    parameter::{VarBinaryBox, VarCharArray, VarWCharBox},
};
use proto::worker::{Cell, LONGEST_VALUE};
use zeroize::Zeroizing;

/// The longest number without a point that has a use, with its sign and what may stand behind it.
const LONGEST_NUMBER: usize = 64;

/// A column of an answer.
pub(super) struct Column {
    number: u16,
    name: String,
    kind: Kind,
}

/// What its values are read as.
#[derive(Clone, Copy)]
enum Kind {
    Boolean,
    Bytes,
    /// A number that may have a point.
    Decimal,
    Integer,
    Other,
    /// A text; of fixed length, it is filled up with spaces that nobody wrote.
    Text {
        fixed: bool,
    },
}

/// A value that was read.
pub(super) enum Held {
    Boolean(bool),
    Bytes(Zeroizing<Vec<u8>>),
    Integer(i64),
    Long,
    Null,
    Other,
    Text(Zeroizing<String>),
}

impl Held {
    pub(super) fn cell(&self) -> Cell<'_> {
        match self {
            Self::Boolean(yes) => Cell::Boolean(*yes),
            Self::Bytes(bytes) => Cell::Bytes(bytes),
            Self::Integer(number) => Cell::Integer(*number),
            Self::Long => Cell::Long,
            Self::Null => Cell::Null,
            Self::Other => Cell::Other,
            Self::Text(text) => Cell::Text(text),
        }
    }
}

impl Kind {
    fn of(kind: DataType) -> Self {
        match kind {
            DataType::Bit => Self::Boolean,
            DataType::TinyInt | DataType::SmallInt | DataType::Integer | DataType::BigInt => {
                Self::Integer
            }
            DataType::Decimal { .. } | DataType::Numeric { .. } => Self::Decimal,
            DataType::Char { .. } | DataType::WChar { .. } => Self::Text { fixed: true },
            DataType::Varchar { .. }
            | DataType::WVarchar { .. }
            | DataType::LongVarchar { .. }
            | DataType::WLongVarchar { .. }
            | DataType::Unknown => Self::Text { fixed: false },
            DataType::Binary { .. }
            | DataType::Varbinary { .. }
            | DataType::LongVarbinary { .. } => Self::Bytes,
            DataType::Date
            | DataType::Double
            | DataType::Float { .. }
            | DataType::Other { .. }
            | DataType::Real
            | DataType::Time { .. }
            | DataType::Timestamp { .. } => Self::Other,
        }
    }
}

impl Column {
    pub(super) fn describe(cursor: &mut impl Cursor, number: u16) -> Result<Self, Error> {
        let mut description = ColumnDescription::default();
        cursor.describe_col(number, &mut description)?;
        let name = String::from_utf16_lossy(&description.name);
        Ok(Self { number, name, kind: Kind::of(description.data_type) })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its value in a row. Columns are read in their order, each once.
    pub(super) fn value(&self, row: &mut CursorRow<'_>) -> Result<Held, Error> {
        match self.kind {
            Kind::Boolean => {
                let mut bit = Nullable::<Bit>::null();
                row.get_data(self.number, &mut bit)?;
                Ok(bit.into_opt().map_or(Held::Null, |Bit(bit)| Held::Boolean(bit != 0)))
            }
            Kind::Bytes => self.bytes(row),
            Kind::Decimal => self.decimal(row),
            Kind::Integer => {
                let mut number = Nullable::<i64>::null();
                row.get_data(self.number, &mut number)?;
                Ok(number.into_opt().map_or(Held::Null, Held::Integer))
            }
            Kind::Other => Ok(Held::Other),
            Kind::Text { fixed } => self.text(row, fixed),
        }
    }

    fn bytes(&self, row: &mut CursorRow<'_>) -> Result<Held, Error> {
        let room = vec![0; LONGEST_VALUE + 1].into_boxed_slice();
        let mut bytes = VarBinaryBox::from_buffer(room, Indicator::Null);
        row.get_data(self.number, &mut bytes)?;
        let long = !bytes.is_complete();
        Ok(match bytes.as_bytes() {
            None => Held::Null,
            Some(bytes) if long || bytes.len() > LONGEST_VALUE => Held::Long,
            Some(bytes) => Held::Bytes(Zeroizing::new(bytes.to_vec())),
        })
    }

    /// Databases without integers have these in their stead.
    fn decimal(&self, row: &mut CursorRow<'_>) -> Result<Held, Error> {
        let mut digits = VarCharArray::<LONGEST_NUMBER>::NULL;
        row.get_data(self.number, &mut digits)?;
        let complete = digits.is_complete();
        let Some(digits) = digits.as_bytes() else { return Ok(Held::Null) };
        let number = str::from_utf8(digits).ok().filter(|_| complete);
        let number = number.and_then(|number| number.trim_end_matches('.').parse().ok());
        Ok(number.map_or(Held::Other, Held::Integer))
    }

    fn text(&self, row: &mut CursorRow<'_>, fixed: bool) -> Result<Held, Error> {
        // No text has more units in UTF-16 than bytes in UTF-8. One more ends it, and one tells whether it is longer.
        let room = vec![0; LONGEST_VALUE + 2].into_boxed_slice();
        let mut text = VarWCharBox::from_buffer(room, Indicator::Null);
        row.get_data(self.number, &mut text)?;
        let long = !text.is_complete();
        let Some(units) = text.as_slice() else { return Ok(Held::Null) };
        if long {
            return Ok(Held::Long);
        }
        let Ok(text) = String::from_utf16(units).map(Zeroizing::new) else {
            return Ok(Held::Other);
        };
        let kept = if fixed { text.trim_end_matches(' ') } else { &text };
        if kept.len() > LONGEST_VALUE {
            return Ok(Held::Long);
        }
        Ok(Held::Text(Zeroizing::new(kept.to_owned())))
    }
}
