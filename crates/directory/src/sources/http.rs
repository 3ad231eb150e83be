//! A server that is asked by HTTP: by nginx's contract `auth_http`, or with JSON.
//!
//! Nothing here opens a connection. What the server cannot say, or says in a form that is none, is never a "no".

mod json;
mod nginx;

use std::{sync::Arc, time::Duration};

use hyper::header::{AUTHORIZATION, HeaderValue};
use model::{Secret, Token};

use super::{Answering, CannotSay, Question, Remote};
use crate::{
    Backends, DependsOn, Placeholder, SourceProblem,
    http::{Client, HttpServer, MAX_ANSWER, hidden},
};

/// A server that is asked by HTTP.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Where it is.
    pub server: HttpServer,
    /// The token that it wants to see of us (RFC 6750).
    pub token: Option<Token>,
    /// In which form it is asked.
    pub contract: HttpContract,
}

/// In which form a server is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HttpContract {
    /// JSON.
    Json {
        /// How the question is sent.
        method: HttpMethod,
        /// Whether the server judges passwords, and so is given them.
        judges: bool,
    },
    /// nginx's `auth_http`, by which the server is always given the password.
    Nginx {
        /// Whether it judges that password. Many only say where the user is, and leave it to the back end.
        judges: bool,
        /// Whether it also answers `Auth-Method: external`, where there is no password to be judged.
        external: bool,
    },
}

impl HttpContract {
    /// Whether the server is shown passwords, so that what it says may hang on them.
    pub fn is_shown_passwords(self) -> bool {
        match self {
            Self::Json { judges, .. } => judges,
            Self::Nginx { .. } => true,
        }
    }

    /// Whether what passwords are judged by can be had of the server, or its judgement.
    pub(crate) fn may_judge(self) -> bool {
        match self {
            Self::Json { .. } => true,
            Self::Nginx { judges, .. } => judges,
        }
    }
}

/// How a question is sent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum HttpMethod {
    /// All of it in the address.
    Get,
    /// As an object of JSON.
    #[default]
    Post,
}

/// The source.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    token: Option<HeaderValue>,
    contract: HttpContract,
    backends: Arc<Backends>,
    /// For how long whoever asks waits for an answer.
    deadline: Duration,
}

impl Http {
    pub(super) fn new(
        settings: &HttpSettings,
        backends: Arc<Backends>,
        deadline: Duration,
    ) -> Result<Self, SourceProblem> {
        let client = Client::new(settings.server.clone(), MAX_ANSWER)?;
        let token = settings.token.as_ref().and_then(|token| bearer(token.secret()));
        Ok(Self { client, token, contract: settings.contract, backends, deadline })
    }
}

/// A token has only characters that a field can have.
fn bearer(token: &Secret) -> Option<HeaderValue> {
    let value = [b"Bearer ", token.reveal()].concat();
    HeaderValue::from_maybe_shared(hyper::body::Bytes::from(value)).ok().map(hidden)
}

impl Remote for Http {
    fn depends_on(&self) -> DependsOn {
        let told: &[_] = match self.contract {
            // The server may say of each protocol and client something else.
            HttpContract::Nginx { .. } => &[Placeholder::ClientIp, Placeholder::Tls],
            HttpContract::Json { method: HttpMethod::Post, .. } => &Placeholder::ALL,
            HttpContract::Json { method: HttpMethod::Get, .. } => &[],
        };
        told.iter().copied().chain(self.client.url().placeholders()).collect()
    }

    fn judges(&self) -> bool {
        self.contract.is_shown_passwords()
    }

    fn ask(&self, question: Question) -> Answering<'_> {
        Box::pin(async move {
            match self.contract {
                HttpContract::Json { method, judges } => {
                    self.ask_json(question, method, judges).await
                }
                HttpContract::Nginx { external, judges } => {
                    self.ask_nginx(question, external, judges).await
                }
            }
        })
    }
}

impl Http {
    /// The target for a question.
    fn target(&self, question: &Question) -> String {
        self.client.url().target(&question.query, &question.key)
    }

    fn authorization(&self) -> Option<(hyper::header::HeaderName, HeaderValue)> {
        Some((AUTHORIZATION, self.token.clone()?))
    }
}

/// A value as a field's; what cannot stand in one cannot be asked for.
fn field_value(bytes: Vec<u8>) -> Result<HeaderValue, CannotSay> {
    HeaderValue::from_maybe_shared(hyper::body::Bytes::from(bytes))
        .map(hidden)
        .map_err(|_| CannotSay::misconfigured("this name cannot be sent"))
}
