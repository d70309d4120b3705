//! Compact storage for requests that have not been judged: a large cluster can have thousands.

use std::sync::Arc;

use jiff::Timestamp;
use smallvec::SmallVec;

use super::request_memory::of_packed;
use judge::csr::{CsrObject, PackedPem, PreservedMetadata, Requestor, Settled};
use judge::csr::{Uid, Username};

/// Fields with the same values in nearly all requests of kubelets.
#[derive(Debug, Default, PartialEq, Eq)]
struct SharedFields {
    signer: Arc<str>,
    groups: Arc<[String]>,
    usages: Arc<[String]>,
    generate_name: Arc<str>,
}

/// Limit of remembered sets of shared fields. Usages differ between RSA and ECDSA keys.
const KINDS: usize = 8;

/// Packs requests, and shares their common fields.
#[derive(Debug, Default)]
pub(super) struct Packer {
    /// The last sets of shared fields, the newest at the end.
    kinds: Vec<Arc<SharedFields>>,
}

/// A packed request.
#[derive(Debug)]
pub(super) struct PackedRequest {
    uid: Uid,
    username: Username,
    created: Timestamp,
    terminating: bool,
    settled: Option<Settled>,
    expiration_seconds: Option<i32>,
    has_more: bool,
    shared: Arc<SharedFields>,
    texts: Texts,
    encoded: PackedPem,
    /// Number of bytes before they were packed.
    encoded_len: usize,
}

impl Packer {
    /// Packs a request.
    pub(super) fn pack(&mut self, object: CsrObject, encoded: &[u8]) -> PackedRequest {
        let CsrObject {
            name,
            uid,
            resource_version,
            created,
            terminating,
            signer,
            requestor,
            usages,
            expiration_seconds,
            settled,
            preserved,
        } = object;
        let PreservedMetadata {
            generate_name,
            has_more,
        } = preserved;
        let shared = SharedFields {
            signer,
            groups: requestor.groups,
            usages,
            generate_name,
        };
        let mut single = [""; SINGLE];
        single[NAME] = &name;
        single[RESOURCE_VERSION] = &resource_version;
        single[REQUESTOR_UID] = &requestor.uid;
        let ids = requestor.credential_ids.iter().map(String::as_str);
        PackedRequest {
            uid,
            username: requestor.username,
            created,
            terminating,
            settled,
            expiration_seconds,
            has_more,
            shared: self.kind(shared),
            texts: Texts::of(single.into_iter().chain(ids)),
            encoded: PackedPem::new(encoded),
            encoded_len: encoded.len(),
        }
    }

    fn kind(&mut self, shared: SharedFields) -> Arc<SharedFields> {
        if let Some(known) = self.kinds.iter().find(|known| ***known == shared) {
            return known.clone();
        }
        if self.kinds.len() == KINDS {
            self.kinds.remove(0);
        }
        let kind = Arc::new(shared);
        self.kinds.push(kind.clone());
        kind
    }
}

/// Indexes into [`PackedRequest::texts`]; credential IDs follow.
const NAME: usize = 0;
const RESOURCE_VERSION: usize = 1;
const REQUESTOR_UID: usize = 2;
const SINGLE: usize = 3;

impl PackedRequest {
    pub(super) fn username(&self) -> &Username {
        &self.username
    }

    pub(super) fn created(&self) -> Timestamp {
        self.created
    }

    pub(super) fn resource_version(&self) -> &str {
        self.texts.get(RESOURCE_VERSION)
    }

    pub(super) fn encoded(&self) -> &PackedPem {
        &self.encoded
    }

    /// Estimated memory, in bytes.
    pub(super) fn size(&self) -> usize {
        of_packed(self.texts.all.len(), self.encoded_len)
    }

    /// The unpacked API object.
    pub(super) fn object(&self) -> CsrObject {
        let ids = SINGLE..self.texts.len();
        CsrObject {
            name: self.texts.get(NAME).to_owned(),
            uid: self.uid.clone(),
            resource_version: self.texts.get(RESOURCE_VERSION).to_owned(),
            created: self.created,
            terminating: self.terminating,
            signer: self.shared.signer.clone(),
            requestor: Requestor {
                username: self.username.clone(),
                uid: self.texts.get(REQUESTOR_UID).to_owned(),
                groups: self.shared.groups.clone(),
                credential_ids: ids.map(|id| self.texts.get(id).to_owned()).collect(),
            },
            usages: self.shared.usages.clone(),
            expiration_seconds: self.expiration_seconds,
            settled: self.settled,
            preserved: PreservedMetadata {
                generate_name: self.shared.generate_name.clone(),
                has_more: self.has_more,
            },
        }
    }
}

/// A list of strings in one allocation.
#[derive(Debug)]
struct Texts {
    all: Box<str>,
    /// End of each string. A kubelet's request has four.
    ends: SmallVec<[u32; 4]>,
}

impl Texts {
    fn of<'a>(texts: impl Iterator<Item = &'a str>) -> Texts {
        let mut all = String::new();
        let mut ends = SmallVec::new();
        for text in texts {
            all.push_str(text);
            // No object in Kubernetes has gigabytes; of a text that long nothing is kept.
            ends.push(u32::try_from(all.len()).unwrap_or_default());
        }
        Texts {
            all: all.into(),
            ends,
        }
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, index: usize) -> &str {
        let begin = index.checked_sub(1).and_then(|last| self.ends.get(last));
        let end = self.ends.get(index);
        let place = |at: Option<&u32>| at.map_or(0, |at| *at as usize);
        self.all.get(place(begin)..place(end)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use judge::csr::{KUBELET_SERVING_SIGNER, Request};

    fn object(ids: &[&str]) -> CsrObject {
        CsrObject {
            name: "csr-x7k2p".into(),
            uid: "5c1f".into(),
            resource_version: "1207".into(),
            created: Timestamp::UNIX_EPOCH,
            terminating: true,
            signer: KUBELET_SERVING_SIGNER.into(),
            requestor: Requestor {
                username: "system:node:wörker".into(),
                uid: "é".into(),
                groups: [String::from("system:nodes")].into(),
                credential_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            },
            usages: [String::from("server auth")].into(),
            expiration_seconds: Some(-1),
            settled: Some(Settled::Failed),
            preserved: PreservedMetadata {
                generate_name: "csr-".into(),
                has_more: true,
            },
        }
    }

    #[test]
    fn nothing_is_lost() {
        let mut packer = Packer::default();
        for ids in [&[][..], &["X509SHA256=3f"], &["", "a", "", "b"]] {
            let object = object(ids);
            let packed = packer.pack(object.clone(), b"bytes");
            assert_eq!(packed.object(), object);
            assert_eq!(packed.resource_version(), object.resource_version);
            assert_eq!(*packed.username(), object.requestor.username);
            assert_eq!(packed.created(), object.created);
            let late = Request::read_packed(packed.object(), packed.encoded());
            assert_eq!(late, Request::read(object, b"bytes"));
        }
    }

    #[test]
    fn what_is_alike_is_held_once() {
        let mut packer = Packer::default();
        let of_kind = |kind: usize| CsrObject {
            usages: vec![String::from("any"); kind].into(),
            ..object(&[])
        };
        let mut shared = |kind| packer.pack(of_kind(kind), b"").shared;
        let (first, second) = (shared(0), shared(1));
        assert!(Arc::ptr_eq(&first, &shared(0)) && Arc::ptr_eq(&second, &shared(1)));
        for kind in 0..3 * KINDS {
            assert_eq!(shared(kind).usages, of_kind(kind).usages);
        }
        assert_eq!(packer.kinds.len(), KINDS);
    }
}
