//! Argon2 (RFC 9106) in PHC strings: `$argon2id$v=19$m=65536,t=3,p=1$SALT$HASH`, of libsodium, Dovecot, PHP
//! and the reference program.
//!
//! Nothing here takes a secret key or associated data beside the password.

use argon2::{Algorithm, Argon2 as Function, Params, Version};
use subtle::ConstantTimeEq;

use super::super::encoding::base64_unpadded;
use super::super::limits::Limits;
use super::super::stored::Unusable;
use super::{cap, number};

const MALFORMED: Unusable = Unusable::Malformed("Argon2");
/// More lanes than this no program writes; each needs memory of its own.
const MAX_LANES: u32 = 255;

pub(in super::super) struct Argon2 {
    function: Function<'static>,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl Argon2 {
    pub(super) fn read(data: &[u8], limits: &Limits) -> Result<Self, Unusable> {
        let text = std::str::from_utf8(data).map_err(|_| MALFORMED)?;
        let mut fields = text.strip_prefix('$').ok_or(MALFORMED)?.split('$');
        let mut field = || fields.next().ok_or(MALFORMED);
        let algorithm = match field()? {
            "argon2d" => Algorithm::Argon2d,
            "argon2i" => Algorithm::Argon2i,
            "argon2id" => Algorithm::Argon2id,
            _ => return Err(MALFORMED),
        };
        let mut costs = field()?;
        // Strings of before version 1.3 do not name theirs.
        let mut version = Version::V0x10;
        if let Some(number) = costs.strip_prefix("v=") {
            version = match number {
                "16" => Version::V0x10,
                "19" => Version::V0x13,
                _ => return Err(MALFORMED),
            };
            costs = field()?;
        }
        let salt = base64_unpadded(field()?.as_bytes()).ok_or(MALFORMED)?;
        let hash = base64_unpadded(field()?.as_bytes()).ok_or(MALFORMED)?;
        if fields.next().is_some() || !(8..=64).contains(&salt.len()) || hash.len() > 128 {
            return Err(MALFORMED);
        }
        let params = params(costs, hash.len(), limits)?;
        Ok(Self { function: Function::new(algorithm, version, params), salt, hash })
    }

    pub(super) fn is(&self, password: &[u8]) -> Result<bool, Unusable> {
        let mut hash = vec![0; self.hash.len()];
        let done = self.function.hash_password_into(password, &self.salt, &mut hash);
        done.map_err(|_| Unusable::Scheme("Argon2"))?;
        Ok(hash.ct_eq(&self.hash).into())
    }
}

/// Reads `m=65536,t=3,p=1`.
fn params(text: &str, length: usize, limits: &Limits) -> Result<Params, Unusable> {
    let mut costs = text.split(',');
    let mut cost = |name| {
        let value = costs.next().and_then(|cost| cost.strip_prefix(name));
        value.and_then(|value| number(value.as_bytes())).ok_or(MALFORMED)
    };
    let (memory, passes, lanes) = (cost("m=")?, cost("t=")?, cost("p=")?);
    if costs.next().is_some() || lanes > MAX_LANES {
        return Err(MALFORMED);
    }
    cap("the memory of Argon2, in bytes,", u64::from(memory) * 1024, limits.memory)?;
    cap("the passes of Argon2", passes.into(), limits.passes.into())?;
    Params::new(memory, passes, lanes, Some(length)).map_err(|_| MALFORMED)
}
