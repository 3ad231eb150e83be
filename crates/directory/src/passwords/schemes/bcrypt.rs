//! bcrypt, as Dovecot's BLF-CRYPT, htpasswd and crypt(3) write it: `$2y$10$` with 22 digits of salt and 31 of
//! hash.
//!
//! Nothing here takes `$2x$`, which marks hashes of a faulty program. As everywhere, only the first 72 bytes of
//! a password count.

use std::str::FromStr;

use bcrypt::HashParts;

use super::super::limits::Limits;
use super::super::stored::Unusable;
use super::cap;

const MALFORMED: Unusable = Unusable::Malformed("bcrypt");

pub(in super::super) struct Bcrypt(String);

impl Bcrypt {
    pub(super) fn read(data: &[u8], limits: &Limits) -> Result<Self, Unusable> {
        let text = std::str::from_utf8(data).map_err(|_| MALFORMED)?;
        if !["$2a$", "$2b$", "$2y$"].iter().any(|start| text.starts_with(start)) {
            return Err(MALFORMED);
        }
        let parts = HashParts::from_str(text).map_err(|_| MALFORMED)?;
        let cost = parts.get_cost();
        if !(4..=31).contains(&cost) {
            return Err(MALFORMED);
        }
        cap("the cost of bcrypt", cost.into(), limits.bcrypt_cost.into())?;
        Ok(Self(text.to_owned()))
    }

    pub(super) fn is(&self, password: &[u8]) -> Result<bool, Unusable> {
        bcrypt::verify(password, &self.0).map_err(|_| Unusable::Scheme("bcrypt"))
    }
}
