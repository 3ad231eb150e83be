//! The first phase: talk to the client until it has proved who it is, and find its back end.

use std::{
    io,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use backends::{Client, Entered, Lease};
use directory::{HELD_PATIENCE, Passage, Query, WayIn};
use model::{CanonicalUser, Credentials, Proof, Protocol, Reason, Refusal, Route, UserName};
use proto::{
    Machine, Step,
    front::{self, Answer, Event, Front, Privacy, Said, Text},
    identity::Claims,
    imap::capability,
    relay::Framer,
    sasl::scram::ChannelBindings,
};
use tokio::time::timeout;
use transport::{Direction, Pair, Stream, Watch};

use crate::{
    ListenerTls,
    limits::Admission,
    scram,
    session::{End, Shared, Visitor, log_refusal},
    sessions::{Membership, Place, Who},
    settings::within,
    talk::{GOODBYE, Talk},
};

/// A client, its back end, and their entry in the registry.
pub(crate) struct Established {
    pub(crate) pair: Pair,
    pub(crate) membership: Membership,
    /// The user's place on a store that several servers share.
    pub(crate) lease: Option<Box<Lease>>,
}

/// What the directory may want to know of an attempt to log in.
pub(crate) struct Attempt {
    /// The how manieth of its connection it is, from 1.
    pub(crate) number: u32,
    /// The client's address, by whoever we believe.
    pub(crate) client_ip: IpAddr,
    /// Where the client connected to, if a source asks for it.
    pub(crate) server_ip: Option<IpAddr>,
    /// The name that the client asked for by TLS.
    pub(crate) server_name: Option<Arc<str>>,
    /// Whether it came by TLS, to us or to whoever we believe.
    pub(crate) tls: bool,
}

impl Attempt {
    /// What the directory is asked of a user.
    pub(crate) fn query(&self, user: &CanonicalUser, visitor: &Visitor) -> Query {
        Query {
            user: user.clone(),
            protocol: visitor.listener.protocol,
            client_ip: Some(self.client_ip),
            server_ip: self.server_ip,
            server_name: self.server_name.clone(),
            tls: self.tls,
        }
    }
}

/// Somebody let in.
struct Admitted {
    user: CanonicalUser,
    entered: Entered,
    /// What was held when the way to the back end was asked for.
    passage: Passage,
    /// His place among the sessions that a user may have.
    place: Place,
}

/// Speaks with the client until it is logged in at its back end. A refused login changes nothing:
/// the client may try again, and nothing was bridged.
pub(crate) async fn establish(
    client: Stream,
    visitor: &mut Visitor,
    admission: &mut Admission,
) -> Result<Established, End> {
    let patience = visitor.shared.limits.client_wait;
    let (claims, server_name) = (Claims::default(), None);
    let mut talk = Talk { client, visitor, patience, claims, server_name, tls_before: None };
    if talk.visitor.listener.is_behind_proxy() {
        talk.hear_proxy(admission).await?;
    }
    let certificate = match talk.visitor.listener.tls {
        ListenerTls::Implicit(_) => talk.start_tls().await?,
        ListenerTls::None | ListenerTls::StartTls(_) => None,
    };
    let settings = front_settings(talk.visitor, certificate);
    let mut front = Front::new(talk.visitor.listener.protocol, settings);
    let mut attempts = 0;
    loop {
        match talk.converse(&mut front).await? {
            Event::Closed(reason) => {
                talk.client.close_and_drain(GOODBYE).await;
                return Err(End::new(reason, ""));
            }
            Event::Refused(reason) => log_refusal(talk.visitor, None, reason, "", ""),
            Event::StartTls => {
                let certificate = talk.start_tls().await?;
                // What was said before TLS counts no more.
                talk.claims = Claims::default();
                let bindings = ChannelBindings::default();
                front.answer(Answer::TlsStarted { certificate, bindings });
            }
            Event::Identity(claims) => talk.claims = claims,
            Event::Unproven { user, reason } => {
                let closing = &talk.visitor.shared.closing;
                let refused = scram::refuse_unproven(&user, reason, talk.visitor);
                if closing.unless_begun(refused).await.is_none() {
                    return Err(talk.send_away(Reason::Shutdown).await);
                }
                // Whatever is wrong with his verifier: the name may be nobody's.
                front.answer(Answer::Refuse(Refusal::AuthenticationFailed, Said::default()));
            }
            Event::Verifier(user) => {
                attempts += 1;
                let attempt = talk.attempt(attempts)?;
                let closing = &talk.visitor.shared.closing;
                let asked = scram::challenge(&user, talk.visitor, &attempt);
                match closing.unless_begun(asked).await {
                    None => return Err(talk.send_away(Reason::Shutdown).await),
                    Some(Ok(given)) => front.answer(Answer::Verifier(Box::new(given))),
                    Some(Err(Refused { reason, said, .. })) => {
                        front.answer(Answer::Refuse(reason.refusal(), said));
                    }
                }
            }
            Event::Login(credentials) => {
                let client = talk.seen_by_back_ends(&front)?;
                if !is_begun(&credentials.proof) {
                    attempts += 1;
                }
                let attempt = talk.attempt(attempts)?;
                let closing = &talk.visitor.shared.closing;
                let verdict = closing
                    .unless_begun(admit(&credentials, talk.visitor, &client, &attempt))
                    .await;
                match verdict {
                    None => return Err(talk.send_away(Reason::Shutdown).await),
                    Some(Ok(admitted)) => return talk.welcome(front, admitted).await,
                    Some(Err(Refused { reason, said, .. })) => {
                        front.answer(Answer::Refuse(reason.refusal(), said));
                    }
                }
            }
        }
    }
}

fn front_settings(visitor: &Visitor, certificate: Option<UserName>) -> front::Settings {
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
        limits: visitor.shared.limits.before_login,
        mechanisms: listener.mechanisms,
        certificate,
        bindings: ChannelBindings::default(),
        relay_text: listener.relay_text,
        trusted: within(&listener.trusted_networks, visitor.client.ip()),
    }
}

