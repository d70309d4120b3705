//! Compact storage for the bytes of a request that has not been parsed.

use super::pem;

/// Maximum size of PEM that is decoded, in bytes. A kubelet's request is smaller. A larger one is
/// stored as it is.
const MAX_PACKED_BYTES: usize = 4 * 1024;

/// The bytes of a request. Exactly one plain PEM block is stored as its DER, which is a third smaller
/// and loses nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedPem(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Der(Box<[u8]>),
    Text(Box<[u8]>),
}

impl PackedPem {
    /// Packs the bytes without loss.
    pub fn new(text: &[u8]) -> PackedPem {
        let der = (text.len() <= MAX_PACKED_BYTES)
            .then(|| pem::decode(text).ok())
            .flatten();
        PackedPem(match der {
            Some(der) => Form::Der(der.into()),
            None => Form::Text(text.into()),
        })
    }

    /// The DER of one plain PEM block, or else (`Err`) the bytes as they were.
    pub(super) fn inside(&self) -> Result<&[u8], &[u8]> {
        match &self.0 {
            Form::Der(der) => Ok(der),
            Form::Text(text) => Err(text),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use pem_rfc7468::LineEnding;

    use super::*;

    #[test]
    fn only_pem_as_go_writes_it_is_packed() {
        let plain = pem_rfc7468::encode_string(pem::LABEL, LineEnding::LF, &[7; 100]).unwrap();
        assert_eq!(PackedPem::new(plain.as_bytes()).inside(), Ok(&[7; 100][..]));
        let crlf = pem_rfc7468::encode_string(pem::LABEL, LineEnding::CRLF, &[7; 100]).unwrap();
        let large = pem_rfc7468::encode_string(pem::LABEL, LineEnding::LF, &[7; MAX_PACKED_BYTES]);
        for other in [
            crlf,
            plain.replace("REQUEST", "REQUESTS"),
            format!("{plain}\n"),
            large.unwrap(),
            String::new(),
        ] {
            let bytes = other.as_bytes();
            assert_eq!(PackedPem::new(bytes).inside(), Err(bytes));
        }
    }
}
