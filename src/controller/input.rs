//! Inputs of the loop: everything that watches, files, certificates and answers report.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::cluster::watch::Change;
use crate::sources::resolve::asked;
use judge::csr::Object;
use judge::evidence::{Answer, Fact, Node, Source};
use judge::finding::Question;
use judge::policy::{Demand, Policy};

/// Something that has happened.
#[derive(Debug)]
pub(super) enum Input {
    /// The watch on requests.
    Request(Change<Box<(Object, Vec<u8>)>>),
    /// The watch on Nodes.
    Node(Change<Box<Node>>),
    /// The same of the Machines that the policy names, of this generation.
    Machines(u64, Fact),
    /// The policy has been read anew, or cannot be.
    Policy(Result<Box<Policy>, String>),
    /// A question has been answered.
    Answered(Box<Answered>),
    /// Something is known of the cluster.
    Fact(Fact),
    /// The same of the API servers' certificates, as far as this demand asks for them.
    Certificates(Demand, Fact),
}

/// The policy in force.
#[derive(Clone, Debug)]
pub(super) struct InForce {
    pub(super) policy: Arc<Policy>,
    /// Of its list of kinds of Machines.
    pub(super) generation: u64,
}

pub(super) type Inputs = mpsc::Sender<Input>;

/// An answer, and the policy under which it was asked for.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) question: Question,
    pub(super) answer: Answer,
    pub(super) until: Timestamp,
    pub(super) asked_by: Arc<Policy>,
}

impl Answered {
    /// Who was asked.
    pub(super) fn source(&self) -> Source {
        asked(&self.question)
    }
}
