//! csr-warden under every fault that a cluster can have.
//!
//! Each test run uses the embedded API server with few kubelets. With `CSR_WARDEN_FAULTS=all` there
//! are many kubelets and also a real control plane. The results are written to `target/faults.md`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod case_table;
mod cases;
mod daemon_clock;
mod fleet;
mod memory_limit;
mod scale;
mod scenario;
mod test_cluster;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use control_plane::case;
use libtest_mimic::{Arguments, Trial};
use scale::Scale;
use scenario::Measured;

/// The number of concurrent cases on the embedded API server. They mostly wait.
const AT_ONCE: usize = 10;
/// The number of concurrent cases with many kubelets, and of those on the real control plane.
const AT_ONCE_WITH_MANY: usize = 6;
const HEAVY_AT_ONCE: usize = 1;
const REAL_AT_ONCE: usize = 2;

/// A fault on one kind of cluster, which is the prefix of its name.
pub struct Case {
    case: case::Case<Scale>,
    /// A description of the fault, for the table in `docs/faults.md`.
    pub fault: &'static str,
    /// The case needs the whole machine.
    pub heavy: bool,
    /// Returns the reason why the case cannot run on this machine, if there is one.
    missing: fn() -> Option<String>,
}

impl Case {
    pub fn new<F>(
        name: &'static str,
        fault: &'static str,
        run: impl FnOnce(Scale) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Measured>> + 'static,
    {
        let case = case::Case::new(name, move |scale| recorded(name, run(scale)));
        Self {
            case,
            fault,
            heavy: false,
            missing: || None,
        }
    }

    pub fn heavy(mut self) -> Self {
        self.heavy = true;
        self
    }

    /// Ignores the case if something is missing.
    pub fn unless(mut self, missing: fn() -> Option<String>) -> Self {
        self.missing = missing;
        self
    }

    pub fn name(&self) -> &'static str {
        self.case.name
    }

    fn is_real(&self) -> bool {
        self.name().starts_with("real_")
    }

    fn trial(self) -> Trial {
        let missing = (self.missing)();
        self.case
            .trial(missing.map_or_else(|| Ok(Scale::of_this_run()), Err))
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("the only provider");
    let everything = scale::everything();

    // The groups run one after the other. Each has its number of concurrent cases.
    let group = |at_once: usize, belongs: fn(&Case) -> bool| {
        let threads = arguments.test_threads.unwrap_or(at_once);
        let arguments = Arguments {
            test_threads: Some(threads),
            ..arguments.clone()
        };
        let trials = cases::all().into_iter().filter(belongs).map(Case::trial);
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
            Ok(case_table::names_every_case(&cases::all())?)
        }));
        vec![few]
    };
    let mut failed = false;
    for (arguments, trials) in groups {
        failed |= libtest_mimic::run(&arguments, trials).has_failed();
    }
    if everything && !arguments.list {
        match case_table::write(&cases::all()) {
            Ok(path) => eprintln!("written to {}", path.display()),
            Err(error) => {
                eprintln!("cannot write the results: {error:#}");
                failed = true;
            }
        }
    }
    ExitCode::from(u8::from(failed))
}

/// Runs a case and records its result for the table. It counts as failed until it has ended.
async fn recorded(name: &str, run: impl Future<Output = Result<Measured>>) -> Result<()> {
    if scale::everything() {
        case_table::note(name, None)?;
    }
    let begun = Instant::now();
    let seen = run.await?;
    eprintln!("{name} in {:.0?}: {seen:?}", begun.elapsed());
    if scale::everything() {
        case_table::note(name, Some(&seen))?;
    }
    Ok(())
}
