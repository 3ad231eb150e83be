//! Passwords of the tests, all recognisable, so that every log can be searched for them.
//! Nothing here is secret.

use std::sync::{Mutex, PoisonError};

use base64::{Engine, engine::general_purpose::STANDARD};

/// What every password of the end-to-end tests holds.
pub const MARK: &str = "0penSesame";

static LEAKS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A password that a log must never show.
pub fn password(of: &str) -> String {
    format!("{MARK}-{of}")
}

/// Lines that show a password, in clear or in base64.
pub fn showing_secrets(lines: &[String]) -> Vec<String> {
    let marks = marks();
    let shows = |line: &&String| marks.iter().any(|mark| line.contains(mark));
    lines.iter().filter(shows).cloned().collect()
}

/// The mark as it is and within base64, where it may begin at each of three places.
fn marks() -> Vec<String> {
    let within = |before: usize| {
        let text = STANDARD.encode(format!("{}{MARK}", "\0".repeat(before)));
        // The letters that hold bits of neither what stands before nor what comes behind.
        let from = (before * 8).div_ceil(6);
        let to = (before + MARK.len()) * 8 / 6;
        text[from..to].to_owned()
    };
    let mut marks = vec![MARK.to_owned()];
    marks.extend((0..3).map(within));
    marks
}

/// Remembers what must not have been logged, for the end of the run.
pub(crate) fn note_leaks(lines: &[String]) {
    LEAKS.lock().unwrap_or_else(PoisonError::into_inner).extend(showing_secrets(lines));
}

/// All that must not have been logged in this run.
pub(crate) fn leaks() -> Vec<String> {
    LEAKS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
