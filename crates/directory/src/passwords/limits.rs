//! How much work a stored password may ask for.
//!
//! Nothing here measures time: what a hash costs follows from its parameters.

/// The caps on what a stored password may cost to be checked. Its parameters come from a database that others
/// may write to, so without caps one row could take all memory or a minute of a processor for each login. Up
/// to 255 threads check at a time, each within these.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Bytes of memory (Argon2, yescrypt). 256 MiB: four times what Dovecot's ARGON2ID and libsodium's
    /// "interactive" ask for, sixteen times yescrypt's default.
    pub memory: u64,
    /// Passes over the memory (Argon2). 16: four times Dovecot's and OWASP's most; with all the memory above it
    /// takes about three seconds.
    pub passes: u32,
    /// The base-2 logarithm of the rounds (bcrypt). 14: about a second, and what is recommended is 10 to 12.
    pub bcrypt_cost: u32,
    /// Rounds (SHA-256-CRYPT, SHA-512-CRYPT, PBKDF2, SCRAM). 2,000,000: OWASP recommends 1,300,000 for
    /// PBKDF2 with SHA-1, which takes about half a second.
    pub rounds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 256 << 20, passes: 16, bcrypt_cost: 14, rounds: 2_000_000 }
    }
}

/// Whether a stored password may be the password itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum PlainText {
    /// It may: `{PLAIN}`, `{CLEAR}`, `{CLEARTEXT}`.
    Allowed,
    /// Whoever reads the database would have everybody's password: such users cannot log in.
    #[default]
    Refused,
}
