//! The file `facts.yaml`: dated facts that no API object contains. Together with the objects, it
//! repeats a verdict without a cluster.

mod file;
mod string_values;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::Value;

pub(super) use file::{FactsFile, KIND};
use judge::API_VERSION;
use judge::evidence::TimedFact;
use judge::yaml;

/// The `kind` of the file that earlier versions wrote.
pub(super) const FORMER_KIND: &str = "Observations";
/// Maximum size of the file, in bytes. It allows for many API servers' certificates, and answers.
const LARGEST: usize = 4 * 1024 * 1024;

/// Facts that no API object contains.
pub(super) struct Snapshot {
    /// Time from which the addresses of Nodes count as unchanged. No earlier observation exists.
    pub(super) nodes_since: Timestamp,
    /// The facts.
    pub(super) facts: Vec<TimedFact>,
}

impl Snapshot {
    /// Parses a file with facts only. Errors name their position in it.
    pub(super) fn read(text: &str) -> Result<Snapshot, yaml::Error> {
        yaml::kind_of(text, API_VERSION, &[KIND])?;
        let file: FactsFile = yaml::read(text, LARGEST, (API_VERSION, KIND))?;
        let (nodes_since, facts) = file.into_facts();
        Ok(Snapshot { nodes_since, facts })
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
        let file = FactsFile::new(self.nodes_since, &self.facts);
        // Through JSON, so that it is read back as it was written.
        let value = serde_json::to_value(&file)?;
        serde_saphyr::to_string(&value).context("cannot write the facts")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use judge::evidence::Fact;

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
        let question = "{certificate: 10.0.0.1}";
        let answers = [
            ("{addresses: node-1.example}", "{sans: ['IP:10.0.0.1']}"),
            ("{names: 10.0.0.1}", "{empty: no such name}"),
            (
                question,
                "{certificate: {node: node-2, issued: 2026-07-24T11:00:00Z, sans: ['IP:10.0.0.1']}}",
            ),
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
                "facts[0].synced.source: expected a source (nodes, namespaces, certificatesigningrequests, \
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
                "facts[0]: expected one of synced, failed, incomplete, notServed, protected, unprotected, key, \
                 answer, found `sinced` at line 5, column 3; did you mean `synced`?",
            ),
            (
                "failed: {source: nodes, reason: down}",
                "facts[0].failed.reason: unknown field `reason`, expected one of source, why, at at \
                 line 5, column 27",
            ),
            (
                "unprotected: {origin: a}",
                "facts[0].unprotected: expected a field `at`, found none at line 5, column 16",
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
