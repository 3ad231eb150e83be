//! Entering a back end: connect, TLS, log in, each with its deadline.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io,
    net::SocketAddr,
    time::Duration,
};

use model::{BackendName, Blame, Credentials, Host, Protocol, Reason, Route, Target, UserName};
use proto::{
    Machine, Step,
    back::{self, Answer, Back, Event},
    front::{Said, Welcome},
};
use rustls_pki_types::ServerName;
use tokio::time::{Instant, timeout, timeout_at};
use transport::{ConnectFailure, Lost, Received, Stream};
use zeroize::Zeroizing;

use crate::{
    Backend, Backends, Client, Deadlines, Lease, TestUser, Tls,
    health::{Met, Permit, Turn},
    identity, secrets,
};

/// How long a back end may take for a goodbye.
const LEAVE: Duration = Duration::from_secs(2);

/// A back end that let the user in.
pub struct Entered {
    /// Which one.
    pub backend: BackendName,
    /// At which address.
    pub address: SocketAddr,
    /// The connection.
    pub stream: Stream,
    /// What it said behind its welcome.
    pub rest: Vec<u8>,
    /// What the client has to learn of it.
    pub welcome: Welcome,
    /// The user's place on a store that several servers share; to be kept as long as the session lasts.
    pub lease: Option<Lease>,
}

impl Entered {
    /// Leaves again, as a client does that wants nothing more. Takes a few seconds at most.
    pub async fn leave(mut self, protocol: Protocol) {
        // It may be gone already; whatever happens, it is over.
        let _ = timeout(LEAVE, self.stream.write_all(back::leave(protocol))).await;
        self.stream.close_and_drain(LEAVE).await;
    }
}

/// A back end that did not let the user in, or could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Failure {
    /// Which one; none where the directory's answer names none that there is.
    pub backend: Option<BackendName>,
    /// Why.
    pub reason: Reason,
    /// What was seen, for the log.
    pub detail: String,
    /// What the back end said, for the client.
    pub said: Said,
}

const NO_BACKEND: &str = "the directory's answer names no back end that there is";
const SEVERAL_STORES: &str = "the directory's answer names several back ends that are not declared to be \
                              one store (same_store)";

impl Failure {
    fn misconfigured(candidate: Option<&Candidate<'_>>, detail: &str) -> Self {
        Self {
            backend: candidate.map(|candidate| candidate.name().clone()),
            reason: Reason::DirectoryMisconfigured,
            detail: detail.to_owned(),
            said: Said::default(),
        }
    }
}

/// A place where the user may be let in.
#[derive(Clone, Copy)]
struct Candidate<'r> {
    backend: &'r Backend,
    target: &'r Target,
}

impl Candidate<'_> {
    fn name(&self) -> &BackendName {
        &self.target.backend
    }
}

/// Whether another server of the same store may be tried: this one has not said a word about the login.
fn was_not_answered(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::BackendBusy
            | Reason::BackendBye
            | Reason::BackendConnect
            | Reason::BackendGreeting
            | Reason::BackendLost
            | Reason::BackendName
            | Reason::BackendNoPort
            | Reason::BackendStartTls
            | Reason::BackendTls
    )
}

/// Has the machine log in, and gives it what it asks for.
async fn log_in(
    mut visit: Visit,
    mut machine: Back,
    backend: &Backend,
    name: &BackendName,
) -> Result<Entered, Refused> {
    loop {
        match visit.converse(&mut machine).await? {
            Event::Failed { reason, detail, said } => {
                return Err(Refused { reason, detail, said });
            }
            Event::IdentityRefused { detail } => {
                tracing::warn!(backend = %name, detail, "identity not taken");
            }
            Event::LoggedIn(welcome) => {
                return Ok(Entered {
                    backend: name.clone(),
                    address: visit.address,
                    stream: visit.stream,
                    rest: machine.into_rest(),
                    welcome,
                    lease: None,
                });
            }
            Event::StartTls => {
                visit.start_tls(backend).await?;
                machine.answer(Answer::TlsStarted);
            }
        }
    }
}

