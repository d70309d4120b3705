//! Protobuf messages of CertificateSigningRequests (`k8s.io/api/certificates/v1`).

use std::collections::BTreeMap;

use super::meta::ObjectMeta;
use super::values::{ExtraValue, Time};
use super::{base64, messages};

messages! {
    CertificateSigningRequest {
        metadata: Option<ObjectMeta> = (message, optional, tag = "1");
        spec: Option<CertificateSigningRequestSpec> = (message, optional, tag = "2");
        status: Option<CertificateSigningRequestStatus> = (message, optional, tag = "3");
    }
    CertificateSigningRequestSpec {
        #[serde(serialize_with = "base64")]
        request: Vec<u8> = (bytes = "vec", tag = "1");
        signer_name: String = (string, tag = "7");
        expiration_seconds: Option<i32> = (int32, optional, tag = "8");
        usages: Vec<String> = (string, repeated, tag = "5");
        username: String = (string, tag = "2");
        uid: String = (string, tag = "3");
        groups: Vec<String> = (string, repeated, tag = "4");
        extra: BTreeMap<String, ExtraValue> = (btree_map = "string, message", tag = "6");
    }
    CertificateSigningRequestStatus {
        conditions: Vec<CertificateSigningRequestCondition> = (message, repeated, tag = "1");
        #[serde(serialize_with = "base64")]
        certificate: Vec<u8> = (bytes = "vec", tag = "2");
    }
    CertificateSigningRequestCondition {
        r#type: String = (string, tag = "1");
        status: String = (string, tag = "6");
        reason: String = (string, tag = "2");
        message: String = (string, tag = "3");
        last_update_time: Option<Time> = (message, optional, tag = "4");
        last_transition_time: Option<Time> = (message, optional, tag = "5");
    }
}
