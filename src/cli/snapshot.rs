//! The file `facts.yaml`: dated facts that no API object contains. Together with the objects, it
//! repeats a verdict without a cluster.

mod text;

use std::net::IpAddr;

use anyhow::{Context, Result};
use ipnet::IpNet;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::evidence_builder::Dated;
use judge::API_VERSION;
use judge::csr::Fingerprint;
use judge::csr::names::{NodeName, San};
use judge::evidence::{Answer, Fact, IdentityKind, Protection, Source};
use judge::finding::Question;
use judge::yaml;
use text::Text;

/// The `kind` of the file.
pub(super) const KIND: &str = "Facts";
/// The `kind` that earlier versions wrote. It is no longer accepted.
pub(super) const FORMER_KIND: &str = "Observations";
/// Maximum size of the file, in bytes. It allows for many API servers' certificates, and answers.
const LARGEST: usize = 4 * 1024 * 1024;

/// Facts that no API object contains.
pub(super) struct Snapshot {
    /// Time from which the addresses of Nodes count as unchanged. No earlier observation exists.
    pub(super) nodes_since: Timestamp,
    /// The facts.
    pub(super) facts: Vec<Dated>,
}

/// A file of facts.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FactsFile {
    /// Always `csr-warden.dev/v1beta1`.
    #[schemars(extend("const" = API_VERSION))]
    api_version: String,
    /// Always `Facts`.
    #[schemars(extend("const" = KIND))]
    kind: String,
    /// The time since when the addresses of Nodes count as what they are: no one looked before.
    nodes_since: Text<Timestamp>,
    /// The facts. Those about one thing are applied in the order of their dates.
    #[serde(default)]
    facts: Vec<FileFact>,
}

