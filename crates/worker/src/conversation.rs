//! Requests as they come in, and answers as they go out.
//!
//! Nothing here waits for a driver: requests are read by a thread of their own, so that the end of Posthouse is seen
//! while a driver hangs.

#[cfg(test)]
mod tests;

use std::{
    io::{self, Read, Write},
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

use proto::worker::{Failure, InvalidFrame, LONGEST_NAME, Open, Report, Request, body_length};
use zeroize::Zeroizing;

/// A conversation with Posthouse.
pub struct Conversation<W> {
    requests: Receiver<Result<Request, InvalidFrame>>,
    output: W,
}

/// A question.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Question {
    number: u64,
    /// What stands for the statement's parameters, in order.
    pub values: Vec<String>,
}

/// An answer that is being made: columns, then rows.
#[derive(Debug)]
pub struct Answer {
    number: u64,
    frames: Zeroizing<Vec<u8>>,
}

/// Why something could not be done.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Failed {
    /// Its SQLSTATE; empty where there is none.
    pub state: String,
    /// The driver's words, or ours.
    pub text: String,
}

impl Failed {
    /// A failure that no driver told of.
    pub fn here(text: impl Into<String>) -> Self {
        Self { state: String::new(), text: text.into() }
    }

    fn frame(&self, number: u64) -> Result<Zeroizing<Vec<u8>>, InvalidFrame> {
        let failure = Failure { state: within(&self.state), text: within(&self.text) };
        Report::Failed(failure).frame(number)
    }
}

impl From<InvalidFrame> for Failed {
    fn from(invalid: InvalidFrame) -> Self {
        Self::here(format!("the answer makes {invalid}"))
    }
}

/// As much of a text as a name may have.
fn within(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LONGEST_NAME)).unwrap_or_default()
}

impl Question {
    /// An answer to it, with nothing in it.
    pub fn answer(&self) -> Answer {
        Answer { number: self.number, frames: Zeroizing::new(Vec::new()) }
    }
}

impl Answer {
    /// Adds what is said next.
    ///
    /// # Errors
    /// [`Failed`] if it is more than may be said.
    pub fn add(&mut self, report: &Report<'_>) -> Result<(), Failed> {
        let frame = report.frame(self.number)?;
        // Growing would leave the old bytes where they were.
        let mut frames = Zeroizing::new(Vec::with_capacity(self.frames.len() + frame.len()));
        frames.extend_from_slice(&self.frames);
        frames.extend_from_slice(&frame);
        self.frames = frames;
        Ok(())
    }
}

impl<W: Write> Conversation<W> {
    /// Begins to listen. When Posthouse hangs up, `ended` is called, whatever a driver is doing then.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn begin(
        mut input: impl Read + Send + 'static,
        output: W,
        ended: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        // A question comes only after the answer to the last one.
        let (received, requests) = sync_channel(1);
        thread::Builder::new().name("requests".to_owned()).spawn(move || {
            while let Ok(body) = body(&mut input) {
                let request = body.and_then(|body| Request::read(&body));
                let valid = request.is_ok();
                if received.send(request).is_err() || !valid {
                    return;
                }
            }
            ended();
        })?;
        Ok(Self { requests, output })
    }

    /// What to connect to.
    ///
    /// # Errors
    /// When nothing comes, or something else first.
    pub fn open(&mut self) -> io::Result<Open> {
        match self.requests.recv() {
            Ok(Ok(Request::Open(open))) => Ok(open),
            Ok(Ok(Request::Ask { .. })) => Err(out_of_turn()),
            Ok(Err(InvalidFrame::Version(_))) => {
                let text = "this worker belongs to another version of Posthouse";
                self.refuse(&Failed::here(text))?;
                Err(out_of_turn())
            }
            Ok(Err(invalid)) => Err(io::Error::new(io::ErrorKind::InvalidData, invalid)),
            Err(gone) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, gone)),
        }
    }

    /// Says that it is connected.
    ///
    /// # Errors
    /// When Posthouse is gone.
    pub fn opened(&mut self) -> io::Result<()> {
        self.say(&Report::Opened.frame(0).map_err(io::Error::other)?)
    }

    /// Says why it is not.
    ///
    /// # Errors
    /// When Posthouse is gone.
    pub fn refuse(&mut self, failed: &Failed) -> io::Result<()> {
        self.say(&failed.frame(0).map_err(io::Error::other)?)
    }

    /// The next question.
    ///
    /// # Errors
    /// When none comes any more, or something else.
    pub fn next_question(&mut self) -> io::Result<Question> {
        match self.requests.recv() {
            Ok(Ok(Request::Ask { number, values })) => Ok(Question { number, values }),
            Ok(Ok(Request::Open(_))) => Err(out_of_turn()),
            Ok(Err(invalid)) => Err(io::Error::new(io::ErrorKind::InvalidData, invalid)),
            Err(gone) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, gone)),
        }
    }

    /// Answers it.
    ///
    /// # Errors
    /// When Posthouse is gone.
    pub fn answer(
        &mut self,
        question: &Question,
        answered: Result<Answer, Failed>,
    ) -> io::Result<()> {
        let end = Report::End.frame(question.number).map_err(io::Error::other)?;
        match answered {
            Ok(answer) => {
                self.output.write_all(&answer.frames)?;
                self.say(&end)
            }
            Err(failed) => {
                let frame = failed.frame(question.number).map_err(io::Error::other)?;
                self.say(&frame)
            }
        }
    }

    fn say(&mut self, frame: &[u8]) -> io::Result<()> {
        self.output.write_all(frame)?;
        self.output.flush()
    }
}

fn out_of_turn() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a request out of its turn")
}

/// The body of the next frame.
fn body(input: &mut impl Read) -> io::Result<Result<Zeroizing<Vec<u8>>, InvalidFrame>> {
    let mut head = [0; 4];
    input.read_exact(&mut head)?;
    let length = match body_length(head) {
        Ok(length) => length,
        Err(invalid) => return Ok(Err(invalid)),
    };
    let mut body = Zeroizing::new(vec![0; length]);
    input.read_exact(&mut body)?;
    Ok(Ok(body))
}
