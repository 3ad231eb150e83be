//! What is known of large providers: where they are, and how fast they let one be.
//!
//! Nothing here speaks to them. The numbers are careful guesses of what is commonly said of them, tried with none;
//! an option on the command line stands above each.

use std::str::FromStr;

/// A provider, or a kind of server, whose limits are known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Provider {
    /// An Exchange server of one's own.
    Exchange,
    /// Google.
    Gmail,
    /// Apple.
    Icloud,
    /// Microsoft 365.
    Office365,
    /// Yahoo.
    Yahoo,
}

/// What is set for an account there where nothing else is said.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Preset {
    /// Its server, where there is one for all.
    pub host: Option<&'static str>,
    /// Sessions of one user at a time.
    pub sessions: Option<usize>,
    /// Messages a second.
    pub messages_per_second: Option<u32>,
    /// The largest message that it takes, in bytes, where it does not say so itself.
    pub max_size: Option<u64>,
}

/// The word names none of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no such provider: there are exchange, gmail, icloud, office365 and yahoo")]
pub struct UnknownProvider;

impl Provider {
    /// Their words, in the order of the alphabet.
    pub const WORDS: [&str; 5] = ["exchange", "gmail", "icloud", "office365", "yahoo"];

    /// What is set for an account there.
    pub fn preset(self) -> Preset {
        match self {
            // Exchange slows everybody down who stores faster, and asks for minutes of patience then.
            Self::Exchange => {
                Preset { sessions: Some(2), messages_per_second: Some(4), ..Preset::default() }
            }
            // 15 connections for a user, his own phone and programs among them.
            Self::Gmail => Preset {
                host: Some("imap.gmail.com"),
                sessions: Some(4),
                max_size: Some(35_651_584),
                ..Preset::default()
            },
            Self::Icloud => Preset {
                host: Some("imap.mail.me.com"),
                sessions: Some(2),
                max_size: Some(20 << 20),
                ..Preset::default()
            },
            Self::Office365 => Preset {
                host: Some("outlook.office365.com"),
                sessions: Some(2),
                messages_per_second: Some(4),
                ..Preset::default()
            },
            // 5 connections for an address are let in.
            Self::Yahoo => {
                Preset { host: Some("imap.mail.yahoo.com"), sessions: Some(2), ..Preset::default() }
            }
        }
    }
}

impl Preset {
    /// What two ends allow together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        fn least<T: Ord>(one: Option<T>, two: Option<T>) -> Option<T> {
            match (one, two) {
                (Some(one), Some(two)) => Some(one.min(two)),
                (one, two) => one.or(two),
            }
        }
        Self {
            host: None,
            sessions: least(self.sessions, other.sessions),
            messages_per_second: least(self.messages_per_second, other.messages_per_second),
            max_size: least(self.max_size, other.max_size),
        }
    }
}

impl FromStr for Provider {
    type Err = UnknownProvider;

    fn from_str(word: &str) -> Result<Self, UnknownProvider> {
        match word {
            "exchange" => Ok(Self::Exchange),
            "gmail" => Ok(Self::Gmail),
            "icloud" => Ok(Self::Icloud),
            "office365" => Ok(Self::Office365),
            "yahoo" => Ok(Self::Yahoo),
            _ => Err(UnknownProvider),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_names_a_provider_and_two_ends_have_the_lower_limits() {
        for word in Provider::WORDS {
            assert!(word.parse::<Provider>().is_ok(), "{word}");
        }
        assert!("hotmail".parse::<Provider>().is_err());
        let both = Provider::Gmail.preset().and(Provider::Office365.preset());
        let wanted = Preset {
            host: None,
            sessions: Some(2),
            messages_per_second: Some(4),
            max_size: Some(35_651_584),
        };
        assert_eq!(both, wanted);
    }
}
