//! Inputs of the state: everything that watches, files, certificates and answers report.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;

use judge::csr::{Object, Uid};
use judge::evidence::{Answer, Fact};
use judge::finding::Question;
use judge::policy::{Demand, Policy};

/// Something that has happened.
#[derive(Debug)]
pub(super) enum Input {
    /// A request is there, in this state. `is_listed` says that a list shows it, not the running
    /// watch.
    Request {
        request: Box<(Object, Vec<u8>)>,
        is_listed: bool,
    },
    /// The request of this UID is gone.
    RequestGone(Uid),
    /// Something is known of the cluster.
    Fact(Fact),
    /// The same of the Machines that the policy names, of this generation.
    Machines(u64, Fact),
    /// The same of the API servers' certificates, as far as this demand asks for them.
    Certificates(Demand, Fact),
    /// A question has been answered.
    Answered(Box<Answered>),
    /// The policy has been read anew, or cannot be.
    Policy(Result<Box<Policy>, String>),
}

/// Where inputs are handed in.
pub(super) type Inputs = mpsc::Sender<Input>;

/// An answer, and the policy under which it was asked for.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) question: Question,
    pub(super) answer: Answer,
    pub(super) until: Timestamp,
    pub(super) asked_by: Arc<Policy>,
}

/// The policy in force, for those that follow it.
#[derive(Clone, Debug)]
pub(super) struct InForce {
    pub(super) policy: Arc<Policy>,
    /// Of its list of kinds of Machines: which of all lists that there have been.
    pub(super) generation: u64,
}
