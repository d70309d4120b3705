//! Tests of csr-warden on a real control plane.
//!
//! Without the programs of a control plane, the cases are ignored with the reason. In continuous
//! integration (`CI` is set) they fail. `crates/control-plane/src/assets.rs` finds or builds the
//! programs.

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
mod random_addresses;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use control_plane::assets::Assets;
use control_plane::case;
use control_plane::netns::{self, Network};
use control_plane::process::in_path;
use libtest_mimic::{Arguments, Trial};

/// The program under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_csr-warden");

/// Requirements of a case besides the programs of a control plane.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    /// The address [`netns::ADDRESS`], for an API server that publishes its endpoint.
    OwnNetwork,
    /// `OwnNetwork`, and `ansible-playbook`.
    Ansible,
    /// Prometheus, from Debian's package.
    Prometheus,
    /// `OwnNetwork`, and the programs that pages for administrators presuppose.
    Tools,
    /// `Tools`, and Prometheus.
    Story,
}

impl Needs {
    /// Checks that this machine meets the requirement. The error names what is missing.
    fn check(self, network: &Network) -> Result<(), String> {
        match network {
            Network::Shared(why) if self.own_network() => Err(why.clone()),
            Network::Shared(_) | Network::Own => self.missing_program().map_or(Ok(()), Err),
        }
    }

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

/// A case with its requirements.
pub struct Case {
    needs: Needs,
    case: case::Case<Arc<Assets>>,
}

impl Case {
    pub fn new<F>(name: &'static str, needs: Needs, run: fn(Arc<Assets>) -> F) -> Self
    where
        F: Future<Output = Result<()>> + 'static,
    {
        let case = case::Case::new(name, run);
        Self { needs, case }
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // A control plane uses both cores of a small machine.
    arguments.test_threads.get_or_insert(1);
    if arguments.list {
        let listed = cases::all()
            .into_iter()
            .map(|Case { case, .. }| Trial::test(case.name, || Ok(())));
        return libtest_mimic::run(&arguments, listed.collect()).exit_code();
    }

    // A build downloads modules, so it comes before the network namespace.
    let assets = Assets::find()
        .map(Arc::new)
        .map_err(|missing| missing.to_string());
    let network = netns::enter();
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("the only provider");

    let trials = cases::all().into_iter().map(|Case { needs, case }| {
        let assets = assets.clone();
        case.trial(assets.and_then(|assets| needs.check(&network).map(|()| assets)))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
