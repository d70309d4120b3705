//! Faults, each of which corrupts one element of the encoding.

use serde::Deserialize;

use super::{
    der::{Length, Node},
    octets::Octets,
    oid::Oid,
};

/// Changes to the element at a path, applied in the order of the fields.
///
/// A path begins with any element's name and goes down by name or index: `request`, `version`, `subject.0`,
/// `subject.1.0.value`, `spki.algorithm`, `attributes`, `extensions.0`, `san.value.names.0`, `signature.ecdsa.r`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    pub at: String,
    /// Keeps these children, in this order: leaves out, repeats and reorders.
    pub children: Option<Vec<usize>>,
    /// Replaces the whole content.
    pub content: Option<Octets>,
    /// Replaces the content with that of this object identifier.
    pub oid: Option<Oid>,
    /// Inserts octets before the content (`{hex: "00"}` makes an INTEGER non-minimal).
    pub prepend: Option<Octets>,
    /// Appends octets to the content.
    pub append: Option<Octets>,
    /// Overwrites octets of the content.
    pub poke: Option<Poke>,
    /// Keeps only the first octets of the content.
    pub truncate: Option<usize>,
    /// Replaces the identifier octets.
    pub tag: Option<Tag>,
    pub constructed: Option<Constructed>,
    pub length: Option<LengthFault>,
    /// Inserts octets after the element.
    pub after: Option<Octets>,
}

/// Overwrites content octets from `offset` on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Poke {
    pub offset: usize,
    pub octets: Octets,
}

/// Identifier octets: `0x82`, or several for the high-tag-number form.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Tag {
    One(u8),
    Many(Vec<u8>),
}

/// A way to make an element constructed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constructed {
    /// Set the bit only; the content stays.
    Bit,
    /// A constructed string of BER: split the content into two segments.
    Segments,
}

/// A wrong encoding of the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LengthFault {
    /// The long form with this many superfluous octets; 0 is the long form of a short length.
    Long(usize),
    Indefinite,
    /// This length, true or not.
    Claim(usize),
}

impl Fault {
    /// A fault at a path, without changes yet.
    pub fn at(path: &str) -> Self {
        Self {
            at: path.to_owned(),
            ..Self::default()
        }
    }

    /// Applies the fault to the tree. Panics if the element does not exist, because then the vector
    /// is wrong.
    pub fn apply(&self, root: &mut Node) {
        let known = root.paths();
        let node = root
            .at(&self.at)
            .unwrap_or_else(|| panic!("no element `{}`; there are {known:#?}", self.at));
        let before = node.clone();
        self.apply_to(node);
        assert_ne!(before, *node, "the fault at `{}` changes nothing", self.at);
    }

    fn apply_to(&self, node: &mut Node) {
        if let Some(order) = &self.children {
            node.children = order
                .iter()
                .map(|index| node.children[*index].clone())
                .collect();
        }
        if let Some(content) = &self.content {
            replace(node, content.0.clone());
        }
        if let Some(oid) = &self.oid {
            replace(node, oid.content());
        }
        if let Some(octets) = &self.prepend {
            node.head.splice(0..0, octets.0.iter().copied());
        }
        if let Some(octets) = &self.append {
            node.tail.extend(&octets.0);
        }
        if let Some(poke) = &self.poke {
            let mut content = node.content();
            content[poke.offset..poke.offset + poke.octets.0.len()].copy_from_slice(&poke.octets.0);
            replace(node, content);
        }
        if let Some(keep) = self.truncate {
            let mut content = node.content();
            content.truncate(keep);
            replace(node, content);
        }
        match &self.tag {
            None => {}
            Some(Tag::One(tag)) => node.tag = vec![*tag],
            Some(Tag::Many(tag)) => node.tag.clone_from(tag),
        }
        if let Some(form) = self.constructed {
            node.tag[0] |= 0x20;
            node.segmented = form == Constructed::Segments;
        }
        match self.length {
            None => {}
            Some(LengthFault::Long(extra)) => node.length = Length::Long(extra),
            Some(LengthFault::Indefinite) => node.length = Length::Indefinite,
            Some(LengthFault::Claim(length)) => node.length = Length::Claim(length),
        }
        if let Some(octets) = &self.after {
            node.after.extend(&octets.0);
        }
    }
}

/// Replaces the content and drops the children, so later faults cannot name them.
fn replace(node: &mut Node, content: Vec<u8>) {
    node.head = content;
    node.children.clear();
    node.tail.clear();
}
