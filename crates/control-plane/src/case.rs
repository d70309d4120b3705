//! Asynchronous test cases for test programs without the standard harness (`harness = false`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::time::Instant;

use anyhow::Result;
use libtest_mimic::{Completion, Failed, Trial};
use tokio::runtime::Runtime;

use super::process::take_log_tails;

type Run<C> = Box<dyn FnOnce(C) -> Pin<Box<dyn Future<Output = Result<()>>>> + Send>;

/// A named test that gets a context, such as the programs of a control plane.
pub struct Case<C> {
    /// The name by which the command line selects the case.
    pub name: &'static str,
    run: Run<C>,
}

impl<C: Send + 'static> Case<C> {
    /// Creates a case that passes if `run` returns `Ok`.
    pub fn new<F>(name: &'static str, run: impl FnOnce(C) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<()>> + 'static,
    {
        Self {
            name,
            run: Box::new(move |context| Box::pin(run(context))),
        }
    }

    /// Returns the trial of this case. Without a context the case is ignored with the reason. In
    /// continuous integration (`CI` is set) it fails.
    pub fn trial(self, context: Result<C, String>) -> Trial {
        let Self { name, run } = self;
        match context {
            Ok(context) => Trial::test(name, move || execute(run, context)),
            Err(why) if std::env::var_os("CI").is_some() => {
                Trial::test(name, move || Err(why.into()))
            }
            Err(why) => Trial::ignorable_test(name, move || Ok(Completion::ignored_with(why))),
        }
    }
}

/// Runs a case on a runtime of its own. A failure includes the log tails of its processes.
fn execute<C>(run: Run<C>, context: C) -> Result<(), Failed> {
    let runtime = Runtime::new()?;
    let _ = take_log_tails();
    let begun = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(run(context))));
    let took = begun.elapsed();
    let why = match outcome {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => format!("after {took:.0?}: {error:#}"),
        Err(_) => format!("after {took:.0?}: panicked, see above"),
    };
    Err(format!("{why}\n\nlogs:\n{}", take_log_tails()).into())
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    fn failure<F>(run: impl FnOnce(()) -> F + Send + 'static) -> Option<String>
    where
        F: Future<Output = Result<()>> + 'static,
    {
        let failed = execute(Case::new("case", run).run, ()).err()?;
        failed.message().map(str::to_owned)
    }

    #[test]
    fn errors_and_panics_fail_a_case() {
        assert_eq!(failure(|()| async { Ok(()) }), None);
        let error = failure(|()| async { bail!("broken") }).unwrap();
        assert!(error.contains(": broken\n"), "{error}");
        let panic = failure(|()| async { panic!("broken") }).unwrap();
        assert!(panic.contains(": panicked, see above\n"), "{panic}");
    }
}
