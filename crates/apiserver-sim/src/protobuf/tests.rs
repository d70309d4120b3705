use proptest::prelude::*;
use serde_json::json;

use super::super::resources::{RESOURCES, REVIEWS};
use super::*;

const REQUEST: Expected<'_> = Expected {
    api_version: "certificates.k8s.io/v1",
    kind: "CertificateSigningRequest",
};

fn envelope(api_version: &str, kind: &str, raw: Vec<u8>) -> Vec<u8> {
    let type_meta = Some(TypeMeta {
        api_version: api_version.into(),
        kind: kind.into(),
    });
    let envelope = Envelope { type_meta, raw };
    [PREFIX, &envelope.encode_to_vec()].concat()
}

/// Encodes a length-delimited field.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
    bytes.extend_from_slice(content);
    bytes
}

/// Encodes an approval.
fn approval() -> Vec<u8> {
    let label = [field(1, b"a"), field(2, b"")].concat();
    // A zero time is encoded as an empty message.
    let metadata = [field(1, b"csr-1"), field(8, b""), field(11, &label)].concat();
    let spec = [
        field(1, &[0, 255]),
        field(6, &[field(1, b"k"), field(2, &field(1, b"v"))].concat()),
        vec![8 << 3, 0x80, 0x0b],
    ];
    let updated = [vec![1 << 3, 0x85, 0x01], vec![2 << 3, 7]].concat();
    let condition = [
        field(1, b"Approved"),
        field(6, b"True"),
        field(4, &updated),
        field(5, b""),
    ];
    let object = [
        field(1, &metadata),
        field(2, &spec.concat()),
        field(3, &field(1, &condition.concat())),
    ];
    envelope(REQUEST.api_version, REQUEST.kind, object.concat())
}

#[test]
fn an_approval_is_read() {
    assert_eq!(
        Value::Object(read(&approval(), REQUEST).unwrap()),
        json!({
            "apiVersion": REQUEST.api_version,
            "kind": REQUEST.kind,
            "metadata": {"name": "csr-1", "creationTimestamp": null, "labels": {"a": ""}},
            "spec": {"request": "AP8=", "extra": {"k": ["v"]}, "expirationSeconds": 1408},
            "status": {"conditions": [{
                "type": "Approved", "status": "True",
                "lastUpdateTime": "1970-01-01T00:02:13Z", "lastTransitionTime": null,
            }]},
        })
    );
}

#[test]
fn a_time_out_of_range_is_refused() {
    // 2^63 - 1 seconds.
    let seconds = [vec![1 << 3], vec![0xff; 8], vec![0x7f]].concat();
    let condition = field(4, &seconds);
    let status = field(3, &field(1, &condition));
    let body = envelope(REQUEST.api_version, REQUEST.kind, status);
    assert_eq!(read(&body, REQUEST).unwrap_err().code, 400);
}

#[test]
fn other_kinds_are_an_unsupported_media_type() {
    let kinds = RESOURCES
        .iter()
        .map(|resource| (resource.api_version(), resource.kind))
        .chain(REVIEWS.map(|(kind, _, group, _)| (format!("{group}/v1"), kind)));
    for (api_version, kind) in kinds {
        let expected = Expected {
            api_version: &api_version,
            kind,
        };
        let body = envelope(&api_version, kind, Vec::new());
        if kind == REQUEST.kind || kind.ends_with("Review") {
            read(&body, expected).unwrap();
            continue;
        }
        let refused = read(&body, expected).unwrap_err();
        assert_eq!(refused.code, 415, "{kind}");
        let formats = "application/json, application/yaml";
        assert!(refused.message.ends_with(formats), "{}", refused.message);
    }
}

#[test]
fn a_part_of_a_body_is_refused_or_read() {
    let body = approval();
    for length in 0..body.len() {
        let part = body.get(..length).unwrap();
        match read(part, REQUEST) {
            // The envelope names the type before the object is complete.
            Ok(object) => assert_eq!(object.get("metadata"), None, "{length}"),
            Err(failure) => assert_eq!(failure.code, 400, "{length}"),
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_rejected(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes, REQUEST);
        let _ = read(&[PREFIX, &bytes].concat(), REQUEST);
        for resource in &RESOURCES {
            let version = resource.api_version();
            let expected = Expected { api_version: &version, kind: resource.kind };
            let _ = read(&envelope(&version, resource.kind, bytes.clone()), expected);
        }
    }

    #[test]
    fn any_changed_body_is_decoded_or_rejected(at in 0_usize..200, to in any::<u8>()) {
        let mut body = approval();
        let length = body.len();
        if let Some(byte) = body.get_mut(at % length) {
            *byte = to;
        }
        let _ = read(&body, REQUEST);
    }
}
