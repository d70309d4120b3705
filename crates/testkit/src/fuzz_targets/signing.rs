//! The key that signs all fuzzed requests, because an unsigned request only tests the signature check.
//! It is an Ed25519 key, whose signatures are deterministic and fast.

use std::sync::LazyLock;

use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::tlv::take;
use crate::forge::der::Node;

static KEY: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap());

/// AlgorithmIdentifier of Ed25519 (RFC 8410, 3).
pub(super) const ALGORITHM: &[u8] = &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];

/// The key as SubjectPublicKeyInfo.
pub(super) static SPKI: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut spki = Node::sequence(vec![Node::bit_string(KEY.public_key().as_ref())]);
    spki.head = ALGORITHM.to_vec();
    spki.tlv()
});

/// A signed request with this content of CertificationRequestInfo.
pub(super) fn signed(info: &[u8]) -> Vec<u8> {
    let info = Node::primitive(0x30, info).tlv();
    let signature = Node::bit_string(KEY.sign(&info).as_ref());
    let mut request = Node::sequence(vec![signature]);
    request.head = [&info, ALGORITHM].concat();
    request.tlv()
}

/// Inserts the key into this content of CertificationRequestInfo: after the version and the subject,
/// or at the end if these are missing.
pub(super) fn put_key(info: &[u8]) -> Vec<u8> {
    let mut rest = info;
    let has_place = take(&mut rest).is_some() && take(&mut rest).is_some();
    let at = if has_place {
        info.len() - rest.len()
    } else {
        info.len()
    };
    [&info[..at], &SPKI, &info[at..]].concat()
}

/// Removes the key from the content; `None` if there is no key.
pub(super) fn without_key(info: &[u8]) -> Option<Vec<u8>> {
    let mut rest = info;
    take(&mut rest)?;
    take(&mut rest)?;
    let before = &info[..info.len() - rest.len()];
    take(&mut rest)?;
    Some([before, rest].concat())
}
