//! Asks the issuer of an opaque token what it is (RFC 7662).
//!
//! Nothing here remembers an answer.

use model::Token;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{Claims, Fetch, Not, Wanted};

/// RFC 7662 section 2.1 and 2.2.
pub(super) async fn ask(source: &dyn Fetch, token: &Token) -> Result<Claims, Not> {
    let answer = source.fetch(Wanted::Introspection(form(token))).await;
    let answer =
        answer.map_err(|why| Not::Known(format!("the issuer was asked of a token: {why}")))?;
    let answer: Value = serde_json::from_slice(&answer).map_err(|_| unreadable())?;
    let Value::Object(claims) = answer else {
        return Err(unreadable());
    };
    match claims.get("active") {
        Some(Value::Bool(true)) => Ok(claims),
        Some(Value::Bool(false)) => {
            Err(Not::Valid("its issuer says that it is not active".to_owned()))
        }
        _ => Err(unreadable()),
    }
}

fn unreadable() -> Not {
    Not::Known("the issuer's answer to introspection cannot be read".to_owned())
}

/// The form's two fields.
fn form(token: &Token) -> Zeroizing<String> {
    let token = token.secret().reveal();
    let mut form = Zeroizing::new(String::with_capacity(64 + 3 * token.len()));
    form.push_str("token=");
    escape(token, &mut form);
    form.push_str("&token_type_hint=access_token");
    form
}

/// Adds a value to a form (RFC 6749 appendix B), with all but unreserved characters escaped.
pub(super) fn escape(value: &[u8], form: &mut String) {
    for byte in value {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            form.push(char::from(*byte));
        } else {
            form.push('%');
            for digit in [byte >> 4, byte & 15] {
                form.push(char::from_digit(digit.into(), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_cannot_add_a_field_to_the_form() {
        let token = Token::new("a&client_id=b%+/=~").unwrap();
        let expected = "token=a%26client_id%3Db%25%2B%2F%3D~&token_type_hint=access_token";
        assert_eq!(*form(&token), expected);
    }
}
