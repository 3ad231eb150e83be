//! Whether a proof is right, where the back end will not say.
//!
//! Nothing here asks a source. Where nothing is known to judge by, that is said, and nobody gets in.

use model::Proof;

use crate::sources::{CannotSay, Found};

/// Whether a proof is right.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Judgement {
    Right,
    Wrong,
}

/// Judges a proof by what is known of the user.
pub(crate) fn judge(found: &Found, proof: &Proof) -> Result<Judgement, CannotSay> {
    if found.judged {
        return Ok(Judgement::Right);
    }
    let password = match proof {
        // It has been verified in the TLS handshake.
        Proof::Certificate => return Ok(Judgement::Right),
        Proof::Password(password) => password,
        Proof::Token(_) => {
            let detail =
                "the back end judges no tokens, and nothing is set by which to judge them here";
            return Err(CannotSay::misconfigured(detail));
        }
    };
    match &found.secret {
        None => Err(nothing_to_judge_by(found)),
        // Nobody chose it: a column that was left empty must not open a mailbox.
        Some(known) if known.reveal().is_empty() => {
            Err(CannotSay::misconfigured("the password in the directory is empty"))
        }
        Some(known) if known.matches(password) => Ok(Judgement::Right),
        Some(_) => Ok(Judgement::Wrong),
    }
}

/// There may be something in a source that could not say now.
fn nothing_to_judge_by(found: &Found) -> CannotSay {
    if found.stale || found.incomplete {
        return CannotSay::unavailable("what is known from before holds no password");
    }
    CannotSay::misconfigured(
        "the user has no password in the directory, and the back end does not ask for his",
    )
}
