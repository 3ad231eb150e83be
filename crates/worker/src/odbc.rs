//! A database behind unixODBC: a connection, and a statement that is executed for each question.
//!
//! Nothing here calls a foreign function by itself, or keeps an answer. Texts go there and come back as UTF-16, which is
//! the one encoding that does not hang on a driver's idea of a locale.

mod cells;

use std::{convert::Infallible, fs::File, io};

use odbc_api::{
    Connection, ConnectionOptions, Cursor, Environment, Error, buffers::Indicator, handles::Record,
    parameter::VarWCharBox,
};
use proto::worker::{MOST_COLUMNS, Open, Report};
use worker::{Answer, Conversation, Failed, Question};

use self::cells::Column;

/// Connects to what Posthouse says, and answers its questions until it hangs up.
pub(crate) fn work(conversation: &mut Conversation<File>) -> io::Result<Infallible> {
    let open = conversation.open()?;
    let environment = match Environment::new() {
        Ok(environment) => environment,
        Err(error) => return refuse(conversation, &failed(error)),
    };
    let database = match Database::connect(&environment, &open) {
        Ok(database) => database,
        Err(failed) => return refuse(conversation, &failed),
    };
    conversation.opened()?;
    loop {
        let question = conversation.next_question()?;
        let answered = database.look_up(&question);
        conversation.answer(&question, answered)?;
        database.undo();
    }
}

fn refuse(conversation: &mut Conversation<File>, failed: &Failed) -> io::Result<Infallible> {
    conversation.refuse(failed)?;
    Err(io::Error::other("not connected"))
}

struct Database<'e> {
    connection: Connection<'e>,
    open: &'e Open,
    /// How long a statement may take, if the driver can be told.
    seconds: Option<usize>,
    /// Whether each question is a transaction of its own, which is never committed.
    undoes: bool,
}

impl<'e> Database<'e> {
    fn connect(environment: &'e Environment, open: &'e Open) -> Result<Self, Failed> {
        let string = str::from_utf8(open.connection.reveal())
            .map_err(|_| Failed::here("the connection string is not UTF-8"))?;
        let options = ConnectionOptions {
            login_timeout_sec: Some(open.connect_seconds),
            ..ConnectionOptions::default()
        };
        let connection =
            environment.connect_with_connection_string(string, options).map_err(failed)?;
        let undoes = connection.set_autocommit(false).is_ok();
        let seconds = usize::try_from(open.statement_seconds).ok();
        let obeyed = |seconds: &usize| {
            let statement = connection.preallocate();
            statement.and_then(|mut it| it.set_query_timeout_sec(*seconds)).is_ok()
        };
        let seconds = seconds.filter(obeyed);
        Ok(Self { connection, open, seconds, undoes })
    }

    fn look_up(&self, question: &Question) -> Result<Answer, Failed> {
        let values: Vec<_> = question.values.iter().map(|value| parameter(value)).collect();
        let executed = self.connection.execute(&self.open.statement, &*values, self.seconds);
        let Some(mut cursor) = executed.map_err(failed)? else {
            return Err(Failed::here("the statement has no answer: it is no query"));
        };
        let columns = columns(&mut cursor)?;
        let mut answer = question.answer();
        answer.add(&Report::Columns(columns.iter().map(Column::name).collect()))?;
        for _ in 0..self.open.rows {
            let Some(mut row) = cursor.next_row().map_err(failed)? else { break };
            let values: Result<Vec<_>, _> =
                columns.iter().map(|column| column.value(&mut row)).collect();
            let values = values.map_err(failed)?;
            answer.add(&Report::Row(values.iter().map(cells::Held::cell).collect()))?;
        }
        Ok(answer)
    }

    /// Ends the transaction of a question. If that fails, so will the next question, and tell why.
    fn undo(&self) {
        if self.undoes {
            let _ = self.connection.rollback();
        }
    }
}

fn columns(cursor: &mut impl Cursor) -> Result<Vec<Column>, Failed> {
    let count = cursor.num_result_cols().map_err(failed)?;
    let count = u16::try_from(count).unwrap_or_default();
    if usize::from(count) > MOST_COLUMNS {
        let text =
            format!("the query gives {count} columns; there are no more than {MOST_COLUMNS}");
        return Err(Failed::here(text));
    }
    (1..=count).map(|number| Column::describe(cursor, number).map_err(failed)).collect()
}

/// A value for a parameter.
fn parameter(value: &str) -> VarWCharBox {
    if value.is_empty() {
        // A text of no length at all is an error to some drivers.
        return VarWCharBox::from_buffer(Box::new([0]), Indicator::Length(0));
    }
    VarWCharBox::from_str_slice(value)
}

fn failed(error: Error) -> Failed {
    match error {
        Error::Diagnostics { record, .. }
        | Error::UnableToRepresentNull(record)
        | Error::UnsupportedOdbcApiVersion(record) => of_record(&record),
        error => Failed::here(error.to_string()),
    }
}

fn of_record(record: &Record) -> Failed {
    let state = String::from_utf8_lossy(&record.state.0);
    let text = String::from_utf16_lossy(&record.message);
    Failed { state: state.trim_end_matches('\0').to_owned(), text }
}
