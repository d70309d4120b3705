//! Sizes and times of a run: small ones for every test run, large ones for the results of all cases.

use std::time::Duration;

/// The variable that selects all cases with the large scale, and writes the results.
pub const VARIABLE: &str = "CSR_WARDEN_FAULTS";

/// The sizes and times of a run.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Kubelets of most cases.
    pub kubelets: usize,
    /// Forgeries of each case.
    pub forgeries: usize,
    /// How long most faults last.
    pub fault: Duration,
    /// How long the API server is paused.
    pub pause: Duration,
    /// Longer than a Lease holds.
    pub beyond_the_lease: Duration,
    /// How long after the end of a fault all may take to be well again.
    pub patience: Duration,
    /// Requests at once, against the memory limit of the Deployment.
    pub requests: usize,
    /// Kubelets of the rotation.
    pub rotating: usize,
    /// How long the day of the rotation is.
    pub day: Duration,
}

impl Scale {
    /// Those of this run.
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
        rotating: 2_000,
        day: Duration::from_secs(240),
    };
}

/// Whether everything is to be run.
pub fn everything() -> bool {
    std::env::var(VARIABLE).is_ok_and(|value| value == "all")
}