/// What a login tells of a back end's health.
fn learn(
    backend: &Backend,
    permit: Permit<'_>,
    entered: &Result<Entered, Refused>,
    route: &Route,
    client: &Client,
) -> Option<Turn> {
    let now = std::time::Instant::now();
    match entered {
        Ok(_) => {
            backend.counters.logged_in();
            permit.succeeded(now)
        }
        Err(refused) if refused.reason.blame() == Blame::Backend => {
            backend.counters.failed(refused.reason, &refused.detail);
            if refused.reason == Reason::BackendNoPort {
                // We are short of something: nobody has asked it.
                return None;
            }
            if !was_not_answered(refused.reason) && refused.reason != Reason::BackendVerdict {
                // It speaks, and has something against this login.
                return permit.succeeded(now);
            }
            let met = Met {
                client: model::network(client.ip),
                user: hashed(&route.user),
                reason: refused.reason,
            };
            permit.failed(met, now)
        }
        // Its verdict, or nothing that it had a part in.
        Err(refused) if refused.reason.blame() == Blame::Client => permit.succeeded(now),
        Err(_) => None,
    }
}

fn hashed(user: &UserName) -> u64 {
    let mut hasher = DefaultHasher::new();
    user.hash(&mut hasher);
    hasher.finish()
}

/// Why, and what was seen.
pub(crate) type Trouble = (Reason, String);

/// The same, and what the back end said for the client.
struct Refused {
    reason: Reason,
    detail: String,
    said: Said,
}

impl From<Trouble> for Refused {
    fn from((reason, detail): Trouble) -> Self {
        Self { reason, detail, said: Said::default() }
    }
}

impl Backends {
    /// Logs the user in at his back end. The secret is sent after greeting and TLS, never before.
    ///
    /// # Errors
    /// [`Failure`] says whose fault it was; only [`Reason::WrongPassword`] is a "no".
    pub async fn log_in(
        &self,
        protocol: Protocol,
        route: &Route,
        offered: &Credentials,
        client: &Client,
    ) -> Result<Entered, Failure> {
        let candidates = self.candidates(route)?;
        self.retries.earn();
        let (first, others) = match candidates.as_slice() {
            [] => return Err(Failure::misconfigured(None, NO_BACKEND)),
            [only] => return self.try_candidate(only, protocol, route, offered, client).await,
            [first, others @ ..] => (first, others),
        };
        // They share one store, on which a user is only ever met at one server.
        let Some(store) = &first.backend.settings.same_store else {
            return Err(Failure::misconfigured(Some(first), SEVERAL_STORES));
        };
        let (lease, on) = self.stores.lease(store, &route.user, first.name());
        let Some(mut candidate) = candidates.iter().find(|candidate| *candidate.name() == on)
        else {
            let detail =
                "his other sessions are on a server of this store that this answer does not name";
            return Err(Failure::misconfigured(Some(first), detail));
        };
        let mut rest = others.iter().chain([first]).filter(|other| *other.name() != on);
        loop {
            let failure =
                match self.try_candidate(candidate, protocol, route, offered, client).await {
                    Ok(entered) => return Ok(Entered { lease: Some(lease), ..entered }),
                    Err(failure) => failure,
                };
            let Some(next) = rest.next() else { return Err(failure) };
            // Passing over one that is known to be down costs nobody anything.
            let may_try = failure.reason == Reason::BackendDown
                || (was_not_answered(failure.reason) && self.retries.spend());
            if !may_try || !lease.go_to(next.name()) {
                return Err(failure);
            }
            candidate = next;
        }
    }

