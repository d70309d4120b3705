//! What one look at a cluster has shown that is in no object of the API, as a file: it lets a verdict
//! be repeated where there is no cluster.

use std::net::IpAddr;

use anyhow::{Context, Result, anyhow, bail};
use jiff::Timestamp;
use pem_rfc7468::LineEnding;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::evidence_builder::EvidenceBuilder;
use crate::cluster::apiserver_certificates::ApiServer;
use judge::csr::Fingerprint;
use judge::csr::names::{NodeName, San};
use judge::evidence::{Answer, Fact, Source};
use judge::finding::Question;

const API_VERSION: &str = "csr-warden/v1";
const KIND: &str = "Observations";

/// What was observed at one time.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Observations {
    /// Always `csr-warden/v1`.
    #[schemars(extend("const" = API_VERSION))]
    api_version: String,
    /// Always `Observations`.
    #[schemars(extend("const" = KIND))]
    kind: String,
    /// Since when the addresses of Nodes are taken to be what they are: nobody looked before.
    #[schemars(with = "String")]
    nodes_since: Timestamp,
    /// The sources that were read, whether they held anything or not.
    read: Vec<String>,
    /// The sources that could not be read.
    unread: Vec<Unread>,
    /// What API servers have shown.
    api_servers: Vec<SeenServer>,
    /// Keys in use that are asked for again.
    keys: Vec<SeenKey>,
    /// What was asked of others, and what they answered.
    answers: Vec<SeenAnswer>,
}

/// A source that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Unread {
    /// Its name, as in metrics.
    pub(super) source: String,
    /// Since when.
    #[schemars(with = "String")]
    since: Timestamp,
    /// Why, for a person.
    pub(super) why: String,
}

/// The certificate of an API server.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SeenServer {
    host: String,
    port: u16,
    /// In PEM.
    certificate: String,
}

/// Whose a key is.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SeenKey {
    /// Of the SubjectPublicKeyInfo, in hexadecimal.
    sha256: String,
    node: String,
}

/// A question and its answer.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SeenAnswer {
    question: SeenQuestion,
    answer: SeenReply,
    /// How long it holds.
    #[schemars(with = "String")]
    until: Timestamp,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum SeenQuestion {
    /// Which addresses DNS has for this name.
    Addresses(String),
    /// Which names DNS has for this address.
    Names(IpAddr),
    /// Which certificate the kubelet shows.
    Certificate {
        /// Of this Node.
        node: String,
        /// At this address.
        address: IpAddr,
    },
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum SeenReply {
    /// These, each as `DNS:name` or `IP:address`.
    Sans(Vec<String>),
    /// Nothing, and why.
    Nothing(String),
    /// It is this other node's.
    OfAnother(String),
    /// Nobody could be asked, and why.
    Failed(String),
}

/// What goes into the file.
pub(super) struct Seen<'a> {
    pub(super) at: Timestamp,
    pub(super) read: Vec<Source>,
    pub(super) unread: &'a [Unread],
    pub(super) servers: &'a [(ApiServer, CertificateDer<'static>)],
    pub(super) keys: Vec<(Fingerprint, NodeName)>,
    pub(super) answers: &'a [(Question, Answer, Timestamp)],
}

impl Unread {
    pub(super) fn new(source: Source, since: Timestamp, why: &str) -> Unread {
        Unread {
            source: source.as_str().to_owned(),
            since,
            why: why.to_owned(),
        }
    }
}

impl Observations {
    /// All of this as a file.
    pub(super) fn write(seen: &Seen<'_>) -> Result<String> {
        let servers = seen.servers.iter().map(|(server, certificate)| {
            let pem = pem_rfc7468::encode_string("CERTIFICATE", LineEnding::LF, certificate)
                .map_err(|error| anyhow!("{}: {error}", server.url()))?;
            Ok(SeenServer {
                host: server.host.clone(),
                port: server.port,
                certificate: pem,
            })
        });
        let keys = seen.keys.iter().map(|(key, node)| SeenKey {
            sha256: key.to_string(),
            node: node.to_string(),
        });
        let answers = seen.answers.iter().map(|(question, answer, until)| {
            let (question, answer) = (question.into(), answer.into());
            SeenAnswer {
                question,
                answer,
                until: *until,
            }
        });
        let observations = Observations {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            nodes_since: seen.at,
            read: seen.read.iter().map(|s| s.as_str().to_owned()).collect(),
            unread: seen.unread.to_vec(),
            api_servers: servers.collect::<Result<_>>()?,
            keys: keys.collect(),
            answers: answers.collect(),
        };
        // Through JSON, so that it is read back as it was written.
        let value = serde_json::to_value(&observations)?;
        serde_saphyr::to_string(&value).context("cannot write what was observed")
    }

