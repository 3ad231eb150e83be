//! An account on an IMAP server.
//!
//! Nothing here believes half a listing, takes a broken connection for an answer, or sends a secret before TLS
//! unless it is told to.

mod folders;
mod listing;
mod messages;
mod said;
mod tunnel;
mod wire;
mod words;

use std::{future::Future, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use model::{Host, Protocol, Reason};
use proto::{
    Machine,
    back::{self, Back, Login},
    imap::client::{self, Command, Extension, Status, UidSet},
};
use rustls_pki_types::ServerName;
use tokio::{net::lookup_host, time::timeout};
use transport::{Sources, Stream, converse, tls::ClientTls, usable_ports};

use self::{folders::Names, tunnel::Tunnel, wire::Wire};
use super::{Abilities, Append, Appended, Ask, Bodies, End, Fault, FaultKind, FlagChange, Session};
use crate::{MailboxPath, Overview, RawName, SpecialUse, Uid, snapshot::Listing};

/// How the connection is made private.
#[derive(Clone, Debug)]
pub enum Privacy {
    /// Not at all.
    Clear,
    /// By TLS from the first byte.
    Implicit(ClientTls),
    /// By STARTTLS.
    StartTls(ClientTls),
    /// By STARTTLS; not at all where the server does not offer it.
    StartTlsIfOffered(ClientTls),
}

/// Where a login comes from, anew for each connection: a token may have run out meanwhile.
pub trait Logins: Send + Sync {
    /// A login that is good now; or why there is none, without a secret.
    fn login(&self) -> Pin<Box<dyn Future<Output = Result<Login, String>> + Send + '_>>;
}

/// One that stays as it is.
impl Logins for Login {
    fn login(&self) -> Pin<Box<dyn Future<Output = Result<Login, String>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(self.clone())))
    }
}

/// Whose account, where, and how to get in.
#[derive(Clone)]
pub struct ImapSettings {
    /// What it is called in reports and by which it is remembered, such as `imaps://user@host`.
    pub name: String,
    /// How it is reached.
    pub way: ImapWay,
    /// Whether nothing is to be changed: mailboxes are opened by EXAMINE.
    pub read_only: bool,
    /// How long connecting, TLS and login may take, each. 30 s is what servers under load need.
    pub connect_limit: Duration,
    /// How long the server may be silent while it owes an answer. Servers that search or expunge large
    /// mailboxes take minutes.
    pub answer_limit: Duration,
    /// Capabilities that the server says it has and gets wrong.
    pub disbelieved: Vec<String>,
}

/// How an account is reached.
#[derive(Clone)]
pub enum ImapWay {
    /// By a command of the shell that speaks IMAP over its standard input and output, logged in already
    /// (PREAUTH, RFC 3501 section 7.1.4).
    Command(String),
    /// By a server.
    Server(ImapServer),
}

/// A server, and how to get in.
#[derive(Clone)]
pub struct ImapServer {
    /// The server.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// How the connection is made private.
    pub privacy: Privacy,
    /// With what to log in.
    pub logins: Arc<dyn Logins>,
}

/// An account on an IMAP server.
#[derive(Clone)]
pub struct ImapEnd {
    settings: Arc<ImapSettings>,
    sources: Arc<Sources>,
}

/// A connection to it.
pub struct ImapSession {
    wire: Wire,
    names: Names,
    read_only: bool,
    /// Which mailbox is selected.
    selected: Option<RawName>,
    /// Whether SELECT tells what has changed.
    resync: bool,
    /// Held, never read: the command that the connection leads to ends with it.
    _tunnel: Option<Tunnel>,
}

impl ImapEnd {
    /// An account that can be reached so.
    pub fn new(settings: ImapSettings) -> Self {
        let sources = Arc::new(Sources::new(Vec::new(), usable_ports()));
        Self { settings: Arc::new(settings), sources }
    }

    async fn addresses(&self, server: &ImapServer) -> Result<Vec<SocketAddr>, Fault> {
        let port = server.port;
        match &server.host {
            Host::Ip(ip) => Ok(vec![SocketAddr::new(*ip, port)]),
            Host::Name(name) => {
                let asked = timeout(self.settings.connect_limit, lookup_host((&**name, port)));
                let failed =
                    |error: &dyn std::fmt::Display| Fault::lost(format!("{name}: {error}"));
                match asked.await {
                    Ok(Ok(addresses)) => Ok(addresses.collect()),
                    Ok(Err(error)) => Err(failed(&error)),
                    Err(_) => Err(failed(&"the name servers do not answer")),
                }
            }
        }
    }