    /// The back ends of a route, if any of them may be taken for another.
    fn candidates<'r>(&'r self, route: &'r Route) -> Result<Vec<Candidate<'r>>, Failure> {
        let mut candidates = Vec::with_capacity(route.targets.len());
        for target in &route.targets {
            let Some(backend) = self.table.get(&target.backend) else {
                let failure = Failure::misconfigured(None, NO_BACKEND);
                return Err(Failure { backend: Some(target.backend.clone()), ..failure });
            };
            candidates.push(Candidate { backend, target });
        }
        let Some(first) = candidates.first().copied() else { return Ok(candidates) };
        // A user's mail is at one place: no other is ever tried in its stead, unless it is the same store.
        let store = &first.backend.settings.same_store;
        let is_same = |backend: &Backend| store.is_some() && backend.settings.same_store == *store;
        if candidates.len() > 1 && !candidates.iter().all(|other| is_same(other.backend)) {
            return Err(Failure::misconfigured(Some(&first), SEVERAL_STORES));
        }
        if first.target.host.is_none() {
            let named = |backend: &Backend| {
                route.targets.iter().any(|target| target.backend == backend.settings.name)
            };
            let mut others: Vec<_> =
                self.table.values().filter(|other| is_same(other) && !named(other)).collect();
            others.sort_by(|one, other| one.settings.name.cmp(&other.settings.name));
            let others = others.into_iter();
            candidates.extend(others.map(|backend| Candidate { backend, target: &backend.itself }));
        }
        Ok(candidates)
    }

    /// Logs in at one back end, and learns from it how that is.
    async fn try_candidate(
        &self,
        candidate: &Candidate<'_>,
        protocol: Protocol,
        route: &Route,
        offered: &Credentials,
        client: &Client,
    ) -> Result<Entered, Failure> {
        let Candidate { backend, target } = *candidate;
        let failure = |refused: Refused| {
            let Refused { reason, detail, said } = refused;
            Failure { backend: Some(target.backend.clone()), reason, detail, said }
        };
        let now = std::time::Instant::now();
        let health = backend.health.of(protocol);
        // A host that only an answer names lives by these settings, and is not this back end.
        let permit = match target.host {
            Some(_) => None,
            None => match health.permit(now) {
                Some(permit) => Some(permit),
                None => {
                    backend.counters.turned_away();
                    let detail = "it is down, and is left alone for a while".to_owned();
                    return Err(failure((Reason::BackendDown, detail).into()));
                }
            },
        };
        let most = match target.host {
            Some(_) => backend.flights.most(),
            None => health.share(backend.flights.most(), now),
        };
        let Some(_flight) = backend.flights.begin(protocol, target.host.as_ref(), most) else {
            if target.host.is_none() {
                backend.counters.turned_away();
            }
            let detail = format!("{most} logins are under way there already");
            return Err(failure((Reason::BackendBusy, detail).into()));
        };
        let entered = self.enter(backend, target, protocol, route, offered, client).await;
        if let Some(permit) = permit {
            let turn = learn(backend, permit, &entered, route, client);
            backend.tell(protocol, turn);
        }
        entered.map_err(failure)
    }

    async fn enter(
        &self,
        backend: &Backend,
        target: &Target,
        protocol: Protocol,
        route: &Route,
        offered: &Credentials,
        client: &Client,
    ) -> Result<Entered, Refused> {
        let login = secrets::login(&backend.settings.login, route, offered)
            .map_err(|(reason, detail)| (reason, detail.to_owned()))?;
        let mode = backend.settings.identity.of(protocol);
        let visit = self.reach(backend, target, protocol, identity::header(mode, client)).await?;
        let settings = back::Settings {
            identity: identity::told(mode, client),
            client_id: client.id.clone(),
            pipelining: backend.settings.pipelining,
            ..backend.starttls()
        };
        log_in(visit, Back::new(protocol, settings, login), backend, &target.backend).await
    }

