//! The runner: tests in parallel as `cargo test` runs them, then the end of all servers.
//! Nothing here knows a test.

use std::{process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Trial};

use crate::{house::House, secrets};

/// A test: its name, a sentence that must stay true, and how to find out.
pub struct Case {
    /// `module::sentence`.
    pub name: &'static str,
    /// Panics if the sentence is wrong.
    pub run: fn(&House),
}

/// The tests of a module: `cases![sentence, sentence]`.
#[macro_export]
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        vec![$($crate::runner::Case {
            name: concat!(module_path!(), "::", stringify!($name)),
            run: $name,
        }),*]
    };
}

/// Runs all that the command line asks for; the shared servers end before this returns.
pub fn run(cases: Vec<Case>, threads: usize) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(threads));
    let house = Arc::new(House::default());
    let trials = cases.into_iter().map(|case| {
        let house = Arc::clone(&house);
        let (_, name) = case.name.split_once("::").unwrap_or(("", case.name));
        Trial::test(name, move || {
            (case.run)(&house);
            Ok(())
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(house);
    let leaks = secrets::leaks();
    if !leaks.is_empty() {
        eprintln!("passwords were logged:\n{}", leaks.join("\n"));
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}
