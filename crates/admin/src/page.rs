//! The pages of long lists.
//!
//! Nothing here knows what is listed.

use directory::Range;
use model::{CanonicalUser, UserName};
use serde::{Deserialize, Serialize};

use crate::Refused;

/// Entries on one page at most.
pub(crate) const MAX_PAGE: usize = 10_000;

/// Which page of a list by users' names.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListPage {
    /// What the names begin with.
    #[serde(default)]
    pub prefix: String,
    /// The last user of the page before.
    #[serde(default)]
    pub after: Option<String>,
    /// How many at most; 10,000 if more are asked for.
    #[serde(default = "one_page")]
    pub limit: usize,
}

/// How many are on a page if nobody says.
pub(crate) fn one_page() -> usize {
    1000
}

impl ListPage {
    /// Lists the page, and says whether there are more behind it.
    pub(crate) fn list<T>(
        self,
        list: impl FnOnce(&Range) -> Result<Vec<T>, Refused>,
    ) -> Result<(Vec<T>, bool), Refused> {
        // A name from an earlier page is canonical: the rules must not make another one of it.
        let after = self
            .after
            .map(|name| UserName::new(name).map(CanonicalUser::declare).map_err(Refused::invalid));
        let limit = self.limit.clamp(1, MAX_PAGE);
        let range = Range { prefix: self.prefix, after: after.transpose()?, limit: limit + 1 };
        let mut listed = list(&range)?;
        let more = listed.len() > limit;
        listed.truncate(limit);
        Ok((listed, more))
    }
}
