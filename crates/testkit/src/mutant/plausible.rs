//! Plausible changes that keep a request well-formed: other names, another subject, other extensions.
//! Many of them are approved or wait, and Kubernetes would sign many of them.

use std::net::IpAddr;

use super::tree::Element;
use crate::random::Random;

/// Names of nodes, names that no node may have, and malformed names.
const DNS: [&str; 16] = [
    "node-1",
    "NODE-1.",
    "node-1.example",
    "node-1.example.com",
    "node-2",
    "cp-1",
    "kubernetes",
    "web.default.svc.cluster.local",
    "api.cluster.example",
    "localhost",
    "*.example",
    "node_1",
    "xn--nde-1-jua",
    "10.0.0.1",
    "10.1",
    "",
];
const IPS: [&[u8]; 10] = [
    &[10, 0, 0, 1],
    &[10, 0, 0, 2],
    &[10, 0, 0, 100],
    &[10, 96, 0, 1],
    &[127, 0, 0, 1],
    &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1],
    &[10, 0, 0, 1, 255, 255, 255, 255],
    &[10, 0, 0],
    &[],
];
const USERS: [&str; 6] = [
    "system:node:node-1",
    "system:node:node-2",
    "System:Node:Node-1",
    "system:nodes",
    "system:masters",
    "",
];
const DNS_TAG: u8 = 0x82;
const IP_TAG: u8 = 0x87;
/// otherName, rfc822Name, dNSName, directoryName, uniformResourceIdentifier, iPAddress, registeredID.
const NAME_TAGS: [u8; 7] = [0xa0, 0x81, DNS_TAG, 0xa4, 0x86, IP_TAG, 0x88];
/// UTF8String, PrintableString, TeletexString, IA5String, BMPString.
const STRING_TAGS: [u8; 5] = [0x0c, 0x13, 0x14, 0x16, 0x1e];
/// Content of object identifiers: keyUsage, extKeyUsage, basicConstraints, nameConstraints.
const EXTENSIONS: [&[u8]; 4] = [
    &[0x55, 0x1d, 0x0f],
    &[0x55, 0x1d, 0x25],
    &[0x55, 0x1d, 0x13],
    &[0x55, 0x1d, 0x1e],
];
/// challengePassword (PKCS#9).
const CHALLENGE_PASSWORD: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 7];

/// Changes the fields of CertificationRequestInfo in one place.
pub fn change(info: &mut [Element], own: &[String], random: &mut Random) {
    let [_version, subject, _key, attributes] = info else {
        return;
    };
    match random.below(16) {
        0 | 1 => change_subject(&mut subject.children, random),
        2 => change_extensions(attributes, random),
        3 => change_attributes(&mut attributes.children, random),
        _ => {
            if let Some(san) = san(attributes) {
                change_names(&mut san.children, own, random);
            }
        }
    }
}

/// The requested extensions.
fn extensions(attributes: &mut Element) -> Option<&mut Vec<Element>> {
    let request = attributes.children.first_mut()?;
    let values = request.children.get_mut(1)?;
    Some(&mut values.children.first_mut()?.children)
}

/// The list of names in the first extension.
fn san(attributes: &mut Element) -> Option<&mut Element> {
    let extension = extensions(attributes)?.first_mut()?;
    extension.children.last_mut()?.children.first_mut()
}

fn change_names(names: &mut Vec<Element>, own: &[String], random: &mut Random) {
    if names.is_empty() || random.once_in(8) {
        names.push(name(own, random));
        return;
    }
    let index = random.below(names.len());
    let other = random.below(names.len());
    match random.below(8) {
        0 => drop(names.remove(index)),
        1 => names.insert(index, names[other].clone()),
        2 => names.swap(index, other),
        3 => names[index] = name(own, random),
        4 => names[index].tag = NAME_TAGS[random.below(NAME_TAGS.len())],
        _ => respell(&mut names[index], random),
    }
}

/// A name that the node has, or any other.
fn name(own: &[String], random: &mut Random) -> Element {
    let dns = |text: &str| Element::new(DNS_TAG, text);
    match random.below(4) {
        0 => dns(random.pick(&DNS)),
        1 => Element::new(IP_TAG, random.pick(&IPS)),
        _ if own.is_empty() => dns("node-1"),
        _ => {
            let text = &own[random.below(own.len())];
            match text.parse() {
                Ok(IpAddr::V4(v4)) => Element::new(IP_TAG, v4.octets()),
                Ok(IpAddr::V6(v6)) => Element::new(IP_TAG, v6.octets()),
                Err(_) => dns(text),
            }
        }
    }
}

/// Respells a name, usually to one that compares equal.
fn respell(name: &mut Element, random: &mut Random) {
    let bytes = &mut name.bytes;
    match random.below(4) {
        0 if name.tag == DNS_TAG && bytes.last() == Some(&b'.') => drop(bytes.pop()),
        0 if name.tag == DNS_TAG => bytes.push(b'.'),
        1 if !bytes.is_empty() => {
            let at = random.below(bytes.len());
            bytes[at] = random.byte();
        }
        _ if name.tag == DNS_TAG => {
            for byte in bytes.iter_mut().filter(|b| b.is_ascii_alphabetic()) {
                *byte ^= u8::from(random.once_in(2)) << 5;
            }
        }
        _ => {}
    }
}

fn change_subject(rdns: &mut Vec<Element>, random: &mut Random) {
    if rdns.is_empty() {
        return;
    }
    let index = random.below(rdns.len());
    let other = random.below(rdns.len());
    if random.once_in(3) {
        rdns.swap(index, other);
        return;
    }
    match random.below(5) {
        0 => rdns.insert(index, rdns[other].clone()),
        1 if index != other => {
            let more = rdns[other].children.clone();
            rdns[index].children.extend(more);
            rdns.remove(other);
        }
        how => {
            let attribute = rdns[index].children.first_mut();
            let Some(value) = attribute.and_then(|a| a.children.get_mut(1)) else {
                return;
            };
            match how {
                2 => *value = Element::new(value.tag, random.pick(&USERS)),
                // The two types that DER parsers treat as the same text are the most frequent.
                3 => value.tag = STRING_TAGS[random.below(2)],
                _ => value.tag = STRING_TAGS[random.below(STRING_TAGS.len())],
            }
        }
    }
}

fn change_extensions(attributes: &mut Element, random: &mut Random) {
    let Some(extensions) = extensions(attributes) else {
        return;
    };
    match random.below(4) {
        0 => {
            let oid = Element::new(0x06, random.pick(&EXTENSIONS));
            let value = Element::new(0x04, [0x30, 0]);
            extensions.push(Element::of(0x30, vec![oid, value]));
        }
        1 => extensions.extend(extensions.first().cloned()),
        _ => {
            let critical = Element::new(0x01, [random.pick(&[&[0xff], &[0_u8], &[1]])[0]]);
            if let Some(first) = extensions.first_mut() {
                let at = first.children.len().min(1);
                first.children.insert(at, critical);
            }
        }
    }
}

fn change_attributes(attributes: &mut Vec<Element>, random: &mut Random) {
    match random.below(3) {
        0 => attributes.extend(attributes.first().cloned()),
        1 => attributes.clear(),
        _ => {
            let oid = Element::new(0x06, CHALLENGE_PASSWORD);
            let value = Element::of(0x31, vec![Element::new(0x13, "secret")]);
            attributes.push(Element::of(0x30, vec![oid, value]));
        }
    }
}
