//! Inputs of the loop: everything that watches, files, certificates and answers report.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::cluster::protected::Part;
use crate::cluster::watch::Change;
use crate::sources::asking::asked;
use crate::sources::machine_watch::News;
use judge::csr::Object;
use judge::evidence::{Answer, Inventory, Node, Source};
use judge::finding::Question;
use judge::policy::{Demand, Policy};

/// Something that has happened.
#[derive(Debug)]
pub(super) enum Input {
    /// The watch on requests.
    Request(Change<Box<(Object, Vec<u8>)>>),
    /// The watch on Nodes.
    Node(Change<Box<Node>>),
    /// The watches on Machines, of this generation.
    Machines(u64, News),
    /// The policy has been read anew, or cannot be.
    Policy(Result<Box<Policy>, String>),
    /// The administrator's inventory has been read.
    Inventory(Box<Inventory>),
    /// A question has been answered.
    Answered(Box<Answered>),
    /// An origin protects these and nothing else.
    Protected(Part),
    /// An origin protects nothing any more.
    Unprotected(String),
    /// What is said of the API servers' certificates, as far as this demand asks for them.
    Certificates(Demand, Box<Input>),
    /// A source is complete.
    Synced(Source),
    /// A source fails; what it said before may hold for a while.
    Failed(Source, String),
    /// A source fails in a way that leaves something unknown.
    Incomplete(Source, String),
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
