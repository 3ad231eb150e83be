//! What result codes mean (RFC 4511 appendix A): yes, no, cannot say.
//!
//! Nothing here speaks to a server. A code that is not known to mean "no" never becomes one.

use ldap3::LdapResult;

use super::connection::{Searched, Trouble};

const SUCCESS: u32 = 0;
const TIME_LIMIT_EXCEEDED: u32 = 3;
const SIZE_LIMIT_EXCEEDED: u32 = 4;
const REFERRAL: u32 = 10;
const ADMIN_LIMIT_EXCEEDED: u32 = 11;
const CONSTRAINT_VIOLATION: u32 = 19;
const NO_SUCH_OBJECT: u32 = 32;
const INVALID_DN_SYNTAX: u32 = 34;
const INAPPROPRIATE_AUTHENTICATION: u32 = 48;
const INVALID_CREDENTIALS: u32 = 49;
const INSUFFICIENT_ACCESS_RIGHTS: u32 = 50;
const UNWILLING_TO_PERFORM: u32 = 53;

/// Of the search itself: a critical extension, an attribute, a matching rule or a value that is none there.
const WRONG_SEARCH: [u32; 5] = [12, 16, 17, 18, 21];

/// The most of a server's words that is worth showing.
const LONGEST_TEXT: usize = 300;

/// What a user's bind says of his password.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Proved {
    Right,
    /// It is wrong, or he may not use it.
    Wrong,
    /// There is no such entry.
    Nobody,
}

/// A server's words for people, without what could break a line of the log.
pub(super) fn told(result: &LdapResult) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    result.to_string().chars().map(printable).take(LONGEST_TEXT).collect()
}

/// What a bind with a user's password says. Locked and expired accounts are `constraintViolation` to some
/// servers and `unwillingToPerform` with a word of the account to others; that code alone may also mean that
/// nobody may bind so.
pub(super) fn of_user_bind(result: &LdapResult) -> Result<Proved, Trouble> {
    match result.rc {
        SUCCESS => Ok(Proved::Right),
        CONSTRAINT_VIOLATION | INVALID_CREDENTIALS => Ok(Proved::Wrong),
        UNWILLING_TO_PERFORM if result.text.to_ascii_lowercase().contains("account") => {
            Ok(Proved::Wrong)
        }
        NO_SUCH_OBJECT => Ok(Proved::Nobody),
        INVALID_DN_SYNTAX | INAPPROPRIATE_AUTHENTICATION | REFERRAL => {
            Err(Trouble::Answer(format!("the user's bind: {}", told(result))))
        }
        // A lockout, to some servers: it says nothing of other users.
        UNWILLING_TO_PERFORM | INSUFFICIENT_ACCESS_RIGHTS => {
            Err(Trouble::Question(format!("the user's bind: {}", told(result))))
        }
        _ => Err(Trouble::Down(format!("the user's bind: {}", told(result)))),
    }
}

/// What our own bind says.
pub(super) fn of_own_bind(result: &LdapResult) -> Result<(), Trouble> {
    match result.rc {
        SUCCESS => Ok(()),
        _ => Err(Trouble::Down(format!("it refuses us: {}", told(result)))),
    }
}

/// Whether a search was done; false where its base is not there.
pub(super) fn of_search(searched: &Searched) -> Result<bool, Trouble> {
    let result = &searched.result;
    match result.rc {
        SUCCESS | SIZE_LIMIT_EXCEEDED if searched.entries.len() > 1 => Err(several()),
        SUCCESS => Ok(true),
        SIZE_LIMIT_EXCEEDED => Err(several()),
        NO_SUCH_OBJECT => Ok(false),
        REFERRAL => Err(Trouble::Answer(
            "the server refers to another one, and referrals are not followed: ask that one".into(),
        )),
        code if code == INVALID_DN_SYNTAX || WRONG_SEARCH.contains(&code) => {
            Err(Trouble::Answer(format!("the search: {}", told(result))))
        }
        TIME_LIMIT_EXCEEDED | ADMIN_LIMIT_EXCEEDED => {
            Err(Trouble::Question(format!("the search: {}", told(result))))
        }
        _ => Err(Trouble::Down(format!("the search: {}", told(result)))),
    }
}

fn several() -> Trouble {
    Trouble::Answer("several entries fit this user: make the filter or the base narrower".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(rc: u32, text: &str) -> LdapResult {
        let (matched, refs, ctrls) = (String::new(), Vec::new(), Vec::new());
        LdapResult { rc, matched, text: text.into(), refs, ctrls }
    }

    #[test]
    fn only_what_is_said_of_the_user_is_a_no() {
        for (rc, text) in
            [(49, ""), (19, "Exceed password retry limit"), (53, "Account inactivated")]
        {
            assert_eq!(of_user_bind(&result(rc, text)).unwrap(), Proved::Wrong, "{rc}");
        }
        assert_eq!(of_user_bind(&result(0, "")).unwrap(), Proved::Right);
        assert_eq!(of_user_bind(&result(32, "")).unwrap(), Proved::Nobody);
        for rc in (0..124).filter(|rc| ![0, 19, 32, 49].contains(rc)) {
            of_user_bind(&result(rc, "")).unwrap_err();
        }
        // One user's lockout is no failure of the server.
        for (rc, text) in [(53, "NDS error: login lockout (-197)"), (50, "")] {
            let said = of_user_bind(&result(rc, text));
            assert!(matches!(said, Err(Trouble::Question(_))), "{rc}");
        }
    }

    #[test]
    fn a_search_that_was_not_done_is_not_one_that_found_nobody() {
        let of = |rc| {
            let (entries, refers) = (Vec::new(), false);
            of_search(&Searched { entries, refers, result: result(rc, "a\nb") })
        };
        assert!(of(0).unwrap());
        assert!(!of(32).unwrap());
        for rc in (1..124).filter(|rc| *rc != 32) {
            let (Trouble::Answer(told) | Trouble::Down(told) | Trouble::Question(told)) =
                of(rc).unwrap_err();
            assert!(!told.contains('\n'), "{told}");
        }
        for rc in [3, 11] {
            assert!(matches!(of(rc), Err(Trouble::Question(_))), "{rc}");
        }
        assert!(matches!(of(51), Err(Trouble::Down(_))));
        assert!(matches!(of(10), Err(Trouble::Answer(_))));
    }
}
