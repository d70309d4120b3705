//! PEM of a request: only the text that Go writes for the same DER is accepted.

use judge::csr::{MAX_REQUEST_BYTES, PackedPem, Request};
use judge::finding::{Code, Effect, Findings};

use crate::forge::pem::PemRecipe;
use crate::vector::{Vector, request_pem};

/// Checks any text as PEM, and the same bytes as the content of a block.
pub fn check(data: &[u8]) {
    let request = Request::read(Vector::genuine().object(), data);
    let late = Request::read_packed(Vector::genuine().object(), &PackedPem::new(data));
    assert_eq!(late, request);
    match &request.content {
        Some(content) => {
            let (_, der) = pem_rfc7468::decode_vec(data).expect("read by the judge alone");
            assert!(data.len() <= MAX_REQUEST_BYTES, "{} bytes", data.len());
            assert_eq!(data, PemRecipe::default().text(&der).as_bytes());
            assert!(!is_refused_as_text(&request.findings));
            let key = Request::key_of(data);
            assert!(key.is_none_or(|key| key == content.key));
        }
        None => {
            let worst = request.findings.effect();
            assert_eq!(worst, Some(Effect::Deny), "neither read nor refused");
        }
    }

    let text = PemRecipe::default().text(data);
    let wrapped = Request::read(Vector::genuine().object(), text.as_bytes());
    if text.len() <= MAX_REQUEST_BYTES && !data.is_empty() {
        let refused = is_refused_as_text(&wrapped.findings);
        assert!(!refused, "{:?}", wrapped.findings);
    }
}

fn is_refused_as_text(findings: &Findings) -> bool {
    let of_text = [
        Code::RequestTooLarge,
        Code::PemMissing,
        Code::PemLabelWrong,
        Code::PemNotExact,
    ];
    findings.iter().any(|f| of_text.contains(&f.code))
}

/// The PEM text of every vector, and the DER of an empty SEQUENCE.
pub fn seeds() -> Vec<Vec<u8>> {
    let vectors = Vector::all();
    let texts = vectors.iter().map(|v| request_pem(&v.request).into_bytes());
    texts.chain([b"\x30\x00".to_vec()]).collect()
}
