//! Checks passwords for all sessions: looks into the memory, else has the hash computed by the pool.
//!
//! Nothing here blocks the thread that asks.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, io};

use model::{CanonicalUser, Secret};

use super::limits::{Limits, PlainText};
use super::memory::Memory;
use super::pool::{Pool, PoolSettings, Refused};
use super::stored::{DefaultScheme, Stored, Unusable};
use super::{CannotSay, Verdict};

/// How passwords are checked here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PasswordSettings {
    /// What a stored password may cost.
    pub limits: Limits,
    /// Whether passwords may be stored in clear.
    pub plain: PlainText,
    /// What is stored without a scheme.
    pub default_scheme: DefaultScheme,
    /// Who computes.
    pub pool: PoolSettings,
    /// How long a password that was right is known without being computed again; zero for never. 60 s: a mail
    /// program opens its connections within seconds, and who reads the memory of this process for a minute has
    /// the passwords anyway. A changed password is never known, whatever this is.
    pub remember_for: Duration,
    /// How many are known at most; zero for none. 100,000, which take about 20 MB.
    pub remember_most: usize,
    /// The iterations that SCRAM shows for names that nobody has. 4096, which `doveadm pw` and PostgreSQL take.
    pub scram_iterations: NonZeroU32,
}

impl PasswordSettings {
    /// Reads a stored password within the limits.
    ///
    /// # Errors
    /// [`Unusable`] if it cannot be used.
    pub fn read(&self, stored: &Secret) -> Result<Stored, Unusable> {
        Stored::read(stored, self.default_scheme, self.plain, &self.limits)
    }
}

impl Default for PasswordSettings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            plain: PlainText::default(),
            default_scheme: DefaultScheme::default(),
            pool: PoolSettings::default(),
            remember_for: Duration::from_secs(60),
            remember_most: 100_000,
            scram_iterations: NonZeroU32::MIN.saturating_add(4095),
        }
    }
}

/// The one place where passwords are checked. It is shared by all sessions.
pub struct Passwords {
    settings: PasswordSettings,
    memory: Arc<Memory>,
    pool: Pool,
}

impl Passwords {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system has no threads or no random bytes to give.
    pub fn start(settings: PasswordSettings) -> io::Result<Self> {
        let memory = Memory::new(settings.remember_for, settings.remember_most)
            .map_err(|_| io::Error::other("the system gives no random bytes"))?;
        Ok(Self { settings, memory: Arc::new(memory), pool: Pool::start(settings.pool)? })
    }

    /// Says whether `offered` is the password that is `stored` for a user.
    pub async fn check(&self, user: &CanonicalUser, stored: &Secret, offered: &Secret) -> Verdict {
        match self.is(user, stored, offered).await {
            Ok(true) => Verdict::Right,
            Ok(false) => Verdict::Wrong,
            Err(cannot_say) => Verdict::CannotSay(cannot_say),
        }
    }

    /// Forgets that a user's password was right: the next one is computed. Whoever learns that something of the
    /// user changed calls this.
    pub fn forget(&self, user: &CanonicalUser) {
        self.memory.forget(user);
    }

    /// Forgets all passwords that were right.
    pub fn forget_all(&self) {
        self.memory.forget_all();
    }

    async fn is(
        &self,
        user: &CanonicalUser,
        stored: &Secret,
        offered: &Secret,
    ) -> Result<bool, CannotSay> {
        let read = self.settings.read(stored)?;
        if read.is_cheap() {
            return Ok(read.is(offered)?);
        }
        let print = self.memory.print(user, stored, offered);
        let epoch = self.memory.epoch();
        if self.memory.knows(user, print, Instant::now()) {
            return Ok(true);
        }
        let (memory, user, offered) = (Arc::clone(&self.memory), user.clone(), offered.clone());
        let computed = self.pool.compute(move || {
            // Another connection of the same program may have been before us in the line.
            if memory.knows(&user, print, Instant::now()) {
                return Ok(true);
            }
            let right = read.is(&offered)?;
            if right {
                memory.learn(user, print, epoch, Instant::now());
            }
            Ok(right)
        });
        match computed.await {
            Ok(result) => result.map_err(CannotSay::Unusable),
            Err(Refused::Broken) => Err(CannotSay::Unusable(Unusable::Scheme("its hash"))),
            Err(Refused::Busy { waiting }) => Err(CannotSay::Busy { waiting }),
        }
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("settings", &self.settings).finish_non_exhaustive()
    }
}
