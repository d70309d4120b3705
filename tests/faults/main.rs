//! csr-warden under every fault that a cluster can have: on the embedded API server in every test run,
//! with few kubelets. With `CSR_WARDEN_FAULTS=all` there are many, a real control plane too, and the
//! results are written to `target/faults.md`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod cases;
mod limit;
mod matrix;
mod misbehaviour;
mod numbers;
mod ordeal;
mod own_clock;
mod population;
mod stage;

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::process::ExitCode;

use anyhow::Result;
use control_plane::process::take_last_words;
use futures::FutureExt as _;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use numbers::Numbers;
use ordeal::Seen;

/// Cases of the embedded API server that run at the same time: they wait most of the time.
const AT_ONCE: usize = 10;
/// The same with many kubelets, and of the real control plane.
const AT_ONCE_WITH_MANY: usize = 6;
const HEAVY_AT_ONCE: usize = 1;
const REAL_AT_ONCE: usize = 2;

type Run = Box<dyn Fn(Numbers) -> Pin<Box<dyn Future<Output = Result<Seen>>>> + Send + Sync>;

/// One fault on one kind of cluster, which is the first word of its name.
pub struct Case {
    pub name: &'static str,
    /// What happens, for people.
    pub fault: &'static str,
    /// It takes the whole machine.
    pub heavy: bool,
    /// Why it cannot run on this machine, if it cannot.
    missing: fn() -> Option<String>,
    run: Run,
}

impl Case {
    pub fn new<F>(
        name: &'static str,
        fault: &'static str,
        run: impl Fn(Numbers) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Seen>> + 'static,
    {
        Self {
            name,
            fault,
            heavy: false,
            missing: || None,
            run: Box::new(move |numbers| Box::pin(run(numbers))),
        }
    }

    pub fn heavy(mut self) -> Self {
        self.heavy = true;
        self
    }

    /// It runs unless something is missing.
    pub fn unless(mut self, missing: fn() -> Option<String>) -> Self {
        self.missing = missing;
        self
    }

    fn is_real(&self) -> bool {
        self.name.starts_with("real_")
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("the only provider");
    let everything = numbers::everything();

    // Each group after the one before, by how many of its cases run at the same time.
    let group = |at_once: usize, belongs: fn(&Case) -> bool| {
        let threads = arguments.test_threads.unwrap_or(at_once);
        let arguments = Arguments {
            test_threads: Some(threads),
            ..arguments.clone()
        };
        let trials = cases::all().into_iter().filter(belongs).map(trial);
        (arguments, trials.collect::<Vec<Trial>>())
    };
    let groups = if everything {
        vec![
            group(AT_ONCE_WITH_MANY, |case| !case.is_real() && !case.heavy),
            group(HEAVY_AT_ONCE, |case| !case.is_real() && case.heavy),
            group(REAL_AT_ONCE, Case::is_real),
        ]
    } else {
        let mut few = group(AT_ONCE, |case| !case.is_real());
        few.1.push(Trial::test("docs_name_every_case", || {
            Ok(matrix::names_every_case(&cases::all())?)
        }));
        few.1.push(Trial::test("faults_are_what_they_say", || {
            let runtime = tokio::runtime::Runtime::new()?;
            Ok(runtime.block_on(misbehaviour::as_told())?)
        }));
        vec![few]
    };
    let mut failed = false;
    for (arguments, trials) in groups {
        failed |= libtest_mimic::run(&arguments, trials).has_failed();
    }
    if everything && !arguments.list {
        match matrix::write(&cases::all()) {
            Ok(path) => eprintln!("written to {}", path.display()),
            Err(error) => {
                eprintln!("cannot write the results: {error:#}");
                failed = true;
            }
        }
    }
    ExitCode::from(u8::from(failed))
}

fn trial(case: Case) -> Trial {
    let name = case.name;
    match (case.missing)() {
        Some(why) if std::env::var_os("CI").is_some() => {
            return Trial::test(name, move || Err(why.into()));
        }
        Some(why) => {
            return Trial::ignorable_test(name, move || Ok(Completion::ignored_with(why)));
        }
        None => {}
    }
    Trial::test(name, move || {
        let seen = run(&case);
        if numbers::everything() {
            matrix::note(name, seen.as_ref().ok())?;
        }
        seen.map(|_| ())
    })
}

/// Runs one case on a runtime of its own; if it fails, the ends of all logs are shown.
fn run(case: &Case) -> Result<Seen, Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let begun = std::time::Instant::now();
    let outcome = (case.run)(Numbers::of_this_run());
    let outcome = runtime.block_on(AssertUnwindSafe(outcome).catch_unwind());
    let took = begun.elapsed();
    match outcome {
        Ok(Ok(seen)) => {
            eprintln!("{} in {took:.0?}: {seen:?}", case.name);
            Ok(seen)
        }
        Ok(Err(error)) => {
            let logs = take_last_words();
            Err(format!("after {took:.0?}: {error:#}\n\nlogs:\n{logs}").into())
        }
        Err(_) => Err("panicked, see above".into()),
    }
}
