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

/// A field with a length.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
    bytes.extend_from_slice(content);
    bytes
}

/// An approval.
fn approval() -> Vec<u8> {
    let label = [field(1, b"a"), field(2, b"")].concat();
    // Of a time that is none nothing is written but that it is there.
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
fn numbers_with_units_and_ports_are_read() {
    let quantity = [field(1, b"cpu"), field(2, &field(1, b"1500m"))].concat();
    let node = field(3, &field(1, &quantity));
    let expected = Expected {
        api_version: "v1",
        kind: "Node",
    };
    let node = read(&envelope("v1", "Node", node), expected).unwrap();
    assert_eq!(
        node.get("status"),
        Some(&json!({"capacity": {"cpu": "1500m"}}))
    );

    let port = |content: &[u8]| {
        let port = field(4, content);
        let service = field(2, &field(1, &port));
        let expected = Expected {
            api_version: "v1",
            kind: "Service",
        };
        read(&envelope("v1", "Service", service), expected)
    };
    let ports = |port: Value| json!({"ports": [{"targetPort": port}]});
    let number = port(&[1 << 3, 0, 2 << 3, 80]).unwrap();
    assert_eq!(number.get("spec"), Some(&ports(80.into())));
    let text = port(&[&[1 << 3, 1], field(3, b"http").as_slice()].concat()).unwrap();
    assert_eq!(text.get("spec"), Some(&ports("http".into())));
    let neither = port(&[1 << 3, 2]).unwrap_err();
    assert!(neither.message.contains("found 2"), "{}", neither.message);
}

#[test]
fn a_time_that_nobody_can_name_is_refused() {
    // 2^63 - 1 seconds.
    let seconds = [vec![1 << 3], vec![0xff; 8], vec![0x7f]].concat();
    let lease = field(2, &field(3, &seconds));
    let expected = Expected {
        api_version: "coordination.k8s.io/v1",
        kind: "Lease",
    };
    let body = envelope(expected.api_version, expected.kind, lease);
    assert_eq!(read(&body, expected).unwrap_err().code, 400);
}

#[test]
fn only_pods_and_what_is_made_of_them_have_no_message() {
    let kinds = RESOURCES
        .iter()
        .map(|resource| (resource.api_version(), resource.kind))
        .chain(REVIEWS.map(|(kind, _, group, _)| (format!("{group}/v1"), kind)));
    let without: Vec<&str> = kinds
        .filter(|(version, kind)| message(version, kind).is_none())
        .map(|(_, kind)| kind)
        .collect();
    assert_eq!(without, ["Pod", "Deployment"]);
    let pod = Expected {
        api_version: "v1",
        kind: "Pod",
    };
    let refused = read(&envelope("v1", "Pod", Vec::new()), pod).unwrap_err();
    assert_eq!(refused.code, 415);
}

#[test]
fn a_part_of_a_body_is_refused_or_read() {
    let body = approval();
    for length in 0..body.len() {
        let part = body.get(..length).unwrap();
        match read(part, REQUEST) {
            // The envelope says what is in it before it has it.
            Ok(object) => assert_eq!(object.get("metadata"), None, "{length}"),
            Err(failure) => assert_eq!(failure.code, 400, "{length}"),
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_are_more_than_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes, REQUEST);
        let _ = read(&[PREFIX, &bytes].concat(), REQUEST);
        for resource in &RESOURCES {
            let version = resource.api_version();
            let expected = Expected { api_version: &version, kind: resource.kind };
            let _ = read(&envelope(&version, resource.kind, bytes.clone()), expected);
        }
    }

    #[test]
    fn no_change_of_a_body_is_more_than_refused(at in 0_usize..200, to in any::<u8>()) {
        let mut body = approval();
        let length = body.len();
        if let Some(byte) = body.get_mut(at % length) {
            *byte = to;
        }
        let _ = read(&body, REQUEST);
    }
}
