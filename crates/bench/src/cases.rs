//! What is measured: each case puts one kind of load on a proxy and yields one or two figures.
//! Nothing here starts a proxy or compares two.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustls::ClientConfig;

use crate::contenders::{Contender, NARROW, Running};
use crate::gauge;
use crate::load::{self, Direction, Done, Target};

const MEBIBYTE: u64 = 1024 * 1024;
/// A case begins with this part of its load unmeasured, so that code and memory are warm.
const WARMING_PART: u32 = 16;
/// How often quiet and full take turns, so that what else slows the machine slows both.
const TURNS: u32 = 10;

/// One kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Case {
    ClearLogin,
    TlsLogin,
    ClearFetch,
    TlsFetch,
    Rows,
    ClearAppend,
    TlsAppend,
    Noop,
    ClearIdle,
    TlsIdle,
    /// Logins while another listener is full.
    FullListener,
}

impl Case {
    /// All, in the order of the table.
    pub(crate) const ALL: [Self; 11] = [
        Self::ClearLogin,
        Self::TlsLogin,
        Self::ClearFetch,
        Self::TlsFetch,
        Self::Rows,
        Self::ClearAppend,
        Self::TlsAppend,
        Self::Noop,
        Self::ClearIdle,
        Self::TlsIdle,
        Self::FullListener,
    ];

    /// Whether it says anything of this proxy. The relay that follows the protocol differs from the blind
    /// one after login only; of other proxies' listeners nothing is promised.
    pub(crate) fn concerns(self, contender: Contender) -> bool {
        match contender {
            Contender::Posthouse => true,
            Contender::Framed => matches!(
                self,
                Self::ClearFetch | Self::Rows | Self::ClearAppend | Self::Noop | Self::ClearIdle
            ),
            Contender::Haproxy | Contender::Nginx => self != Self::FullListener,
        }
    }

    fn is_tls(self) -> bool {
        matches!(self, Self::TlsLogin | Self::TlsFetch | Self::TlsAppend | Self::TlsIdle)
    }
}

/// A line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Figure {
    ClearLogin,
    TlsLogin,
    ClearFetch,
    TlsFetch,
    Rows,
    ClearAppend,
    TlsAppend,
    Noop,
    ClearIdle,
    TlsIdle,
    ClearIdleKernel,
    TlsIdleKernel,
    QuietLogin,
    LoginBesideFullListener,
}

impl Figure {
    /// All, in the order of the table.
    pub(crate) const ALL: [Self; 14] = [
        Self::ClearLogin,
        Self::TlsLogin,
        Self::ClearFetch,
        Self::TlsFetch,
        Self::Rows,
        Self::ClearAppend,
        Self::TlsAppend,
        Self::ClearIdle,
        Self::TlsIdle,
        Self::ClearIdleKernel,
        Self::TlsIdleKernel,
        Self::Noop,
        Self::QuietLogin,
        Self::LoginBesideFullListener,
    ];

    /// What it says in the table, unit first.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::ClearLogin => "µs per clear login",
            Self::TlsLogin => "µs per TLS login (RSA-2048, full handshake)",
            Self::ClearFetch => "ms per GiB fetched, clear",
            Self::TlsFetch => "ms per GiB fetched, TLS",
            Self::Rows => "ms per GiB of short responses, clear",
            Self::ClearAppend => "ms per GiB appended, clear",
            Self::TlsAppend => "ms per GiB appended, TLS",
            Self::Noop => "µs per NOOP round trip",
            Self::ClearIdle => "bytes (PSS) per idle connection, clear",
            Self::TlsIdle => "bytes (PSS) per idle connection, TLS",
            Self::ClearIdleKernel => "kernel bytes per idle connection, all sides, clear",
            Self::TlsIdleKernel => "kernel bytes per idle connection, all sides, TLS",
            Self::QuietLogin => "µs a login takes, 99th percentile",
            Self::LoginBesideFullListener => "µs a login takes, same, beside a full listener",
        }
    }

    /// The highest ratio of Posthouse to HAProxy that is good enough, where one is set.
    pub(crate) fn goal(self) -> Option<f64> {
        match self {
            Self::ClearLogin => Some(1.05),
            Self::TlsLogin => Some(0.70),
            Self::ClearFetch | Self::ClearIdle => Some(0.60),
            Self::TlsFetch => Some(0.45),
            Self::TlsIdle => Some(0.50),
            Self::Noop => Some(1.0),
            _ => None,
        }
    }
}

