//! Unpacks the peers named on the command line, or all of them, and says where each is.
//! Nothing is installed on the host.

use std::env;
use std::process::ExitCode;
use std::thread;

use testkit::peers::{self, Peer};

fn main() -> ExitCode {
    let mut wanted = Vec::new();
    for name in env::args().skip(1) {
        let Some(peer) = Peer::named(&name) else {
            let known = Peer::ALL.map(Peer::name).join(", ");
            eprintln!("no peer is called {name}; known are {known}");
            return ExitCode::from(2);
        };
        wanted.push(peer);
    }
    if wanted.is_empty() {
        wanted.extend(Peer::ALL);
    }
    let fetchers: Vec<_> =
        wanted.into_iter().map(|peer| thread::spawn(move || fetch(peer))).collect();
    let all_there = fetchers.into_iter().fold(true, |so_far, fetcher| {
        let there = fetcher.join().unwrap_or(false);
        so_far && there
    });
    if all_there { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fetch(peer: Peer) -> bool {
    match peers::ensure(peer) {
        Ok(dir) => {
            println!("{} {}", peer.name(), dir.root().display());
            true
        }
        Err(error) => {
            eprintln!("{}: {error}", peer.name());
            false
        }
    }
}