    async fn enter_server(&self, server: &ImapServer) -> Result<Wire, Fault> {
        let entered = match self.enter(server, &server.privacy).await {
            Err((_, true)) if matches!(server.privacy, Privacy::StartTlsIfOffered(_)) => {
                self.enter(server, &Privacy::Clear).await
            }
            entered => entered,
        };
        entered.map_err(|(fault, _)| fault)
    }

    /// Connects and logs in; says whether it failed because the server does not offer STARTTLS.
    async fn enter(&self, server: &ImapServer, privacy: &Privacy) -> Result<Wire, (Fault, bool)> {
        let settings = &*self.settings;
        let login = server.logins.login().await;
        let login = login.map_err(|why| (Fault::new(FaultKind::Access, why), false))?;
        let limit = settings.connect_limit;
        let addresses = self.addresses(server).await.map_err(|fault| (fault, false))?;
        let connected = transport::connect(addresses, &self.sources, limit).await;
        let connected = connected.map_err(|failure| (Fault::lost(failure.to_string()), false));
        let (mut stream, address) = connected?;
        let tls = match privacy {
            Privacy::Implicit(tls) => {
                let name = server_name(&server.host, address);
                shake_hands(&mut stream, tls, name, limit).await.map_err(|fault| (fault, false))?;
                back::Tls::AsItIs
            }
            Privacy::Clear => back::Tls::AsItIs,
            Privacy::StartTls(_) | Privacy::StartTlsIfOffered(_) => back::Tls::StartTls,
        };
        let mut machine = Back::new(Protocol::Imap, back::Settings::new(tls), login);
        loop {
            let event = timeout(limit, converse(&mut stream, &mut machine)).await;
            let silent = |_| (Fault::lost(format!("{address}: no answer to the login")), false);
            let event = event.map_err(silent)?;
            match event.map_err(|lost| (Fault::lost(format!("{address}: {lost}")), false))? {
                back::Event::Failed { reason, detail, .. } => {
                    let fault = Fault::new(meaning(reason), format!("{address}: {detail}"));
                    return Err((fault, reason == Reason::BackendStartTls));
                }
                back::Event::IdentityRefused { .. } => {}
                back::Event::LoggedIn(welcome) => {
                    let machine = into_client(welcome.capabilities, &machine.into_rest(), settings);
                    return Ok(Wire::new(stream, machine, settings.answer_limit));
                }
                back::Event::StartTls => {
                    let (Privacy::StartTls(tls) | Privacy::StartTlsIfOffered(tls)) = privacy else {
                        let said = "the login wants TLS where none was prepared";
                        return Err((Fault::new(FaultKind::Access, said), false));
                    };
                    let name = server_name(&server.host, address);
                    let shaken = shake_hands(&mut stream, tls, name, limit).await;
                    shaken.map_err(|fault| (fault, false))?;
                    machine.answer(back::Answer::TlsStarted);
                }
            }
        }
    }
}

fn into_client(
    capabilities: Option<Vec<String>>,
    rest: &[u8],
    settings: &ImapSettings,
) -> client::Client {
    let disbelieved = settings.disbelieved.clone();
    let wanted = client::Settings { disbelieved, ..client::Settings::default() };
    let mut machine = client::Client::new(capabilities, wanted);
    machine.receive(rest);
    machine
}

impl End for ImapEnd {
    type Session = ImapSession;

    fn name(&self) -> String {
        self.settings.name.clone()
    }

    async fn open(&self) -> Result<ImapSession, Fault> {
        let settings = &*self.settings;
        let (wire, tunnel) = match &settings.way {
            ImapWay::Command(command) => {
                let (wire, tunnel) = Tunnel::open(command, settings).await?;
                (wire, Some(tunnel))
            }
            ImapWay::Server(server) => (self.enter_server(server).await?, None),
        };
        let mut session = ImapSession {
            wire,
            names: Names::default(),
            read_only: settings.read_only,
            selected: None,
            resync: false,
            _tunnel: tunnel,
        };
        session.greet().await?;
        Ok(session)
    }
}

