//! Medians, ratios, the table and the result file.
//! Nothing here measures.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::thread;

use serde::Serialize;

use crate::cases::{Amounts, Case, Figure, Reading};
use crate::contenders::Contender;

/// What the figures were taken on.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    processors: usize,
    model: String,
    kernel: String,
    memory_mebibytes: u64,
    /// Load average of one minute when the run began; above 0.5, others worked here too.
    load_before: String,
}

impl Machine {
    /// This one.
    pub(crate) fn here() -> Self {
        let first = |path: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.split_ascii_whitespace().next().unwrap_or("unknown").to_owned()
        };
        let field = |path: &str, name: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
            line.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
        };
        let memory = field("/proc/meminfo", "MemTotal");
        let kibibytes = memory.trim_end_matches(" kB").parse().unwrap_or(0_u64);
        Self {
            processors: thread::available_parallelism().map_or(0, usize::from),
            model: field("/proc/cpuinfo", "model name"),
            kernel: first("/proc/sys/kernel/osrelease"),
            memory_mebibytes: kibibytes / 1024,
            load_before: first("/proc/loadavg"),
        }
    }
}

/// A proxy that takes part.
#[derive(Debug, Serialize)]
pub(crate) struct Entrant {
    pub(crate) contender: Contender,
    pub(crate) version: String,
}

/// A proxy that cannot take part.
#[derive(Debug, Serialize)]
pub(crate) struct LeftOut {
    pub(crate) contender: Contender,
    pub(crate) why: String,
}

/// One reading and where it belongs.
#[derive(Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) contender: Contender,
    pub(crate) round: u32,
    #[serde(flatten)]
    pub(crate) reading: Reading,
}

/// A case that could not be measured.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    pub(crate) contender: Contender,
    pub(crate) case: Case,
    pub(crate) round: u32,
    pub(crate) why: String,
}

/// All that came out of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    pub(crate) machine: Machine,
    pub(crate) amounts: Amounts,
    pub(crate) entrants: Vec<Entrant>,
    pub(crate) left_out: Vec<LeftOut>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) failures: Vec<Failure>,
}

/// Two figures of Posthouse that stand side by side.
struct Pair {
    title: String,
    before: (Contender, Figure),
    after: (Contender, Figure),
    goal: Option<f64>,
}

impl Pair {
    fn all() -> Vec<Self> {
        let framed = [
            Figure::ClearFetch,
            Figure::Rows,
            Figure::ClearAppend,
            Figure::Noop,
            Figure::ClearIdle,
        ];
        let framed = framed.into_iter().map(|figure| Self {
            title: format!("{}: blind, framed", figure.title()),
            before: (Contender::Posthouse, figure),
            after: (Contender::Framed, figure),
            // What a session keeps to follow the protocol is not what relaying costs.
            goal: (figure != Figure::ClearIdle).then_some(1.15),
        });
        let full = Self {
            title: "µs a login takes, 99th percentile: quiet, full listener beside".to_owned(),
            before: (Contender::Posthouse, Figure::QuietLogin),
            after: (Contender::Posthouse, Figure::LoginBesideFullListener),
            goal: Some(1.20),
        };
        framed.chain([full]).collect()
    }
}

/// One line of the table, as the result file has it.
#[derive(Debug, Serialize)]
struct Line {
    figure: Figure,
    title: &'static str,
    posthouse: Option<f64>,
    haproxy: Option<f64>,
    nginx: Option<f64>,
    framed: Option<f64>,
    framed_to_posthouse: Option<f64>,
    posthouse_to_haproxy: Option<f64>,
    posthouse_to_nginx: Option<f64>,
    goal_to_haproxy: Option<f64>,
}

impl Record {
    /// Whether everything that was asked for was measured.
    pub(crate) fn is_whole(&self) -> bool {
        self.left_out.is_empty() && self.failures.is_empty()
    }

