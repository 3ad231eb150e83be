//! Runs every target over the streams that are kept for it, and over what can be made of them.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

/// How many inputs are made of a target's streams.
const MADE: usize = 6000;
/// The longest of them.
const MAX_MADE: usize = 600;

fn kept(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Says which input it was, should the target fail.
struct Running<'a>(&'a str, &'a [u8]);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} fails for \"{}\"", self.0, self.1.escape_ascii());
        }
    }
}

fn runs(name: &str, target: fuzz::Target, input: &[u8]) {
    let _running = Running(name, input);
    target(input);
}

/// Changes a stream a little: a byte, a part left out or doubled, or another stream's end.
fn changed(random: &mut fastrand::Rng, stream: &[u8], other: &[u8]) -> Vec<u8> {
    let mut made = stream.to_vec();
    for _ in 0..random.usize(1..4) {
        let place = random.usize(0..=made.len());
        let end = random.usize(place..=made.len());
        match random.u8(0..6) {
            0 => made.insert(place, random.u8(..)),
            1 => drop(made.drain(place..end.min(place + 20))),
            2 => made.extend_from_within(place..end),
            3 => made.splice(place.., other.iter().skip(place).copied()).for_each(drop),
            _ => made.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 1 << random.u8(0..8)),
        }
        made.truncate(MAX_MADE);
    }
    made
}

#[test]
fn every_target_holds_for_every_kept_stream() {
    for (name, target) in fuzz::TARGETS {
        let kept = kept(name);
        assert!(!kept.is_empty(), "{name} has no streams");
        for (path, input) in kept {
            runs(&path.to_string_lossy(), target, &input);
        }
    }
}

#[test]
fn every_target_holds_for_streams_like_those() {
    for (name, target) in fuzz::TARGETS {
        let kept = kept(name);
        let mut random = fastrand::Rng::with_seed(4);
        for _ in 0..MADE {
            let (_, stream) = random.choice(&kept).unwrap();
            let (_, other) = random.choice(&kept).unwrap();
            runs(name, target, &changed(&mut random, stream, other));
        }
    }
}