impl ImapSession {
    /// Learns what the server can do, and switches on what is of use.
    async fn greet(&mut self) -> Result<(), Fault> {
        if self.wire.capabilities().listed().is_empty() {
            self.wire.ask(Command::Capability, |_| {}).await?;
        }
        let capabilities = self.wire.capabilities();
        let resync = capabilities.has("QRESYNC");
        // iCloud tells no mod-sequences before, and whoever has CONDSTORE has ENABLE.
        let wanted = if resync { Extension::QResync } else { Extension::CondStore };
        if capabilities.has("ENABLE") && capabilities.has("CONDSTORE") {
            let verdict = self.wire.ask(Command::Enable(vec![wanted]), |_| {}).await?;
            self.resync = resync && verdict.status == Status::Ok;
        }
        Ok(())
    }
}

impl Session for ImapSession {
    fn abilities(&self) -> Abilities {
        let capabilities = self.wire.capabilities();
        Abilities {
            append_limit: capabilities.append_limit(),
            batch: if capabilities.has("MULTIAPPEND") { 128 } else { 1 },
            uidplus: capabilities.has("UIDPLUS"),
            moves: capabilities.has("MOVE"),
        }
    }

    async fn overview(&mut self) -> Result<Overview, Fault> {
        self.all_folders().await
    }

    async fn list(&mut self, mailbox: &RawName, ask: Ask) -> Result<Listing, Fault> {
        self.list_messages(mailbox, ask).await
    }

    async fn search(&mut self, mailbox: &RawName, expression: &str) -> Result<Vec<Uid>, Fault> {
        self.find(mailbox, expression).await
    }

    async fn read(
        &mut self,
        mailbox: &RawName,
        uids: &[Uid],
        bodies: &mut Bodies,
    ) -> Result<(), Fault> {
        self.read_messages(mailbox, uids, bodies).await
    }

    async fn append(
        &mut self,
        mailbox: &RawName,
        batch: &[Append],
    ) -> Result<Vec<Appended>, Fault> {
        self.append_messages(mailbox, batch).await
    }

    async fn store(
        &mut self,
        mailbox: &RawName,
        uids: &[Uid],
        change: &FlagChange,
    ) -> Result<(), Fault> {
        self.change_flags(mailbox, &uid_set(uids), change).await
    }

    async fn create(
        &mut self,
        path: &MailboxPath,
        special_use: Option<SpecialUse>,
    ) -> Result<RawName, Fault> {
        self.create_folder(path, special_use).await
    }

    async fn subscribe(&mut self, mailbox: &RawName) -> Result<(), Fault> {
        self.wire.succeed(Command::Subscribe(words::name(mailbox))).await
    }

    async fn relocate(
        &mut self,
        mailbox: &RawName,
        uids: &[Uid],
        to: &RawName,
    ) -> Result<(), Fault> {
        self.move_messages(mailbox, &uid_set(uids), to).await
    }

    async fn expunge(&mut self, mailbox: &RawName, uids: &[Uid]) -> Result<(), Fault> {
        self.remove_messages(mailbox, &uid_set(uids)).await
    }

    async fn close(self) {
        self.wire.leave().await;
    }
}

fn uid_set(uids: &[Uid]) -> UidSet {
    uids.iter().map(|uid| uid.get()).collect()
}

fn server_name(host: &Host, address: SocketAddr) -> ServerName<'static> {
    let by_address = ServerName::IpAddress(address.ip().into());
    match host {
        Host::Ip(_) => by_address,
        Host::Name(name) => ServerName::try_from(name.to_string()).unwrap_or(by_address),
    }
}

async fn shake_hands(
    stream: &mut Stream,
    tls: &ClientTls,
    name: ServerName<'static>,
    limit: Duration,
) -> Result<(), Fault> {
    match timeout(limit, stream.connect_tls(tls, name)).await {
        Ok(Ok(())) => Ok(()),
        Err(_) => Err(Fault::lost(format!("no TLS handshake within {limit:?}"))),
        Ok(Err(error)) => {
            // What the TLS library says, and not the kernel, as of a certificate, is so the next time too.
            let refused = error.kind() == std::io::ErrorKind::Other;
            let kind = if refused { FaultKind::Tls } else { FaultKind::Lost };
            Err(Fault::new(kind, format!("no TLS: {error}")))
        }
    }
}

/// What it means for a job that the server did not let the user in.
fn meaning(reason: Reason) -> FaultKind {
    match reason {
        Reason::MailboxInUse
        | Reason::UserLimit
        | Reason::LoginDelay
        | Reason::BackendUnavailable => FaultKind::Busy(None),
        Reason::BackendBye | Reason::BackendLost | Reason::BackendGreeting => FaultKind::Lost,
        Reason::BackendStartTls => FaultKind::Tls,
        _ => FaultKind::Access,
    }
}
