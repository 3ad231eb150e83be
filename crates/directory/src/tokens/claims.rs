//! What a token says, and whether it is for us, of now, and of whom (RFC 7519 section 4.1).
//!
//! Nothing here believes a token: its signature, or its issuer's word, comes first.

use model::UserName;
use serde_json::Value;

use super::{Claims, Not};

/// What must hold of a token's claims.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClaimRules {
    /// Who must have issued it (`iss`), letter by letter. `None` if it need not say: for introspection, where the
    /// issuer itself answers.
    pub issuer: Option<String>,
    /// One of these must be among those for whom it is (`aud`). Empty if it may be for anybody: for introspection,
    /// where the issuer may leave it out. A JWT without it could have been given to any other service.
    pub audiences: Vec<String>,
    /// All of these must be among its scopes (`scope`, or Microsoft's `scp`). Empty if none is needed.
    pub scopes: Vec<String>,
    /// The claim that holds the user's name, such as `email`, `preferred_username` or `sub`.
    pub user: String,
    /// Whether `exp` must be there. A JWT without it would be good for ever; an issuer that is asked each time can
    /// leave it out.
    pub must_expire: bool,
    /// By how many seconds clocks may differ. 60 s, as is usual; more lets tokens in that the user thinks are gone.
    pub leeway: u64,
}

/// Whose a token is, and until when, in seconds since 1970, if it says so.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Judged {
    pub(super) user: UserName,
    pub(super) until: Option<u64>,
}

impl ClaimRules {
    /// Judges claims at a time, in seconds since 1970.
    pub(super) fn judge(&self, claims: &Claims, now: u64) -> Result<Judged, Not> {
        let wrong = |what: &str| Err(Not::Valid(what.to_owned()));
        if let Some(issuer) = &self.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return wrong("it has another issuer (`iss`)");
        }
        if !self.audiences.is_empty() && !self.is_for_us(claims.get("aud")) {
            return wrong("it is for another service (`aud`)");
        }
        let until = time(claims, "exp")?;
        match until {
            Some(until) if now >= until.saturating_add(self.leeway) => {
                return wrong("it has expired (`exp`)");
            }
            None if self.must_expire => return wrong("it never expires (no `exp`)"),
            _ => {}
        }
        if time(claims, "nbf")?.is_some_and(|from| from > now.saturating_add(self.leeway)) {
            return wrong("it is not valid yet (`nbf`)");
        }
        if let Some(missing) = self.scopes.iter().find(|scope| !has_scope(claims, scope)) {
            return Err(Not::Valid(format!("it lacks the scope `{missing}`")));
        }
        if self.user == "email" && claims.get("email_verified") == Some(&Value::Bool(false)) {
            return wrong("its address has not been verified (`email_verified`)");
        }
        let Some(name) = claims.get(&self.user).and_then(Value::as_str) else {
            return Err(Not::Valid(format!("it names no user (`{}`)", self.user)));
        };
        match UserName::new(name) {
            Ok(user) => Ok(Judged { user, until }),
            Err(problem) => Err(Not::Valid(format!("its user: {problem}"))),
        }
    }

    fn is_for_us(&self, audience: Option<&Value>) -> bool {
        let is_ours = |one: &Value| {
            one.as_str().is_some_and(|one| self.audiences.iter().any(|ours| ours == one))
        };
        match audience {
            Some(Value::Array(all)) => all.iter().any(is_ours),
            Some(one) => is_ours(one),
            None => false,
        }
    }
}

/// Whether a scope was granted: in a text with spaces (RFC 8693 section 4.2), or in a list.
fn has_scope(claims: &Claims, scope: &str) -> bool {
    let granted = |claim: &str| match claims.get(claim) {
        Some(Value::String(text)) => text.split(' ').any(|one| one == scope),
        Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(scope)),
        _ => false,
    };
    granted("scope") || granted("scp")
}

