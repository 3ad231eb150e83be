//! What the back ends can do before login, found out by asking them.
//!
//! The last good list of each is kept in the state folder: a back end that is down, now or at the
//! start, does not change what clients are offered.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use model::{BackendName, Protocol};
use parking_lot::Mutex;

use crate::{Backend, Backends};

/// The file in the state folder.
const FILE: &str = "capabilities.json";
/// How often a back end is asked.
const EVERY: Duration = Duration::from_secs(300);
/// How soon again after it did not answer.
const RETRY: Duration = Duration::from_secs(5);

/// The lists as they are kept: back end, protocol, capabilities.
type Lists = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// The lists, and what follows from them.
pub(crate) struct Capabilities {
    file: PathBuf,
    lists: Mutex<Lists>,
    imap: ArcSwap<Arc<[String]>>,
    pop3: ArcSwap<Arc<[String]>>,
}

impl Capabilities {
    /// Reads the last good lists. Those of back ends that are gone are dropped. A file that cannot be
    /// used is as good as none: the lists come anew.
    pub(crate) fn read(state: &Path, backends: &HashMap<BackendName, Arc<Backend>>) -> Self {
        let file = state.join(FILE);
        let mut lists: Lists = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(file = %file.display(), %error, "kept capabilities not used");
                Lists::default()
            }),
            Err(_) => Lists::default(),
        };
        lists.retain(|name, _| backends.keys().any(|known| known.as_str() == name));
        let this = Self {
            file,
            lists: Mutex::new(lists),
            imap: ArcSwap::default(),
            pop3: ArcSwap::default(),
        };
        this.offer_what_is_common();
        this
    }

    /// What all back ends that were heard have in common.
    pub(crate) fn offer(&self, protocol: Protocol) -> Arc<[String]> {
        Arc::clone(&self.offers(protocol).load())
    }

    /// What one back end said last.
    pub(crate) fn of(&self, backend: &BackendName, protocol: Protocol) -> Option<Vec<String>> {
        self.lists.lock().get(backend.as_str())?.get(protocol.word()).cloned()
    }

    fn offers(&self, protocol: Protocol) -> &ArcSwap<Arc<[String]>> {
        match protocol {
            Protocol::Imap => &self.imap,
            Protocol::Pop3 => &self.pop3,
        }
    }

    /// Takes a back end's new list, and keeps it if it differs.
    fn learn(&self, backend: &BackendName, protocol: Protocol, list: Vec<String>) {
        let kept = {
            let mut lists = self.lists.lock();
            let of_backend = lists.entry(backend.as_str().to_owned()).or_default();
            if of_backend.get(protocol.word()) == Some(&list) {
                return;
            }
            of_backend.insert(protocol.word().to_owned(), list);
            let bytes = serde_json::to_vec_pretty(&*lists).map_err(io::Error::other);
            // Under the lock: another probe must neither take our half-made file nor write an older list
            // over this one.
            bytes.and_then(|bytes| self.keep(&bytes))
        };
        self.offer_what_is_common();
        if let Err(error) = kept {
            tracing::warn!(file = %self.file.display(), %error, "capabilities not kept");
        }
    }

    fn offer_what_is_common(&self) {
        let lists = self.lists.lock();
        for protocol in Protocol::ALL {
            let of_protocol = lists.values().filter_map(|lists| lists.get(protocol.word()));
            let common = proto::capability::in_common(of_protocol.map(Vec::as_slice));
            self.offers(protocol).store(Arc::new(common.into()));
        }
    }

    /// Writes beside the file and renames, so that there is always a whole one.
    fn keep(&self, bytes: &[u8]) -> io::Result<()> {
        let new = self.file.with_extension("new");
        fs::write(&new, bytes)?;
        fs::rename(&new, &self.file)
    }
}

/// Asks a back end for its capabilities, again and again.
pub(crate) async fn probe_for_ever(
    backends: Arc<Backends>,
    backend: Arc<Backend>,
    protocol: Protocol,
) {
    let mut silent = false;
    loop {
        let name = &backend.settings.name;
        match backends.look_at(&backend, protocol).await {
            Ok(seen) => {
                silent = false;
                backends.capabilities.learn(name, protocol, seen.capabilities);
            }
            Err((reason, detail)) if !silent => {
                silent = true;
                let problem = format!("{reason}: {detail}");
                tracing::warn!(backend = %name, %protocol, problem, "back end does not tell its capabilities");
            }
            Err(_) => {}
        }
        tokio::time::sleep(if silent { RETRY } else { EVERY }).await;
    }
}
