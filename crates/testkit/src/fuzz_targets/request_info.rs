//! The content of CertificationRequestInfo, and mutants of it that keep its structure.

use crate::mutant::tree::{parse, write};
use crate::mutant::{hostile, tree::Element};
use crate::random::Random;

/// The content of CertificationRequestInfo, which is the first element of a request.
pub(super) fn info(request: &[u8]) -> Vec<u8> {
    let tree = parse(request).unwrap_or_default();
    let request = tree.first();
    let info = request.and_then(|request| request.children.first());
    info.map(Element::inside).unwrap_or_default()
}

/// A mutant of this content, with one to three changes.
pub(super) fn mutate(content: &[u8], random: &mut Random) -> Vec<u8> {
    let Some(mut tree) = parse(content) else {
        return content.to_vec();
    };
    for _ in 0..=random.below(3) {
        hostile::change(&mut tree, random);
    }
    write(&tree)
}
