//! Test vectors: a request, the evidence about the cluster, and the expected verdicts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Mutex;

use jiff::SignedDuration;
use judge::csr::{CsrObject, KUBELET_SERVING_SIGNER, Request, Requestor, Settled};
use judge::evidence::{Evidence, Fact, Instants, Inventory, TimedFact};
use judge::finding::Code;
use judge::policy::NamePolicy;
use judge::{Decision, Judgment, judge};
use serde::{Deserialize, Deserializer, de};

use super::cluster::{
    AnswerSpec, CertificateSpec, FirstSeenSpec, KeySpec, MachineSpec, NodeSpec, ProtectedSpec,
    SourceSpec, before_now, kubeadm,
};
use super::facts::{evidence, facts};
use super::policies::BasePolicy;
use super::{now, read_yaml};
use crate::forge::Recipe;

/// The Namespaces of every cluster.
pub(super) const NAMESPACES: [&str; 4] =
    ["default", "kube-node-lease", "kube-public", "kube-system"];

/// One test vector.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Vector {
    pub row: u8,
    /// The row of the table of honest nodes, without its `H`.
    #[serde(default)]
    pub honest: Option<u8>,
    pub title: String,
    #[serde(default)]
    pub requestor: RequestorSpec,
    #[serde(default)]
    pub object: ObjectSpec,
    #[serde(default = "genuine")]
    pub request: Recipe,
    /// The requestor's Node, or all Nodes of the cluster.
    #[serde(default = "one_node")]
    pub nodes: Vec<NodeSpec>,
    /// Additional Nodes.
    #[serde(default)]
    pub others: Vec<NodeSpec>,
    #[serde(default = "kubeadm")]
    pub protected: Vec<ProtectedSpec>,
    /// Additional protected identities.
    #[serde(default)]
    pub also_protected: Vec<ProtectedSpec>,
    #[serde(default)]
    pub keys: Vec<KeySpec>,
    #[serde(default)]
    pub sources: BTreeMap<String, SourceSpec>,
    /// The administrator's inventory: `nodes` and `patterns`.
    #[serde(default)]
    pub inventory: Option<serde_json::Value>,
    #[serde(default)]
    pub machines: Option<Vec<MachineSpec>>,
    /// Namespaces, besides those of every cluster.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// Certificates that were issued while csr-warden watched.
    #[serde(default)]
    pub issued: Vec<CertificateSpec>,
    /// The answers of DNS servers and kubelets.
    #[serde(default)]
    pub answers: Vec<AnswerSpec>,
    /// Changes to the `spec` of both policies, or one whole policy.
    #[serde(default)]
    pub policy: Option<serde_json::Value>,
    /// The difference by which the wall clock was set since csr-warden started.
    #[serde(default)]
    pub clock_skew: SignedDuration,
    pub expect: Expect,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct RequestorSpec {
    pub username: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub credential_ids: Vec<String>,
}

