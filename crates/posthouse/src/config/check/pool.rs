//! `[pool.NAME]`: among which back ends mailboxes are placed, and what sources ask of pools.

use ::directory::{
    Gives, PlaceBy, Policy, PoolSettings, PoolUse, Pools, Share, SourceKind, SourceSettings,
};

use super::{
    backend::Checked,
    source::{check_name, names_help},
};
use crate::config::{
    file::{self, PlaceWord, PolicyWord},
    mistake::{Mistake, suggest},
    read::{At, Field, Named, Reader},
};

pub(super) fn pools(
    field: &Field<Named<file::Pool>>,
    backends: &[Checked],
    reader: &mut Reader<'_>,
) -> Pools {
    let tables: &[_] = field.value().map_or(&[], |tables| &tables.0);
    let pools = tables
        .iter()
        .map(|(name, table)| PoolSettings {
            name: name.value.as_str().into(),
            place: match table.place.or(PlaceWord::Shard) {
                PlaceWord::Shard => PlaceBy::Shard,
                PlaceWord::User => PlaceBy::User,
            },
            policy: policy(table, reader),
            members: members(name, table, backends, reader),
        })
        .collect();
    let share = |backend: &Checked| Share {
        backend: backend.name.clone(),
        weight: backend.weight,
        tags: backend.tags.iter().map(|tag| tag.as_str().into()).collect(),
    };
    Pools { pools, shares: backends.iter().map(share).collect() }
}

fn policy(table: &file::Pool, reader: &mut Reader<'_>) -> Policy {
    let Some(given) = table.policy.given() else { return Policy::Weighted };
    match given.value {
        PolicyWord::Weighted => Policy::Weighted,
        PolicyWord::FewestUsers => {
            if table.place.or(PlaceWord::Shard) == PlaceWord::Shard {
                let title = "shards get their owners before there are users to count";
                let help = "write place = \"user\", or leave `policy` out";
                reader.note(Mistake::error(&given.span, title).help(help));
            }
            Policy::FewestUsers
        }
    }
}

fn members(
    name: &At<model::BackendName>,
    table: &file::Pool,
    backends: &[Checked],
    reader: &mut Reader<'_>,
) -> Vec<model::BackendName> {
    let mut members = Vec::new();
    let listed: &[_] = table.backends.value().map_or(&[], |listed| &listed.0);
    for at in listed {
        check_name(&at.span, &at.value, backends, reader);
        if members.contains(&at.value) {
            let title = format!("\"{}\" is in the list already", at.value);
            reader.note(Mistake::error(&at.span, title));
        } else {
            members.push(at.value.clone());
        }
    }
    if members.is_empty() && !matches!(table.backends, Field::Wrong) {
        let mistake = Mistake::error(&name.span, "this pool has no back ends");
        reader.note(mistake.help(format!("write backends = [...]; {}", names_help("", backends))));
    }
    members
}

/// How a source uses a pool.
pub(super) fn pool_use(
    common: &file::Common,
    source: &SourceSettings,
    pools: &Pools,
    reader: &mut Reader<'_>,
) -> Option<PoolUse> {
    let Some(given) = common.pool.given() else {
        if let Some(tag) = common.tag.given() {
            let mistake = Mistake::error(&tag.span, "`tag` has no meaning without a pool");
            reader.note(mistake.help("write pool = \"NAME\""));
        }
        return None;
    };
    let name = given.value.as_str();
    let Some(pool) = pools.pools.iter().find(|pool| *pool.name == *name) else {
        let names: Vec<&str> = pools.pools.iter().map(|pool| &*pool.name).collect();
        let help = match suggest(name, &names) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("write [pool.{name}] with its back ends"),
        };
        let mistake = Mistake::error(&given.span, format!("there is no pool \"{name}\""));
        reader.note(mistake.help(help));
        return None;
    };
    if source.gives == Gives::Attributes || matches!(source.kind, SourceKind::Static(_)) {
        let title = "`pool` has no meaning here";
        let help = match source.gives {
            Gives::Attributes => "a source of attributes says nothing of places",
            Gives::Home => {
                "a static source names a back end for everybody: write source = \"hash\""
            }
        };
        reader.note(Mistake::error(&given.span, title).help(help));
    }
    if pool.place == PlaceBy::User && source.kind.knows_everybody() {
        let title = "this source knows every name that anybody tries, and each would get a row";
        let help = "it needs a pool with place = \"shard\"";
        reader.note(Mistake::error(&given.span, title).help(help));
    }
    let counts = pool.place == PlaceBy::User && pool.policy == Policy::FewestUsers;
    if counts && source.kind.assigns() {
        let title = "what this source writes by `assign` is not counted by the pool";
        let help = "it needs a pool with policy = \"weighted\"";
        reader.note(Mistake::error(&given.span, title).help(help));
    }
    let tag = common.tag.given().map(|tag| {
        let has_tag = |share: &Share| share.tags.iter().any(|own| **own == *tag.value);
        if pool.place == PlaceBy::Shard {
            let title = "a shard is one for users of all sources, so that no tag can count";
            let help = "give the source a pool with place = \"user\", or one of its own";
            reader.note(Mistake::error(&tag.span, title).help(help));
        } else if !pools.shares.iter().any(has_tag) {
            let title = format!("no back end has the tag \"{}\"", tag.value);
            let help = format!("write tags = [\"{}\"] for those that are meant", tag.value);
            reader.note(Mistake::error(&tag.span, title).help(help));
        }
        tag.value.as_str().into()
    });
    Some(PoolUse { pool: name.into(), tag })
}

/// Tells of pools that nobody uses.
pub(super) fn unused(
    field: &Field<Named<file::Pool>>,
    sources: &[SourceSettings],
    reader: &mut Reader<'_>,
) {
    let tables: &[_] = field.value().map_or(&[], |tables| &tables.0);
    for (name, _) in tables {
        let uses = |source: &SourceSettings| {
            source.pool.as_ref().is_some_and(|used| *used.pool == *name.value.as_str())
        };
        if !sources.iter().any(uses) {
            let mistake = Mistake::warning(&name.span, "no source uses this pool");
            let help = format!("write pool = \"{}\" in a [[directory]]", name.value);
            reader.note(mistake.help(help));
        }
    }
}
