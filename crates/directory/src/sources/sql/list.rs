//! Lists the users of a database by a query of the administrator's, row by row.
//!
//! Nothing here keeps a row, so that ten million need no memory.

use model::UserName;

use super::{
    Columns, Dialect, SqlSettings, SqliteSettings, Statement, Times, mysql, one_line,
    pool::{Driver, Job},
    postgres, sqlite,
};
use crate::{
    Place, SourceKind,
    sources::{CannotSay, fields::Fields},
};

/// One user of a source's list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourceUser {
    /// His name, as the source writes it.
    pub name: UserName,
    /// Where his mail is, in the order in which to try; none where the list does not say.
    pub places: Vec<Place>,
    /// His name there, where it is another.
    pub user_there: Option<UserName>,
    /// Whether he may not log in.
    pub disabled: bool,
}

/// Why a source lists nobody, or no more.
#[derive(Debug, thiserror::Error)]
pub enum ListProblem {
    /// Whoever was given the users takes no more.
    #[error(transparent)]
    Closed(#[from] std::io::Error),
    /// It has no statement for it.
    #[error("it has no `list`: write a query that gives all users")]
    NoList,
    /// It cannot say.
    #[error("{0}")]
    CannotSay(String),
}

/// Gives each user of a source to `each`, or what is wrong with his row.
///
/// # Errors
/// [`ListProblem`] if it cannot be asked, breaks off, or `each` fails.
pub async fn list_users(
    source: &SourceKind,
    each: &mut (dyn FnMut(Result<SourceUser, String>) -> std::io::Result<()> + Send),
) -> Result<(), ListProblem> {
    let mut closed = None;
    let mut give = |columns: Columns<'_, '_>| {
        let row = user(columns).map_err(|cannot| cannot.detail);
        each(row).map_err(|error| {
            let cannot = CannotSay::unavailable(&error);
            closed = Some(error);
            cannot
        })
    };
    let listed = match source {
        SourceKind::Sql(settings) => of_server(settings, &mut give).await,
        SourceKind::Sqlite(settings) => of_file(settings, &mut give),
        _ => return Err(ListProblem::NoList),
    };
    match (listed, closed) {
        (_, Some(error)) => Err(ListProblem::Closed(error)),
        (listed, None) => listed,
    }
}

type Give<'g> = &'g mut (dyn FnMut(Columns<'_, '_>) -> Result<(), CannotSay> + Send);

async fn of_server(settings: &SqlSettings, give: Give<'_>) -> Result<(), ListProblem> {
    let statement = settings.list.as_ref().ok_or(ListProblem::NoList)?;
    let (server, times) = (&settings.server, Times::FOR_LISTS);
    match settings.dialect {
        Dialect::MySql => read(mysql::MySql::new(server, times), statement, give).await,
        Dialect::Odbc | Dialect::Postgres | Dialect::Sqlite => {
            read(postgres::Postgres::new(server, times), statement, give).await
        }
    }
}

/// Reads from the first server that can be connected to.
async fn read<D: Driver>(
    driver: D,
    statement: &Statement,
    give: Give<'_>,
) -> Result<(), ListProblem> {
    let job = Job { statement: statement.clone().into(), values: Vec::new() };
    let mut failed = "there is no server".to_owned();
    for server in 0..driver.servers() {
        match tokio::time::timeout(Times::FOR_LISTS.connect, driver.connect(server)).await {
            Ok(Ok(mut connection)) => {
                let read = driver.read(&mut connection, &job, give).await;
                return read.map_err(|failure| ListProblem::CannotSay(failure.cannot.detail));
            }
            Ok(Err(cannot)) => failed = cannot.detail,
            Err(_) => failed = "the connection takes too long".to_owned(),
        }
    }
    Err(ListProblem::CannotSay(failed))
}

fn of_file(settings: &SqliteSettings, give: Give<'_>) -> Result<(), ListProblem> {
    let statement = settings.list.as_ref().ok_or(ListProblem::NoList)?;
    let listed = sqlite::list(&settings.file, statement, give);
    listed.map_err(|cannot| ListProblem::CannotSay(one_line(&cannot.detail)))
}

/// Reads a row: `name`, and what a look-up gives.
fn user(columns: Columns<'_, '_>) -> Result<SourceUser, CannotSay> {
    let (mut name, mut fields) = (None, Fields::default());
    for (column, value) in columns {
        if column.eq_ignore_ascii_case("name") {
            let mut alone = Fields::default();
            alone.set("user", value?)?;
            name = alone.into_found()?.user;
        } else {
            fields.set(column, value?)?;
        }
    }
    let name = name.ok_or_else(|| CannotSay::misconfigured("the row has no `name`"))?;
    let found = fields.into_found();
    let found =
        found.map_err(|cannot| CannotSay::misconfigured(format!("`{name}`: {}", cannot.detail)))?;
    Ok(SourceUser { name, places: found.places, user_there: found.user, disabled: found.disabled })
}
