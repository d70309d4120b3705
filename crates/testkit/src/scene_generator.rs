//! A generator of whole scenes: a vector with parts of other vectors and with random changes to the
//! request, the cluster and the policy. A scene follows from its seed.

use crate::forge::Recipe;
use crate::mutant::Parent;
use crate::policies::BasePolicy;
use crate::random::Random;
use crate::vector::{Outcome, Vector, request_pem};

mod cluster;
mod policy;
mod pools;
mod request;
mod sources;

use pools::Pools;

/// Makes scenes from all vectors.
pub struct Generator {
    vectors: Vec<Vector>,
}

/// A request with its cluster and its policy.
pub struct Generated {
    pub vector: Vector,
    pub base: BasePolicy,
    /// The PEM text of the request.
    pub text: Vec<u8>,
    /// The changes to the vector, in words.
    pub changes: Vec<&'static str>,
}

/// A change to a vector.
type Change = fn(&mut Vector, &Pools, &mut Random);

/// The changes, each as often as it is drawn. Those that several rows depend on are the most frequent.
const CHANGES: [(&str, usize, Change); 36] = [
    ("object", 4, request::object),
    ("requestor", 2, request::requestor),
    ("names", 8, request::names),
    ("names of the Node", 10, request::names_of_node),
    ("many names", 1, request::many_names),
    ("another node asks", 4, request::another_node),
    ("recipe", 2, request::recipe),
    ("genuine recipe", 3, request::genuine),
    ("more addresses", 6, cluster::add_address),
    ("fewer addresses", 2, cluster::drop_address),
    ("a Node's state", 5, cluster::state),
    ("a Node's ages", 4, cluster::ages),
    ("a Node's first event", 2, cluster::first_seen),
    ("another Node", 5, cluster::add_node),
    ("a copy of a Node", 4, cluster::copy_node),
    ("a crowd of Nodes", 2, cluster::crowd),
    ("a later event of a Node", 4, cluster::later_event),
    ("pod networks", 4, cluster::pod_cidr),
    ("provider ID", 3, cluster::provider_id),
    ("a Node less", 1, cluster::drop_node),
    ("the label of control planes", 3, cluster::control_plane),
    ("a protected origin", 4, sources::protect),
    ("a certificate of an API server", 4, sources::api_server),
    ("an origin that was removed", 3, sources::unprotect),
    ("an origin less", 2, sources::drop_origin),
    ("a key in use", 1, sources::key),
    ("a source that fails", 2, sources::failing),
    ("inventory", 4, sources::inventory),
    ("a Machine", 4, sources::machine),
    ("a changed Machine", 3, sources::change_machine),
    ("a Namespace", 1, sources::namespace),
    ("an issued certificate", 4, sources::issued),
    ("an answer", 6, sources::answer),
    ("policy", 8, policy::change),
    ("a shipped policy", 2, policy::shipped),
    ("clock", 1, request::clock),
];

impl Generator {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Generator {
        Generator {
            vectors: Vector::all(),
        }
    }

    /// The scene of a seed. A bit of `without` leaves out the change with this index, to find those on
    /// which a difference rests.
    pub fn scene(&self, seed: u64, without: u64) -> Generated {
        let mut random = Random::new(seed);
        let base = BasePolicy::ALL[random.below(2)];
        let mut vector = match random.below(3) {
            0 => Vector::genuine(),
            _ => self.vectors[random.below(self.vectors.len())].clone(),
        };
        let mut changes = Vec::new();
        let mut index = 0;
        let mut step = |vector: &mut Vector,
                        name,
                        random: &mut Random,
                        change: &dyn Fn(&mut Vector, &mut Random)| {
            // Each change has its own numbers, so leaving one out keeps the others.
            let mut own = Random::new(random.number());
            if without >> index & 1 == 0 {
                change(vector, &mut own);
                changes.push(name);
            }
            index += 1;
        };
        for _ in 0..random.below(3) {
            step(
                &mut vector,
                "part of a vector",
                &mut random,
                &|vector, random| {
                    self.exchange(vector, random);
                },
            );
        }
        let total = CHANGES.iter().map(|(_, weight, _)| weight).sum();
        for _ in 0..random.below(7) {
            let mut drawn = random.below(total);
            let (name, _, change) = CHANGES
                .iter()
                .find(|(_, weight, _)| {
                    let is_meant = drawn < *weight;
                    drawn = drawn.saturating_sub(*weight);
                    is_meant
                })
                .unwrap();
            step(&mut vector, name, &mut random, &|vector, random| {
                let pools = Pools::of(vector);
                change(vector, &pools, random);
            });
        }
        let mut text = None;
        if random.once_in(8) {
            step(&mut vector, "bytes of the request", &mut random, &|_, _| {});
            if changes.last() == Some(&"bytes of the request") {
                text = Parent::of(&vector).and_then(|parent| parent.mutant(&mut random));
            }
        }
        policy::complete(&mut vector, base);
        let text = text.unwrap_or_else(|| self.text(&vector.request));
        Generated {
            vector,
            base,
            text: text.into_bytes(),
            changes,
        }
    }

    /// Requests of vectors are kept, because RSA is slow. Others are not, because there are too many.
    fn text(&self, recipe: &Recipe) -> String {
        match self.vectors.iter().any(|vector| vector.request == *recipe) {
            true => request_pem(recipe),
            false => recipe.pem(),
        }
    }

    /// Takes one part of another vector.
    fn exchange(&self, vector: &mut Vector, random: &mut Random) {
        let other = self.vectors[random.below(self.vectors.len())].clone();
        match random.below(14) {
            0 => vector.requestor = other.requestor,
            1 => vector.object = other.object,
            2 => vector.request = other.request,
            3 | 4 => {
                vector.nodes = other.nodes;
                vector.others = other.others;
            }
            5 | 6 => {
                vector.protected = other.protected;
                vector.also_protected = other.also_protected;
            }
            7 => vector.sources = other.sources,
            8 => vector.inventory = other.inventory,
            9 => vector.machines = other.machines,
            10 => vector.issued = other.issued,
            11 => vector.answers = other.answers,
            12 => vector.policy = other.policy,
            _ => {
                vector.namespaces = other.namespaces;
                vector.keys = other.keys;
            }
        }
    }
}

impl Generated {
    /// The decision of the judge.
    pub fn outcome(&self) -> Outcome {
        self.vector.outcome_of(&self.text, self.base)
    }
}
