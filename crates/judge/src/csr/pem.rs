//! PEM decoding: exactly one block, as Go's `pem.EncodeToMemory` writes it.
//!
//! Kubernetes decodes the first block that it finds and skips what it cannot decode. Another parser
//! could take anything around the block for the request. The block is therefore encoded again and
//! must give the same bytes.

use pem_rfc7468::LineEnding;

use crate::finding::{Code, escaped};

pub(super) const LABEL: &str = "CERTIFICATE REQUEST";

/// Decodes the block to DER. The error is the code and detail of a finding.
pub(super) fn decode(text: &[u8]) -> Result<Vec<u8>, (Code, String)> {
    if !text.windows(11).any(|window| window == b"-----BEGIN ") {
        return Err((Code::PemMissing, "expected a PEM block, found none".into()));
    }
    let (label, der) = pem_rfc7468::decode_vec(text)
        .map_err(|error| not_exact(&format!("cannot be read: {error}")))?;
    if label != LABEL {
        let detail = format!(
            "expected label `{LABEL}`, found `{}`",
            escaped(label.as_bytes())
        );
        return Err((Code::PemLabelWrong, detail));
    }
    let again = pem_rfc7468::encode_string(LABEL, LineEnding::LF, &der)
        .map_err(|error| not_exact(&format!("cannot be re-encoded: {error}")))?;
    if again.as_bytes() != text {
        return Err(not_exact(
            "has something besides the block, or another layout",
        ));
    }
    Ok(der)
}

fn not_exact(why: &str) -> (Code, String) {
    let detail = format!("expected one plain PEM block as Go writes it; the text {why}");
    (Code::PemNotExact, detail)
}
