//! Inputs of the state: reports of watches, files, certificates and lookups.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::cluster::list::Undecodable;
use judge::csr::{CsrObject, Uid};
use judge::evidence::{Answer, Fact, Source};
use judge::finding::Question;
use judge::policy::{Policy, Requirement};

/// An event that the state applies.
#[derive(Debug)]
pub(super) enum Input {
    /// A request exists in this state. `is_listed`: a list has shown it, not the running watch.
    Request {
        request: Box<(CsrObject, Vec<u8>)>,
        is_listed: bool,
    },
    /// The request of this UID is gone.
    RequestGone(Uid),
    /// A fact about the cluster.
    Fact(Fact),
    /// An object of this source cannot be decoded. The others are known.
    Undecodable(Source, Undecodable),
    /// A fact about Machines, from the watches of this generation.
    Machines(u64, Fact),
    /// A fact about the API servers' certificates, read under this demand.
    Certificates(Requirement, Fact),
    /// The answer to a question.
    Answered(Box<Answered>),
    /// The reloaded policy, or the reason why it cannot be used.
    Policy(Result<Box<Policy>, String>),
}

/// Sender of inputs.
pub(super) type Inputs = mpsc::Sender<Input>;

/// An answer, and the policy under which it was asked for.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) question: Question,
    pub(super) answer: Answer,
    pub(super) until: Timestamp,
    pub(super) asked_by: Arc<Policy>,
}

/// The policy in force, as published to its followers.
#[derive(Clone, Debug)]
pub(super) struct InForce {
    pub(super) policy: Arc<Policy>,
    /// Generation of its list of Machine kinds; grows with each change of the list.
    pub(super) generation: u64,
}