impl Default for RequestorSpec {
    fn default() -> Self {
        RequestorSpec {
            username: "system:node:node-1".into(),
            uid: String::new(),
            groups: vec!["system:nodes".into(), "system:authenticated".into()],
            credential_ids: vec![format!("X509SHA256={}", "3f".repeat(32))],
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ObjectSpec {
    pub name: String,
    pub signer: String,
    pub usages: Vec<String>,
    pub expiration_seconds: Option<i32>,
    pub age: SignedDuration,
    /// The first watch event with it.
    pub first_seen: Option<FirstSeenSpec>,
    pub settled: Option<SettledSpec>,
    pub terminating: bool,
}

impl Default for ObjectSpec {
    fn default() -> Self {
        ObjectSpec {
            name: "csr-1".into(),
            signer: KUBELET_SERVING_SIGNER.into(),
            usages: vec!["digital signature".into(), "server auth".into()],
            expiration_seconds: None,
            age: SignedDuration::from_secs(5),
            first_seen: None,
            settled: None,
            terminating: false,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub enum SettledSpec {
    Approved,
    Denied,
    Failed,
    Issued,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    pub default: Outcome,
    pub strict: Outcome,
}

impl Expect {
    /// A placeholder for a vector whose verdict is not tested.
    fn placeholder() -> Expect {
        let outcome = || Outcome {
            verdict: Decision::Ignore,
            codes: BTreeSet::new(),
        };
        Expect {
            default: outcome(),
            strict: outcome(),
        }
    }
}

/// A verdict with the exact set of its codes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    #[serde(deserialize_with = "decision")]
    pub verdict: Decision,
    #[serde(deserialize_with = "codes")]
    pub codes: BTreeSet<Code>,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let codes: Vec<&str> = self.codes.iter().map(|code| code.as_str()).collect();
        write!(f, "{} [{}]", self.verdict, codes.join(", "))
    }
}

impl Vector {
    /// A genuine request of `node-1`, without an expected verdict.
    pub fn genuine() -> Vector {
        Vector {
            row: 67,
            honest: None,
            title: "genuine".into(),
            requestor: RequestorSpec::default(),
            object: ObjectSpec::default(),
            request: genuine(),
            nodes: one_node(),
            others: Vec::new(),
            protected: kubeadm(),
            also_protected: Vec::new(),
            keys: Vec::new(),
            sources: BTreeMap::new(),
            inventory: None,
            machines: None,
            namespaces: Vec::new(),
            issued: Vec::new(),
            answers: Vec::new(),
            policy: None,
            clock_skew: SignedDuration::ZERO,
            expect: Expect::placeholder(),
        }
    }

    /// All vectors of `tests/vectors`, in the order of the rows.
    pub fn all() -> Vec<Vector> {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors"))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
                .collect();
        files.sort();
        let read = |path: &PathBuf| read_yaml::<Vec<Vector>>(path);
        let mut all: Vec<Vector> = files.iter().flat_map(read).collect();
        all.sort_by_key(|vector| vector.row);
        all
    }

    pub fn expected(&self, base: BasePolicy) -> &Outcome {
        match base {
            BasePolicy::Default => &self.expect.default,
            BasePolicy::Strict => &self.expect.strict,
        }
    }

    /// The verdict and codes of the judge.
    pub fn outcome(&self, base: BasePolicy) -> Outcome {
        self.outcome_of(request_pem(&self.request).as_bytes(), base)
    }

    /// The verdict and codes of the judge for another PEM text of the request.
    pub fn outcome_of(&self, text: &[u8], base: BasePolicy) -> Outcome {
        let judged = self.judged(text, base);
        Outcome {
            verdict: judged.verdict.decision(),
            codes: judged.codes().into_iter().collect(),
        }
    }

    /// The whole judgment.
    #[allow(dead_code)]
    pub fn judgment(&self, base: BasePolicy) -> Judgment {
        self.judged(request_pem(&self.request).as_bytes(), base)
    }

    fn judged(&self, text: &[u8], base: BasePolicy) -> Judgment {
        let request = self.read(text);
        let policy = base.with(self.policy.as_ref());
        let now = Instants {
            wall: now() + self.clock_skew,
            monotonic: now(),
        };
        judge(&request, &policy, &self.evidence(), now)
    }

    /// The inventory as the content of a file; `None` without an inventory.
    pub fn inventory_file(&self) -> Option<serde_json::Value> {
        let mut file = self.inventory.clone()?;
        file["apiVersion"] = "csr-warden.dev/v1beta1".into();
        file["kind"] = "Inventory".into();
        Some(file)
    }

    /// The evidence about the cluster.
    pub fn evidence(&self) -> Evidence {
        let change = self.policy.as_ref();
        let pointer = |change: &serde_json::Value| {
            let max = change
                .pointer("/names/max")
                .or(change.pointer("/spec/names/max"));
            max.and_then(serde_json::Value::as_u64)
        };
        let max = change
            .and_then(pointer)
            .and_then(|max| usize::try_from(max).ok());
        let default = NamePolicy::default().max;
        evidence(
            self.facts(),
            self.machines.is_some(),
            max.unwrap_or(default),
        )
    }

    /// The facts about the cluster.
    pub fn facts(&self) -> Vec<TimedFact> {
        let nodes = [self.nodes.as_slice(), &self.others].concat();
        let protected = [self.protected.as_slice(), &self.also_protected].concat();
        let mut facts = facts(&nodes, &protected, &self.keys, &self.sources);
        if let Some(file) = self.inventory_file() {
            // JSON is YAML.
            let read = Inventory::parse(&file.to_string());
            let inventory = read.unwrap_or_else(|e| panic!("{file}: {e}"));
            facts.push((Fact::Inventory(Box::new(inventory)), now()));
        }
        let machines = self.machines.iter().flatten();
        facts.extend(machines.map(|spec| (Fact::Machine(Box::new(spec.machine())), now())));
        let namespaces = self.namespaces();
        facts.extend(namespaces.map(|name| (Fact::Namespace(name.into()), now())));
        let issued = self.issued.iter().map(CertificateSpec::certificate);
        facts.extend(issued.map(|certificate| (Fact::Issued(certificate), now())));
        facts.extend(self.answers.iter().map(|answer| (answer.fact(), now())));
        facts
    }

    /// The names of all Namespaces.
    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        let more = self.namespaces.iter().map(String::as_str);
        NAMESPACES.into_iter().chain(more)
    }

    /// The parsed request with this PEM text.
    pub fn read(&self, text: &[u8]) -> Request {
        let first_seen = self.object.first_seen.map(FirstSeenSpec::event);
        Request::read(self.object(), text).with_first_seen(first_seen)
    }

    /// True if the verdict may depend on the order of watch events.
    #[allow(dead_code)]
    pub fn has_seen_order(&self) -> bool {
        let mut nodes = self.nodes.iter().chain(&self.others);
        self.object.first_seen.is_some()
            || nodes.any(|node| node.first_seen.is_some() || node.watched.is_some())
    }

    /// The API object.
    pub fn object(&self) -> CsrObject {
        let object = self.object.clone();
        let requestor = self.requestor.clone();
        CsrObject {
            name: object.name,
            uid: "uid-of-csr-1".into(),
            resource_version: "1".into(),
            created: before_now(object.age),
            terminating: object.terminating,
            signer: object.signer.into(),
            requestor: Requestor {
                username: requestor.username.into(),
                uid: requestor.uid,
                groups: requestor.groups.into(),
                credential_ids: requestor.credential_ids,
            },
            usages: object.usages.into(),
            expiration_seconds: object.expiration_seconds,
            settled: object.settled.map(|settled| match settled {
                SettledSpec::Approved => Settled::Approved,
                SettledSpec::Denied => Settled::Denied,
                SettledSpec::Failed => Settled::Failed,
                SettledSpec::Issued => Settled::Issued,
            }),
            preserved: Default::default(),
        }
    }
}

/// The PEM text of a request, cached because signing is slow and many vectors share a request.
pub fn request_pem(recipe: &Recipe) -> String {
    static MADE: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    let key = format!("{recipe:?}");
    if let Some(text) = MADE.lock().unwrap().get(&key) {
        return text.clone();
    }
    let text = recipe.pem();
    MADE.lock().unwrap().insert(key, text.clone());
    text
}

/// The request that the kubelet of `node-1` sends.
pub fn genuine() -> Recipe {
    Recipe::genuine("node-1", &["node-1"], &["10.0.0.1".parse().unwrap()])
}

pub fn one_node() -> Vec<NodeSpec> {
    vec![NodeSpec::default()]
}

fn decision<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decision, D::Error> {
    let text = String::deserialize(deserializer)?;
    let found = Decision::ALL.into_iter().find(|d| d.as_str() == text);
    found.ok_or_else(|| de::Error::custom(format!("`{text}` is no verdict")))
}

fn codes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<Code>, D::Error> {
    let mut codes = BTreeSet::new();
    for text in Vec::<String>::deserialize(deserializer)? {
        let code = Code::ALL.iter().find(|code| code.as_str() == text);
        let code = code.ok_or_else(|| de::Error::custom(format!("`{text}` is no code")))?;
        if !codes.insert(*code) {
            return Err(de::Error::custom(format!("`{text}` stands twice")));
        }
    }
    Ok(codes)
}