/// One fact.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum FileFact {
    /// A source is complete: what was read of it is all there is.
    Synced {
        /// Its name, as in metrics.
        source: Text<Source>,
        /// The time of reading.
        at: Text<Timestamp>,
    },
    /// A source fails. What it said before counts for a while.
    Failed {
        /// Its name, as in metrics.
        source: Text<Source>,
        /// The reason.
        why: String,
        /// The time since when it fails.
        at: Text<Timestamp>,
    },
    /// A source fails, and what it said before is not enough.
    Incomplete {
        /// Its name, as in metrics.
        source: Text<Source>,
        /// The reason.
        why: String,
        /// The time since when it fails.
        at: Text<Timestamp>,
    },
    /// An origin protects these names, addresses and networks, and nothing else.
    Protected {
        /// The object or certificate that names them.
        origin: String,
        /// `Service`, `ApiServerEndpoint` or `ApiServerIdentity`.
        kind: Text<IdentityKind>,
        /// Names and addresses, each as `DNS:name` or `IP:address`.
        #[serde(default)]
        sans: Vec<Text<San>>,
        /// Networks.
        #[serde(default)]
        networks: Vec<Text<IpNet>>,
        /// The time since when.
        at: Text<Timestamp>,
    },
    /// An origin protects nothing any more. What it protected is recently protected for an hour.
    Unprotected {
        /// The object or certificate.
        origin: String,
        /// The time since when.
        at: Text<Timestamp>,
    },
    /// A key is in use by a node.
    Key {
        /// SHA-256 of the SubjectPublicKeyInfo, in hexadecimal.
        sha256: Text<Fingerprint>,
        /// The Node's name.
        node: Text<NodeName>,
        /// The time since when.
        at: Text<Timestamp>,
    },
    /// A question was answered.
    Answer {
        /// The question.
        question: FileQuestion,
        /// The answer.
        answer: FileAnswer,
        /// The time until which it counts.
        until: Text<Timestamp>,
        /// The time of the answer.
        at: Text<Timestamp>,
    },
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum FileQuestion {
    /// The addresses that DNS has for this name.
    Addresses(String),
    /// The names that DNS has for this address.
    Names(Text<IpAddr>),
    /// The certificate that a kubelet shows.
    Certificate {
        /// The Node's name.
        node: String,
        /// The address at which it is asked.
        address: Text<IpAddr>,
    },
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum FileAnswer {
    /// These, each as `DNS:name` or `IP:address`.
    Sans(Vec<Text<San>>),
    /// Nothing, and the reason.
    Empty(String),
    /// The certificate of this other node.
    OtherNode(Text<NodeName>),
    /// No answer, and the reason.
    Failed(String),
}

impl Snapshot {
    /// Parses a file with facts only. Errors name their position in it.
    pub(super) fn read(text: &str) -> Result<Snapshot, yaml::Error> {
        yaml::kind_of(text, API_VERSION, &[KIND])?;
        let file: FactsFile = yaml::read(text, LARGEST, (API_VERSION, KIND))?;
        Ok(Snapshot {
            nodes_since: file.nodes_since.0,
            facts: file.facts.into_iter().map(Dated::from).collect(),
        })
    }

    /// Parses one document of a file with several.
    pub(super) fn read_document(document: &Value) -> Result<Snapshot, yaml::Error> {
        // JSON is YAML. Users did not write this text, so positions in it do not help.
        Snapshot::read(&document.to_string()).map_err(|error| {
            let yaml::Error::Field(error) = error else {
                return error;
            };
            yaml::FieldError { at: None, ..error }.into()
        })
    }

    /// Renders the file as YAML.
    pub(super) fn write(&self) -> Result<String> {
        let file = FactsFile {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            nodes_since: Text(self.nodes_since),
            facts: self.facts.iter().filter_map(FileFact::of).collect(),
        };
        // Converted through JSON, so that it reads back unchanged.
        let value = serde_json::to_value(&file)?;
        serde_saphyr::to_string(&value).context("cannot write the facts")
    }
}

impl From<FileFact> for Dated {
    fn from(fact: FileFact) -> Dated {
        match fact {
            FileFact::Synced { source, at } => (Fact::Synced(source.0), at.0),
            FileFact::Failed { source, why, at } => (Fact::Failed(source.0, why), at.0),
            FileFact::Incomplete { source, why, at } => (Fact::Incomplete(source.0, why), at.0),
            FileFact::Protected {
                origin,
                kind: Text(kind),
                sans,
                networks,
                at,
            } => {
                let protection = Protection {
                    origin,
                    kind,
                    sans: sans.into_iter().map(|san| san.0).collect(),
                    networks: networks.into_iter().map(|network| network.0).collect(),
                };
                (Fact::Protected(protection), at.0)
            }
            FileFact::Unprotected { origin, at } => (Fact::Unprotected(origin), at.0),
            FileFact::Key { sha256, node, at } => (Fact::Key(sha256.0, node.0), at.0),
            FileFact::Answer {
                question,
                answer,
                until,
                at,
            } => {
                let fact = Fact::Answer(question.into(), answer.into(), until.0);
                (fact, at.0)
            }
        }
    }
}

impl FileFact {
    /// Converts a fact to its file format; `None` for a fact from an API object.
    fn of((fact, at): &Dated) -> Option<FileFact> {
        let at = Text(*at);
        Some(match fact {
            Fact::Synced(source) => FileFact::Synced {
                source: Text(*source),
                at,
            },
            Fact::Failed(source, why) => FileFact::Failed {
                source: Text(*source),
                why: why.clone(),
                at,
            },
            Fact::Incomplete(source, why) => FileFact::Incomplete {
                source: Text(*source),
                why: why.clone(),
                at,
            },
            Fact::Protected(protection) => FileFact::Protected {
                origin: protection.origin.clone(),
                kind: Text(protection.kind),
                sans: protection.sans.iter().cloned().map(Text).collect(),
                networks: protection.networks.iter().copied().map(Text).collect(),
                at,
            },
            Fact::Unprotected(origin) => FileFact::Unprotected {
                origin: origin.clone(),
                at,
            },
            Fact::Key(key, node) => FileFact::Key {
                sha256: Text(*key),
                node: Text(node.clone()),
                at,
            },
            Fact::Answer(question, answer, until) => FileFact::Answer {
                question: question.into(),
                answer: answer.into(),
                until: Text(*until),
                at,
            },
            Fact::Node(_)
            | Fact::NodeGone(_)
            | Fact::Inventory(_)
            | Fact::Machine(_)
            | Fact::MachineGone(_) => return None,
        })
    }
}

impl From<&Question> for FileQuestion {
    fn from(question: &Question) -> FileQuestion {
        match question {
            Question::Addresses(name) => FileQuestion::Addresses(name.to_string()),
            Question::Names(ip) => FileQuestion::Names(Text(*ip)),
            Question::Certificate(node, ip) => FileQuestion::Certificate {
                node: node.to_string(),
                address: Text(*ip),
            },
        }
    }
}

impl From<FileQuestion> for Question {
    fn from(question: FileQuestion) -> Question {
        match question {
            FileQuestion::Addresses(name) => Question::Addresses(name.into()),
            FileQuestion::Names(ip) => Question::Names(ip.0),
            FileQuestion::Certificate { node, address } => {
                Question::Certificate(node.into(), address.0)
            }
        }
    }
}

impl From<&Answer> for FileAnswer {
    fn from(answer: &Answer) -> FileAnswer {
        match answer {
            Answer::Sans(sans) => FileAnswer::Sans(sans.iter().cloned().map(Text).collect()),
            Answer::Empty(why) => FileAnswer::Empty(why.clone()),
            Answer::OtherNode(node) => FileAnswer::OtherNode(Text(node.clone())),
            Answer::Failed(why) => FileAnswer::Failed(why.clone()),
        }
    }
}

impl From<FileAnswer> for Answer {
    fn from(answer: FileAnswer) -> Answer {
        match answer {
            FileAnswer::Sans(sans) => Answer::Sans(sans.into_iter().map(|san| san.0).collect()),
            FileAnswer::Empty(why) => Answer::Empty(why),
            FileAnswer::OtherNode(node) => Answer::OtherNode(node.0),
            FileAnswer::Failed(why) => Answer::Failed(why),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TIMES: &str = "at: 2026-07-24T12:00:00Z";

    fn head() -> String {
        format!(
            "apiVersion: {API_VERSION}\nkind: {KIND}\nnodesSince: 2026-07-24T11:00:00Z\nfacts:\n"
        )
    }

    fn facts() -> String {
        let sha256 = "3f".repeat(32);
        let facts = [
            format!("synced: {{source: nodes, {TIMES}}}"),
            format!("failed: {{source: dns, why: \"no\\nreply\", {TIMES}}}"),
            format!("incomplete: {{source: servicecidrs, why: forbidden, {TIMES}}}"),
            format!(
                "protected: {{origin: certificate of https://10.0.0.100:6443, kind: \
                 ApiServerIdentity, sans: ['DNS:api.example', 'IP:fd00::1'], networks: \
                 [10.96.0.0/12], {TIMES}}}"
            ),
            format!("unprotected: {{origin: EndpointSlice default/kubernetes, {TIMES}}}"),
            format!("key: {{sha256: {sha256}, node: node-1, {TIMES}}}"),
        ];
        let question = "{certificate: {node: node-1, address: 10.0.0.1}}";
        let answers = [
            ("{addresses: node-1.example}", "{sans: ['IP:10.0.0.1']}"),
            ("{names: 10.0.0.1}", "{nothing: no such name}"),
            (question, "{ofAnother: node-2}"),
            (question, "{failed: refused}"),
        ];
        let answers = answers.map(|(question, answer)| {
            let until = "until: 2026-07-24T12:01:00Z";
            format!("answer: {{question: {question}, answer: {answer}, {until}, {TIMES}}}")
        });
        let all = facts.into_iter().chain(answers);
        all.map(|fact| format!("- {fact}\n")).collect()
    }

    #[test]
    fn every_kind_of_fact_is_written_as_it_was_read() {
        let text = head() + &facts();
        let read = Snapshot::read(&text).unwrap();
        assert_eq!(read.facts.len(), 10);
        let written = read.write().unwrap();
        let again = Snapshot::read(&written).unwrap();
        assert_eq!(again.nodes_since, read.nodes_since);
        let shown = |of: &Snapshot| format!("{:?}", of.facts);
        assert_eq!(shown(&again), shown(&read));
        let document: Value = serde_saphyr::from_str(&text).unwrap();
        let schema = serde_json::to_value(schemars::schema_for!(FactsFile)).unwrap();
        jsonschema::validate(&schema, &document).unwrap();
        assert_eq!(
            shown(&Snapshot::read_document(&document).unwrap()),
            shown(&read)
        );
    }

    #[test]
    fn what_an_object_holds_is_not_written() {
        let snapshot = Snapshot {
            nodes_since: Timestamp::UNIX_EPOCH,
            facts: vec![(Fact::MachineGone("a".into()), Timestamp::UNIX_EPOCH)],
        };
        assert!(snapshot.write().unwrap().contains("facts: []"));
    }

    #[test]
    fn a_wrong_fact_is_named_with_its_place() {
        for (fact, expected) in [
            (
                "synced: {source: node, at: 2026-07-24T12:00:00Z}",
                "facts[0].synced.source: expected a source (nodes, certificatesigningrequests, \
                 kubernetes-service, apiserver-endpoints, servicecidrs, cluster-info, \
                 apiserver-certificates, inventory, machines, dns, serving-certificates), found \
                 `node` at line 5, column 20",
            ),
            (
                "synced: {source: nodes, at: noon}",
                "facts[0].synced.at: expected a time such as `2026-07-24T12:00:00Z`, found `noon` \
                 at line 5, column 31",
            ),
            (
                "sinced: {source: nodes}",
                "facts[0]: unknown variant `sinced`, expected one of synced, failed, incomplete, \
                 protected, unprotected, key, answer at line 5, column 3; did you mean `synced`?",
            ),
            (
                "failed: {source: nodes, reason: down}",
                "facts[0].failed.reason: unknown field `reason`, expected one of source, why, at at \
                 line 5, column 27",
            ),
            (
                "unprotected: {origin: a}",
                "facts[0].unprotected: missing field `at` at line 5, column 16",
            ),
            (
                "protected: {origin: a, kind: Pod}",
                "facts[0].protected.kind: expected one of Service, ApiServerEndpoint, \
                 ApiServerIdentity, found `Pod` at line 5, column 32",
            ),
            (
                "protected: {sans: [api.example]}",
                "facts[0].protected.sans[0]: expected `DNS:name` or `IP:address`, found \
                 `api.example` at line 5, column 22",
            ),
            (
                "protected: {networks: [10.0.0.1]}",
                "facts[0].protected.networks[0]: expected a network such as `10.96.0.0/12`, found \
                 `10.0.0.1` at line 5, column 26",
            ),
            (
                "key: {sha256: 3f, node: a}",
                "facts[0].key.sha256: expected 64 hexadecimal digits, found `3f` at line 5, column \
                 17",
            ),
            (
                "answer: {question: {names: host}}",
                "facts[0].answer.question.names: expected an IP address, found `host` at line 5, \
                 column 30",
            ),
        ] {
            let text = format!("{}- {fact}\n", head());
            let why = Snapshot::read(&text).err().unwrap().to_string();
            assert_eq!(why, expected);
            let document = serde_saphyr::from_str(&text).unwrap();
            let why = Snapshot::read_document(&document)
                .err()
                .unwrap()
                .to_string();
            assert!(!why.contains(" at line "), "{why}");
        }
        let other = head().replace(API_VERSION, "csr-warden.dev/v2") + &facts();
        let why = Snapshot::read(&other).err().unwrap().to_string();
        let expected = "apiVersion: expected `csr-warden.dev/v1beta1`, found `csr-warden.dev/v2`";
        assert_eq!(why, expected);
    }
}
