//! An encoder for a tree of named TLVs, in DER or with faults.

/// The encoding of a length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Length {
    /// As DER requires.
    #[default]
    Minimal,
    /// The long form with this many superfluous octets; 0 is the long form of a short length.
    Long(usize),
    /// The indefinite form of BER: 0x80, the content, 0x00 0x00.
    Indefinite,
    /// A definite length, right or wrong.
    Claim(usize),
}

/// An element: leading octets, then child elements. A primitive has no children, except a wrapper such
/// as an OCTET STRING around more DER.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The path segment by which a fault finds it; may be empty.
    pub name: &'static str,
    /// The identifier octets.
    pub tag: Vec<u8>,
    /// Octets before the children (a BIT STRING's count of unused bits, or all of a primitive).
    pub head: Vec<u8>,
    /// Child elements.
    pub children: Vec<Node>,
    /// Octets after the children, still inside.
    pub tail: Vec<u8>,
    /// Octets after the whole element.
    pub after: Vec<u8>,
    /// The encoding of the length.
    pub length: Length,
    /// True to split the content into two inner OCTET STRINGs, as a constructed string of BER.
    pub segmented: bool,
}

impl Node {
    /// A primitive element.
    pub fn primitive(tag: u8, content: impl Into<Vec<u8>>) -> Self {
        Self {
            tag: vec![tag],
            head: content.into(),
            ..Self::default()
        }
    }

    /// A constructed element.
    pub fn constructed(tag: u8, children: Vec<Node>) -> Self {
        Self {
            tag: vec![tag],
            children,
            ..Self::default()
        }
    }

    /// A SEQUENCE or SEQUENCE OF.
    pub fn sequence(children: Vec<Node>) -> Self {
        Self::constructed(0x30, children)
    }

    /// A SET OF, sorted as DER requires.
    pub fn set(mut children: Vec<Node>) -> Self {
        children.sort_by_cached_key(Node::tlv);
        Self::constructed(0x31, children)
    }

    /// A minimal, positive INTEGER from unsigned big-endian octets.
    pub fn unsigned(octets: &[u8]) -> Self {
        let skip = octets.iter().take_while(|o| **o == 0).count();
        let mut content = octets[skip.min(octets.len())..].to_vec();
        if content.first().is_none_or(|o| *o >= 0x80) {
            content.insert(0, 0);
        }
        Self::primitive(0x02, content)
    }

    /// An OBJECT IDENTIFIER from its encoded content.
    pub fn oid(content: impl Into<Vec<u8>>) -> Self {
        Self::primitive(0x06, content).named("oid")
    }

    /// NULL.
    pub fn null() -> Self {
        Self::primitive(0x05, [])
    }

    /// BOOLEAN.
    pub fn boolean(value: bool) -> Self {
        Self::primitive(0x01, [if value { 0xff } else { 0 }])
    }

    /// An OCTET STRING around other DER.
    pub fn octet_string(children: Vec<Node>) -> Self {
        Self::constructed(0x04, children)
    }

    /// A BIT STRING of whole octets.
    pub fn bit_string(content: &[u8]) -> Self {
        Self::primitive(0x03, [&[0], content].concat())
    }

    /// A BIT STRING around other DER.
    pub fn bit_string_of(children: Vec<Node>) -> Self {
        Self {
            head: vec![0],
            ..Self::constructed(0x03, children)
        }
    }

    /// Sets the name by which faults find the element.
    pub fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// The content octets.
    pub fn content(&self) -> Vec<u8> {
        let mut out = self.head.clone();
        for child in &self.children {
            child.write(&mut out);
        }
        out.extend_from_slice(&self.tail);
        out
    }

    /// The element without the octets after it. A signature covers this.
    pub fn tlv(&self) -> Vec<u8> {
        let mut content = self.content();
        if self.segmented {
            content = segments(self.tag.first() == Some(&0x23), &content);
        }
        let mut out = self.tag.clone();
        out.extend(length_octets(self.length, content.len()));
        out.extend(content);
        if self.length == Length::Indefinite {
            out.extend([0, 0]);
        }
        out
    }

    /// Writes the element and the octets after it.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.tlv());
        out.extend_from_slice(&self.after);
    }

    /// The element at a dotted path. The first segment may be anywhere in the tree, outermost first.
    /// Each later segment is the name or the index of a child.
    pub fn at(&mut self, path: &str) -> Option<&mut Node> {
        let (first, rest) = path.split_once('.').map_or((path, ""), |(f, r)| (f, r));
        let mut node = self.find(first)?;
        for segment in rest.split('.').filter(|s| !s.is_empty()) {
            node = match segment.parse::<usize>() {
                Ok(index) => node.children.get_mut(index)?,
                Err(_) => node.children.iter_mut().find(|c| c.name == segment)?,
            };
        }
        Some(node)
    }

    fn find(&mut self, name: &str) -> Option<&mut Node> {
        if self.name == name {
            return Some(self);
        }
        self.children.iter_mut().find_map(|c| c.find(name))
    }

    /// Every path that [`Node::at`] accepts, for the error about a mistyped one.
    pub fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.list(self.name.to_owned(), &mut out);
        out
    }

    fn list(&self, path: String, out: &mut Vec<String>) {
        for (index, child) in self.children.iter().enumerate() {
            let segment = match child.name {
                "" => index.to_string(),
                name => name.to_owned(),
            };
            child.list(format!("{path}.{segment}"), out);
        }
        out.push(path);
    }
}

/// Splits a string's content into two OCTET STRINGs (X.690 8.14.3) or BIT STRINGs (8.6.4).
fn segments(bits: bool, content: &[u8]) -> Vec<u8> {
    let content = if bits { &content[1..] } else { content };
    let (left, right) = content.split_at(content.len() / 2);
    [left, right]
        .into_iter()
        .flat_map(|half| {
            if bits {
                Node::bit_string(half).tlv()
            } else {
                Node::primitive(0x04, half).tlv()
            }
        })
        .collect()
}

fn length_octets(form: Length, actual: usize) -> Vec<u8> {
    let long = |value: usize, extra: usize| {
        let bytes = value.to_be_bytes();
        let zeros = bytes.iter().take_while(|b| **b == 0).count();
        // A zero length still takes one octet.
        let significant = &bytes[zeros.min(bytes.len() - 1)..];
        let count = u8::try_from(extra + significant.len()).expect("at most 126 length octets");
        let mut out = vec![0x80 | count];
        out.extend(std::iter::repeat_n(0, extra));
        out.extend_from_slice(significant);
        out
    };
    let minimal = |value: usize| match u8::try_from(value) {
        Ok(short) if short < 0x80 => vec![short],
        _ => long(value, 0),
    };
    match form {
        Length::Minimal => minimal(actual),
        Length::Long(extra) => long(actual, extra),
        Length::Indefinite => vec![0x80],
        Length::Claim(value) => minimal(value),
    }
}