    /// Logs the test user in with his own password, and leaves again.
    pub(crate) async fn try_test_user(
        &self,
        backend: &Backend,
        user: &TestUser,
        protocol: Protocol,
    ) -> Result<(), Trouble> {
        let target = Target::backend(backend.settings.name.clone());
        let header = identity::header_of_a_look(backend.settings.identity.of(protocol));
        let how = back::How::Password(user.password.clone());
        let login = back::Login { user: user.name.clone(), how, whose: back::Whose::Posthouse };
        let visit = self.reach(backend, &target, protocol, header).await?;
        let settings =
            back::Settings { pipelining: backend.settings.pipelining, ..backend.starttls() };
        let machine = Back::new(protocol, settings, login);
        match log_in(visit, machine, backend, &target.backend).await {
            Ok(entered) => {
                entered.leave(protocol).await;
                Ok(())
            }
            Err(Refused { reason, detail, .. }) => Err((reason, detail)),
        }
    }

    /// Connects, and makes TLS where it comes first.
    pub(crate) async fn reach(
        &self,
        backend: &Backend,
        target: &Target,
        protocol: Protocol,
        header: Option<Vec<u8>>,
    ) -> Result<Visit, Trouble> {
        let (stream, address, name) = self.connect(backend, target, protocol).await?;
        if self.is_ourselves(&stream, address) {
            return Err((Reason::Loop, format!("{address} is one of our own listeners")));
        }
        let now = Instant::now();
        let mut visit = Visit {
            stream,
            address,
            name,
            greeting: now + self.deadlines.greeting,
            verdict: now + self.deadlines.verdict,
            greeted: false,
            deadlines: self.deadlines,
        };
        if let Some(header) = header {
            visit.send(&header).await?;
        }
        if backend.settings.tls == Tls::Implicit {
            visit.start_tls(backend).await?;
        }
        Ok(visit)
    }

    /// Whether we have connected to ourselves. A listener on all addresses is met at any address of this
    /// host, which shows in both ends of the connection having it.
    fn is_ourselves(&self, stream: &Stream, address: SocketAddr) -> bool {
        self.own.iter().filter(|own| own.port() == address.port()).any(|own| {
            let here = || stream.local_address().is_ok_and(|local| local.ip() == address.ip());
            own.ip() == address.ip() || (own.ip().is_unspecified() && here())
        })
    }
}

impl Backends {
    /// Connects to the first address that accepts. The certificate has to be for the host as it is
    /// configured, not for the address behind it.
    async fn connect(
        &self,
        backend: &Backend,
        target: &Target,
        protocol: Protocol,
    ) -> Result<(Stream, SocketAddr, ServerName<'static>), Trouble> {
        let port = target.port.unwrap_or_else(|| backend.settings.ports.of(protocol));
        let hosts = target.host.as_ref().map_or(&*backend.settings.hosts, std::slice::from_ref);
        let mut failure = ConnectFailure::NoAddress;
        for host in hosts {
            let sockets: Vec<_> = match host {
                Host::Ip(ip) => vec![SocketAddr::new(*ip, port)],
                Host::Name(name) => {
                    let known = self.names.addresses(name).await;
                    known.iter().map(|ip| SocketAddr::new(*ip, port)).collect()
                }
            };
            match transport::connect(sockets, &backend.sources, self.deadlines.connect).await {
                Ok((stream, address)) => return Ok((stream, address, server_name(host, address))),
                // Nothing tried says less than something that failed.
                Err(ConnectFailure::NoAddress) => {}
                Err(tried) => failure = tried,
            }
        }
        let reason = match failure {
            ConnectFailure::NoAddress => Reason::BackendName,
            ConnectFailure::NoLocalPort(..) => Reason::BackendNoPort,
            ConnectFailure::NoSocket(..) => Reason::LimitDescriptors,
            _ => Reason::BackendConnect,
        };
        Err((reason, failure.to_string()))
    }
}

impl Backend {
    /// What the machines have to know of TLS.
    pub(crate) fn starttls(&self) -> back::Settings {
        let tls = match self.settings.tls {
            Tls::Implicit | Tls::None => back::Tls::AsItIs,
            Tls::StartTls => back::Tls::StartTls,
        };
        back::Settings::new(tls)
    }
}

