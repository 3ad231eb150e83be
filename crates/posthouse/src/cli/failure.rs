//! How a failure is said, and with which exit status the program ends.

use std::{
    env,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use admin::{LockError, Refused, StateError};
use web::client::CallError;

use crate::{app, config::Unusable};

/// Why a command was not done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The configuration is wrong.
    Configuration(Unusable),
    /// The reader of our output went away, which is his right.
    NobodyReads,
    /// Something else, in a sentence.
    Other(String),
    /// The command line contradicts itself.
    Usage(String),
}

impl Failure {
    /// A failure in a sentence: what, where, and what to do.
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self::Other(sentence.into())
    }

    /// Says it on standard error.
    pub(crate) fn tell(self) -> ExitCode {
        let (sentence, status) = match self {
            Self::NobodyReads => return ExitCode::SUCCESS,
            Self::Configuration(unusable) => {
                if let Unusable::Mistaken(mistakes) = &unusable {
                    say(&format!("{}\n\n", mistakes.render(wants_colour())));
                }
                (unusable.to_string(), 2)
            }
            Self::Other(sentence) => (sentence, 1),
            Self::Usage(sentence) => (sentence, 2),
        };
        say(&format!("posthouse: {sentence}\n"));
        ExitCode::from(status)
    }
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
            _ => Self::Other(format!("the output cannot be written: {error}")),
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match &error {
            CallError::Socket { problem, .. }
                if problem.kind() == io::ErrorKind::PermissionDenied =>
            {
                Self::Other(format!("{error}; run this as root, or as the user that serves"))
            }
            _ => Self::Other(error.to_string()),
        }
    }
}

/// Errors that say all there is to say.
macro_rules! told_by_themselves {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::Other(error.to_string())
            }
        })*
    };
}

told_by_themselves!(
    app::control::ControlError,
    app::process::ProcessError,
    backends::StartError,
    directory::InvalidRules,
    directory::OpenError,
    directory::StoreError,
    LockError,
    proxy::BindError,
    Refused,
    StateError,
    transport::tls::TlsFileError,
);
