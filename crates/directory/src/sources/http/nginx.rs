//! nginx's contract `auth_http`: the question in the fields of a request, the answer in those of a response.
//!
//! As nginx does it, with three differences: a status other than 200 says nothing, as does a field that is there
//! twice, and `Auth-Server` may be a name.

use std::{
    str,
    time::{Duration, Instant},
};

use hyper::{
    HeaderMap, Method, StatusCode,
    header::{HeaderName, HeaderValue},
};
use zeroize::Zeroizing;

use super::{Http, field_value};
use crate::{
    Query,
    http::{Ask, Keeping, cannot_say},
    sources::{
        CannotSay, Found, Question, Said,
        fields::{Fields, Value},
    },
};

const AUTH_METHOD: HeaderName = HeaderName::from_static("auth-method");
const AUTH_USER: HeaderName = HeaderName::from_static("auth-user");
const AUTH_PASS: HeaderName = HeaderName::from_static("auth-pass");
const AUTH_PROTOCOL: HeaderName = HeaderName::from_static("auth-protocol");
const AUTH_LOGIN_ATTEMPT: HeaderName = HeaderName::from_static("auth-login-attempt");
const CLIENT_IP: HeaderName = HeaderName::from_static("client-ip");
const AUTH_SSL: HeaderName = HeaderName::from_static("auth-ssl");

/// How long before a server that says WAIT is asked again, at least.
const SHORTEST_WAIT: Duration = Duration::from_millis(500);
/// For which part of the time for an answer a server may say WAIT.
const WAITING: f64 = 0.9;
/// The longest text of a refusal that is passed on, in bytes.
const LONGEST_TEXT: usize = 400;

/// What `Auth-Status` says.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Status {
    Ok,
    Refused(String),
    Wait,
}

impl Http {
    pub(super) async fn ask_nginx(
        &self,
        question: Question,
        external: bool,
        judges: bool,
    ) -> Result<Said, CannotSay> {
        if question.offer.is_none() && !external {
            return Err(CannotSay::misconfigured(
                "it says nothing of a user without his password; if it answers `Auth-Method: external`, set \
                 external = true",
            ));
        }
        let ask = Ask {
            method: Method::GET,
            target: self.target(&question),
            fields: request(&question)?.into_iter().chain(self.authorization()).collect(),
            body: Zeroizing::default(),
            keeping: Keeping::Never,
        };
        let begun = Instant::now();
        loop {
            let answered = self.client.ask(ask.clone()).await?;
            if answered.status != StatusCode::OK {
                return Err(cannot_say(answered.status));
            }
            let answer = Answer(&answered.fields);
            let wait = answer.wait()?;
            match answer.status()? {
                Status::Ok => {
                    let found = self.found(&answer, &question.query)?;
                    let judged = question.offer.is_some() && judges;
                    if found.secret.is_some() && !judges {
                        return Err(CannotSay::misconfigured(
                            "it gives passwords of users (`Auth-Pass`): if it first judges theirs, set \
                             judges = true",
                        ));
                    }
                    return Ok(Said::Found(Found { judged, ..found }));
                }
                // nginx's form for what is wrong with the server (RFC 4954 section 6).
                Status::Refused(_) if answer.is_for_now()? => {
                    return Err(CannotSay::unavailable("it says that it cannot say now"));
                }
                Status::Refused(text) => {
                    let text = Some(text.into()).filter(|_| question.offer.is_some());
                    return Ok(Said::Refused { wait, text });
                }
                // Somebody else is at this user now. It is to end before whoever asks takes the server for dead.
                Status::Wait => {
                    let wait = wait.unwrap_or_default().max(SHORTEST_WAIT);
                    if begun.elapsed() + wait >= self.deadline.mul_f64(WAITING) {
                        return Err(CannotSay::of_question("it says WAIT, and the time is over"));
                    }
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// Where the user is, and by which name and password.
    fn found(&self, answer: &Answer<'_>, query: &Query) -> Result<Found, CannotSay> {
        let mut fields = Fields::default();
        let value = |field| Ok(Value::Bytes(answer.field(field)?.unwrap_or_default()));
        fields.set("user", value("Auth-User")?)?;
        fields.set("password", value("Auth-Pass")?)?;
        let server = text("Auth-Server", answer.field("Auth-Server")?)?.filter(|at| !at.is_empty());
        let port = text("Auth-Port", answer.field("Auth-Port")?)?.filter(|at| !at.is_empty());
        let port = port.map(read_port).transpose()?;
        let Some(server) = server else { return fields.into_found() };
        if server.starts_with("unix:") {
            let told = "`Auth-Server` is a unix socket; there are only servers at addresses";
            return Err(CannotSay::misconfigured(told));
        }
        let named = model::BackendName::new(server).ok();
        match named.and_then(|name| self.backends.get(&name)) {
            Some(known) => {
                let own = known.port(query.protocol);
                if let Some(port) = port.filter(|port| *port != own) {
                    return Err(CannotSay::misconfigured(format_args!(
                        "`Auth-Port` is {port}, and the back end `{server}` has port {own} for {}",
                        query.protocol.word()
                    )));
                }
                fields.set("backend", Value::Text(server))?;
            }
            None => {
                fields.set("host", Value::Text(server))?;
                fields.set("port", port.map_or(Value::Null, |port| Value::Integer(port.into())))?;
            }
        }
        fields.into_found()
    }
}

fn request(question: &Question) -> Result<Vec<(HeaderName, HeaderValue)>, CannotSay> {
    let Question { query, key, offer } = question;
    let (method, password, attempt) = match offer {
        Some(offer) => ("plain", offer.password.reveal(), offer.attempt),
        None => ("external", &b""[..], 1),
    };
    let mut fields = vec![
        (AUTH_METHOD, HeaderValue::from_static(method)),
        (AUTH_USER, field_value(escaped(key.as_bytes()))?),
        (AUTH_PASS, field_value(escaped(password))?),
        (AUTH_PROTOCOL, HeaderValue::from_static(query.protocol.word())),
        (AUTH_LOGIN_ATTEMPT, HeaderValue::from(attempt)),
    ];
    if let Some(ip) = query.client_ip {
        fields.push((CLIENT_IP, field_value(ip.to_string().into_bytes())?));
    }
    if query.tls {
        fields.push((AUTH_SSL, HeaderValue::from_static("on")));
    }
    Ok(fields)
}

/// As nginx escapes: control characters, the space and `%`. Also DEL, which is a control character too.
fn escaped(bytes: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_control() || matches!(byte, b' ' | b'%') {
            escaped.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            escaped.push(*byte);
        }
    }
    escaped
}

/// The fields of an answer.
struct Answer<'a>(&'a HeaderMap);

impl<'a> Answer<'a> {
    /// A field that is there once, if at all.
    fn field(&self, name: &str) -> Result<Option<&'a [u8]>, CannotSay> {
        let mut all = self.0.get_all(name).iter();
        match (all.next(), all.next()) {
            (first, None) => Ok(first.map(HeaderValue::as_bytes)),
            _ => Err(CannotSay::misconfigured(format_args!("`{name}` is there several times"))),
        }
    }

    fn status(&self) -> Result<Status, CannotSay> {
        match self.field("Auth-Status")? {
            None | Some(b"") => Err(CannotSay::misconfigured("it gave no `Auth-Status`")),
            Some(b"OK") => Ok(Status::Ok),
            Some(b"WAIT") => Ok(Status::Wait),
            // What cannot be passed on does not make it less of a refusal.
            Some(text) => Ok(Status::Refused(
                str::from_utf8(text)
                    .ok()
                    .filter(|text| text.len() <= LONGEST_TEXT)
                    .unwrap_or_default()
                    .to_owned(),
            )),
        }
    }

    /// Whether its refusal is for now only.
    fn is_for_now(&self) -> Result<bool, CannotSay> {
        let code = self.field("Auth-Error-Code")?;
        Ok(code.is_some_and(|code| code.starts_with(b"4")))
    }

    fn wait(&self) -> Result<Option<Duration>, CannotSay> {
        let Some(text) = text("Auth-Wait", self.field("Auth-Wait")?)? else { return Ok(None) };
        match text.parse::<u32>() {
            Ok(seconds) => Ok(Some(Duration::from_secs(seconds.into()))),
            Err(_) => Err(CannotSay::misconfigured("`Auth-Wait` is no number of seconds")),
        }
    }
}

fn text<'a>(name: &str, bytes: Option<&'a [u8]>) -> Result<Option<&'a str>, CannotSay> {
    let not_text = |_| CannotSay::misconfigured(format_args!("`{name}` is not UTF-8"));
    bytes.map(str::from_utf8).transpose().map_err(not_text)
}

