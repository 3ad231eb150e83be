//! Accounts on IMAP servers, as the engine reaches them.
//!
//! Nothing here connects: the engine does when it wants to.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use mailsync::ends::imap::{ImapEnd, ImapServer, ImapSettings, ImapWay, Logins, Privacy};
use model::{Secret, Token, UserName};
use parking_lot::Mutex;
use proto::{
    back::{How, Login, Whose},
    sasl::TokenMechanism,
};
use tokio::task::spawn_blocking;
use transport::tls::{ClientTls, Verify};

use super::{Account, Credential, Reach, Scheme, SecretSource, Server, Side, Way};

/// For connecting, TLS and login, each: servers under load take their time.
const CONNECT: Duration = Duration::from_secs(30);
/// For an answer that is owed: some servers search or expunge for minutes.
const ANSWER: Duration = Duration::from_secs(600);

/// Reaches accounts by IMAP.
#[derive(Debug, Default)]
pub struct ByImap {
    /// Prepared once for all accounts with the same settings: it reads the roots of the system.
    tls: Mutex<Vec<(Verify, bool, ClientTls)>>,
}

impl Reach for ByImap {
    type End = ImapEnd;

    async fn reach(&self, account: &Account, side: Side) -> Result<ImapEnd, String> {
        let way = match &account.way {
            Way::Server(server) => ImapWay::Server(self.server(server).await?),
            Way::Tunnel { command, .. } => ImapWay::Command(command.clone()),
        };
        Ok(ImapEnd::new(ImapSettings {
            name: account.to_string(),
            way,
            // Nothing is ever changed where mail comes from.
            read_only: side == Side::From,
            connect_limit: CONNECT,
            answer_limit: ANSWER,
            disbelieved: Vec::new(),
        }))
    }
}

impl ByImap {
    async fn server(&self, server: &Server) -> Result<ImapServer, String> {
        let tls = self.tls(&server.verify, server.tls_legacy)?;
        let privacy = match (server.scheme, server.clear_text) {
            (Scheme::Imap, false) => Privacy::StartTls(tls),
            (Scheme::Imap, true) => Privacy::StartTlsIfOffered(tls),
            (Scheme::Imaps, _) => Privacy::Implicit(tls),
        };
        let (host, port) = (server.at.host.clone(), server.port());
        Ok(ImapServer { host, port, privacy, logins: logins(server).await? })
    }

    fn tls(&self, verify: &Verify, legacy: bool) -> Result<ClientTls, String> {
        let mut known = self.tls.lock();
        if let Some((.., tls)) = known.iter().find(|(v, l, _)| v == verify && *l == legacy) {
            return Ok(tls.clone());
        }
        let made = if legacy { ClientTls::legacy(verify, None) } else { ClientTls::new(verify) };
        let tls = made.map_err(|error| error.to_string())?;
        known.push((verify.clone(), legacy, tls.clone()));
        Ok(tls)
    }
}

async fn logins(server: &Server) -> Result<Arc<dyn Logins>, String> {
    let user = server.user.clone();
    match server.credential.clone() {
        Credential::Password(source) => {
            let secret = read(source).await?;
            let how = match server.admin.clone() {
                Some(authcid) => How::Authzid { authcid, secret },
                None => How::Password(secret),
            };
            Ok(Arc::new(Login { user, how, whose: Whose::Posthouse }))
        }
        Credential::Token(source) => Ok(Arc::new(Tokens { user, source })),
    }
}

/// Tokens that something else keeps fresh.
struct Tokens {
    user: UserName,
    source: SecretSource,
}

impl Logins for Tokens {
    fn login(&self) -> Pin<Box<dyn Future<Output = Result<Login, String>> + Send + '_>> {
        Box::pin(async {
            let secret = read(self.source.clone()).await?;
            let token = Token::new(secret.reveal()).map_err(|error| error.to_string())?;
            let how = How::Token { mechanism: TokenMechanism::OAuthBearer, token };
            Ok(Login { user: self.user.clone(), how, whose: Whose::Posthouse })
        })
    }
}

async fn read(source: SecretSource) -> Result<Secret, String> {
    let read = spawn_blocking(move || source.read()).await;
    read.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}
