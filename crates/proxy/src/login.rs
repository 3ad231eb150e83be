//! The first phase: talk to the client until it has proved who it is, and find its back end.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use backends::Entered;
use directory::{Query, Verdict};
use model::{CanonicalUser, Credentials, Mechanisms, Protocol, Reason};
use proto::{
    Machine, Step,
    front::{self, Answer, Event, Front, Privacy, Said},
};
use tokio::time::timeout;
use transport::{Direction, Lost, Pair, Stream, Watch, converse};

use crate::{
    ListenerTls,
    session::{End, Visitor, log_refusal},
    sessions::{Membership, Who},
};

/// How long a client that we send away may take to read our last words.
const GOODBYE: Duration = Duration::from_secs(2);

/// A client, its back end, and their entry in the registry.
pub(crate) struct Established {
    pub(crate) pair: Pair,
    pub(crate) membership: Membership,
}

/// Somebody let in.
struct Admitted {
    user: CanonicalUser,
    entered: Entered,
}

/// Speaks with the client until it is logged in at its back end. A refused login changes nothing:
/// the client may try again, and nothing was bridged.
pub(crate) async fn establish(client: Stream, visitor: &Visitor) -> Result<Established, End> {
    let mut talk = Talk { client, visitor, patience: visitor.shared.client_wait };
    if let ListenerTls::Implicit(_) = visitor.listener.tls {
        talk.start_tls().await?;
    }
    let mut front = Front::new(visitor.listener.protocol, front_settings(visitor));
    loop {
        match talk.converse(&mut front).await? {
            Event::Closed(reason) => {
                talk.client.close_and_drain(GOODBYE).await;
                return Err(End::new(reason, ""));
            }
            Event::Refused(reason) => log_refusal(visitor, None, reason, "", ""),
            Event::StartTls => {
                talk.start_tls().await?;
                front.answer(Answer::TlsStarted { certificate: None });
            }
            // Without a trusted peer it says at most a TTL, which the machine itself heeds.
            Event::Identity(_) => {}
            Event::Login(credentials) => match admit(&credentials, visitor).await {
                Ok(admitted) => return talk.welcome(front, admitted).await,
                Err(Refused { reason, said }) => {
                    front.answer(Answer::Refuse(reason.refusal(), said));
                }
            },
        }
    }
}

fn front_settings(visitor: &Visitor) -> front::Settings {
    let listener = &visitor.listener;
    let (privacy, starttls) = match &listener.tls {
        ListenerTls::Implicit(_) => (Privacy::Tls, false),
        other if listener.allow_clear_logins => {
            (Privacy::ClearAllowed, matches!(other, ListenerTls::StartTls(_)))
        }
        other => (Privacy::ClearRefused, matches!(other, ListenerTls::StartTls(_))),
    };
    let offer = || visitor.shared.backends.offer(listener.protocol);
    front::Settings {
        privacy,
        starttls,
        offer: listener.capabilities.as_ref().map_or_else(offer, Arc::clone),
        greeting_name: Arc::clone(&visitor.shared.greeting_name),
        limits: front::Limits::default(),
        mechanisms: Mechanisms::default(),
        certificate: None,
        relay_text: false,
        trusted: false,
    }
}

/// Why somebody is not let in, and what the back end said for him.
struct Refused {
    reason: Reason,
    said: Said,
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self { reason, said: Said::default() }
    }
}

/// Asks the directory, then the back end. The reason for a refusal has been logged.
async fn admit(offered: &Credentials, visitor: &Visitor) -> Result<Admitted, Refused> {
    let shared = &visitor.shared;
    let protocol = visitor.listener.protocol;
    let query = Query { user: offered.user.clone(), protocol };
    let (user, route) = match shared.directory.look_up(&query).await {
        Ok(Verdict::Admit { user, route }) => (user, route),
        Ok(Verdict::Unknown { user }) => {
            log_refusal(visitor, Some(&user), Reason::UnknownUser, "", "");
            return Err(Reason::UnknownUser.into());
        }
        Ok(Verdict::Misnamed { problem }) => {
            let reason = Reason::ClientBadCredentials;
            log_refusal(visitor, None, reason, "", &problem.to_string());
            return Err(reason.into());
        }
        Err(unavailable) => {
            // Whom it hit is known all the same.
            let user = shared.directory.rules().canonical(&offered.user).ok();
            let detail = unavailable.to_string();
            log_refusal(visitor, user.as_ref(), unavailable.reason, "", &detail);
            return Err(unavailable.reason.into());
        }
    };
    match shared.backends.log_in(protocol, &route, offered).await {
        Ok(entered) => Ok(Admitted { user, entered }),
        Err(failure) => {
            let backend = failure.backend.as_ref().map_or("", |name| name.as_str());
            log_refusal(visitor, Some(&user), failure.reason, backend, &failure.detail);
            Err(Refused { reason: failure.reason, said: failure.said })
        }
    }
}