    /// Reads an object of this kind.
    pub(super) fn read(object: Value) -> Result<Observations> {
        let read: Observations =
            serde_json::from_value(object).map_err(|error| anyhow!("{KIND}: {error}"))?;
        if read.api_version != API_VERSION {
            let found = &read.api_version;
            bail!("{KIND}: expected apiVersion `{API_VERSION}`, found `{found}`");
        }
        Ok(read)
    }

    /// Makes it evidence.
    pub(super) fn give(self, to: &mut EvidenceBuilder) -> Result<()> {
        to.nodes_since = self.nodes_since;
        let mut known: Vec<_> = to.evidence.nodes().iter().cloned().collect();
        for node in &mut known {
            node.addresses_since = self.nodes_since;
        }
        for node in known {
            let gone = Fact::NodeGone(node.name.clone());
            to.evidence.apply(gone, self.nodes_since);
            to.evidence
                .apply(Fact::Node(Box::new(node)), self.nodes_since);
        }
        for name in &self.read {
            to.given.insert(source(name)?);
        }
        for unread in &self.unread {
            let source = source(&unread.source)?;
            to.given.insert(source);
            let unread_since = unread.since;
            let fact = Fact::Incomplete(source, unread.why.clone());
            to.evidence.apply(fact, unread_since);
        }
        for seen in self.api_servers {
            let certificate = CertificateDer::from_pem_slice(seen.certificate.as_bytes())
                .map_err(|error| anyhow!("{KIND}: certificate of {}: {error}", seen.host))?;
            let server = ApiServer {
                host: seen.host,
                port: seen.port,
            };
            let sans = server
                .identities(&certificate)
                .map_err(|why| anyhow!(why))?;
            let fact = Fact::Protected(server.protection(sans));
            to.evidence.apply(fact, self.nodes_since);
        }
        for seen in &self.keys {
            let key = Fingerprint::parse(&seen.sha256)
                .ok_or_else(|| wrong("keys.sha256", "64 hexadecimal digits", &seen.sha256))?;
            let fact = Fact::Key(key, node_name(&seen.node)?);
            to.evidence.apply(fact, self.nodes_since);
        }
        for seen in self.answers {
            let (question, answer) = (seen.question.read(), seen.answer.read()?);
            let fact = Fact::Answer(question, answer, seen.until);
            to.evidence.apply(fact, self.nodes_since);
        }
        Ok(())
    }
}

impl From<&Question> for SeenQuestion {
    fn from(question: &Question) -> SeenQuestion {
        match question {
            Question::Addresses(name) => SeenQuestion::Addresses(name.to_string()),
            Question::Names(ip) => SeenQuestion::Names(*ip),
            Question::Certificate(node, ip) => SeenQuestion::Certificate {
                node: node.to_string(),
                address: *ip,
            },
        }
    }
}

impl SeenQuestion {
    fn read(self) -> Question {
        match self {
            SeenQuestion::Addresses(name) => Question::Addresses(name.into()),
            SeenQuestion::Names(ip) => Question::Names(ip),
            SeenQuestion::Certificate { node, address } => {
                Question::Certificate(node.into(), address)
            }
        }
    }
}

impl From<&Answer> for SeenReply {
    fn from(answer: &Answer) -> SeenReply {
        match answer {
            Answer::Sans(sans) => SeenReply::Sans(sans.iter().map(San::to_string).collect()),
            Answer::Empty(why) => SeenReply::Nothing(why.clone()),
            Answer::OtherNode(node) => SeenReply::OfAnother(node.to_string()),
            Answer::Failed(why) => SeenReply::Failed(why.clone()),
        }
    }
}

impl SeenReply {
    fn read(self) -> Result<Answer> {
        Ok(match self {
            SeenReply::Sans(sans) => {
                let sans = sans.iter().map(|text| san(text));
                Answer::Sans(sans.collect::<Result<_>>()?)
            }
            SeenReply::Nothing(why) => Answer::Empty(why),
            SeenReply::OfAnother(node) => Answer::OtherNode(node_name(&node)?),
            SeenReply::Failed(why) => Answer::Failed(why),
        })
    }
}

fn san(text: &str) -> Result<San> {
    let dns = text.strip_prefix("DNS:").and_then(San::from_dns_text);
    let ip = text.strip_prefix("IP:").and_then(San::from_ip_text);
    dns.or(ip)
        .ok_or_else(|| wrong("answers.sans", "`DNS:name` or `IP:address`", text))
}

fn node_name(text: &str) -> Result<NodeName> {
    NodeName::parse(text).ok_or_else(|| wrong("node", "a Node's name", text))
}

fn source(name: &str) -> Result<Source> {
    let known = Source::ALL.into_iter().find(|known| known.as_str() == name);
    known.ok_or_else(|| wrong("source", "the name of a source", name))
}

fn wrong(field: &str, expected: &str, found: &str) -> anyhow::Error {
    anyhow!("{KIND}: {field}: expected {expected}, found `{found}`")
}
