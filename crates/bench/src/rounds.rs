//! The run: every case, every round, one proxy after the other, each freshly started.
//! Nothing here knows how a case is measured.

use std::sync::Arc;

use rustls::ClientConfig;

use crate::cases::{self, Amounts, Case, Reading};
use crate::contenders::{Certificate, Contender};
use crate::report::{Entrant, Failure, LeftOut, Machine, Record, Sample};
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
pub(crate) fn run(plan: &Plan) -> Record {
    let mut record = Record {
        machine: Machine::here(),
        amounts: plan.amounts,
        entrants: Vec::new(),
        left_out: Vec::new(),
        samples: Vec::new(),
        failures: Vec::new(),
    };
    for contender in &plan.contenders {
        enter(*contender, &mut record);
    }
    let taking_part: Vec<Contender> =
        record.entrants.iter().map(|entrant| entrant.contender).collect();
    for round in 1..=plan.amounts.rounds {
        for case in &plan.cases {
            for contender in taking_part.iter().filter(|contender| case.concerns(**contender)) {
                run_one(plan, round, *case, *contender, &mut record);
            }
        }
    }
    record
}

fn enter(contender: Contender, record: &mut Record) {
    match contender.version() {
        Ok(version) => record.entrants.push(Entrant { contender, version }),
        Err(error) => {
            let why = format!("{error:#}");
            eprintln!("{} is left out: {why}", contender.name());
            record.left_out.push(LeftOut { contender, why });
        }
    }
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
