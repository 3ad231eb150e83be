//! yescrypt, the default of crypt(3) in Debian, Fedora and others: `$y$PARAMETERS$SALT$HASH`.
//!
//! Nothing here takes parameters that no `crypt_gensalt` writes: other flavors, parallelism, more time.

use subtle::ConstantTimeEq;
use yescrypt::{Mode, Params};

use super::super::encoding::{crypt_digit, crypt64};
use super::super::limits::Limits;
use super::super::stored::Unusable;
use super::cap;

const MALFORMED: Unusable = Unusable::Malformed("yescrypt");
/// The flavor YESCRYPT_DEFAULTS.
const FLAVOR: u8 = b'j';

pub(in super::super) struct Yescrypt {
    params: Params,
    salt: Vec<u8>,
    hash: [u8; 32],
}

impl Yescrypt {
    pub(super) fn read(data: &[u8], limits: &Limits) -> Result<Self, Unusable> {
        let rest = data.strip_prefix(b"$y$").ok_or(MALFORMED)?;
        let fields: Vec<_> = rest.split(|byte| *byte == b'$').collect();
        let &[params, salt, hash] = fields.as_slice() else {
            return Err(MALFORMED);
        };
        let params = self::params(params, limits)?;
        let salt = crypt64(salt).filter(|salt| salt.len() <= 64).ok_or(MALFORMED)?;
        let hash = crypt64(hash).and_then(|hash| hash.try_into().ok()).ok_or(MALFORMED)?;
        Ok(Self { params, salt, hash })
    }

    pub(super) fn is(&self, password: &[u8]) -> Result<bool, Unusable> {
        let mut hash = [0; 32];
        let done = yescrypt::yescrypt(password, &self.salt, &self.params, &mut hash);
        done.map_err(|_| Unusable::Scheme("yescrypt"))?;
        Ok(hash.ct_eq(&self.hash).into())
    }
}

/// Reads the flavor, the logarithm of N, and r. More would change what crypt(3) never changes.
fn params(text: &[u8], limits: &Limits) -> Result<Params, Unusable> {
    let [FLAVOR, cost, block @ ..] = text else {
        return Err(MALFORMED);
    };
    // One digit says up to 47; beyond that no machine has the memory.
    let cost = crypt_digit(*cost).filter(|cost| *cost < 48).ok_or(MALFORMED)?;
    let n = 1_u64.checked_shl(u32::from(cost) + 1).ok_or(MALFORMED)?;
    let r = match *block {
        [digit] => crypt_digit(digit).filter(|digit| *digit < 48).map(|digit| u32::from(digit) + 1),
        _ => None,
    };
    let r = r.ok_or(MALFORMED)?;
    let memory = n.saturating_mul(u64::from(r)).saturating_mul(128);
    cap("the memory of yescrypt, in bytes,", memory, limits.memory)?;
    // Less than this it is not defined for.
    if n < 4 {
        return Err(MALFORMED);
    }
    Params::new(Mode::Rw, n, r, 1).map_err(|_| MALFORMED)
}
