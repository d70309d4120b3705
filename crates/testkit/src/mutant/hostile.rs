//! Hostile changes: they keep the sequence of elements and nothing else. Every parser refuses most of
//! them; those that a parser accepts are the interesting ones.

use super::tree::Element;
use crate::random::Random;

/// Changes one element somewhere in the tree.
pub fn change(siblings: &mut Vec<Element>, random: &mut Random) {
    if siblings.is_empty() {
        return;
    }
    let index = random.below(siblings.len());
    let deeper = !siblings[index].children.is_empty() && !random.once_in(5);
    if deeper {
        change(&mut siblings[index].children, random);
        return;
    }
    let other = random.below(siblings.len());
    match random.below(9) {
        0 => drop(siblings.remove(index)),
        1 => siblings.insert(index, siblings[other].clone()),
        2 => siblings.swap(index, other),
        3 => siblings[index].tag = random.byte(),
        4 => siblings[index].tag ^= 0x20,
        5 => siblings[index].long = true,
        6 => edit(&mut siblings[index], random, |bytes, at, random| {
            bytes[at] = random.byte();
        }),
        7 => edit(&mut siblings[index], random, |bytes, at, random| {
            bytes.insert(at, random.byte());
        }),
        // A name in the other case is the same name, and must stay approved.
        _ => edit(&mut siblings[index], random, |bytes, at, _| {
            bytes[at] ^= 0x20
        }),
    }
}

fn edit(
    element: &mut Element,
    random: &mut Random,
    how: impl FnOnce(&mut Vec<u8>, usize, &mut Random),
) {
    let mut bytes = element.inside();
    if !bytes.is_empty() {
        let at = random.below(bytes.len());
        how(&mut bytes, at, random);
        element.bytes = bytes;
        element.children.clear();
    }
}
