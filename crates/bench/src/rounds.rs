//! The run: every case, every round, one proxy after the other, each freshly started.
//! Nothing here knows how a case is measured.

use std::sync::Arc;

use anyhow::{Result, bail};
use rustls::ClientConfig;

use crate::cases::{self, Amounts, Case, Reading};
use crate::contenders::{Certificate, Contender};
use crate::report::{Entrant, Failure, Machine, Record, Sample};
use crate::stub::Ports;

/// A case that failed so often with one proxy is not tried again.
const ENOUGH_FAILURES: usize = 2;

/// What a run is to do.
pub(crate) struct Plan {
    pub(crate) contenders: Vec<Contender>,
    pub(crate) cases: Vec<Case>,
    pub(crate) amounts: Amounts,
    pub(crate) stub: Ports,
    pub(crate) certificate: Certificate,
    pub(crate) tls: Arc<ClientConfig>,
}

/// Runs it all; what fails is recorded and said, and the run goes on.
///
/// # Errors
/// When no proxy can take part.
pub(crate) fn run(plan: &Plan) -> Result<Record> {
    let mut record = Record {
        machine: Machine::here(),
        amounts: plan.amounts,
        entrants: entrants(&plan.contenders),
        samples: Vec::new(),
        failures: Vec::new(),
    };
    if record.entrants.is_empty() {
        bail!("no proxy can be measured");
    }
    let taking_part: Vec<Contender> =
        record.entrants.iter().map(|entrant| entrant.contender).collect();
    for round in 1..=plan.amounts.rounds {
        for case in &plan.cases {
            for contender in &taking_part {
                run_one(plan, round, *case, *contender, &mut record);
            }
        }
    }
    Ok(record)
}

fn entrants(contenders: &[Contender]) -> Vec<Entrant> {
    let entrant = |contender: &Contender| match contender.version() {
        Ok(version) => Some(Entrant { contender: *contender, version }),
        Err(error) => {
            eprintln!("{} is left out: {error:#}", contender.name());
            None
        }
    };
    contenders.iter().filter_map(entrant).collect()
}

fn run_one(plan: &Plan, round: u32, case: Case, contender: Contender, record: &mut Record) {
    let same = |failure: &&Failure| failure.contender == contender && failure.case == case;
    if record.failures.iter().filter(same).count() >= ENOUGH_FAILURES {
        return;
    }
    match try_one(plan, case, contender) {
        Ok(readings) => {
            for reading in readings {
                eprintln!(
                    "round {round}  {:<10} {:>10.1} {}  ({:.1} s)",
                    contender.name(),
                    reading.value,
                    reading.figure.title(),
                    reading.seconds
                );
                record.samples.push(Sample { contender, round, reading });
            }
        }
        Err(why) => {
            eprintln!("round {round}  {:<10} {case:?} failed: {why}", contender.name());
            record.failures.push(Failure { contender, case, round, why });
        }
    }
}

fn try_one(plan: &Plan, case: Case, contender: Contender) -> Result<Vec<Reading>, String> {
    let mut proxy =
        contender.start(plan.stub, &plan.certificate).map_err(|error| format!("{error:#}"))?;
    cases::measure(case, &proxy, plan.amounts, &plan.tls)
        .map_err(|error| format!("{error:#}; {}", proxy.last_words()))
}
