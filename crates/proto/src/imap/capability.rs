//! IMAP capability lists: what we offer before login and what we pass on after it.
//!
//! Nothing here reads or writes a line; all functions are pure.

use model::Mechanism;

use crate::capability::contains;
use crate::front::{Privacy, Settings};

/// What concerns the connection to the back end and not the mailbox: passed on neither before nor
/// after login. UNAUTHENTICATE (RFC 8437) is among them because the next login of a relayed
/// connection would bypass us.
const NEVER_PASSED_ON: [&str; 4] =
    ["LOGINDISABLED", "LOGIN-REFERRALS", "STARTTLS", "UNAUTHENTICATE"];

/// What we say ourselves before login, or never say: a referral would lead clients past us.
const OURS: [&str; 7] =
    ["ID", "IMAP4rev1", "IMAP4rev2", "LITERAL+", "LITERAL-", "MAILBOX-REFERRALS", "SASL-IR"];

/// The list before login: what concerns us, then what the back ends have in common (the settings' `offer`,
/// which may be empty while none has answered).
///
/// LITERAL+ and IMAP4rev2 are offered only if the back ends have them, because clients go on using
/// them after login.
pub fn before_login(settings: &Settings) -> Vec<&str> {
    let offer = &*settings.offer;
    let mut list = vec!["IMAP4rev1"];
    let mut add = |capability| list.push(capability);
    if contains(offer, "IMAP4rev2") {
        add("IMAP4rev2");
    }
    add(if contains(offer, "LITERAL+") { "LITERAL+" } else { "LITERAL-" });
    add("SASL-IR");
    add("ID");
    if settings.starttls && settings.privacy != Privacy::Tls {
        add("STARTTLS");
    }
    let taken = settings.taken();
    if !taken.contains(Mechanism::Command) {
        add("LOGINDISABLED");
    }
    let mechanisms = Mechanism::ALL.into_iter().filter(|mechanism| taken.contains(*mechanism));
    mechanisms.filter_map(announced).for_each(add);
    let theirs = offer.iter().filter(|capability| {
        let is = |other: &&str| capability.eq_ignore_ascii_case(other);
        passes(capability) && !OURS.iter().any(is)
    });
    list.extend(theirs.map(String::as_str));
    list
}

/// The capability of a mechanism; none for what is no SASL.
fn announced(mechanism: Mechanism) -> Option<&'static str> {
    match mechanism {
        Mechanism::Command => None,
        Mechanism::External => Some("AUTH=EXTERNAL"),
        Mechanism::Login => Some("AUTH=LOGIN"),
        Mechanism::OAuthBearer => Some("AUTH=OAUTHBEARER"),
        Mechanism::Plain => Some("AUTH=PLAIN"),
        Mechanism::ScramSha256 => Some("AUTH=SCRAM-SHA-256"),
        Mechanism::ScramSha256Plus => Some("AUTH=SCRAM-SHA-256-PLUS"),
        Mechanism::XOAuth2 => Some("AUTH=XOAUTH2"),
    }
}

/// The list after login: the back end's own, without what would mislead a client that is already
/// logged in through us.
pub fn after_login(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).filter(|capability| passes(capability)).collect()
}

/// Whether this is compression under any name (RFC 4978), behind which a framed relay could not read. In
/// lists that pass through the relay [`super::relay`] strikes it.
pub fn is_compression(capability: &str) -> bool {
    let word = b"COMPRESS=";
    capability.as_bytes().get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// Reads the capabilities of an untagged CAPABILITY response or a response code, without that word.
/// What cannot be a capability is left out.
pub(crate) fn read(text: &[u8]) -> Vec<String> {
    text.split(|byte| *byte == b' ')
        .filter_map(|word| std::str::from_utf8(word).ok())
        .filter(|word| is_atom(word))
        .map(str::to_owned)
        .collect()
}

fn passes(capability: &str) -> bool {
    let struck = |other: &&str| capability.eq_ignore_ascii_case(other);
    let mechanism = capability.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("AUTH="));
    is_atom(capability) && !mechanism && !NEVER_PASSED_ON.iter().any(struck)
}

/// RFC 3501 section 9, `atom`, with a little less said about which characters are special: what must
/// not get through is what could end the list or the line.
fn is_atom(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"[](){\"\\".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compression_is_known_under_any_name() {
        assert!(is_compression("COMPRESS=DEFLATE") && is_compression("compress=x"));
        assert!(!is_compression("COMPRESS") && !is_compression("\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}"));
    }

    fn list(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn before(offer: &[String], privacy: Privacy, starttls: bool) -> Vec<String> {
        let settings = Settings { starttls, ..Settings::for_tests(offer, privacy) };
        before_login(&settings).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn what_is_set_is_offered_and_external_only_with_a_certificate() {
        let mechanisms = [Mechanism::OAuthBearer, Mechanism::External].into_iter().collect();
        let settings = Settings { mechanisms, ..Settings::for_tests(&[], Privacy::Tls) };
        let rest = "IMAP4rev1 LITERAL- SASL-IR ID LOGINDISABLED AUTH=OAUTHBEARER";
        assert_eq!(before_login(&settings), list(rest));
        let certificate = model::UserName::new("alice").ok();
        let settings = Settings { certificate, ..settings };
        assert_eq!(before_login(&settings), list(&format!("{rest} AUTH=EXTERNAL")));
    }

    #[test]
    fn before_any_answer_there_are_imap4rev1_and_ours() {
        assert_eq!(
            before(&[], Privacy::Tls, true),
            list("IMAP4rev1 LITERAL- SASL-IR ID AUTH=PLAIN AUTH=LOGIN")
        );
    }

    #[test]
    fn where_clear_logins_are_refused_no_mechanism_is_offered() {
        assert_eq!(
            before(&[], Privacy::ClearRefused, true),
            list("IMAP4rev1 LITERAL- SASL-IR ID STARTTLS LOGINDISABLED")
        );
    }

    #[test]
    fn literal_plus_and_imap4rev2_need_all_back_ends() {
        assert_eq!(
            before(&list("imap4rev2 literal+ IDLE"), Privacy::ClearAllowed, false),
            list("IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID AUTH=PLAIN AUTH=LOGIN IDLE")
        );
    }

    #[test]
    fn what_concerns_the_other_connection_is_struck() {
        let theirs = list(
            "IMAP4rev1 STARTTLS starttls AUTH=GSSAPI auth=x LOGINDISABLED LOGIN-REFERRALS \
             MAILBOX-REFERRALS UNAUTHENTICATE LITERAL- ID SASL-IR IDLE COMPRESS=DEFLATE",
        );
        assert_eq!(
            before(&theirs, Privacy::Tls, false),
            list("IMAP4rev1 LITERAL- SASL-IR ID AUTH=PLAIN AUTH=LOGIN IDLE COMPRESS=DEFLATE")
        );
        assert_eq!(
            after_login(&theirs),
            list("IMAP4rev1 MAILBOX-REFERRALS LITERAL- ID SASL-IR IDLE COMPRESS=DEFLATE")
        );
    }

    #[test]
    fn what_could_end_the_list_is_no_capability() {
        let theirs =
            ["IDLE".to_owned(), "X]\r\n* BYE".to_owned(), String::new(), "\u{e4}".to_owned()];
        assert_eq!(after_login(&theirs), list("IDLE"));
        assert_eq!(read(b"IDLE  X]Y \xff Z\r NAMESPACE"), list("IDLE NAMESPACE"));
    }
}
