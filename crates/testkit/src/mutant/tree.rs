//! A tree of encoded elements that can be changed and encoded again.

/// One element. Primitive ones have `bytes`, constructed ones `children`.
#[derive(Clone)]
pub struct Element {
    pub tag: u8,
    pub bytes: Vec<u8>,
    pub children: Vec<Element>,
    /// True if the length is encoded in more octets than it needs.
    pub long: bool,
}

impl Element {
    /// A primitive element.
    pub fn new(tag: u8, bytes: impl Into<Vec<u8>>) -> Element {
        Element {
            tag,
            bytes: bytes.into(),
            children: Vec::new(),
            long: false,
        }
    }

    /// A constructed element.
    pub fn of(tag: u8, children: Vec<Element>) -> Element {
        Element {
            children,
            ..Element::new(tag, [])
        }
    }

    pub fn inside(&self) -> Vec<u8> {
        if self.children.is_empty() {
            self.bytes.clone()
        } else {
            write(&self.children)
        }
    }
}

/// Parses a sequence of elements; `None` if the bytes are malformed.
pub fn parse(mut bytes: &[u8]) -> Option<Vec<Element>> {
    let mut elements = Vec::new();
    while !bytes.is_empty() {
        let (tag, rest) = bytes.split_first()?;
        let (first, mut rest) = rest.split_first()?;
        let mut length = usize::from(*first);
        if length & 0x80 != 0 {
            let (octets, after) = rest.split_at_checked(length & 0x7f)?;
            length = octets.iter().try_fold(0_usize, |sum, octet| {
                sum.checked_mul(256)?.checked_add((*octet).into())
            })?;
            rest = after;
        }
        let (inside, after) = rest.split_at_checked(length)?;
        // The SAN is in an OCTET STRING, so its content is parsed too, if possible.
        let descend = tag & 0x20 != 0 || *tag == 0x04;
        let children = descend.then(|| parse(inside)).flatten().unwrap_or_default();
        elements.push(match children.is_empty() {
            true => Element::new(*tag, inside),
            false => Element::of(*tag, children),
        });
        bytes = after;
    }
    Some(elements)
}

pub fn write(elements: &[Element]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for element in elements {
        let inside = element.inside();
        bytes.push(element.tag);
        match (inside.len(), element.long) {
            (short @ 0..=0x7f, false) => bytes.push(short as u8),
            (long, false) if long <= 0xff => bytes.extend([0x81, long as u8]),
            (long, _) => bytes.extend([0x82, (long >> 8) as u8, long as u8]),
        }
        bytes.extend(inside);
    }
    bytes
}
