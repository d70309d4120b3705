//! Mutants of approved requests, signed again. Some are well-formed. In others, elements are dropped,
//! repeated, swapped, retagged or rewritten, and the lengths around them are corrected.

pub mod hostile;
mod plausible;
mod signer;
pub mod tree;

use std::collections::BTreeMap;

use crate::forge::Recipe;
use crate::forge::keys::KeyKind;
use crate::random::Random;
use crate::vector::Vector;
use signer::Signer;
use tree::{Element, parse, write};

/// A request that mutants come from.
pub struct Parent {
    content: Vec<u8>,
    info: Vec<Element>,
    /// The addresses of the node, as text.
    own: Vec<String>,
    signer: Signer,
    /// True if its key signs in microseconds.
    pub is_fast: bool,
}

impl Parent {
    /// The request of a vector; `None` if it is not built from parts that can be mutated.
    pub fn of(vector: &Vector) -> Option<Parent> {
        let recipe = &vector.request;
        let made = recipe.raw_der.is_none() && recipe.fixture.is_none() && recipe.faults.is_empty();
        let content = made.then(|| content(recipe)).flatten()?;
        let addresses = vector.nodes.iter().flat_map(|node| &node.addresses);
        Some(Parent {
            info: parse(&content)?,
            content,
            own: addresses.flat_map(BTreeMap::values).cloned().collect(),
            signer: Signer::new(recipe.signing_key()),
            is_fast: matches!(recipe.key, KeyKind::P256 | KeyKind::Ed25519),
        })
    }

    /// The PEM text of one mutant; `None` if it equals the original.
    pub fn mutant(&self, random: &mut Random) -> Option<String> {
        let mut info = self.info.clone();
        // Half of the mutants get plausible changes only, a quarter hostile ones only, and a quarter
        // both: a hostile change in a place that a genuine request does not have.
        let kind = random.below(4);
        if kind != 0 {
            for _ in 0..=random.below(2) {
                plausible::change(&mut info, &self.own, random);
            }
        }
        if kind < 2 {
            for _ in 0..=random.below(3) {
                hostile::change(&mut info, random);
            }
        }
        let content = write(&info);
        let spoils = kind < 2 && random.once_in(8);
        (spoils || content != self.content).then(|| {
            self.signer.request(content, |outside| {
                if spoils {
                    hostile::change(outside, random);
                }
            })
        })
    }
}

/// The content of CertificationRequestInfo, the first element of a request.
fn content(recipe: &Recipe) -> Option<Vec<u8>> {
    let request = parse(&recipe.der())?;
    let info = request.first()?.children.first()?;
    Some(info.inside())
}
