//! What the embedded table of users costs: to import a list by the program, and to look users up among many.
//! Nothing here compares: no other program has such a table.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use directory::Store;
use model::{CanonicalUser, UserName};
use testkit::workspace;

use crate::gauge;

/// Look-ups that are timed one by one.
const LOOK_UPS: u32 = 200_000;
/// Look-ups before those, so that what is held in memory is.
const WARMING: u32 = 50_000;
/// One in so many look-ups is for a name that is not there.
const UNKNOWN: u32 = 10;
/// How often the importing program's memory is looked at; the kernel keeps its peak meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// For 1,000,000 lines, and among 10,000,000 users.
const IMPORT_GOAL: Duration = Duration::from_secs(30);
const LOOK_UP_GOAL: Duration = Duration::from_micros(50);

/// How many users.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amounts {
    imported: u32,
    looked_up_among: u32,
}

impl Amounts {
    /// The numbers for which there are goals: about ten minutes, and four gigabytes on the disk.
    pub(crate) const WHOLE: Self = Self { imported: 1_000_000, looked_up_among: 10_000_000 };
    /// For a first look.
    pub(crate) const QUICK: Self = Self { imported: 100_000, looked_up_among: 300_000 };
}

/// What was found.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Figures {
    imported: u32,
    import_seconds: f64,
    import_peak_bytes: u64,
    looked_up_among: u32,
    look_up_median_micros: f64,
    look_up_p99_micros: f64,
    look_up_grown_bytes: u64,
    table_bytes: u64,
}

/// Imports and looks up.
///
/// # Errors
/// When the program does not do as it should, or the disk is full.
pub(crate) fn measure(amounts: Amounts) -> Result<Figures> {
    // In an order of no use to the table, as lists are.
    let shuffled = |number: u64| number * 777_767 % u64::from(amounts.imported);
    let (_folder, import) = imported(amounts.imported, shuffled)?;
    let (folder, _) = imported(amounts.looked_up_among, |number| number)?;
    let state = folder.path().join("state");
    let store = Store::open(&state)?;
    let own = [std::process::id()];
    let before = gauge::resident(&own)?;
    let times = look_up(&store, amounts.looked_up_among)?;
    let grown = gauge::resident(&own)?.saturating_sub(before);
    let at = |percent: usize| {
        let place = (times.len() * percent / 100).min(times.len().saturating_sub(1));
        times.get(place).map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    Ok(Figures {
        imported: amounts.imported,
        import_seconds: import.took.as_secs_f64(),
        import_peak_bytes: import.peak,
        looked_up_among: amounts.looked_up_among,
        look_up_median_micros: at(50),
        look_up_p99_micros: at(99),
        look_up_grown_bytes: grown,
        table_bytes: fs::metadata(state.join(Store::FILE))?.len(),
    })
}

impl Figures {
    /// For a person.
    pub(crate) fn text(&self) -> String {
        let mebibytes = |bytes: u64| bytes / (1024 * 1024);
        format!(
            "user import of {} lines: {:.1} s (goal for 1000000: {} s), {} MiB at its peak\n\
             look-up among {} users ({} MiB on the disk): median {:.1} µs, 99th percentile {:.1} µs (goal: {} µs), \
             {} MiB more in memory\n",
            self.imported,
            self.import_seconds,
            IMPORT_GOAL.as_secs(),
            mebibytes(self.import_peak_bytes),
            self.looked_up_among,
            mebibytes(self.table_bytes),
            self.look_up_median_micros,
            self.look_up_p99_micros,
            LOOK_UP_GOAL.as_micros(),
            mebibytes(self.look_up_grown_bytes),
        )
    }
}

fn name(number: u64) -> String {
    format!("user{number:08}@example.org")
}

struct Imported {
    took: Duration,
    peak: u64,
}

/// Has the program import so many users into a new state folder, in this order.
fn imported(count: u32, order: impl Fn(u64) -> u64) -> Result<(tempfile::TempDir, Imported)> {
    let folder = workspace::temporary_folder("bench-table")?;
    let list = folder.path().join("users.csv");
    let mut lines = BufWriter::new(File::create(&list)?);
    for number in 0..u64::from(count) {
        let number = order(number);
        let backend = if number.is_multiple_of(2) { "north" } else { "south" };
        writeln!(lines, "{},{backend}", name(number))?;
    }
    lines.into_inner().context("the list cannot be written")?.sync_all()?;
    let config = folder.path().join("posthouse.toml");
    fs::write(&config, CONFIG)?;
    let begun = Instant::now();
    let child = Command::new(workspace::built_program("posthouse")?)
        .arg("--config")
        .arg(&config)
        .args(["user", "import", "--format", "csv"])
        .arg(&list)
        .stdout(Stdio::null())
        .spawn()?;
    let peak = wait(child)?;
    let took = begun.elapsed();
    fs::remove_file(list)?;
    Ok((folder, Imported { took, peak }))
}

const CONFIG: &str = r#"state = "state"

[[listener]]
protocol = "imap"
address = "127.0.0.1:14143"
tls = "none"

[backend.north]
address = "127.0.0.1"

[backend.south]
address = "127.0.0.1"

[[directory]]
source = "table"
"#;

/// Waits for a program, and says how much memory it had at its peak.
fn wait(mut child: Child) -> Result<u64> {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        peak = peak.max(high_water(Path::new(&status)).unwrap_or(0));
        if let Some(ended) = child.try_wait()? {
            ensure!(ended.success(), "the import ended with {ended}");
            return Ok(peak);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn high_water(status: &Path) -> Option<u64> {
    let text = fs::read_to_string(status).ok()?;
    let kibibytes = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(kibibytes.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// Looks users up all over the table; how long each took, shortest first.
fn look_up(store: &Store, among: u32) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for number in 0..WARMING + LOOK_UPS {
        // A large prime leads all over the table.
        let at = u64::from(number) * 2_654_435_761 % u64::from(among);
        let known = !number.is_multiple_of(UNKNOWN);
        let at = if known { name(at) } else { format!("nobody{at}@example.org") };
        let user = CanonicalUser::declare(UserName::new(at)?);
        let begun = Instant::now();
        let found = store.find(&user)?;
        let took = begun.elapsed();
        ensure!(found.is_some() == known, "{user} is wrong");
        if number >= WARMING {
            times.push(took);
        }
    }
    times.sort_unstable();
    Ok(times)
}