    /// The result file: the table, and everything it was made from.
    ///
    /// # Errors
    /// Never for what a run can hold.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        #[derive(Serialize)]
        struct Whole<'a> {
            table: Vec<Line>,
            #[serde(flatten)]
            record: &'a Record,
        }
        serde_json::to_string_pretty(&Whole { table: self.lines(), record: self })
    }

    /// The table for people, with the machine above and what failed below.
    pub(crate) fn table(&self) -> String {
        let mut text = self.heading();
        let mut row = |cells: [&str; 7]| {
            let [title, own, haproxy, nginx, ratio, goal, other] = cells;
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{title:<51}{own:>10}{haproxy:>10}{nginx:>10}{ratio:>9}{goal:>14}{other:>8}"
            );
        };
        row([
            "CPU of the whole proxy; memory",
            "posthouse",
            "haproxy",
            "nginx",
            "/haproxy",
            "goal",
            "/nginx",
        ]);
        for line in self.lines() {
            row([
                line.title,
                &shown(line.posthouse),
                &shown(line.haproxy),
                &shown(line.nginx),
                &ratio_shown(line.posthouse_to_haproxy),
                &goal_shown(line.goal_to_haproxy, line.posthouse_to_haproxy),
                &ratio_shown(line.posthouse_to_nginx),
            ]);
        }
        text.push_str(&self.pairs());
        for LeftOut { contender, why } in &self.left_out {
            let _ = writeln!(text, "left out: {}: {why}", contender.name());
        }
        for failure in &self.failures {
            let Failure { contender, case, round, why } = failure;
            let _ =
                writeln!(text, "failed: {case:?} of {} in round {round}: {why}", contender.name());
        }
        text
    }

    /// What is compared with Posthouse itself: one line for each pair that was measured.
    fn pairs(&self) -> String {
        let mut text = String::new();
        for pair in Pair::all() {
            let Some(ratio) = self.pair_ratio(&pair) else { continue };
            if text.is_empty() {
                text.push_str("\nPosthouse beside itself\n");
            }
            let Pair { title, before, after, goal } = pair;
            let value = |(contender, figure)| {
                shown(median(self.values(contender, figure).into_values().collect()))
            };
            let (before, after) = (value(before), value(after));
            let goal = goal_shown(goal, Some(ratio));
            // As above.
            let _ = writeln!(text, "{title:<61}{before:>10}{after:>10}{ratio:>9.2}{goal:>14}");
        }
        text
    }

    fn pair_ratio(&self, pair: &Pair) -> Option<f64> {
        let values = |(contender, figure)| self.values(contender, figure);
        ratio(&values(pair.after), &values(pair.before))
    }

    fn heading(&self) -> String {
        let Machine { processors, model, kernel, memory_mebibytes, load_before } = &self.machine;
        let mut text = format!(
            "\n{processors} x {model}, Linux {kernel}, {memory_mebibytes} MiB, load before {load_before}; \
             {} rounds, medians (of the ratios too)\n",
            self.amounts.rounds
        );
        for entrant in &self.entrants {
            let _ = writeln!(text, "{}: {}", entrant.contender.name(), entrant.version);
        }
        text.push('\n');
        text
    }

    fn lines(&self) -> Vec<Line> {
        let measured =
            |figure: &Figure| self.samples.iter().any(|sample| sample.reading.figure == *figure);
        Figure::ALL.into_iter().filter(measured).map(|figure| self.line(figure)).collect()
    }

    fn line(&self, figure: Figure) -> Line {
        let own = self.values(Contender::Posthouse, figure);
        let (haproxy, nginx) =
            (self.values(Contender::Haproxy, figure), self.values(Contender::Nginx, figure));
        let framed = self.values(Contender::Framed, figure);
        Line {
            figure,
            framed_to_posthouse: ratio(&framed, &own),
            framed: median(framed.into_values().collect()),
            title: figure.title(),
            posthouse_to_haproxy: ratio(&own, &haproxy),
            posthouse_to_nginx: ratio(&own, &nginx),
            goal_to_haproxy: figure.goal(),
            posthouse: median(own.into_values().collect()),
            haproxy: median(haproxy.into_values().collect()),
            nginx: median(nginx.into_values().collect()),
        }
    }

    /// Readings by round.
    fn values(&self, contender: Contender, figure: Figure) -> BTreeMap<u32, f64> {
        let fits =
            |sample: &&Sample| sample.contender == contender && sample.reading.figure == figure;
        let reading = |sample: &Sample| (sample.round, sample.reading.value);
        self.samples.iter().filter(fits).map(reading).collect()
    }
}

/// Median of the ratios within each round: what slows the machine for a while slows both.
fn ratio(own: &BTreeMap<u32, f64>, other: &BTreeMap<u32, f64>) -> Option<f64> {
    let in_round = |(round, value): (&u32, &f64)| {
        let other = other.get(round).filter(|other| **other > 0.0)?;
        Some(value / other)
    };
    median(own.iter().filter_map(in_round).collect())
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(*values.get(middle.checked_sub(1)?)?, upper))
}

fn shown(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value.abs() < 100.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.0}"),
    }
}

fn ratio_shown(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
}

fn goal_shown(goal: Option<f64>, ratio: Option<f64>) -> String {
    match (goal, ratio) {
        (None, _) => "-".to_owned(),
        (Some(goal), None) => format!("<= {goal:.2}"),
        (Some(goal), Some(ratio)) if ratio <= goal => format!("<= {goal:.2} met"),
        (Some(goal), Some(_)) => format!("<= {goal:.2} not"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(values: &[(Contender, u32, f64)]) -> Record {
        let sample = |(contender, round, value): &(Contender, u32, f64)| Sample {
            contender: *contender,
            round: *round,
            reading: Reading { figure: Figure::Noop, value: *value, seconds: 1.0 },
        };
        Record {
            machine: Machine::here(),
            amounts: Amounts::QUICK,
            entrants: Vec::new(),
            left_out: Vec::new(),
            samples: values.iter().map(sample).collect(),
            failures: Vec::new(),
        }
    }

    #[test]
    fn a_figure_is_the_median_of_its_rounds() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn ratios_are_of_posthouse_to_the_peer_and_stand_beside_the_goal() {
        let (own, peer) = (Contender::Posthouse, Contender::Haproxy);
        let record = record(&[(own, 1, 9.0), (peer, 1, 10.0), (own, 2, 18.0), (peer, 2, 20.0)]);
        let lines = record.lines();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].posthouse_to_haproxy, Some(0.9));
        assert_eq!(lines[0].posthouse_to_nginx, None);
        assert!(record.table().contains("<= 1.00 met"));
        assert!(record.json().unwrap().contains("\"posthouse_to_haproxy\": 0.9"));
    }

    #[test]
    fn a_peer_that_was_not_measured_leaves_a_gap_not_a_zero() {
        let record = record(&[(Contender::Haproxy, 1, 10.0)]);
        assert!(record.table().contains('-'));
        assert_eq!(record.lines()[0].posthouse, None);
    }
}