/// Why somebody is not let in, and what the back end or a source said for him.
pub(crate) struct Refused {
    pub(crate) reason: Reason,
    pub(crate) said: Said,
    /// How long a source wants him to wait.
    wait: Duration,
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self { reason, said: Said::default(), wait: Duration::ZERO }
    }
}

impl From<directory::Refused> for Refused {
    fn from(refused: directory::Refused) -> Self {
        let text = refused.text.and_then(|text| Text::new(text.as_bytes(), false));
        let said = Said { challenge: None, text };
        Self { reason: refused.reason, said, wait: refused.wait.unwrap_or_default() }
    }
}

/// Lets somebody in, or refuses him no sooner than a back end might have.
async fn admit(
    offered: &Credentials,
    visitor: &Visitor,
    client: &Client,
    attempt: &Attempt,
) -> Result<Admitted, Refused> {
    let since = Instant::now();
    let refused = match try_to_admit(offered, visitor, client, attempt).await {
        Ok(admitted) => return Ok(admitted),
        Err(refused) => refused,
    };
    if refused.reason.refusal() == Refusal::AuthenticationFailed {
        look_alike(visitor, since, refused.wait).await;
    }
    Err(refused)
}

/// Waits until a login that began at `since` has taken as long as one that a back end refuses.
pub(crate) async fn look_alike(visitor: &Visitor, since: Instant, at_least: Duration) {
    let Shared { refusals, limits, .. } = &*visitor.shared;
    let length = refusals.length(limits.failure_delay.max(at_least), fastrand::usize(..));
    tokio::time::sleep(length.saturating_sub(since.elapsed())).await;
}

