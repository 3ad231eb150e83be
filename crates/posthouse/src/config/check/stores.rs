//! `same_store`: whether the servers of a store can stand for each other.

use super::backend::Checked;
use crate::config::{
    file::{Backend, File},
    mistake::Mistake,
    read::{At, Reader},
};

pub(super) fn stores(file: &File, backends: &[Checked], reader: &mut Reader<'_>) {
    let tables: &[_] = file.backends.value().map_or(&[], |named| &named.0);
    let stores: Vec<_> =
        tables.iter().filter_map(|(name, table)| Some((name, store(table)?))).collect();
    for (name, store) in &stores {
        let judges = |of: &At<model::BackendName>| {
            let checked = backends.iter().find(|backend| backend.name == of.value);
            checked.is_none_or(|backend| backend.judged_here.is_none())
        };
        let mut others = stores
            .iter()
            .filter(|(other, word)| other.value != name.value && word.value == store.value);
        match others.next() {
            None => {
                let title = format!("no other back end shares the store \"{}\"", store.value);
                let help = "write it at each server of the store, or leave it out";
                reader.note(Mistake::warning(&store.span, title).help(help));
            }
            // Told once, at the first of the two.
            Some((other, _)) if judges(name) && !judges(other) => {
                let title = format!("\"{}\" cannot stand for this one", other.value);
                let help = "one asks for the client's own password and the other does not: give all \
                            servers of a store the same `login`";
                reader.note(Mistake::error(&store.span, title).help(help));
            }
            Some(_) => {}
        }
    }
}

fn store(table: &Backend) -> Option<&At<String>> {
    table.same_store.given()
}