/// How much load each case is.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(crate) struct Amounts {
    pub(crate) rounds: u32,
    pub(crate) clear_logins: u32,
    pub(crate) tls_logins: u32,
    pub(crate) messages: u32,
    pub(crate) message_bytes: u64,
    pub(crate) noops: u32,
    pub(crate) idle_sessions: u32,
    /// Clients that log in or talk at a time.
    pub(crate) clients: u32,
    /// Connections that carry messages at a time.
    pub(crate) streams: u32,
    /// Logins that are timed one by one.
    pub(crate) timed_logins: u32,
}

impl Amounts {
    /// For figures to be trusted: about ten minutes on two processors.
    pub(crate) const WHOLE: Self = Self {
        rounds: 5,
        clear_logins: 12_000,
        tls_logins: 2_500,
        messages: 128,
        message_bytes: 16 * MEBIBYTE,
        noops: 80_000,
        idle_sessions: 4_000,
        // Fewer would wait for nginx, which stalls each TLS visit (Nagle and delayed acknowledgements).
        clients: 16,
        streams: 4,
        timed_logins: 3_000,
    };

    /// For a first look: about a minute and a half.
    pub(crate) const QUICK: Self = Self {
        rounds: 1,
        clear_logins: 6_000,
        tls_logins: 1_500,
        messages: 64,
        noops: 40_000,
        idle_sessions: 2_000,
        timed_logins: 1_500,
        ..Self::WHOLE
    };

    /// The same with fewer idle sessions where the limit of open files (a proxy needs two each) wants it so.
    pub(crate) fn within(self, open_files: u64) -> Self {
        let most = u32::try_from(open_files.saturating_sub(200) / 2).unwrap_or(u32::MAX);
        Self { idle_sessions: self.idle_sessions.min(most), ..self }
    }
}

/// One figure of one proxy in one round.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(crate) struct Reading {
    pub(crate) figure: Figure,
    pub(crate) value: f64,
    /// Wall-clock seconds of the load, for orientation.
    pub(crate) seconds: f64,
}

/// Puts the load of `case` on `proxy` and reads what it cost.
///
/// # Errors
/// When the load was not served as it should be, or the proxy is gone.
pub(crate) fn measure(
    case: Case,
    proxy: &Running,
    amounts: Amounts,
    tls: &Arc<ClientConfig>,
) -> Result<Vec<Reading>> {
    let target = if case.is_tls() {
        Target { address: proxy.tls, tls: Some(Arc::clone(tls)) }
    } else {
        Target { address: proxy.clear, tls: None }
    };
    let bench = Bench { proxy, amounts, target };
    let (clear, fetch, append) = (!case.is_tls(), Direction::Fetch, Direction::Append);
    match case {
        Case::ClearLogin => bench.logins(Figure::ClearLogin, amounts.clear_logins),
        Case::TlsLogin => bench.logins(Figure::TlsLogin, amounts.tls_logins),
        Case::ClearFetch => bench.bulk(Figure::ClearFetch, fetch),
        Case::TlsFetch => bench.bulk(Figure::TlsFetch, fetch),
        Case::Rows => bench.bulk(Figure::Rows, Direction::Rows),
        Case::ClearAppend => bench.bulk(Figure::ClearAppend, append),
        Case::TlsAppend => bench.bulk(Figure::TlsAppend, append),
        Case::Noop => bench.noops(),
        Case::ClearIdle | Case::TlsIdle => bench.idle(clear),
        Case::FullListener => bench.beside_full_listener(),
    }
}

struct Bench<'a> {
    proxy: &'a Running,
    amounts: Amounts,
    target: Target,
}