/// Reads a NumericDate: seconds since 1970, which may have a fraction.
fn time(claims: &Claims, name: &str) -> Result<Option<u64>, Not> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => {
            let text = value.is_number().then(|| value.to_string());
            let whole = text.as_deref().and_then(|text| text.split('.').next());
            let seconds = whole.and_then(|whole| whole.parse().ok());
            seconds.map(Some).ok_or_else(|| Not::Valid(format!("its `{name}` is no time")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn rules() -> ClaimRules {
        ClaimRules {
            issuer: Some("https://id.example.org".to_owned()),
            audiences: vec!["mail".to_owned(), "imap".to_owned()],
            scopes: Vec::new(),
            user: "email".to_owned(),
            must_expire: true,
            leeway: 60,
        }
    }

    fn judge(rules: &ClaimRules, changes: Value) -> Result<String, Not> {
        let mut claims = json!({
            "iss": "https://id.example.org", "aud": "mail", "exp": NOW + 1, "nbf": NOW,
            "email": "ann@example.org", "sub": "4711",
        });
        let claims = claims.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                claims.remove(name);
            } else {
                claims.insert(name.clone(), value.clone());
            }
        }
        rules.judge(claims, NOW).map(|judged| judged.user.to_string())
    }

    #[test]
    fn a_token_is_right_only_as_long_as_everything_in_it_is() {
        let ann = Ok("ann@example.org".to_owned());
        let right = [
            json!({}),
            json!({"aud": ["other", "imap"]}),
            json!({"exp": NOW - 59}),
            json!({"exp": f64::from(u32::MAX) + 0.5}),
            json!({"nbf": NOW + 60}),
            json!({"nbf": null}),
            json!({"email_verified": true}),
        ];
        for changes in right {
            assert_eq!(judge(&rules(), changes.clone()), ann, "{changes}");
        }
        let wrong = [
            json!({"iss": null}),
            json!({"iss": "https://id.example.org/"}),
            json!({"iss": ["https://id.example.org"]}),
            json!({"aud": null}),
            json!({"aud": "mails"}),
            json!({"aud": []}),
            json!({"aud": [["mail"]]}),
            json!({"exp": null}),
            json!({"exp": NOW - 60}),
            json!({"exp": (NOW + 1).to_string()}),
            json!({"exp": -1}),
            json!({"exp": true}),
            json!({"nbf": NOW + 61}),
            json!({"nbf": "never"}),
            json!({"email": null}),
            json!({"email": ""}),
            json!({"email": "a\r\nb"}),
            json!({"email": ["ann@example.org"]}),
            json!({"email_verified": false}),
        ];
        for changes in wrong {
            assert!(matches!(judge(&rules(), changes.clone()), Err(Not::Valid(_))), "{changes}");
        }
    }

    #[test]
    fn what_an_issuer_that_is_asked_may_leave_out_can_be_left_out() {
        let rules = ClaimRules {
            issuer: None,
            audiences: Vec::new(),
            must_expire: false,
            user: "sub".to_owned(),
            ..rules()
        };
        let left_out = json!({"iss": null, "aud": null, "exp": null, "nbf": null});
        assert_eq!(judge(&rules, left_out), Ok("4711".to_owned()));
        assert!(judge(&rules, json!({"exp": NOW - 60})).is_err());
    }

    #[test]
    fn a_scope_is_a_word_of_a_list_however_that_is_written() {
        let rules = ClaimRules { scopes: vec!["imap".into(), "a:b".into()], ..rules() };
        for changes in [
            json!({"scope": "openid imap a:b"}),
            json!({"scope": ["a:b", "imap"]}),
            json!({"scp": "imap a:b"}),
            json!({"scp": ["imap"], "scope": "a:b"}),
        ] {
            assert!(judge(&rules, changes.clone()).is_ok(), "{changes}");
        }
        for changes in [
            json!({}),
            json!({"scope": "imap"}),
            json!({"scope": "imaps a:b"}),
            json!({"scope": "imap,a:b"}),
            json!({"scope": {"imap": true, "a:b": true}}),
            json!({"scope": [["imap", "a:b"]]}),
        ] {
            assert!(matches!(judge(&rules, changes.clone()), Err(Not::Valid(_))), "{changes}");
        }
    }
}