fn read_port(text: &str) -> Result<u16, CannotSay> {
    let port = text.parse::<u16>().ok().filter(|port| *port != 0);
    port.ok_or_else(|| CannotSay::misconfigured("`Auth-Port` is none from 1 to 65535"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{CanonicalUser, Protocol, Secret, UserName};
    use proptest::prelude::*;

    use super::*;
    use crate::sources::Offer;

    fn unescaped(bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        let mut rest = bytes.iter();
        while let Some(byte) = rest.next() {
            if *byte == b'%' {
                let digits = [*rest.next().unwrap(), *rest.next().unwrap()];
                plain.push(u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap());
            } else {
                plain.push(*byte);
            }
        }
        plain
    }

    #[test]
    fn names_and_passwords_are_escaped_as_nginx_does() {
        assert_eq!(escaped(b"a b%c\r\nx\x7f/+@"), b"a%20b%25c%0D%0Ax%7F/+@");
        assert_eq!(escaped("\u{e4}".as_bytes()), "\u{e4}".as_bytes());
    }

    proptest! {
        #[test]
        fn no_name_or_password_becomes_another_field(
            user in "[^\\p{Cc}]{1,40}",
            password in proptest::collection::vec(1_u8.., 0..60),
        ) {
            let Ok(name) = UserName::new(&*user) else { return Ok(()) };
            let key: Arc<str> = name.as_str().into();
            let query = Query::without_client(CanonicalUser::declare(name), Protocol::Pop3);
            let offer = Offer { password: Secret::new(password.clone()).unwrap(), attempt: 3 };
            let asked = Question { query: Arc::new(query), key: key.clone(), offer: Some(offer) };
            let fields = request(&asked).unwrap();
            prop_assert_eq!(fields.len(), 5);
            let of = |name: HeaderName| {
                fields.iter().find(|(known, _)| *known == name).unwrap().1.as_bytes()
            };
            prop_assert_eq!(unescaped(of(AUTH_USER)), key.as_bytes());
            prop_assert_eq!(unescaped(of(AUTH_PASS)), password);
            for (_, value) in &fields {
                prop_assert!(!value.as_bytes().iter().any(u8::is_ascii_control));
            }
        }
    }
}
