//! What a proxy costs: CPU time, resident memory, and kernel memory.
//! Nothing here puts load on anything.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// A proxy is at rest when it used less CPU than this in [`REST`].
const STIR: Duration = Duration::from_millis(1);
/// How long a proxy must be at rest before a figure is read.
const REST: Duration = Duration::from_millis(100);
/// Readings after which a proxy that never rests is read all the same.
const READINGS: u32 = 30;

/// CPU time of `processes` so far, user and system, ended threads included.
///
/// # Errors
/// When one of them is gone.
pub(crate) fn cpu(processes: &[u32]) -> Result<Duration> {
    let of = |process: &u32| {
        let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(*process)?))
            .with_context(|| format!("process {process} is gone"))?;
        Ok(Duration::from(clock.now()?))
    };
    processes.iter().map(of).sum()
}

/// Waits until `processes` have nothing more to do, then gives their CPU time.
///
/// # Errors
/// When one of them is gone.
pub(crate) fn cpu_at_rest(processes: &[u32]) -> Result<Duration> {
    let mut last = cpu(processes)?;
    for _ in 0..READINGS {
        thread::sleep(REST);
        let now = cpu(processes)?;
        if now.saturating_sub(last) < STIR {
            return Ok(now);
        }
        last = now;
    }
    Ok(last)
}

/// Resident bytes of `processes`, pages that they share counted in parts (PSS).
///
/// # Errors
/// When one of them is gone, or not ours to look at.
pub(crate) fn resident(processes: &[u32]) -> Result<u64> {
    let of = |process: &u32| {
        let path = format!("/proc/{process}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let kibibytes = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kibibytes = kibibytes.and_then(|rest| rest.split_ascii_whitespace().next());
        let kibibytes: u64 = kibibytes.with_context(|| format!("no Pss in {path}"))?.parse()?;
        Ok(kibibytes * 1024)
    };
    processes.iter().map(of).sum()
}

/// Kernel memory of our own control group in bytes (sockets of all sides: generator, proxy, stub); `None` where it cannot be read.
pub(crate) fn kernel() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let path = path.trim_start_matches('/');
        if controllers.split(',').any(|controller| controller == "memory") {
            kernel_v1(&PathBuf::from("/sys/fs/cgroup/memory").join(path))
        } else if controllers.is_empty() {
            kernel_v2(&PathBuf::from("/sys/fs/cgroup").join(path))
        } else {
            None
        }
    })
}

fn kernel_v1(group: &std::path::Path) -> Option<u64> {
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(group.join(name)).ok()?.trim().parse().ok()
    };
    let buffers = number("memory.kmem.tcp.usage_in_bytes").unwrap_or(0);
    Some(number("memory.kmem.usage_in_bytes")? + buffers)
}

fn kernel_v2(group: &std::path::Path) -> Option<u64> {
    let text = fs::read_to_string(group.join("memory.stat")).ok()?;
    let field = |name: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    };
    Some(field("kernel ")? + field("sock ").unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_of_this_process_shows_on_its_clock() {
        let own = [std::process::id()];
        let before = cpu(&own).unwrap();
        let mut product = 1_u64;
        while cpu(&own).unwrap() - before < Duration::from_millis(2) {
            product = std::hint::black_box(product.wrapping_mul(3));
        }
        assert!(resident(&own).unwrap() > 0);
    }

    #[test]
    fn a_process_that_is_gone_is_an_error_not_zero() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let id = child.id();
        child.wait().unwrap();
        assert!(cpu(&[id]).is_err());
        assert!(resident(&[id]).is_err());
    }
}
