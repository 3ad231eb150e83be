//! The changes a user's row can undergo, each with its line in the history.
//!
//! Nothing here begins or ends a transaction.

use std::time::SystemTime;

use super::{
    Answer, CanonicalUser, Change, OptionalExtension, PasswordChange, StoreError, Transaction,
    stored_answer,
};

/// Who does what, and when, for the history.
pub(super) struct By<'a> {
    actor: &'a str,
    act: &'a str,
    /// Milliseconds since 1970.
    at: u64,
}

impl<'a> By<'a> {
    pub(super) fn now(actor: &'a str, act: &'a str) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let at = since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
        Self { actor, act, at }
    }

    fn record(
        &self,
        transaction: &Transaction<'_>,
        user: &CanonicalUser,
        before: Option<&Answer>,
        after: Option<&Answer>,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO history (at, actor, user, act, before, after) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        transaction.prepare_cached(sql)?.execute((
            self.at,
            self.actor,
            user.as_str(),
            self.act,
            before.map(Answer::to_string),
            after.map(Answer::to_string),
        ))?;
        Ok(())
    }
}

/// Sets where a user is and who he is there; his password stays.
pub(super) fn place(
    transaction: &Transaction<'_>,
    by: &By<'_>,
    user: &CanonicalUser,
    answer: &Answer,
) -> Result<Change, StoreError> {
    let before = answer_of(transaction, user)?;
    if before.as_ref() == Some(answer) {
        return Ok(Change::Unchanged);
    }
    let sql = "INSERT INTO users (name, place, user_there, changed_at) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT (name) DO UPDATE SET place = excluded.place, \
               user_there = excluded.user_there, changed_at = excluded.changed_at";
    transaction.prepare_cached(sql)?.execute((
        user.as_str(),
        answer.place.to_string(),
        answer.user.as_ref().map(|user| user.as_str()),
        by.at,
    ))?;
    by.record(transaction, user, before.as_ref(), Some(answer))?;
    Ok(if before.is_some() { Change::Changed } else { Change::Added })
}

/// Sets or forgets the password of a user who is there.
pub(super) fn change_password(
    transaction: &Transaction<'_>,
    by: &By<'_>,
    user: &CanonicalUser,
    answer: &Answer,
    change: &PasswordChange,
) -> Result<Change, StoreError> {
    let (act, password) = match change {
        PasswordChange::Forget => ("forget-password", None),
        PasswordChange::Keep => return Ok(Change::Unchanged),
        PasswordChange::Set(secret) => ("set-password", Some(secret.reveal())),
    };
    let sql = "UPDATE users SET password = ?2, changed_at = ?3 \
               WHERE name = ?1 AND password IS NOT ?2";
    let mut statement = transaction.prepare_cached(sql)?;
    if statement.execute((user.as_str(), password, by.at))? == 0 {
        return Ok(Change::Unchanged);
    }
    let by = By { act, ..*by };
    by.record(transaction, user, Some(answer), Some(answer))?;
    Ok(Change::Changed)
}

/// Removes a user with all that is stored of him but his history.
pub(super) fn remove(
    transaction: &Transaction<'_>,
    by: &By<'_>,
    user: &CanonicalUser,
) -> Result<Change, StoreError> {
    let Some(before) = answer_of(transaction, user)? else {
        return Ok(Change::Unchanged);
    };
    let sql = "DELETE FROM users WHERE name = ?1";
    transaction.prepare_cached(sql)?.execute([user.as_str()])?;
    by.record(transaction, user, Some(&before), None)?;
    Ok(Change::Removed)
}

/// Where a user is now.
pub(super) fn answer_of(
    transaction: &Transaction<'_>,
    user: &CanonicalUser,
) -> Result<Option<Answer>, StoreError> {
    let sql = "SELECT place, user_there FROM users WHERE name = ?1";
    let mut statement = transaction.prepare_cached(sql)?;
    let answer = statement.query_row([user.as_str()], |row| Ok(stored_answer(row, user.as_str())));
    answer.optional()?.transpose()
}
