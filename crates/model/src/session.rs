//! The name of one client connection.

use std::fmt;

use serde::{Serialize, Serializer};

/// Identifies one client connection for the life of the program, in logs and in the session list.
/// Shown as 16 hexadecimal digits: 32 bits that are new at each start, then a counter.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionId(u64);

impl SessionId {
    /// Builds the id number `count` of the program's start `start`.
    pub fn new(start: u32, count: u32) -> Self {
        Self((u64::from(start) << 32) | u64::from(count))
    }

    /// The counter within this start, for spreading sessions over shards.
    pub fn number(self) -> usize {
        usize::try_from(self.0 & u64::from(u32::MAX)).unwrap_or(0)
    }

    /// Reads the id as it is shown.
    pub fn from_shown(text: &str) -> Option<Self> {
        (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_as_it_is_shown() {
        let id = SessionId::new(0xdead_beef, 7);
        assert_eq!(id.to_string(), "deadbeef00000007");
        assert_eq!(SessionId::from_shown(&id.to_string()), Some(id));
        assert_eq!(SessionId::from_shown("7"), None);
    }
}
