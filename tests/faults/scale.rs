//! The sizes and times of a run: small for every test run, large for the published results.

use std::time::Duration;

/// The environment variable that selects all cases with large sizes, and writes the results.
pub const VARIABLE: &str = "CSR_WARDEN_FAULTS";

/// The sizes and times of a run.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// The number of kubelets in most cases.
    pub kubelets: usize,
    /// The number of forged requests in each case.
    pub forgeries: usize,
    /// The duration of most faults.
    pub fault: Duration,
    /// The duration of a pause of the API server.
    pub pause: Duration,
    /// A time longer than the duration of a Lease.
    pub beyond_the_lease: Duration,
    /// The deadline for recovery, from the end of the fault.
    pub patience: Duration,
    /// The number of concurrent requests in the case of the Deployment's memory limit.
    pub requests: usize,
    /// The number of attackers in the case of large requests.
    pub identities: usize,
    /// The number of Nodes in the case of large requests.
    pub nodes_beside: usize,
    /// The number of kubelets in the case of rotation.
    pub rotating: usize,
    /// The duration of the case of rotation.
    pub day: Duration,
}

impl Scale {
    /// Returns the sizes and times of this run.
    pub fn of_this_run() -> Self {
        if everything() {
            Self::EVERYTHING
        } else {
            Self::FEW
        }
    }

    const FEW: Self = Self {
        kubelets: 25,
        forgeries: 4,
        fault: Duration::from_secs(3),
        pause: Duration::from_secs(5),
        beyond_the_lease: Duration::from_secs(18),
        patience: Duration::from_secs(100),
        requests: 500,
        identities: 70,
        nodes_beside: 50,
        rotating: 50,
        day: Duration::from_secs(20),
    };

    const EVERYTHING: Self = Self {
        kubelets: 100,
        forgeries: 16,
        fault: Duration::from_secs(15),
        pause: Duration::from_secs(60),
        beyond_the_lease: Duration::from_secs(30),
        patience: Duration::from_secs(300),
        requests: 15_000,
        identities: 140,
        nodes_beside: 1_000,
        rotating: 2_000,
        day: Duration::from_secs(240),
    };
}

/// Returns true if all cases are to be run.
pub fn everything() -> bool {
    std::env::var(VARIABLE).is_ok_and(|value| value == "all")
}