impl Bench<'_> {
    fn logins(&self, figure: Figure, count: u32) -> Result<Vec<Reading>> {
        let (cost, done) =
            self.cost(count, |part| load::visits(&self.target, self.amounts.clients, part))?;
        let value = micros(cost) / f64::from(done.operations);
        Ok(vec![Reading { figure, value, seconds: done.seconds }])
    }

    fn bulk(&self, figure: Figure, direction: Direction) -> Result<Vec<Reading>> {
        let Amounts { streams, messages, message_bytes, .. } = self.amounts;
        let (cost, done) = self.cost(messages, |part| {
            load::transfer(&self.target, direction, streams, part, message_bytes)
        })?;
        let mebibytes = u32::try_from(done.bytes / MEBIBYTE)?;
        let value = micros(cost) / 1_000.0 / (f64::from(mebibytes) / 1_024.0);
        Ok(vec![Reading { figure, value, seconds: done.seconds }])
    }

    fn noops(&self) -> Result<Vec<Reading>> {
        let (cost, done) = self.cost(self.amounts.noops, |part| {
            load::noops(&self.target, self.amounts.clients, part)
        })?;
        let value = micros(cost) / f64::from(done.operations);
        Ok(vec![Reading { figure: Figure::Noop, value, seconds: done.seconds }])
    }

    /// What logins take at one listener, by turns with another listener quiet and full.
    fn beside_full_listener(&self) -> Result<Vec<Reading>> {
        let full = self.proxy.narrow.context("this proxy has no listener to fill")?;
        let part = (self.amounts.timed_logins / TURNS).max(1);
        load::timed_visits(&self.target, part)?;
        let (mut quiet, mut beside) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            quiet.extend(load::timed_visits(&self.target, part)?);
            let crowd = load::crowd(full, NARROW)?;
            beside.extend(load::timed_visits(&self.target, part)?);
            let turned_away = crowd.disperse()?;
            ensure!(turned_away > 0, "nobody was turned away");
        }
        let reading = |figure, times: Vec<Duration>| {
            let seconds = times.iter().sum::<Duration>().as_secs_f64();
            Reading { figure, value: micros(percentile(times, 99)), seconds }
        };
        Ok(vec![
            reading(Figure::QuietLogin, quiet),
            reading(Figure::LoginBesideFullListener, beside),
        ])
    }

    /// Memory with all sessions held, less that after a few visits, per session.
    fn idle(&self, clear: bool) -> Result<Vec<Reading>> {
        let Amounts { clients, idle_sessions, .. } = self.amounts;
        load::visits(&self.target, clients, idle_sessions / WARMING_PART)?;
        let processes = self.proxy.processes();
        gauge::cpu_at_rest(&processes)?;
        let (resident, kernel) = (gauge::resident(&processes)?, gauge::kernel());
        let held = load::hold(&self.target, clients, idle_sessions)?;
        gauge::cpu_at_rest(&processes)?;
        let each = |before: u64, after: u64| -> Result<f64> {
            let grown = i32::try_from(i64::try_from(after)? - i64::try_from(before)?);
            Ok(f64::from(grown.context("more than 2 GiB")?) / f64::from(idle_sessions))
        };
        let (user, system) = if clear {
            (Figure::ClearIdle, Figure::ClearIdleKernel)
        } else {
            (Figure::TlsIdle, Figure::TlsIdleKernel)
        };
        let seconds = held.done.seconds;
        let value = each(resident, gauge::resident(&processes)?)?;
        let mut readings = vec![Reading { figure: user, value, seconds }];
        if let (Some(before), Some(after)) = (kernel, gauge::kernel()) {
            let value = each(before, after)?;
            readings.push(Reading { figure: system, value, seconds });
        }
        held.log_out().context("an idle session was not kept")?;
        Ok(readings)
    }

    /// CPU time that the whole proxy spends on `count` operations, after some unmeasured ones.
    fn cost(&self, count: u32, work: impl Fn(u32) -> Result<Done>) -> Result<(Duration, Done)> {
        work((count / WARMING_PART).max(1))?;
        let processes = self.proxy.processes();
        let before = gauge::cpu_at_rest(&processes)?;
        let done = work(count)?;
        let after = gauge::cpu_at_rest(&processes)?;
        Ok((after.saturating_sub(before), done))
    }
}

/// The time within which so many in a hundred lie.
fn percentile(mut times: Vec<Duration>, part: usize) -> Duration {
    times.sort_unstable();
    let place = (times.len() * part / 100).min(times.len().saturating_sub(1));
    times.get(place).copied().unwrap_or_default()
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_times() {
        let times = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(times, 99), Duration::from_millis(199));
        assert_eq!(percentile(vec![Duration::from_millis(7)], 99), Duration::from_millis(7));
    }
}
