//! What only a real control plane can show.
//!
//! Without the programs of one the cases are ignored, and say why; in continuous integration (`CI` is
//! set) that is a failure. See `harness/assets.rs` for where the programs come from.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod addresses;
mod cases;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use control_plane::assets::Assets;
use control_plane::netns::{self, Network};
use control_plane::process::{in_path, take_last_words};
use futures::FutureExt as _;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// The program under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_csr-warden");

/// What a case needs beside the programs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    /// The address [`netns::ADDRESS`], for an API server that publishes its endpoint.
    OwnNetwork,
    /// The same, and `ansible-playbook`.
    Ansible,
    /// A Prometheus, as Debian's package has it.
    Prometheus,
    /// An address of its own, and the programs that pages for administrators take for granted.
    Tools,
    /// The same, and a Prometheus.
    Story,
}

impl Needs {
    fn own_network(self) -> bool {
        match self {
            Self::OwnNetwork | Self::Ansible | Self::Tools | Self::Story => true,
            Self::Nothing | Self::Prometheus => false,
        }
    }

    fn missing_program(self) -> Option<String> {
        let programs: &[_] = match self {
            Self::Nothing | Self::OwnNetwork => &[],
            Self::Ansible => &[("ansible-playbook", "pip install ansible-core")],
            Self::Prometheus => &[("prometheus", "Debian's package prometheus")],
            Self::Tools => &[
                ("bash", "Debian's package bash"),
                ("jq", "Debian's package jq"),
                ("openssl", "Debian's package openssl"),
            ],
            Self::Story => &[
                ("bash", "Debian's package bash"),
                ("openssl", "Debian's package openssl"),
                ("prometheus", "Debian's package prometheus"),
                ("promtool", "Debian's package prometheus"),
            ],
        };
        let missing = programs.iter().find(|(program, _)| !in_path(program));
        missing.map(|(program, from)| format!("no `{program}` to run: {from} has it"))
    }
}

type Run = Box<dyn FnOnce(Arc<Assets>) -> Pin<Box<dyn Future<Output = Result<()>>>> + Send>;

/// One test.
pub struct Case {
    name: &'static str,
    needs: Needs,
    run: Run,
}

impl Case {
    pub fn new<F>(name: &'static str, needs: Needs, run: fn(Arc<Assets>) -> F) -> Self
    where
        F: Future<Output = Result<()>> + 'static,
    {
        Self {
            name,
            needs,
            run: Box::new(move |assets| Box::pin(run(assets))),
        }
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // A control plane takes both cores of a small machine.
    arguments.test_threads.get_or_insert(1);
    if arguments.list {
        let listed = cases::all()
            .into_iter()
            .map(|case| Trial::test(case.name, || Ok(())));
        return libtest_mimic::run(&arguments, listed.collect()).exit_code();
    }

    // Building fetches modules, so it comes before the network is left.
    let assets = Assets::find()
        .map(Arc::new)
        .map_err(|missing| missing.to_string());
    let network = netns::enter();
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("the only provider");

    let must_run = std::env::var_os("CI").is_some();
    let trials = cases::all().into_iter().map(|case| {
        let unable = match (&assets, &network) {
            (Err(missing), _) => Some(missing.clone()),
            (Ok(_), Network::Shared(why)) if case.needs.own_network() => Some(why.clone()),
            (Ok(_), Network::Shared(_) | Network::Own) => case.needs.missing_program(),
        };
        let assets = assets.clone();
        match (assets, unable) {
            (Ok(assets), None) => Trial::test(case.name, move || run(case.run, assets)),
            (_, why) if must_run => {
                Trial::test(case.name, move || Err(why.unwrap_or_default().into()))
            }
            (_, why) => Trial::ignorable_test(case.name, move || {
                Ok(Completion::ignored_with(why.unwrap_or_default()))
            }),
        }
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// Runs one case on a runtime of its own; if it fails, the ends of all logs are shown.
fn run(run: Run, assets: Arc<Assets>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let _ = take_last_words();
    let outcome = runtime.block_on(AssertUnwindSafe(run(assets)).catch_unwind());
    let logs = take_last_words();
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("{error:#}\n\nlogs:\n{logs}").into()),
        Err(_) => Err(format!("panicked, see above\n\nlogs:\n{logs}").into()),
    }
}
