//! nginx's contract `auth_http` from the side that answers: fields of a request in, fields of a response out.
//!
//! Nothing here goes on without a certain answer: what cannot be said is "try later", never "wrong password".

use std::{net::IpAddr, net::SocketAddr, str, time::Duration};

use directory::{HELD_PATIENCE, Passage, Query, WayIn};
use http_body_util::Empty;
use hyper::{
    HeaderMap, Method, Response, StatusCode, body::Bytes, header::HeaderValue, http::request::Parts,
};
use model::{
    Blame, Credentials, Mechanism, Proof, Protocol, Reason, Refusal, Route, Secret, UserName,
};

use crate::{Key, serve::Shared};

/// After so many attempts in a connection the client is sent away. nginx keeps the memory of each until then.
const ATTEMPTS: u32 = 10;

/// The answer's form.
type Answer = Response<Empty<Bytes>>;

/// What is asked.
struct Question {
    offered: Credentials,
    secret: Secret,
    protocol: Protocol,
    attempt: u32,
    client_ip: Option<IpAddr>,
    tls: bool,
}

/// Why something is no question that could be answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
enum NoQuestion {
    #[error("field `{0}` is missing, there twice, or none of its kind")]
    Field(&'static str),
    #[error("only `Auth-Method: plain` can be answered: nothing here takes part in other methods")]
    Method,
    #[error("only IMAP and POP3 are known here")]
    Protocol,
    #[error("the name cannot be one")]
    User,
}

/// Why nobody is let in.
struct Refused {
    reason: Reason,
    wait: Option<Duration>,
    text: Option<Box<str>>,
    detail: String,
}

impl Refused {
    fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, wait: None, text: None, detail: detail.into() }
    }
}

/// Answers a question.
pub(crate) async fn answer(head: &Parts, peer: SocketAddr, shared: &Shared) -> Answer {
    let server = &*shared.settings.name;
    let fields = &head.headers;
    if shared.settings.key.as_ref().is_some_and(|key| !shows(fields, key)) {
        tracing::warn!(target: "answer", server, %peer, "who asks does not show the key");
        return plain(StatusCode::FORBIDDEN);
    }
    if !matches!(head.method, Method::GET | Method::POST) {
        return plain(StatusCode::METHOD_NOT_ALLOWED);
    }
    let question = match read(fields) {
        Ok(question) => question,
        Err(problem) => {
            // An answer for a protocol that is not known here is worded as for IMAP.
            let protocol = protocol(fields).unwrap_or(Protocol::Imap);
            if problem == NoQuestion::User {
                let refused = Refused::new(Reason::ClientBadCredentials, "");
                return refusal(protocol, &refused, 1, shared);
            }
            tracing::warn!(target: "answer", server, %peer, %problem, "a question cannot be answered");
            let refused = Refused::new(Reason::Internal, "");
            return refusal(protocol, &refused, 1, shared);
        }
    };
    match decide(&question, shared).await {
        Ok(answer) => answer,
        Err(refused) => {
            log(&question, &refused, server);
            refusal(question.protocol, &refused, question.attempt, shared)
        }
    }
}

async fn decide(question: &Question, shared: &Shared) -> Result<Answer, Refused> {
    let user = shared
        .directory
        .canonical(&question.offered.user)
        .map_err(|problem| Refused::new(Reason::ClientBadCredentials, problem.to_string()))?;
    let query = Query {
        client_ip: question.client_ip,
        tls: question.tls,
        ..Query::without_client(user, question.protocol)
    };
    let (route, passage) = way_in(&query, question, shared).await?;
    if route.stale {
        tracing::info!(
            target: "answer",
            server = &*shared.settings.name,
            protocol = %question.protocol,
            user = query.user.as_str(),
            stale = true,
            "a source cannot say now: by what it said before",
        );
    }
    let (protocol, in_clear) = (question.protocol, shared.settings.backends_in_clear);
    let directed = shared.backends.direct(&route, &question.offered, protocol, in_clear).await;
    let to = directed.map_err(|failure| Refused::new(failure.reason, failure.to_string()))?;
    // It may be that his mailbox is moved at this moment.
    if !shared.directory.is_free(&passage, &query.user, &to.backend) {
        return Err(Refused::new(Reason::Held, ""));
    }
    let mut answer = plain(StatusCode::OK);
    let fields = answer.headers_mut();
    fields.insert("auth-status", HeaderValue::from_static("OK"));
    set(fields, "auth-server", to.address.ip().to_string().as_bytes())?;
    set(fields, "auth-port", to.address.port().to_string().as_bytes())?;
    if to.user != question.offered.user {
        set(fields, "auth-user", to.user.as_str().as_bytes())?;
    }
    if let Some(secret) = to.secret.filter(|secret| !secret.matches(&question.secret)) {
        set(fields, "auth-pass", secret.reveal())?;
    }
    Ok(answer)
}