/// Whether the attempt has been counted, and waited for its turn, when the client was asked for its proof.
fn is_begun(proof: &Proof) -> bool {
    matches!(proof, Proof::Scram(_))
}

/// Lets somebody in when it is his turn. The reason for a refusal has been logged.
async fn try_to_admit(
    offered: &Credentials,
    visitor: &Visitor,
    client: &Client,
    attempt: &Attempt,
) -> Result<Admitted, Refused> {
    let shared = &visitor.shared;
    let is_begun = is_begun(&offered.proof);
    if !is_begun {
        wait_for_address(visitor, attempt).await?;
    }
    let user = match shared.directory.canonical(&offered.user) {
        Ok(user) => user,
        Err(problem) => {
            let reason = Reason::ClientBadCredentials;
            log_refusal(visitor, None, reason, "", &problem.to_string());
            return Err(reason.into());
        }
    };
    // Before the directory is asked: otherwise only names that exist would ever have to wait.
    if !is_begun {
        wait_for_user(visitor, attempt, &user).await?;
    }
    let since = Instant::now();
    let asked = ask(&user, offered, visitor, client, attempt).await;
    if let Err(refused) = &asked {
        if refused.reason == Reason::WrongPassword {
            // Without what it waited for its turn: whoever guesses on would make all refusals longer.
            shared.refusals.remember(since.elapsed());
        }
        if refused.reason.refusal() == Refusal::AuthenticationFailed {
            shared.throttle.failed(&user, Instant::now());
        }
    }
    asked
}

/// Asks the directory, then the back end, then how many sessions the user has: whoever has not shown the
/// password is not told of that. The reason for a refusal has been logged.
async fn ask(
    user: &CanonicalUser,
    offered: &Credentials,
    visitor: &Visitor,
    client: &Client,
    attempt: &Attempt,
) -> Result<Admitted, Refused> {
    let shared = &visitor.shared;
    let protocol = visitor.listener.protocol;
    let query = attempt.query(user, visitor);
    let (route, passage) = way_in(&query, offered, visitor, attempt).await?;
    if route.stale {
        tracing::info!(
            target: "login",
            session = %visitor.id,
            %protocol,
            user = user.as_str(),
            stale = true,
            "a source cannot say now: by what it said before",
        );
    }
    let entered = match shared.backends.log_in(protocol, &route, offered, client).await {
        Ok(entered) => entered,
        Err(failure) => {
            let backend = failure.backend.as_ref().map_or("", |name| name.as_str());
            log_refusal(visitor, Some(user), failure.reason, backend, &failure.detail);
            return Err(Refused { said: failure.said, ..failure.reason.into() });
        }
    };
    // It may be that his mailbox is moved at this moment.
    let is_free = shared.directory.is_free(&passage, user, &entered.backend);
    let place = if is_free { shared.sessions.reserve(user) } else { None };
    if let Some(place) = place {
        return Ok(Admitted { user: user.clone(), entered, passage, place });
    }
    let reason = if is_free { Reason::LimitUser } else { Reason::Held };
    log_refusal(visitor, Some(user), reason, entered.backend.as_str(), "");
    // The client need not wait for this goodbye.
    tokio::spawn(entered.leave(protocol));
    Err(reason.into())
}

/// Waits until it is the turn of the client's address.
pub(crate) async fn wait_for_address(visitor: &Visitor, attempt: &Attempt) -> Result<(), Refused> {
    let turn = visitor.shared.throttle.address(attempt.client_ip, Instant::now());
    wait_for_turn(visitor, None, turn).await
}

/// Waits until it is a user's turn.
pub(crate) async fn wait_for_user(
    visitor: &Visitor,
    attempt: &Attempt,
    user: &CanonicalUser,
) -> Result<(), Refused> {
    let turn = visitor.shared.throttle.user(user, attempt.client_ip, Instant::now());
    wait_for_turn(visitor, Some(user), turn).await
}

