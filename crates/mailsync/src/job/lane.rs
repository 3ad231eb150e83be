//! A connection to each end, opened when it is needed and again after it was lost.
//!
//! Nothing here tries a command again: who asked decides.

use std::collections::BTreeMap;

use tokio::join;

use crate::{
    BodyHash, End, Fault, FaultKind, Limits, MailboxPath, Overview, RawName, Session, SpecialUse,
    StateError, Uid,
    ends::{Abilities, Ask, Bodies, FlagChange, Room, Which},
    sides::{Both, Side},
    snapshot::Listing,
};

/// Why work on a mailbox stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// An end.
    End(Side, Fault),
    /// Our own memory.
    State(StateError),
}

impl From<StateError> for Stop {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

/// An end, and a connection to it if one is open.
pub(crate) struct Link<'e, E: End> {
    end: &'e E,
    session: Option<E::Session>,
}

impl<'e, E: End> Link<'e, E> {
    pub(crate) fn new(end: &'e E) -> Self {
        Self { end, session: None }
    }

    pub(crate) async fn session(&mut self) -> Result<&mut E::Session, Fault> {
        if self.session.is_none() {
            self.session = Some(self.end.open().await?);
        }
        self.session.as_mut().ok_or_else(|| Fault::lost("no connection"))
    }

    /// Lets go of a connection that is of no more use.
    pub(crate) fn keep<T>(&mut self, done: Result<T, Fault>) -> Result<T, Fault> {
        if done.as_ref().is_err_and(|fault| fault.kind == FaultKind::Lost) {
            self.session = None;
        }
        done
    }

    async fn overview(&mut self) -> Result<Overview, Fault> {
        let done = self.session().await?.overview().await;
        self.keep(done)
    }

    async fn list(&mut self, mailbox: &RawName, ask: Ask) -> Result<Listing, Fault> {
        let done = self.session().await?.list(mailbox, ask).await;
        self.keep(done)
    }

    async fn hashes(
        &mut self,
        mailbox: &RawName,
        uids: &[Uid],
        limits: &Limits,
    ) -> Result<BTreeMap<Uid, BodyHash>, Fault> {
        let done = hashes(self.session().await?, mailbox, uids, limits).await;
        self.keep(done)
    }

    async fn store(
        &mut self,
        mailbox: &RawName,
        uids: &[Uid],
        change: &FlagChange,
    ) -> Result<(), Fault> {
        let done = self.session().await?.store(mailbox, uids, change).await;
        self.keep(done)
    }

    async fn create(
        &mut self,
        path: &MailboxPath,
        special_use: Option<SpecialUse>,
    ) -> Result<RawName, Fault> {
        let done = self.session().await?.create(path, special_use).await;
        self.keep(done)
    }

    async fn subscribe(&mut self, mailbox: &RawName) -> Result<(), Fault> {
        let done = self.session().await?.subscribe(mailbox).await;
        self.keep(done)
    }

    async fn relocate(
        &mut self,
        mailbox: &RawName,
        uids: &[Uid],
        to: &RawName,
    ) -> Result<(), Fault> {
        let done = self.session().await?.relocate(mailbox, uids, to).await;
        self.keep(done)
    }

    async fn expunge(&mut self, mailbox: &RawName, uids: &[Uid]) -> Result<(), Fault> {
        let done = self.session().await?.expunge(mailbox, uids).await;
        self.keep(done)
    }

    async fn close(self) {
        if let Some(session) = self.session {
            session.close().await;
        }
    }
}

/// A connection to each end.
pub(crate) struct Lane<'e, L: End, R: End> {
    pub(crate) left: Link<'e, L>,
    pub(crate) right: Link<'e, R>,
}

/// Asks the end on a side, and says whose fault a fault is.
macro_rules! on {
    ($lane:ident, $side:expr, $link:ident => $asked:expr) => {{
        let side = $side;
        let done = match side {
            Side::Left => {
                let $link = &mut $lane.left;
                $asked
            }
            Side::Right => {
                let $link = &mut $lane.right;
                $asked
            }
        };
        done.map_err(|fault| Stop::End(side, fault))
    }};
}

impl<'e, L: End, R: End> Lane<'e, L, R> {
    pub(crate) fn new(left: &'e L, right: &'e R) -> Self {
        Self { left: Link::new(left), right: Link::new(right) }
    }

    /// Connects to both ends; says whether they let it. Many have a limit of connections.
    pub(crate) async fn can_open(&mut self) -> bool {
        let (left, right) = join!(self.left.session(), self.right.session());
        left.is_ok() && right.is_ok()
    }

