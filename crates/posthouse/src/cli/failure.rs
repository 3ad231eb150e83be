//! How a failure is said, and with which exit status the program ends.

use std::{
    env,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use admin::{LockError, Refused, StateError};
use serde::Serialize;
use serde_json::json;
use web::client::CallError;

use crate::{
    app,
    config::{ToldMistake, Unusable},
};

/// Why a command was not done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The configuration is wrong.
    Configuration(Unusable),
    /// What is to be said was said; this is the status to end with.
    Ended(u8),
    /// The reader of our output went away, which is his right.
    NobodyReads,
    /// Something else: a word for programs and a sentence for people.
    Other { word: &'static str, sentence: String },
    /// The command line contradicts itself.
    Usage(String),
}

impl Failure {
    /// A failure in a sentence: what, where, and what to do.
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self::Other { word: "failed", sentence: sentence.into() }
    }

    /// Says it on standard error, for people or (as one line of JSON) for programs.
    pub(crate) fn tell(self, json: bool) -> ExitCode {
        let (word, sentence, status) = match &self {
            Self::Ended(status) => return ExitCode::from(*status),
            Self::NobodyReads => return ExitCode::SUCCESS,
            Self::Configuration(unusable) => ("configuration", unusable.to_string(), 2),
            Self::Other { word, sentence } => (*word, sentence.clone(), 1),
            Self::Usage(sentence) => ("usage", sentence.clone(), 2),
        };
        let mistakes = match &self {
            Self::Configuration(Unusable::Mistaken(mistakes)) => Some(mistakes),
            _ => None,
        };
        if json {
            let mistakes = mistakes.map(|mistakes| mistakes.list().collect());
            let error = Told { word, message: sentence, mistakes };
            say(&format!("{}\n", json!({ "error": error })));
            return ExitCode::from(status);
        }
        if let Some(mistakes) = mistakes {
            say(&format!("{}\n\n", mistakes.render(wants_colour())));
        }
        say(&format!("posthouse: {sentence}\n"));
        ExitCode::from(status)
    }
}

/// A failure as programs read it; the same shape as a refusal of the API.
#[derive(Serialize)]
struct Told<'m> {
    word: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mistakes: Option<Vec<ToldMistake<'m>>>,
}

/// Writes to standard error; should nobody read it, there is nobody to tell.
pub(super) fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Whether standard error is a screen, and its reader likes colours (no-color.org).
pub(super) fn wants_colour() -> bool {
    io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

impl From<Unusable> for Failure {
    fn from(unusable: Unusable) -> Self {
        Self::Configuration(unusable)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::NobodyReads,
            _ => Self::new(format!("the output cannot be written: {error}")),
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let sentence = error.to_string();
        let (word, sentence) = match &error {
            CallError::Broken(_) => ("broken", sentence),
            CallError::NotRunning(_) => ("not-running", sentence),
            CallError::Refused(refused) => (refused.why.word(), sentence),
            CallError::Socket { problem, .. } => match problem.kind() {
                io::ErrorKind::PermissionDenied => (
                    "forbidden",
                    format!("{sentence}; run this as root, or as the user that serves"),
                ),
                _ => ("failed", sentence),
            },
        };
        Self::Other { word, sentence }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Other { word: refused.why.word(), sentence: refused.message }
    }
}

/// Errors that say all there is to say.
macro_rules! told_by_themselves {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new(error.to_string())
            }
        })*
    };
}

told_by_themselves!(
    answer::BindError,
    app::control::ControlError,
    app::process::ProcessError,
    backends::StartError,
    directory::InvalidRules,
    directory::OpenError,
    directory::StoreError,
    LockError,
    proxy::BindError,
    StateError,
    transport::tls::TlsFileError,
);
