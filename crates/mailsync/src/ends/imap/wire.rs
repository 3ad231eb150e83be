//! One connection: sends commands, and waits for what the server says to them.
//!
//! Nothing here knows what a command is for.

use std::{future::Future, time::Duration};

use proto::{
    Machine, Step,
    imap::client::{
        Answer, Capabilities, Client, Command, CommandId, Event, Status, Untagged, Verdict,
    },
};
use tokio::time::timeout;
use transport::{Received, Stream};

use super::{super::Fault, said};

/// How long a goodbye may take.
const LEAVE: Duration = Duration::from_secs(2);

pub(super) struct Wire {
    stream: Stream,
    client: Client,
    limit: Duration,
}

/// What comes next.
pub(super) enum Came {
    /// The server has said something, or a command has come to its end.
    Event(Event),
    /// Nothing can go on before more bytes of a message are given, or the server says more.
    Waiting,
}

impl Wire {
    pub(super) fn new(stream: Stream, client: Client, limit: Duration) -> Self {
        Self { stream, client, limit }
    }

    pub(super) fn capabilities(&self) -> &Capabilities {
        self.client.capabilities()
    }

    pub(super) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    pub(super) fn send(&mut self, command: &Command) -> CommandId {
        self.client.send(command)
    }

    /// The next event. Waits for it.
    pub(super) async fn event(&mut self) -> Result<Event, Fault> {
        loop {
            match self.step().await? {
                Came::Event(event) => return Ok(event),
                Came::Waiting => self.receive().await?,
            }
        }
    }

    /// Sends what is to be sent, up to the next event.
    pub(super) async fn step(&mut self) -> Result<Came, Fault> {
        loop {
            match self.client.step() {
                Step::Event(Event::Failed(fault)) => return Err(Fault::lost(fault.to_string())),
                Step::Event(Event::Untagged(Untagged::Bye(words))) => {
                    return Err(said::goodbye(&words));
                }
                Step::Event(event) => return Ok(Came::Event(event)),
                Step::Read => return Ok(Came::Waiting),
                Step::Write(bytes) => {
                    within(self.limit, self.stream.write_all(&bytes)).await?;
                }
            }
        }
    }

    /// Waits for more bytes of the server.
    pub(super) async fn receive(&mut self) -> Result<(), Fault> {
        let client = &mut self.client;
        let received = self.stream.receive_much(|bytes| client.receive(bytes));
        match within(self.limit, received).await? {
            Received::Bytes(_) => Ok(()),
            Received::Closed => Err(Fault::lost("the server has closed the connection")),
        }
    }

    /// Gives more bytes of the message that is wanted.
    pub(super) fn give(&mut self, bytes: Vec<u8>) {
        self.client.answer(Answer::Piece(bytes));
    }

    /// Does a command, and shows what the server says meanwhile.
    pub(super) async fn ask(
        &mut self,
        command: Command,
        each: impl FnMut(Event),
    ) -> Result<Verdict, Fault> {
        let id = self.send(&command);
        self.finish(id, each).await
    }

    /// Does a command that has to succeed.
    pub(super) async fn succeed(&mut self, command: Command) -> Result<(), Fault> {
        let verdict = self.ask(command, |_| {}).await?;
        said::check(&verdict)
    }

    /// Waits for a command's end.
    pub(super) async fn finish(
        &mut self,
        id: CommandId,
        mut each: impl FnMut(Event),
    ) -> Result<Verdict, Fault> {
        loop {
            match self.event().await? {
                Event::Done { command, verdict } if command == id => return Ok(verdict),
                event => each(event),
            }
        }
    }

    /// Says goodbye. The server may be gone already; whatever happens, it is over.
    pub(super) async fn leave(mut self) {
        self.client.send(&Command::Logout);
        let said = async {
            while let Step::Write(bytes) = self.client.step() {
                self.stream.write_all(&bytes).await?;
            }
            Ok::<(), std::io::Error>(())
        };
        let _ = timeout(LEAVE, said).await;
        self.stream.close_and_drain(LEAVE).await;
    }
}

async fn within<T>(
    limit: Duration,
    act: impl Future<Output = std::io::Result<T>>,
) -> Result<T, Fault> {
    match timeout(limit, act).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Fault::lost(error.to_string())),
        Err(_) => Err(Fault::lost(format!("the server has said nothing for {limit:?}"))),
    }
}

/// Whether a command has succeeded.
pub(super) fn is_ok(verdict: &Verdict) -> bool {
    verdict.status == Status::Ok
}
