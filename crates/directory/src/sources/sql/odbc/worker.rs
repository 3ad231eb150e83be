//! A worker's process, and what is said to it and heard from it.
//!
//! Nothing here knows SQL, and nothing waits for ever that its caller gives up on: a worker that is dropped is killed,
//! whatever it is doing.

use std::{fmt, io, path::PathBuf, process::Stdio, time::Duration};

use proto::worker::{InvalidFrame, Open, Report, Request, body_length};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};
use zeroize::Zeroizing;

use super::one_line;
use crate::sources::CannotSay;

/// How long a worker that has hung up may take to be gone.
const PATIENCE: Duration = Duration::from_millis(200);

/// So much is read of what it said at last, in bytes.
const MOST_WORDS: u64 = 4096;

/// A worker.
pub(super) struct Worker {
    process: Child,
    input: ChildStdin,
    output: ChildStdout,
    /// The number of the question that was asked last.
    asked: u64,
    /// The frame that was heard last.
    body: Zeroizing<Vec<u8>>,
}

/// A worker is of no more use.
#[derive(Debug)]
pub(super) enum Lost {
    /// It hung up.
    Gone(io::Error),
    /// What it said is no frame.
    Invalid(InvalidFrame),
    /// What it said belongs to another question, or does not belong there.
    OutOfTurn,
    /// The question is too long for a frame.
    TooLong(InvalidFrame),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(error) => write!(f, "it has hung up: {error}"),
            Self::Invalid(invalid) => write!(f, "the worker sent {invalid}"),
            Self::OutOfTurn => f.write_str("the worker does not keep to what was agreed"),
            Self::TooLong(invalid) => write!(f, "the question makes {invalid}"),
        }
    }
}

impl Worker {
    /// Starts the first program that is there.
    pub(super) fn start(programs: &[PathBuf]) -> Result<Self, CannotSay> {
        let Some(program) = programs.iter().find(|program| program.is_file()) else {
            let places: Vec<_> = programs.iter().map(|place| place.display().to_string()).collect();
            let detail = format!("there is no worker at {}", places.join(" or "));
            return Err(CannotSay::unavailable(detail));
        };
        let started = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // What a terminal sends to us is not for it; it ends when we do.
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let cannot = |problem: &dyn fmt::Display| {
            CannotSay::unavailable(format_args!("{}: {problem}", program.display()))
        };
        let mut process = started.map_err(|error| cannot(&error))?;
        match (process.stdin.take(), process.stdout.take()) {
            (Some(input), Some(output)) => {
                Ok(Self { process, input, output, asked: 0, body: Zeroizing::default() })
            }
            _ => Err(cannot(&"it has no pipes")),
        }
    }

    /// Has it connect; what it says to that.
    pub(super) async fn open(&mut self, open: Open) -> Result<Report<'_>, Lost> {
        self.say(&Request::Open(open)).await?;
        self.hear().await
    }

    /// Asks it.
    pub(super) async fn ask(&mut self, values: Vec<String>) -> Result<(), Lost> {
        self.asked += 1;
        self.say(&Request::Ask { number: self.asked, values }).await
    }

    /// What it says next to the last question.
    pub(super) async fn hear(&mut self) -> Result<Report<'_>, Lost> {
        let mut head = [0; 4];
        self.output.read_exact(&mut head).await.map_err(Lost::Gone)?;
        let length = body_length(head).map_err(Lost::Invalid)?;
        self.body = Zeroizing::new(vec![0; length]);
        self.output.read_exact(&mut self.body).await.map_err(Lost::Gone)?;
        match Report::read(&self.body) {
            Ok((number, report)) if number == self.asked => Ok(report),
            Ok(_) => Err(Lost::OutOfTurn),
            Err(invalid) => Err(Lost::Invalid(invalid)),
        }
    }

    /// Why it is of no more use. Where it has hung up, how it ended; and where it never came to speak, the words of
    /// the loader, which misses a library.
    pub(super) async fn told(&mut self, lost: &Lost) -> String {
        if !matches!(lost, Lost::Gone(_)) {
            return lost.to_string();
        }
        let ended = timeout(PATIENCE, self.process.wait()).await;
        let how = match ended {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => lost.to_string(),
        };
        let mut words = Vec::new();
        if let Some(errors) = self.process.stderr.take() {
            let _ = timeout(PATIENCE, errors.take(MOST_WORDS).read_to_end(&mut words)).await;
        }
        let words = String::from_utf8_lossy(&words);
        let words = one_line(words.trim());
        let colon = if words.is_empty() { "" } else { ": " };
        format!("the worker has ended, {how}{colon}{words}")
    }

    async fn say(&mut self, request: &Request) -> Result<(), Lost> {
        let frame = request.frame().map_err(Lost::TooLong)?;
        self.input.write_all(&frame).await.map_err(Lost::Gone)
    }
}