    /// Looks at both ends at a time.
    pub(crate) async fn overviews(&mut self) -> Result<Both<Overview>, Stop> {
        let (left, right) = join!(self.left.overview(), self.right.overview());
        let left = left.map_err(|fault| Stop::End(Side::Left, fault))?;
        let right = right.map_err(|fault| Stop::End(Side::Right, fault))?;
        Ok(Both { left, right })
    }

    /// Lists a mailbox of both ends at a time.
    pub(crate) async fn lists(
        &mut self,
        mailbox: &Both<RawName>,
        ask: Both<Ask>,
    ) -> Result<Both<Listing>, Stop> {
        let (left, right) = join!(
            self.left.list(&mailbox.left, ask.left),
            self.right.list(&mailbox.right, ask.right)
        );
        let left = left.map_err(|fault| Stop::End(Side::Left, fault))?;
        let right = right.map_err(|fault| Stop::End(Side::Right, fault))?;
        Ok(Both { left, right })
    }

    pub(crate) async fn abilities(&mut self, side: Side) -> Result<Abilities, Stop> {
        on!(self, side, link => link.session().await.map(|session| session.abilities()))
    }

    pub(crate) async fn list(
        &mut self,
        side: Side,
        mailbox: &RawName,
        ask: Ask,
    ) -> Result<Listing, Stop> {
        on!(self, side, link => link.list(mailbox, ask).await)
    }

    /// Searches on the left, where selections are made.
    pub(crate) async fn search(
        &mut self,
        mailbox: &RawName,
        expression: &str,
    ) -> Result<Vec<Uid>, Stop> {
        let link = &mut self.left;
        let done = match link.session().await {
            Ok(session) => session.search(mailbox, expression).await,
            Err(fault) => Err(fault),
        };
        link.keep(done).map_err(|fault| Stop::End(Side::Left, fault))
    }

    /// Reads messages only to know what they are.
    pub(crate) async fn hashes(
        &mut self,
        side: Side,
        mailbox: &RawName,
        uids: &[Uid],
        limits: &Limits,
    ) -> Result<BTreeMap<Uid, BodyHash>, Stop> {
        on!(self, side, link => link.hashes(mailbox, uids, limits).await)
    }

    /// Lists a mailbox by another connection: some servers give short lists on a bad day, and seldom the
    /// same one twice.
    pub(crate) async fn list_anew(
        &mut self,
        side: Side,
        mailbox: &RawName,
    ) -> Result<Listing, Stop> {
        on!(self, side, link => {
            let mut second = Link::new(link.end);
            let ask = Ask { which: Which::All, fingerprints: false };
            let listing = second.list(mailbox, ask).await;
            second.close().await;
            listing
        })
    }

    pub(crate) async fn store(
        &mut self,
        side: Side,
        mailbox: &RawName,
        uids: &[Uid],
        change: &FlagChange,
    ) -> Result<(), Stop> {
        on!(self, side, link => link.store(mailbox, uids, change).await)
    }

    pub(crate) async fn create(
        &mut self,
        side: Side,
        path: &MailboxPath,
        special_use: Option<SpecialUse>,
    ) -> Result<RawName, Stop> {
        on!(self, side, link => link.create(path, special_use).await)
    }

    pub(crate) async fn subscribe(&mut self, side: Side, mailbox: &RawName) -> Result<(), Stop> {
        on!(self, side, link => link.subscribe(mailbox).await)
    }

    pub(crate) async fn relocate(
        &mut self,
        side: Side,
        mailbox: &RawName,
        uids: &[Uid],
        to: &RawName,
    ) -> Result<(), Stop> {
        on!(self, side, link => link.relocate(mailbox, uids, to).await)
    }

    pub(crate) async fn expunge(
        &mut self,
        side: Side,
        mailbox: &RawName,
        uids: &[Uid],
    ) -> Result<(), Stop> {
        on!(self, side, link => link.expunge(mailbox, uids).await)
    }

    pub(crate) async fn close(self) {
        join!(self.left.close(), self.right.close());
    }
}

/// Reads messages only to know what they are.
pub(crate) async fn hashes<S: Session>(
    session: &mut S,
    mailbox: &RawName,
    uids: &[Uid],
    limits: &Limits,
) -> Result<BTreeMap<Uid, BodyHash>, Fault> {
    let (mut bodies, mut ready) = Bodies::new(Room::new(limits.memory, &limits.spill));
    let reading = async {
        let read = session.read(mailbox, uids, &mut bodies).await;
        drop(bodies);
        read
    };
    let hashing = async {
        let mut hashes = BTreeMap::new();
        while let Some(body) = ready.recv().await {
            hashes.insert(body.uid, body.hash);
        }
        hashes
    };
    let (read, hashes) = join!(reading, hashing);
    read.map(|()| hashes)
}
