//! What the kernel tells of a running process. Nothing here starts one.

use std::{fs, time::Duration};

/// A line of `/proc/PID/status`, without its name.
pub fn status(pid: u32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_owned()
}

/// The memory that a process has in use, in bytes.
pub fn resident(pid: u32) -> usize {
    bytes(pid, "VmRSS")
}

/// The most that it ever had in use, in bytes.
pub fn peak(pid: u32) -> usize {
    bytes(pid, "VmHWM")
}

fn bytes(pid: u32, name: &str) -> usize {
    let text = status(pid, name);
    text.strip_suffix(" kB").unwrap().trim().parse::<usize>().unwrap() << 10
}

/// The processor time that it has used, by itself and in the kernel.
pub fn processor_time(pid: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name before may hold spaces.
    let (_, behind) = text.rsplit_once(") ").unwrap();
    let ticks = behind.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap());
    // USER_HZ is 100 on every architecture of Debian.
    Duration::from_millis(ticks.sum::<u64>() * 10)
}
