//! The form of the file, and its conversions.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::string_values::Text;
use judge::API_VERSION;
use judge::csr::Fingerprint;
use judge::csr::names::{NodeName, San};
use judge::evidence::{
    Answer, Fact, IdentityKind, Protection, ServedCertificate, ServingCertificate, Source,
    TimedFact,
};
use judge::finding::Question;

/// The `kind` of the file.
pub(in crate::cli) const KIND: &str = "Facts";

/// A file of facts.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::cli) struct FactsFile {
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
    /// A source fails, since the API server has no such resource.
    NotServed {
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
        /// The certificate that holds them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        certificate: Option<FileCertificate>,
        /// The time since when.
        at: Text<Timestamp>,
    },
    /// An origin no longer protects anything. Its identities count as recently protected for an hour.
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

/// The certificate that an API server serves.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileCertificate {
    /// The name or address at which it was read, as `DNS:name` or `IP:address`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<Text<San>>,
    /// SHA-256 of its DER, in hexadecimal.
    sha256: Text<Fingerprint>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum FileQuestion {
    /// The addresses that DNS has for this name.
    Addresses(String),
    /// The names that DNS has for this address.
    Names(Text<IpAddr>),
    /// The certificate that a kubelet shows at this address.
    Certificate(Text<IpAddr>),
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum FileAnswer {
    /// These, each as `DNS:name` or `IP:address`.
    Sans(Vec<Text<San>>),
    /// Nothing, and the reason.
    Empty(String),
    /// A serving certificate.
    Certificate {
        /// The node that it names.
        node: Text<NodeName>,
        /// The beginning of its validity.
        issued: Text<Timestamp>,
        /// Its names and addresses, each as `DNS:name` or `IP:address`.
        sans: Vec<Text<San>>,
    },
    /// No answer, and the reason.
    Failed(String),
}

impl FactsFile {
    /// The file with these facts; without those that an object holds.
    pub(super) fn new(nodes_since: Timestamp, facts: &[TimedFact]) -> FactsFile {
        FactsFile {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            nodes_since: Text(nodes_since),
            facts: facts.iter().filter_map(FileFact::of).collect(),
        }
    }

    /// Since when Nodes have their addresses, and the facts.
    pub(super) fn into_facts(self) -> (Timestamp, Vec<TimedFact>) {
        let facts = self.facts.into_iter().map(TimedFact::from);
        (self.nodes_since.0, facts.collect())
    }
}

impl From<FileFact> for TimedFact {
    fn from(fact: FileFact) -> TimedFact {
        match fact {
            FileFact::Synced { source, at } => (Fact::Synced(source.0), at.0),
            FileFact::Failed { source, why, at } => (Fact::Failed(source.0, why), at.0),
            FileFact::Incomplete { source, why, at } => (Fact::Incomplete(source.0, why), at.0),
            FileFact::NotServed { source, why, at } => (Fact::NotServed(source.0, why), at.0),
            FileFact::Protected {
                origin,
                kind: Text(kind),
                sans,
                networks,
                certificate,
                at,
            } => {
                let protection = Protection {
                    origin,
                    kind,
                    sans: sans.into_iter().map(|san| san.0).collect(),
                    networks: networks.into_iter().map(|network| network.0).collect(),
                    certificate: certificate.map(|certificate| ServedCertificate {
                        host: certificate.host.map(|host| host.0),
                        sha256: certificate.sha256.0,
                    }),
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
    /// The fact as the file has it; `None` for one that an object holds.
    fn of((fact, at): &TimedFact) -> Option<FileFact> {
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
            Fact::NotServed(source, why) => FileFact::NotServed {
                source: Text(*source),
                why: why.clone(),
                at,
            },
            Fact::Protected(protection) => FileFact::Protected {
                origin: protection.origin.clone(),
                kind: Text(protection.kind),
                sans: protection.sans.iter().cloned().map(Text).collect(),
                networks: protection.networks.iter().copied().map(Text).collect(),
                certificate: protection
                    .certificate
                    .as_ref()
                    .map(|certificate| FileCertificate {
                        host: certificate.host.clone().map(Text),
                        sha256: Text(certificate.sha256),
                    }),
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
            | Fact::ListedNode(_)
            | Fact::NodeGone(_)
            | Fact::Namespace(_)
            | Fact::NamespaceGone(_)
            | Fact::Issued(_)
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
            Question::Certificate(ip) => FileQuestion::Certificate(Text(*ip)),
        }
    }
}

impl From<FileQuestion> for Question {
    fn from(question: FileQuestion) -> Question {
        match question {
            FileQuestion::Addresses(name) => Question::Addresses(name.into()),
            FileQuestion::Names(ip) => Question::Names(ip.0),
            FileQuestion::Certificate(ip) => Question::Certificate(ip.0),
        }
    }
}

impl From<&Answer> for FileAnswer {
    fn from(answer: &Answer) -> FileAnswer {
        match answer {
            Answer::Sans(sans) => FileAnswer::Sans(sans.iter().cloned().map(Text).collect()),
            Answer::Empty(why) => FileAnswer::Empty(why.clone()),
            Answer::Certificate(certificate) => FileAnswer::Certificate {
                node: Text(certificate.node.clone()),
                issued: Text(certificate.issued),
                sans: certificate.sans.iter().cloned().map(Text).collect(),
            },
            Answer::Failed(why) => FileAnswer::Failed(why.clone()),
        }
    }
}

impl From<FileAnswer> for Answer {
    fn from(answer: FileAnswer) -> Answer {
        match answer {
            FileAnswer::Sans(sans) => Answer::Sans(sans.into_iter().map(|san| san.0).collect()),
            FileAnswer::Empty(why) => Answer::Empty(why),
            FileAnswer::Certificate { node, issued, sans } => {
                Answer::Certificate(Box::new(ServingCertificate {
                    node: node.0,
                    issued: issued.0,
                    sans: sans.into_iter().map(|san| san.0).collect(),
                }))
            }
            FileAnswer::Failed(why) => Answer::Failed(why),
        }
    }
}
