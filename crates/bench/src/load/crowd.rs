//! More clients than a listener takes: some stay, the others knock.
//! Nothing here logs in.

use std::io::Read;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

/// Between one knock and the next: some 400 a second, which leaves most of a processor to others.
const REST: Duration = Duration::from_micros(2_500);
/// How long a knock waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A crowd before a listener.
pub(crate) struct Crowd {
    /// Those who were let in. They say nothing.
    _inside: Vec<TcpStream>,
    over: Arc<AtomicBool>,
    knocking: JoinHandle<Result<u32>>,
}

/// Fills all `places` of a listener, and goes on knocking.
///
/// # Errors
/// When not even one connection is taken.
pub(crate) fn crowd(address: SocketAddr, places: u32) -> Result<Crowd> {
    let connect = |_| TcpStream::connect_timeout(&address, PATIENCE);
    let inside = (0..places).map(connect).collect::<Result<Vec<_>, _>>().context("filling")?;
    let over = Arc::new(AtomicBool::new(false));
    let knocking = thread::spawn({
        let over = Arc::clone(&over);
        move || knock(address, &over)
    });
    Ok(Crowd { _inside: inside, over, knocking })
}

impl Crowd {
    /// Ends it; returns how many were turned away.
    ///
    /// # Errors
    /// When a knock was not answered.
    pub(crate) fn disperse(self) -> Result<u32> {
        self.over.store(true, Ordering::Relaxed);
        self.knocking.join().map_err(|_| anyhow!("the crowd panicked"))?
    }
}

/// Half of the knocks hear the answer out; the other half are gone before it comes.
fn knock(address: SocketAddr, over: &AtomicBool) -> Result<u32> {
    let mut turned_away = 0;
    for number in 0_u32.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE).context("knocking")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        if number % 2 == 0 {
            stream.shutdown(Shutdown::Both)?;
        } else {
            let mut said = String::new();
            // Whom nobody listens to may be reset.
            let _ = stream.read_to_string(&mut said);
            turned_away += u32::from(said.starts_with("* BYE"));
        }
        thread::sleep(REST);
    }
    Ok(turned_away)
}
