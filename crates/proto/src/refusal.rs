//! What a client is told that is not let in: a response code and a text, for each protocol.
//!
//! Nothing here knows why it is refused; that is worth no word to it.

use model::{Protocol, Refusal};

/// The code (empty where there is none) and the text. For IMAP see RFC 5530; for POP3 RFC 2449 section 8 and
/// RFC 3206. POP3 has no code for privacy: AUTH would make clients forget a good password.
pub fn words(protocol: Protocol, refusal: Refusal) -> (&'static str, &'static str) {
    let (imap, pop3, text) = match refusal {
        Refusal::AuthenticationFailed => ("AUTHENTICATIONFAILED", "AUTH", "Authentication failed"),
        Refusal::ContactAdmin => ("CONTACTADMIN", "SYS/PERM", "Ask the administrator"),
        Refusal::Expired => ("EXPIRED", "AUTH", "The password has expired"),
        Refusal::InUse => ("INUSE", "IN-USE", "The mailbox is in use"),
        Refusal::Limit => ("LIMIT", "SYS/TEMP", "Too much at once"),
        Refusal::LoginDelay => ("LIMIT", "LOGIN-DELAY", "Too soon after the last login"),
        Refusal::PrivacyRequired => ("PRIVACYREQUIRED", "", "Log in under TLS only"),
        Refusal::Unavailable => ("UNAVAILABLE", "SYS/TEMP", "Try again later"),
    };
    match protocol {
        Protocol::Imap => (imap, text),
        Protocol::Pop3 => (pop3, text),
    }
}
