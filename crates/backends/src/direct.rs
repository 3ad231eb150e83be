//! Where another program finds a user's back end, and by which name and password it gets in.
//!
//! Nothing here connects, and no secret is given away that opens more than the user's own mailbox.

use std::net::SocketAddr;

use model::{BackendName, Credentials, Host, Reason, Route, Secret, Target, UserName};
use proto::{
    back::{How, Whose},
    front::Said,
};

use crate::{Backend, Backends, Failure, Tls, enter::Trouble, secrets};

/// How another program logs a user in: with a password, and without TLS.
#[derive(Clone, Debug)]
pub struct Directions {
    /// The back end that it is.
    pub backend: BackendName,
    /// Where.
    pub address: SocketAddr,
    /// The user's name there.
    pub user: UserName,
    /// His password there; none where it is the one that he gave himself.
    pub secret: Option<Secret>,
}

impl Backends {
    /// Says how a program that knows only passwords, and no TLS, logs the user in. `in_clear` allows this for
    /// back ends that we speak to under STARTTLS.
    ///
    /// # Errors
    /// [`Failure`] if it could not get in so, nobody knows the address, or several servers share his mail: who is on
    /// which of them is known of our own sessions alone.
    pub async fn direct(
        &self,
        route: &Route,
        offered: &Credentials,
        protocol: model::Protocol,
        in_clear: bool,
    ) -> Result<Directions, Failure> {
        let target = route.targets.first();
        let known = target.and_then(|target| Some((self.table.get(&target.backend)?, target)));
        let directions = match known {
            // Each of them may have his open sessions: ours are known, those of others are not.
            Some((backend, _))
                if route.targets.len() > 1 || backend.settings.same_store.is_some() =>
            {
                let detail =
                    "several servers share his mail, and who asks cannot be kept on one of them";
                Err((Reason::BackendLoginDisabled, detail.to_owned()))
            }
            Some((backend, target)) => {
                self.directions(backend, target, route, offered, protocol, in_clear).await
            }
            None => {
                let detail = "the directory's answer names no back end that there is".to_owned();
                Err((Reason::DirectoryMisconfigured, detail))
            }
        };
        directions.map_err(|(reason, detail)| Failure {
            backend: target.map(|target| target.backend.clone()),
            reason,
            detail,
            said: Said::default(),
        })
    }

    async fn directions(
        &self,
        backend: &Backend,
        target: &Target,
        route: &Route,
        offered: &Credentials,
        protocol: model::Protocol,
        in_clear: bool,
    ) -> Result<Directions, Trouble> {
        let settings = &backend.settings;
        match settings.tls {
            Tls::None => {}
            Tls::StartTls if in_clear => {}
            Tls::Implicit | Tls::StartTls => {
                let detail = "who asks speaks no TLS to back ends, and this one is set to have it";
                return Err((Reason::BackendLoginDisabled, detail.to_owned()));
            }
        }
        let login = secrets::login(&settings.login, route, offered)
            .map_err(|(reason, detail)| (reason, detail.to_owned()))?;
        let secret = match (login.how, login.whose) {
            (How::Password(_), Whose::Client) => None,
            (How::Password(secret), Whose::Directory) => Some(secret),
            _ => {
                let detail = "its login mode is for us alone: nobody else is told of what opens every mailbox";
                return Err((Reason::BackendLoginDisabled, detail.to_owned()));
            }
        };
        let port = target.port.unwrap_or_else(|| settings.ports.of(protocol));
        let hosts = target.host.as_ref().map_or(&*settings.hosts, std::slice::from_ref);
        for host in hosts {
            let ip = match host {
                Host::Ip(ip) => Some(*ip),
                Host::Name(name) => self.names.addresses(name).await.first().copied(),
            };
            if let Some(ip) = ip {
                return Ok(Directions {
                    backend: target.backend.clone(),
                    address: SocketAddr::new(ip, port),
                    user: login.user,
                    secret,
                });
            }
        }
        Err((Reason::BackendName, "no address is known".to_owned()))
    }
}