/// Asks the directory for the way to a user's mailbox. While he is held, or where he would go is, he waits, as long as
/// not so many do that nobody else could ask.
async fn way_in(
    query: &Query,
    question: &Question,
    shared: &Shared,
) -> Result<(Route, Passage), Refused> {
    let waits = shared.may_wait.try_acquire();
    let patience = if waits.is_ok() { HELD_PATIENCE } else { Duration::ZERO };
    let proof = &question.offered.proof;
    let asked = shared.directory.admit_when_free(query, proof, question.attempt, patience).await;
    match asked {
        Ok(WayIn::Open(route, passage)) => Ok((route, passage)),
        Ok(WayIn::Held(_)) => Err(Refused::new(Reason::Held, "")),
        Ok(WayIn::Refused(refused)) => {
            let directory::Refused { reason, wait, text, detail } = refused;
            Err(Refused { reason, wait, text, detail: detail.unwrap_or_default() })
        }
        Ok(WayIn::Unknown) => Err(Refused::new(Reason::UnknownUser, "")),
        Err(unavailable) => Err(Refused::new(unavailable.reason, unavailable.to_string())),
    }
}

/// Sets a field whose value nobody escapes: what would be changed on its way cannot be said.
fn set(fields: &mut HeaderMap, name: &'static str, value: &[u8]) -> Result<(), Refused> {
    let cannot = || {
        let detail =
            format!("`{name}` cannot be sent: it has control characters, or spaces around it");
        Refused::new(Reason::DirectoryMisconfigured, detail)
    };
    if value.trim_ascii() != value || value.is_empty() {
        return Err(cannot());
    }
    let mut value = HeaderValue::from_bytes(value).map_err(|_| cannot())?;
    value.set_sensitive(true);
    fields.insert(name, value);
    Ok(())
}

/// A refusal as nginx passes it on. What is not the client's own doing has a status that says so to others.
fn refusal(protocol: Protocol, refused: &Refused, attempt: u32, shared: &Shared) -> Answer {
    let said = refused.reason.refusal();
    let is_no = said == Refusal::AuthenticationFailed;
    let mut answer = plain(if is_no { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE });
    let fields = answer.headers_mut();
    let (code, ours) = proto::refusal::words(protocol, said);
    let theirs = refused.text.as_deref().filter(|text| {
        let fits = |c: char| c.is_ascii_graphic() || c == ' ';
        text.len() <= 400 && text.chars().all(fits)
    });
    let text = theirs.unwrap_or(ours);
    let text = if code.is_empty() { text.to_owned() } else { format!("[{code}] {text}") };
    if let Ok(text) = HeaderValue::from_str(&text) {
        fields.insert("auth-status", text);
    }
    // RFC 4954 section 6.
    let smtp = if is_no { "535 5.7.8" } else { "451 4.3.0" };
    fields.insert("auth-error-code", HeaderValue::from_static(smtp));
    if is_no && attempt < ATTEMPTS {
        let wait = refused.wait.unwrap_or_default().max(shared.settings.wait).as_secs();
        // nginx takes 0 as no wait, and ends the connection.
        fields.insert("auth-wait", HeaderValue::from(wait.max(1)));
    }
    answer
}

fn plain(status: StatusCode) -> Answer {
    let mut answer = Response::new(Empty::new());
    *answer.status_mut() = status;
    answer
}

