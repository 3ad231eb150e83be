//! Where an issuer's documents come from: by HTTP, or from a file that somebody else keeps.
//!
//! Nothing here knows what a document says.

use std::{path::PathBuf, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::{
    Method as HttpMethod, StatusCode,
    body::Bytes,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use model::Secret;
use tokio::{fs::File, io::AsyncReadExt, sync::Semaphore, time::timeout};
use transport::tls::ClientTlsError;
use zeroize::Zeroizing;

use super::{Fetch, Fetching, KeyTimes, MAX_DOCUMENT, Method, Wanted, introspection::escape};
use crate::http::{Ask, Client, HttpServer, Keeping, cannot_say, hidden};

/// Questions to an issuer at a time; more wait. An attack with wrong tokens shall not become one on the issuer.
const AT_ONCE: usize = 32;

/// Who says which tokens are right.
#[derive(Clone, Debug)]
pub enum Issuer {
    /// It is asked for each token.
    Introspection {
        /// Its introspection endpoint.
        server: HttpServer,
        /// Who we are there.
        login: Option<ClientLogin>,
    },
    /// Its keys stand in a file.
    KeyFile(PathBuf, KeyTimes),
    /// Its keys are fetched.
    KeyServer(HttpServer, KeyTimes),
}

/// Who we are to an issuer (RFC 6749 section 2.3.1).
#[derive(Clone, Debug)]
pub struct ClientLogin {
    /// Our name there.
    pub id: String,
    /// Our secret there.
    pub secret: Secret,
}

impl Issuer {
    /// Prepares to ask; nothing is asked yet.
    pub(super) fn open(
        &self,
        deadline: Duration,
    ) -> Result<(Method, Arc<dyn Fetch>), ClientTlsError> {
        Ok(match self {
            Self::Introspection { server, login } => {
                let login = login.as_ref().and_then(basic);
                (Method::Introspection, Arc::new(Server::new(server, login, deadline)?))
            }
            Self::KeyFile(path, times) => (Method::Keys(*times), Arc::new(KeyFile(path.clone()))),
            Self::KeyServer(server, times) => {
                (Method::Keys(*times), Arc::new(Server::new(server, None, deadline)?))
            }
        })
    }
}

/// A name and a secret as a field's value; with both escaped, it is always one.
fn basic(login: &ClientLogin) -> Option<HeaderValue> {
    let mut text = Zeroizing::new(String::new());
    escape(login.id.as_bytes(), &mut text);
    text.push(':');
    escape(login.secret.reveal(), &mut text);
    let value = format!("Basic {}", STANDARD.encode(&*text));
    HeaderValue::from_maybe_shared(Bytes::from(value)).ok().map(hidden)
}

/// An issuer that is asked by HTTP.
struct Server {
    client: Client,
    login: Option<HeaderValue>,
    deadline: Duration,
    questions: Semaphore,
}

impl Server {
    fn new(
        server: &HttpServer,
        login: Option<HeaderValue>,
        deadline: Duration,
    ) -> Result<Self, ClientTlsError> {
        let client = Client::new(server.clone(), MAX_DOCUMENT)?;
        Ok(Self { client, login, deadline, questions: Semaphore::new(AT_ONCE) })
    }

    async fn ask(&self, wanted: Wanted) -> Result<Vec<u8>, String> {
        let _turn = self.questions.acquire().await.map_err(|closed| closed.to_string())?;
        let mut fields = vec![(ACCEPT, HeaderValue::from_static("application/json"))];
        fields.extend(self.login.iter().map(|login| (AUTHORIZATION, login.clone())));
        let (method, body) = match wanted {
            Wanted::Introspection(form) => {
                let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
                fields.push((CONTENT_TYPE, form_type));
                (HttpMethod::POST, Zeroizing::new(form.as_bytes().to_vec()))
            }
            Wanted::Keys => (HttpMethod::GET, Zeroizing::default()),
        };
        let target = self.client.url().fixed_target();
        let ask = Ask { method, target, fields, body, keeping: Keeping::WhileIdle };
        let answered = self.client.ask(ask).await.map_err(|cannot| cannot.detail)?;
        let origin = self.client.url().origin();
        match answered.status {
            StatusCode::OK => Ok(answered.body.to_vec()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(format!("{origin}: it refuses us with status {}", answered.status.as_u16()))
            }
            status => Err(format!("{origin}: {}", cannot_say(status).detail)),
        }
    }
}

impl Fetch for Server {
    fn fetch(&self, wanted: Wanted) -> Fetching<'_> {
        Box::pin(async move {
            timeout(self.deadline, self.ask(wanted)).await.unwrap_or_else(|_| {
                let origin = self.client.url().origin();
                Err(format!("{origin}: no answer within {:?}", self.deadline))
            })
        })
    }
}

/// A file with an issuer's keys.
struct KeyFile(PathBuf);

impl Fetch for KeyFile {
    fn fetch(&self, _: Wanted) -> Fetching<'_> {
        Box::pin(async move {
            let shown = self.0.display();
            let cannot = |error| format!("{shown}: {error}");
            let file = File::open(&self.0).await.map_err(cannot)?;
            let mut document = Vec::new();
            // One more than is taken, so that it is seen.
            let most = u64::try_from(MAX_DOCUMENT).unwrap_or(u64::MAX).saturating_add(1);
            file.take(most).read_to_end(&mut document).await.map_err(cannot)?;
            Ok(document)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_name_and_secret_are_escaped_before_they_are_joined() {
        let secret = Secret::new("p:w %").unwrap();
        let value = basic(&ClientLogin { id: "front:door".to_owned(), secret }).unwrap();
        assert!(value.is_sensitive());
        let text = value.to_str().unwrap().strip_prefix("Basic ").unwrap();
        assert_eq!(STANDARD.decode(text).unwrap(), b"front%3Adoor:p%3Aw%20%25");
    }
}
