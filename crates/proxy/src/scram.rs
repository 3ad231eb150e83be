//! SCRAM towards clients (RFC 5802): what they are asked to prove, and what becomes of who does not prove it.
//!
//! Nothing here lets anybody in, and nothing here shows who exists: a name that nobody has is asked for a proof as
//! any other, and refused as late.

use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use directory::ToProve;
use model::{Reason, UserName};
use proto::sasl::scram::{Given, Nonce};

use crate::{
    login::{Attempt, Refused, look_alike, wait_for_address, wait_for_user},
    session::{Visitor, log_refusal},
};

/// What the log says of a user who has a password, and nothing that SCRAM could be judged by.
const NO_VERIFIER: &str = "what is stored for the user is no SCRAM verifier";

/// What a client is asked to prove, when it is its turn. The reason for a refusal has been logged.
pub(crate) async fn challenge(
    typed: &UserName,
    visitor: &Visitor,
    attempt: &Attempt,
) -> Result<Given, Refused> {
    wait_for_address(visitor, attempt).await?;
    let directory = &visitor.shared.directory;
    let (user, to_prove) = match directory.canonical(typed) {
        Ok(user) => {
            wait_for_user(visitor, attempt, &user).await?;
            let asked = directory.to_prove(&attempt.query(&user, visitor)).await;
            (Some(user), asked)
        }
        Err(_) => (None, directory.decoy(typed)),
    };
    let nonce = nonce();
    let refused = |reason: Reason, detail: &str| {
        log_refusal(visitor, user.as_ref(), reason, "", detail);
        Err(reason.into())
    };
    match (to_prove, nonce) {
        (Ok(ToProve { verifier, unprovable }), Some(nonce)) => {
            Ok(Given { verifier, nonce, unprovable })
        }
        (Ok(_), None) => refused(Reason::Internal, "the system gives no random bytes"),
        (Err(unavailable), _) => refused(unavailable.reason, &unavailable.to_string()),
    }
}

/// Refuses a client that has proved nothing, no sooner than any other.
pub(crate) async fn refuse_unproven(typed: &UserName, reason: Reason, visitor: &Visitor) {
    let since = Instant::now();
    let shared = &visitor.shared;
    let user = shared.directory.canonical(typed).ok();
    let detail = if reason == Reason::DirectoryMisconfigured { NO_VERIFIER } else { "" };
    log_refusal(visitor, user.as_ref(), reason, "", detail);
    if let Some(user) = &user {
        shared.throttle.failed(user, since);
    }
    look_alike(visitor, since, Duration::ZERO).await;
}

fn nonce() -> Option<Nonce> {
    let mut random = [0; 18];
    rand::fill(&mut random).ok()?;
    Some(Nonce::of(random))
}
