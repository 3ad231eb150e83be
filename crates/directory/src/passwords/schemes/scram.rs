//! Verifiers of SCRAM-SHA-256 (RFC 5802 section 3), as Dovecot writes them (`ITERATIONS,SALT,STORED,SERVER`)
//! and as PostgreSQL does (`SCRAM-SHA-256$ITERATIONS:SALT$STORED:SERVER`).
//!
//! Nothing here speaks SCRAM: that is `proto::sasl::scram`.

use proto::sasl::scram::Verifier;

use super::super::encoding::base64;
use super::super::limits::Limits;
use super::super::stored::Unusable;
use super::{cap, number};

const MALFORMED: Unusable = Unusable::Malformed("SCRAM-SHA-256");
/// How PostgreSQL's verifiers begin.
pub(super) const POSTGRESQL: &[u8] = b"SCRAM-SHA-256$";

pub(super) fn read(data: &[u8], limits: &Limits) -> Result<Verifier, Unusable> {
    let fields: Vec<_> = match data.strip_prefix(POSTGRESQL) {
        // Base64 has neither `$` nor `:`.
        Some(rest) => rest.split(|byte| matches!(byte, b'$' | b':')).collect(),
        None => data.split(|byte| *byte == b',').collect(),
    };
    let &[iterations, salt, stored, server] = fields.as_slice() else {
        return Err(MALFORMED);
    };
    let iterations = number(iterations).ok_or(MALFORMED)?;
    cap("the iterations of SCRAM-SHA-256", iterations.into(), limits.rounds.into())?;
    let decoded = (base64(salt), base64(stored), base64(server));
    let (Some(salt), Some(stored), Some(server)) = decoded else {
        return Err(MALFORMED);
    };
    Verifier::new(&salt, iterations, &stored, &server).map_err(|_| MALFORMED)
}
