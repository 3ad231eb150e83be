//! A server that plays a dialogue with whoever connects.
//! Nothing here decides what is said.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tempfile::TempDir;

use super::ScriptError;
use super::player::{Outcome, Tls, play};
use super::script::{Step, parse};
use crate::certs::{self, KeyKind};
use crate::wire::{STEP_DEADLINE, Wire, server_config};
use crate::{wait, workspace};

/// How long [`ScriptedServer::finish`] waits for connections that are still playing.
const FINISH_DEADLINE: Duration = Duration::from_secs(10);

/// What the threads of one server share.
struct Stage {
    dialogues: Vec<Vec<Step>>,
    /// One dialogue for every connection, instead of one each.
    repeats: bool,
    tls: Tls,
    stopped: AtomicBool,
    accepted: AtomicUsize,
    playing: AtomicUsize,
    played: AtomicUsize,
    failures: Mutex<Vec<ScriptError>>,
}

/// A server on a loopback port that plays a dialogue.
pub struct ScriptedServer {
    address: SocketAddr,
    stage: Arc<Stage>,
    acceptor: Option<JoinHandle<()>>,
    certificates: TempDir,
}

impl ScriptedServer {
    /// Plays `dialogue` with everybody who connects. Connections closed before a byte was sent do not count.
    ///
    /// # Errors
    /// When the dialogue has a line that is no step, or no socket is to be had.
    pub fn start(dialogue: &str) -> Result<Self, ScriptError> {
        Self::start_with(&[dialogue], true)
    }

    /// Plays the first dialogue with the first who connects, and so on; further connections are failures.
    ///
    /// # Errors
    /// As [`ScriptedServer::start`].
    pub fn start_each(dialogues: &[&str]) -> Result<Self, ScriptError> {
        Self::start_with(dialogues, false)
    }

    fn start_with(dialogues: &[&str], repeats: bool) -> Result<Self, ScriptError> {
        let dialogues = dialogues.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
        let (certificates, tls) = tls_settings().map_err(|what| ScriptError::new(0, what))?;
        let no_socket = |error: std::io::Error| ScriptError::new(0, error.to_string());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(no_socket)?;
        let address = listener.local_addr().map_err(no_socket)?;
        let stage = Arc::new(Stage {
            dialogues,
            repeats,
            tls,
            stopped: AtomicBool::new(false),
            accepted: AtomicUsize::new(0),
            playing: AtomicUsize::new(0),
            played: AtomicUsize::new(0),
            failures: Mutex::default(),
        });
        let acceptor = thread::spawn({
            let stage = Arc::clone(&stage);
            move || accept_all(&listener, &stage)
        });
        Ok(Self { address, stage, acceptor: Some(acceptor), certificates })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port it listens on, at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// PEM file of the authority behind its certificate, which is for loopback.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.certificates.path().join("ca.pem")
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.stage.accepted.load(Ordering::SeqCst)
    }

    /// Waits until dialogues were played as expected (every connection's; all of them after `start_each`), and ends.
    ///
    /// # Errors
    /// The first place where a connection left its dialogue; or that nobody came.
    pub fn finish(mut self) -> Result<(), ScriptError> {
        let stage = Arc::clone(&self.stage);
        let wanted = if stage.repeats { 1 } else { stage.dialogues.len() };
        let failed =
            || stage.failures.lock().unwrap_or_else(PoisonError::into_inner).first().cloned();
        wait::until(STEP_DEADLINE, || {
            stage.played.load(Ordering::SeqCst) >= wanted || failed().is_some()
        });
        let idle = wait::until(FINISH_DEADLINE, || stage.playing.load(Ordering::SeqCst) == 0);
        self.stop();
        let played = stage.played.load(Ordering::SeqCst);
        match failed() {
            Some(failure) => Err(failure),
            None if !idle => Err(ScriptError::new(0, "a connection is still open")),
            None if played < wanted => {
                let what = format!("{played} of {wanted} dialogues were played");
                Err(ScriptError::new(0, what))
            }
            None => Ok(()),
        }
    }

    fn stop(&mut self) {
        self.stage.stopped.store(true, Ordering::SeqCst);
        if let Some(acceptor) = self.acceptor.take() {
            // Wakes the acceptor, which then sees that it is to stop.
            if TcpStream::connect(self.address).is_ok() {
                let _ = acceptor.join();
            }
        }
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn tls_settings() -> Result<(TempDir, Tls), String> {
    let folder = workspace::temporary_folder("script").map_err(|error| error.to_string())?;
    let files =
        certs::write_into(folder.path(), &[], KeyKind::Ecdsa).map_err(|error| error.to_string())?;
    let config = server_config(&files.cert, &files.key).map_err(|error| error.to_string())?;
    Ok((folder, Tls::Server(config)))
}

fn accept_all(listener: &TcpListener, stage: &Arc<Stage>) {
    while let Ok((tcp, _)) = listener.accept() {
        if stage.stopped.load(Ordering::SeqCst) {
            return;
        }
        let number = stage.accepted.fetch_add(1, Ordering::SeqCst);
        stage.playing.fetch_add(1, Ordering::SeqCst);
        let stage = Arc::clone(stage);
        thread::spawn(move || {
            serve(tcp, number, &stage);
            stage.playing.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

fn serve(tcp: TcpStream, number: usize, stage: &Stage) {
    let dialogue = stage.dialogues.get(if stage.repeats { 0 } else { number });
    let outcome = match (dialogue, Wire::over(tcp)) {
        (Some(steps), Ok(wire)) => play(wire, &stage.tls, steps),
        (None, _) => {
            let what = format!("connection {} has no dialogue", number + 1);
            Outcome::Failed(ScriptError::new(0, what))
        }
        (_, Err(error)) => Outcome::Failed(ScriptError::new(0, error.to_string())),
    };
    let failure = match outcome {
        Outcome::Played => {
            stage.played.fetch_add(1, Ordering::SeqCst);
            return;
        }
        Outcome::Untouched if stage.repeats => return,
        Outcome::Untouched => ScriptError::new(0, "the peer closed before it sent anything"),
        Outcome::Failed(error) => error,
    };
    stage.failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
}