fn read(fields: &HeaderMap) -> Result<Question, NoQuestion> {
    if required(fields, "auth-method")? != b"plain" {
        return Err(NoQuestion::Method);
    }
    let protocol = protocol(fields)?;
    let user = unescaped(required(fields, "auth-user")?).ok_or(NoQuestion::Field("Auth-User"))?;
    let user = String::from_utf8(user).ok().and_then(|user| UserName::new(user).ok());
    let user = user.ok_or(NoQuestion::User)?;
    let secret = unescaped(required(fields, "auth-pass")?).ok_or(NoQuestion::Field("Auth-Pass"))?;
    let secret = Secret::new(secret).map_err(|_| NoQuestion::User)?;
    let attempt = number(optional(fields, "auth-login-attempt")?)
        .ok_or(NoQuestion::Field("Auth-Login-Attempt"))?;
    let client_ip = match optional(fields, "client-ip")? {
        // A client at a unix socket has no address.
        None | Some(b"unix:") => None,
        Some(ip) => {
            let ip = str::from_utf8(ip).ok().and_then(|ip| ip.parse::<IpAddr>().ok());
            Some(ip.ok_or(NoQuestion::Field("Client-IP"))?.to_canonical())
        }
    };
    let proof = Proof::Password(secret.clone());
    let offered = Credentials { mechanism: Mechanism::Plain, user, proof };
    let tls = optional(fields, "auth-ssl")? == Some(b"on");
    Ok(Question { offered, secret, protocol, attempt, client_ip, tls })
}

fn protocol(fields: &HeaderMap) -> Result<Protocol, NoQuestion> {
    let word = required(fields, "auth-protocol")?;
    let known = Protocol::ALL.into_iter().find(|known| known.word().as_bytes() == word);
    known.ok_or(NoQuestion::Protocol)
}

/// A number from 1; the first where none is given.
fn number(field: Option<&[u8]>) -> Option<u32> {
    let Some(field) = field else { return Some(1) };
    str::from_utf8(field).ok()?.parse().ok().filter(|number| *number > 0)
}

fn required<'f>(fields: &'f HeaderMap, name: &'static str) -> Result<&'f [u8], NoQuestion> {
    optional(fields, name)?.ok_or(NoQuestion::Field(name))
}

fn optional<'f>(fields: &'f HeaderMap, name: &'static str) -> Result<Option<&'f [u8]>, NoQuestion> {
    let mut all = fields.get_all(name).iter();
    match (all.next(), all.next()) {
        (first, None) => Ok(first.map(HeaderValue::as_bytes)),
        _ => Err(NoQuestion::Field(name)),
    }
}

/// Takes back nginx's escaping; none if there is a `%` without its two digits.
fn unescaped(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((byte, behind)) = rest.split_first() {
        if *byte != b'%' {
            plain.push(*byte);
            rest = behind;
            continue;
        }
        let (digits, behind) = behind.split_first_chunk::<2>()?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        plain.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?);
        rest = behind;
    }
    Some(plain)
}

/// Whether the question shows the key.
fn shows(fields: &HeaderMap, key: &Key) -> bool {
    let mut all = fields.get_all(key.field.as_str()).iter();
    let (Some(shown), None) = (all.next(), all.next()) else { return false };
    Secret::new(shown.as_bytes()).is_ok_and(|shown| shown.matches(&key.secret))
}

fn log(question: &Question, refused: &Refused, server: &str) {
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                target: "answer",
                server,
                protocol = %question.protocol,
                user = question.offered.user.as_str(),
                client = question.client_ip.map(tracing::field::display),
                reason = %refused.reason,
                detail = refused.detail,
                "login refused"
            )
        };
    }
    match refused.reason.blame() {
        Blame::Backend | Blame::Directory | Blame::Posthouse => line!(warn),
        Blame::Client | Blame::Nobody => line!(info),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nginx_has_escaped_is_taken_back() {
        assert_eq!(unescaped(b"a%20b%25c%0D/+").unwrap(), b"a b%c\r/+");
        for bad in [&b"%"[..], b"%2", b"%+1", b"%zz", b"a%"] {
            assert_eq!(unescaped(bad), None);
        }
    }
}
