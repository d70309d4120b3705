//! The bytes of a request, in text that is beyond reproach: what is read without a finding has the
//! one shape of a kubelet's request, and what has it is read without a finding.

use judge::csr::{Fingerprint, MAX_REQUEST_BYTES, Request};
use judge::finding::Code;

use super::kubelet_request::{self, KubeletRequest};
use super::request_info;
use super::{der_of, signing};
use crate::forge::pem::PemRecipe;
use crate::random::Random;
use crate::vector::Vector;

/// Any bytes as the request.
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
    // One in another string type than Go's is left out, and cannot be that of any requestor.
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
        // What was not looked at: whether it is signed so, and how often which name stands in it.
        let unseen = [Code::SignatureInvalid, Code::SanDuplicate, Code::SanTooMany];
        let wrong = codes.iter().find(|code| !unseen.contains(code));
        assert!(wrong.is_none(), "{:?} of {asked:?}", request.findings);
    }
}

/// Whether there is nothing in it that could be refused for what it is.
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

/// The request of every vector.
pub fn seeds() -> Vec<Vec<u8>> {
    let vectors = Vector::all();
    vectors.iter().map(|v| der_of(&v.request)).collect()
}

/// Changes an element and signs the whole anew, most of the time.
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
