//! A minimal DER parser, independent of the two libraries of the judge.

/// One element with a tag of one octet and a minimal length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tlv<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) whole: &'a [u8],
}

/// Consumes the first element; `None` unless it is DER.
pub(super) fn take<'a>(bytes: &mut &'a [u8]) -> Option<Tlv<'a>> {
    let all = *bytes;
    let (tag, rest) = all.split_first()?;
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(*first) {
        short @ 0..=0x7f => (short, rest),
        0x81 => match rest.split_first()? {
            (length @ 0x80..=0xff, rest) => (usize::from(*length), rest),
            _ => return None,
        },
        0x82 => {
            let (octets, rest) = rest.split_at_checked(2)?;
            let length = usize::from(octets[0]) << 8 | usize::from(octets[1]);
            (Some(length).filter(|length| *length > 0xff)?, rest)
        }
        // No request is large enough for a longer length.
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some(Tlv {
        tag: *tag,
        content,
        whole: &all[..all.len() - rest.len()],
    })
}

/// Consumes the first element and returns its content; `None` if it has another tag.
pub(super) fn expect<'a>(bytes: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let element = take(bytes)?;
    (element.tag == tag).then_some(element.content)
}

/// The content of the only element; `None` if it has another tag or if bytes follow.
pub(super) fn only(mut bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let content = expect(&mut bytes, tag)?;
    bytes.is_empty().then_some(content)
}