/// A connection to a back end before its verdict.
pub(crate) struct Visit {
    stream: Stream,
    address: SocketAddr,
    name: ServerName<'static>,
    greeting: Instant,
    verdict: Instant,
    greeted: bool,
    deadlines: Deadlines,
}

impl Visit {
    /// Goes on until the machine's next event. The whole greeting has a deadline of its own: until the
    /// machine has something to say or to ask, it is still being greeted.
    pub(crate) async fn converse<M: Machine>(
        &mut self,
        machine: &mut M,
    ) -> Result<M::Event, Trouble> {
        loop {
            match machine.step() {
                Step::Event(event) => {
                    self.greeted = true;
                    return Ok(event);
                }
                Step::Read => self.receive(machine).await?,
                Step::Write(bytes) => {
                    self.greeted = true;
                    self.send(&Zeroizing::new(bytes)).await?;
                }
            }
        }
    }

    async fn receive<M: Machine>(&mut self, machine: &mut M) -> Result<(), Trouble> {
        let received = self.stream.receive(|bytes| machine.receive(bytes));
        let until = if self.greeted { self.verdict } else { self.greeting };
        match timeout_at(until, received).await {
            Ok(Ok(Received::Bytes(_))) => Ok(()),
            Ok(Ok(Received::Closed)) => Err(self.lost(&Lost::Closed)),
            Ok(Err(error)) => Err(self.lost(&error.into())),
            Err(_) => Err(self.too_late()),
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        match timeout_at(self.verdict, self.stream.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.lost(&error.into())),
            Err(_) => Err(self.too_late()),
        }
    }

    fn too_late(&self) -> Trouble {
        let (reason, what, limit) = if self.greeted {
            (Reason::BackendVerdict, "answer", self.deadlines.verdict)
        } else {
            (Reason::BackendGreeting, "greeting", self.deadlines.greeting)
        };
        (reason, format!("{}: no {what} within {limit:?}", self.address))
    }

    /// Does the TLS handshake. Everything said before is forgotten by the machine.
    pub(crate) async fn start_tls(&mut self, backend: &Backend) -> Result<(), Trouble> {
        let Some(tls) = &backend.tls else {
            return Err((Reason::Internal, "TLS was not prepared".into()));
        };
        let handshake = self.stream.connect_tls(tls, self.name.clone());
        match timeout(self.deadlines.greeting, handshake).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.tls_failed(tls.hint(&error), &error)),
            Err(_) => {
                let limit = self.deadlines.greeting;
                Err((
                    Reason::BackendTls,
                    format!("{}: no handshake within {limit:?}", self.address),
                ))
            }
        }
    }

    /// The address, and the version of TLS.
    pub(crate) fn seen(&self) -> (SocketAddr, Option<&'static str>) {
        (self.address, self.stream.tls_version())
    }

    fn tls_failed(&self, hint: Option<&str>, error: &io::Error) -> Trouble {
        let hint = hint.map_or_else(String::new, |hint| format!(" ({hint})"));
        (Reason::BackendTls, format!("{}: {error}{hint}", self.address))
    }

    fn lost(&self, lost: &Lost) -> Trouble {
        if let Lost::Broken(error) = lost
            && let Some(hint) = transport::tls::certificate_refused(error)
        {
            return self.tls_failed(Some(hint), error);
        }
        (Reason::BackendLost, format!("{}: {lost}", self.address))
    }
}

/// The name that the certificate must be for: the configured name, not the address behind it.
fn server_name(host: &Host, address: SocketAddr) -> ServerName<'static> {
    let by_address = ServerName::IpAddress(address.ip().into());
    match host {
        Host::Ip(_) => by_address,
        Host::Name(name) => ServerName::try_from(name.to_string()).unwrap_or(by_address),
    }
}
