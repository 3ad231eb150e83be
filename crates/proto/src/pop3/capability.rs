//! What POP3's CAPA lists before login.
//!
//! Nothing here reads or writes a line. After login the back end itself answers CAPA.

use model::Mechanism;

use crate::front::{Privacy, Settings};

/// Capabilities that a back end can give after login and that are passed on when all have them
/// (RFC 2449 section 6, RFC 6856). LANG and UTF8 are not among them: their commands are given before
/// login, where nobody could pass them on.
const PASSED_ON: [&str; 5] = ["EXPIRE", "LOGIN-DELAY", "PIPELINING", "TOP", "UIDL"];

/// The list before login: what concerns us, then what the back ends have in common (the settings'
/// `offer`).
pub fn before_login(settings: &Settings) -> Vec<String> {
    let mut list = Vec::new();
    let mut add = |capability: &str| list.push(capability.to_owned());
    if settings.starttls && settings.privacy != Privacy::Tls {
        add("STLS");
    }
    let taken = settings.taken();
    if taken.contains(Mechanism::Command) {
        add("USER");
    }
    let names: Vec<_> = taken.sasl_names().collect();
    if !names.is_empty() {
        add(&format!("SASL {}", names.join(" ")));
    }
    add("RESP-CODES");
    add("AUTH-RESP-CODE");
    list.extend(settings.offer.iter().filter(|capability| passes(capability)).cloned());
    list
}

fn passes(capability: &str) -> bool {
    let name = capability.split(' ').next().unwrap_or_default();
    let harmless = capability.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    harmless && PASSED_ON.iter().any(|passed| name.eq_ignore_ascii_case(passed))
}

/// Whether a list, as a back end gave it, has a SASL mechanism.
pub(crate) fn has_mechanism(list: &[String], mechanism: &str) -> bool {
    list.iter().any(|capability| {
        let mut words = capability.split(' ');
        words.next().is_some_and(|name| name.eq_ignore_ascii_case("SASL"))
            && words.any(|listed| listed.eq_ignore_ascii_case(mechanism))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        text.split(',').map(str::to_owned).collect()
    }

    fn before(offer: &[String], privacy: Privacy, starttls: bool) -> Vec<String> {
        before_login(&Settings { starttls, ..Settings::for_tests(offer, privacy) })
    }

    #[test]
    fn only_what_is_set_is_offered() {
        let mechanisms = [Mechanism::XOAuth2, Mechanism::External].into_iter().collect();
        let settings = Settings { mechanisms, ..Settings::for_tests(&[], Privacy::Tls) };
        assert_eq!(before_login(&settings), list("SASL XOAUTH2,RESP-CODES,AUTH-RESP-CODE"));
    }

    #[test]
    fn ours_come_first_and_only_what_can_be_kept_is_passed_on() {
        let theirs =
            list("TOP,UIDL,SASL GSSAPI,STLS,USER,UTF8,LANG,EXPIRE 60,PIPELINING,TOP\r\n-ERR");
        assert_eq!(
            before(&theirs, Privacy::Tls, true),
            list("USER,SASL PLAIN LOGIN,RESP-CODES,AUTH-RESP-CODE,TOP,UIDL,EXPIRE 60,PIPELINING")
        );
    }

    #[test]
    fn where_clear_logins_are_refused_no_login_is_offered() {
        assert_eq!(
            before(&[], Privacy::ClearRefused, true),
            list("STLS,RESP-CODES,AUTH-RESP-CODE")
        );
    }

    #[test]
    fn sasl_plain_is_found_among_mechanisms() {
        assert!(has_mechanism(&list("TOP,sasl CRAM-MD5 plain"), "PLAIN"));
        assert!(!has_mechanism(&list("TOP,SASL CRAM-MD5,PLAIN"), "PLAIN"));
    }
}