/// Asks the directory for the way to a user's mailbox. While he is held, or where he would go is, he waits. The reason
/// for a refusal has been logged.
async fn way_in(
    query: &Query,
    offered: &Credentials,
    visitor: &Visitor,
    attempt: &Attempt,
) -> Result<(Route, Passage), Refused> {
    let (directory, user) = (&visitor.shared.directory, Some(&query.user));
    let proof = &offered.proof;
    match directory.admit_when_free(query, proof, attempt.number, HELD_PATIENCE).await {
        Ok(WayIn::Open(route, passage)) => Ok((route, passage)),
        Ok(WayIn::Held(backend)) => {
            let backend = backend.as_ref().map_or("", |name| name.as_str());
            log_refusal(visitor, user, Reason::Held, backend, "");
            Err(Reason::Held.into())
        }
        Ok(WayIn::Refused(refused)) => {
            let detail = refused.detail.as_deref().unwrap_or_default();
            log_refusal(visitor, user, refused.reason, "", detail);
            Err(refused.into())
        }
        Ok(WayIn::Unknown) => {
            log_refusal(visitor, user, Reason::UnknownUser, "", "");
            Err(Reason::UnknownUser.into())
        }
        Err(unavailable) => {
            log_refusal(visitor, user, unavailable.reason, "", &unavailable.to_string());
            Err(unavailable.reason.into())
        }
    }
}

/// Waits as long as a login that comes too early has to.
async fn wait_for_turn(
    visitor: &Visitor,
    user: Option<&CanonicalUser>,
    turn: Result<Duration, Reason>,
) -> Result<(), Refused> {
    match turn {
        Ok(wait) if wait.is_zero() => Ok(()),
        Ok(wait) => {
            tokio::time::sleep(wait).await;
            Ok(())
        }
        Err(reason) => {
            log_refusal(visitor, user, reason, "", "");
            Err(reason.into())
        }
    }
}

impl Talk<'_> {
    /// Tells the client that it is in, and joins it with its back end.
    async fn welcome(mut self, mut front: Front, admitted: Admitted) -> Result<Established, End> {
        let Admitted { user, mut entered, passage, place } = admitted;
        // Nobody could follow the stream behind either command: the next login would get past routing.
        let framed = self.visitor.listener.clean_bye
            || entered.welcome.unauthenticate
            || self.visitor.shared.sessions.need_framing(&user);
        if framed && let Some(list) = &mut entered.welcome.capabilities {
            list.retain(|capability| !capability::is_compression(capability));
        }
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
            framed,
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
        let (up, down) = (from_client.len(), entered.rest.len());
        let shared = &self.visitor.shared;
        let membership = shared.sessions.enter(who, self.visitor.since, place);
        // After it has entered: whoever holds and kicks meanwhile has found it, or is found here.
        let Who { id, user, backend, .. } = &membership.who;
        if !shared.directory.is_free(&passage, user, backend) {
            shared.sessions.kick(*id);
        }
        let pair = if membership.who.framed {
            let framer = Framer::new(membership.who.protocol);
            Pair::framed(self.client, from_client, entered.stream, entered.rest, framer)
        } else {
            Pair::new(self.client, &from_client, entered.stream, &entered.rest)
                .map_err(|error| End::new(Reason::Internal, error))?
        };
        membership.relayed(Direction::Up, up);
        membership.relayed(Direction::Down, down);
        Ok(Established { pair, membership, lease: entered.lease.map(Box::new) })
    }
}

/// The last words to a client that finds no place.
pub(crate) fn no_room(protocol: Protocol, tls: &ListenerTls, reason: Reason) -> Vec<u8> {
    match tls {
        // It waits for a handshake and could not read them.
        ListenerTls::Implicit(_) => Vec::new(),
        ListenerTls::None | ListenerTls::StartTls(_) => proto::farewell(protocol, reason),
    }
}
