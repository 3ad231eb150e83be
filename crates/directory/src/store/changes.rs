//! The changes a user's row can undergo, each with its line in the history.
//!
//! Nothing here begins or ends a transaction.

use std::time::SystemTime;

use super::{
    Answer, CanonicalUser, Change, OptionalExtension, PasswordChange, Secret, StoreError,
    Transaction, import::Details, stored_answer,
};

/// That another mailbox is looked for from now on, in the history.
pub(super) const CHANGE_ID: &str = "change-id";

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

    /// Milliseconds since 1970.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Writes a line of the history: about what kind of thing, which, and what was so before and after.
    pub(super) fn note(
        &self,
        transaction: &Transaction<'_>,
        (about, subject): (&str, &str),
        before: Option<&str>,
        after: Option<&str>,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO history (at, actor, about, subject, act, before, after) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let mut insert = transaction.prepare_cached(sql)?;
        insert.execute((self.at, self.actor, about, subject, self.act, before, after))?;
        Ok(())
    }

    fn record(
        &self,
        transaction: &Transaction<'_>,
        user: &CanonicalUser,
        before: Option<&Answer>,
        after: Option<&Answer>,
    ) -> Result<(), StoreError> {
        let (before, after) = (before.map(Answer::to_string), after.map(Answer::to_string));
        self.note(transaction, ("user", user.as_str()), before.as_deref(), after.as_deref())
    }
}

/// Sets where a user is and who he is there, or that a pool has to say where, if he is new; his password stays.
pub(super) fn place(
    transaction: &Transaction<'_>,
    by: &By<'_>,
    user: &CanonicalUser,
    answer: Option<&Answer>,
) -> Result<Change, StoreError> {
    let before = answer_of(transaction, user)?;
    let stays = |before: &Option<Answer>| answer.is_none() || before.as_ref() == answer;
    if before.as_ref().is_some_and(stays) {
        return Ok(Change::Unchanged);
    }
    let sql = "INSERT INTO users (name, place, user_there, changed_at) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT (name) DO UPDATE SET place = excluded.place, \
               user_there = excluded.user_there, changed_at = excluded.changed_at";
    transaction.prepare_cached(sql)?.execute((
        user.as_str(),
        answer.map(|answer| answer.place.to_string()),
        answer.and_then(|answer| answer.user.as_ref()).map(|user| user.as_str()),
        by.at,
    ))?;
    by.record(transaction, user, before.as_ref().and_then(Option::as_ref), answer)?;
    Ok(if before.is_some() { Change::Changed } else { Change::Added })
}

/// Sets or forgets the password of a user who is there.
pub(super) fn change_password(
    transaction: &Transaction<'_>,
    by: &By<'_>,
    user: &CanonicalUser,
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
    by.record(transaction, user, None, None)?;
    Ok(Change::Changed)
}

/// Sets what an import says beside place and password; what it leaves out stays. `placed` is what became of his place,
/// with its line in the history.
pub(super) fn detail(
    transaction: &Transaction<'_>,
    by: &By<'_>,
    user: &CanonicalUser,
    details: &Details,
    placed: Change,
) -> Result<Change, StoreError> {
    let Details { verifier, id, disabled, .. } = details;
    if verifier.is_none() && id.is_none() && disabled.is_none() {
        return Ok(Change::Unchanged);
    }
    let sql = "SELECT id FROM users WHERE name = ?1";
    let mut stored = transaction.prepare_cached(sql)?;
    let before: Option<String> = stored.query_row([user.as_str()], |row| row.get(0))?;
    let sql = "UPDATE users SET password_hash = coalesce(?2, password_hash), id = coalesce(?3, id), \
               disabled = coalesce(?4, disabled), changed_at = ?5 \
               WHERE name = ?1 AND (password_hash IS NOT coalesce(?2, password_hash) \
               OR id IS NOT coalesce(?3, id) OR disabled IS NOT coalesce(?4, disabled))";
    let verifier = verifier.as_ref().map(Secret::reveal);
    let mut update = transaction.prepare_cached(sql)?;
    if update.execute((user.as_str(), verifier, id.as_deref(), disabled, by.at))? == 0 {
        return Ok(Change::Unchanged);
    }
    match (&before, id.as_deref()) {
        (Some(before), Some(id)) if **before != *id => {
            let by = By { act: CHANGE_ID, ..*by };
            by.note(transaction, ("user", user.as_str()), Some(before), Some(id))?;
        }
        _ if placed == Change::Unchanged => by.record(transaction, user, None, None)?,
        _ => {}
    }
    Ok(Change::Changed)
}

/// Removes a user from the table. What a pool keeps of his mailbox stays, so that his mail is found when he comes again,
/// and so does a hold.
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
    by.record(transaction, user, before.as_ref(), None)?;
    Ok(Change::Removed)
}

/// Where a user is now: none if he is not there, and within it none if a pool says where.
pub(super) fn answer_of(
    transaction: &Transaction<'_>,
    user: &CanonicalUser,
) -> Result<Option<Option<Answer>>, StoreError> {
    let sql = "SELECT place, user_there FROM users WHERE name = ?1";
    let mut statement = transaction.prepare_cached(sql)?;
    let answer = statement.query_row([user.as_str()], |row| Ok(stored_answer(row, user.as_str())));
    answer.optional()?.transpose()
}
