//! DER of a request in correct PEM. A request is parsed without a finding if and only if it has the
//! exact shape of a kubelet's request.

use judge::csr::{Fingerprint, MAX_REQUEST_BYTES, Request};
use judge::finding::Code;

use super::kubelet_request::{self, KubeletRequest};
use super::request_info;
use super::{der_of, signing};
use crate::forge::pem::PemRecipe;
use crate::random::Random;
use crate::vector::Vector;

/// Checks any bytes as the DER of a request.
pub fn check(data: &[u8]) {
    let text = PemRecipe::default().text(data);
    if text.len() > MAX_REQUEST_BYTES {
        return;
    }
    let request = Request::read(Vector::genuine().object(), text.as_bytes());
    let asked = kubelet_request::parse(data);
    let codes: Vec<Code> = request.findings.iter().map(|f| f.code).collect();
    let content = request.content.as_ref();
    let common_name = content.and_then(|content| content.common_name.as_deref());
    // A CN of another string type than PrintableString is dropped, and matches no requestor.
    let is_accepted = codes.is_empty() && common_name.is_some();
    if is_accepted {
        let asked = asked.unwrap_or_else(|| panic!("read, but not of a kubelet's shape:\n{text}"));
        let content = content.expect("neither read nor refused");
        assert_eq!(asked.organization, "system:nodes");
        assert_eq!(common_name, Some(asked.common_name));
        assert_eq!(content.san_count, asked.names.len());
        let mut sans: Vec<String> = content.sans.iter().map(ToString::to_string).collect();
        sans.sort_unstable();
        assert_eq!(sans, Vec::from_iter(asked.distinct()));
        assert_eq!(content.key, Fingerprint::of(asked.key));
        assert_eq!(Some(content.key), Request::key_of(text.as_bytes()));
    } else if let Some(asked) = asked.filter(is_plain) {
        // `is_plain` does not check the signature and the repetition of names.
        let unseen = [Code::SignatureInvalid, Code::SanDuplicate, Code::SanTooMany];
        let wrong = codes.iter().find(|code| !unseen.contains(code));
        assert!(wrong.is_none(), "{:?} of {asked:?}", request.findings);
    }
}

/// Returns true if no field of the request could be a reason to refuse it.
fn is_plain(asked: &KubeletRequest<'_>) -> bool {
    let printable = |c: char| c.is_ascii_alphanumeric() || " '()+,-./:=?".contains(c);
    let plain_label = |label: &str| {
        label.starts_with(|c: char| c.is_ascii_lowercase())
            && !label.ends_with('-')
            && label.len() <= 63
    };
    asked.key == signing::SPKI.as_slice()
        && asked.algorithm == signing::ALGORITHM
        && asked.organization == "system:nodes"
        && !asked.common_name.is_empty()
        && asked.common_name.chars().all(printable)
        && asked.names.iter().all(|name| {
            name.strip_prefix("DNS:")
                .is_none_or(|name| name.len() <= 253 && name.split('.').all(plain_label))
        })
}

/// The requests of all vectors.
pub fn seeds() -> Vec<Vec<u8>> {
    let vectors = Vector::all();
    vectors.iter().map(|v| der_of(&v.request)).collect()
}

/// Changes an element, and usually signs the request again.
pub fn mutate(data: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    let info = request_info::info(data);
    match random.below(8) {
        0 => None,
        1 => Some(request_info::mutate(data, random)),
        2 => Some(signing::signed(&request_info::mutate(&info, random))),
        _ => {
            let mutant = request_info::mutate(&info, random);
            signing::without_key(&mutant).map(|info| signing::signed(&signing::put_key(&info)))
        }
    }
}