/// The conversation with a client, and how long we still wait for it.
struct Talk<'v> {
    client: Stream,
    visitor: &'v Visitor,
    /// What is left of the time that the client may take in all. Our own look-ups and the back end's
    /// verdict do not count.
    patience: Duration,
}

impl Talk<'_> {
    async fn start_tls(&mut self) -> Result<(), End> {
        let Some(tls) = self.visitor.listener.tls.server() else {
            return Err(End::new(Reason::Internal, "TLS without a certificate"));
        };
        let since = Instant::now();
        let result = timeout(self.patience, self.client.accept_tls(tls.config())).await;
        self.patience = self.patience.saturating_sub(since.elapsed());
        match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                // Unread input would turn the close into a reset, which eats the alert.
                self.client.close_and_drain(GOODBYE).await;
                Err(End::new(tls_reason(&error), error))
            }
            Err(_) => Err(End::new(Reason::ClientTimeout, "in the TLS handshake")),
        }
    }

    /// Goes on until the machine has something to decide.
    async fn converse(&mut self, front: &mut Front) -> Result<Event, End> {
        let since = Instant::now();
        let result = timeout(self.patience, converse(&mut self.client, front)).await;
        self.patience = self.patience.saturating_sub(since.elapsed());
        match result {
            Ok(Ok(event)) => Ok(event),
            Ok(Err(Lost::Closed)) => Err(End::new(Reason::NoLogin, "")),
            Ok(Err(Lost::Broken(error))) => Err(End::new(Reason::ClientLost, error)),
            Err(_) => {
                let reason = Reason::ClientTimeout;
                let words = front::farewell(self.visitor.listener.protocol, reason);
                // It may not even read that; the close below has its own limit.
                let _ = timeout(GOODBYE, self.client.write_all(&words)).await;
                self.client.close_and_drain(GOODBYE).await;
                Err(End::new(reason, ""))
            }
        }
    }

    /// Tells the client that it is in, and joins it with its back end.
    async fn welcome(mut self, mut front: Front, admitted: Admitted) -> Result<Established, End> {
        let Admitted { user, entered } = admitted;
        front.answer(Answer::Welcome(entered.welcome));
        let welcome = async {
            while let Step::Write(bytes) = front.step() {
                self.client.write_all(&bytes).await?;
            }
            io::Result::Ok(())
        };
        match timeout(self.patience, welcome).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(End::new(Reason::ClientLost, error)),
            Err(_) => return Err(End::new(Reason::ClientTimeout, "in the welcome")),
        }
        let who = Who {
            id: self.visitor.id,
            protocol: self.visitor.listener.protocol,
            user,
            client: self.visitor.client,
            backend: entered.backend,
            tls: self.client.tls_version(),
        };
        tracing::debug!(
            target: "login",
            session = %who.id,
            protocol = %who.protocol,
            user = %who.user,
            client = %who.client,
            backend = %who.backend,
            address = %entered.address,
            "logged in"
        );
        let from_client = front.into_rest();
        let pair = Pair::new(self.client, &from_client, entered.stream, &entered.rest)
            .map_err(|error| End::new(Reason::Internal, error))?;
        let membership = self.visitor.shared.sessions.enter(who, self.visitor.since);
        membership.relayed(Direction::Up, from_client.len());
        membership.relayed(Direction::Down, entered.rest.len());
        Ok(Established { pair, membership })
    }
}

/// Tells a client that asked for another protocol from one that failed otherwise.
fn tls_reason(error: &io::Error) -> Reason {
    if transport::tls::is_alpn_mismatch(error) { Reason::ClientAlpn } else { Reason::ClientTls }
}

/// The last words to a client that finds no place.
pub(crate) fn no_room(protocol: Protocol, tls: &ListenerTls, reason: Reason) -> Vec<u8> {
    match tls {
        // It waits for a handshake and could not read them.
        ListenerTls::Implicit(_) => Vec::new(),
        ListenerTls::None | ListenerTls::StartTls(_) => front::farewell(protocol, reason),
    }
}
