//! Cluster state from files: requests, and the objects used as evidence.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use jiff::Timestamp;
use serde_json::Value;

use super::evidence_builder::{EvidenceBuilder, Taken, text_at};
use super::snapshot::{self, Snapshot};
use crate::cluster::certificate_fields::certificates_of_pem;
use judge::csr::names::is_dns_subdomain;
use judge::csr::{
    CsrObject, Fingerprint, KUBELET_SERVING_SIGNER, PreservedMetadata, Request, Requestor,
};
use judge::evidence::{
    Evidence, Fact, INVENTORY_KIND, IdentityKind, Inventory, Protection, ServedCertificate, Source,
};
use judge::policy::{IndependentSource, Spec};
use judge::yaml;

/// Requests and evidence from files.
pub(super) struct Offline {
    /// Requests, in the order of the files.
    pub(super) requests: Vec<Request>,
    /// Evidence. An object missing from the files counts as missing from the cluster.
    pub(super) evidence: Evidence,
    /// Sources that the daemon uses and that no file provides.
    pub(super) not_given: Vec<Source>,
}

/// Command-line options for reading the files.
pub(super) struct Terms {
    /// Requestor, for a bare PEM request.
    pub(super) requestor: Option<Requestor>,
    /// Requested usages, for a bare PEM request.
    pub(super) usages: Vec<String>,
    pub(super) now: Timestamp,
    /// True to treat requests as created now and undecided.
    pub(super) as_new: bool,
    /// Inventory, if a flag names one.
    pub(super) inventory: Option<Inventory>,
}

/// Reads all files. The error names the file.
pub(super) fn read(files: &[impl AsRef<Path>], terms: Terms, policy: &Spec) -> Result<Offline> {
    let mut reader = Reader {
        builder: EvidenceBuilder::new(policy),
        nodes_since: Timestamp::UNIX_EPOCH,
        terms,
    };
    for file in files {
        let file = file.as_ref();
        reader
            .read_file(file)
            .with_context(|| format!("{}", file.display()))?;
    }
    Ok(reader.finish(policy))
}

/// Reader that collects requests and evidence from files.
struct Reader {
    builder: EvidenceBuilder,
    /// Time from which the addresses of Nodes count as unchanged.
    nodes_since: Timestamp,
    terms: Terms,
}

impl Reader {
    fn finish(mut self, policy: &Spec) -> Offline {
        let Terms { now, as_new, .. } = self.terms;
        if let Some(inventory) = self.terms.inventory.take() {
            self.add_inventory(inventory);
        }
        let not_given = not_given(&self.builder, policy);
        let is_stated = self.builder.states(Source::ApiServerCertificates);
        for source in Source::ALL {
            if !self.builder.states(source) {
                self.builder.add_stated(Fact::Synced(source), now);
            }
        }
        let since = self.nodes_since;
        let (requests, evidence) = self.builder.build(policy, since, |_| since);
        let read = |taken: &Taken| match as_new {
            true => taken.read_as_new(now),
            false => taken.read(),
        };
        let mut not_given = not_given;
        let certificates = Source::ApiServerCertificates;
        let has_all = evidence.protected().has_all_certificates();
        if !has_all && !is_stated && !not_given.contains(&certificates) {
            not_given.push(certificates);
        }
        Offline {
            requests: requests.iter().map(read).collect(),
            evidence,
            not_given,
        }
    }

    fn read_file(&mut self, file: &Path) -> Result<()> {
        let text = if file == Path::new("-") {
            std::io::read_to_string(std::io::stdin()).context("cannot read standard input")?
        } else {
            std::fs::read_to_string(file).context("cannot be read")?
        };
        if text.trim_start().starts_with("-----BEGIN ") {
            return self.read_pem(file, &text);
        }
        let documents = yaml::documents(&text)
            .map_err(|error| anyhow!("expected YAML, JSON or PEM: {error}"))?;
        if let [document] = documents.as_slice()
            && text_at(document, "/kind") == snapshot::KIND
        {
            // Parsed from the text, so that errors name their position.
            self.add_snapshot(Snapshot::read(&text)?);
            return Ok(());
        }
        let mut documents = documents.into_iter();
        documents.try_for_each(|document| self.read_document(document))
    }

    /// Reads an API object, an Inventory or a Facts file, or each item of a List.
    fn read_document(&mut self, document: Value) -> Result<()> {
        match text_at(&document, "/kind").as_str() {
            "List" => {
                let Some(Value::Array(items)) = document.get("items").cloned() else {
                    bail!("expected `items` in a List");
                };
                let mut items = items.into_iter();
                return items.try_for_each(|item| self.read_document(item));
            }
            // JSON is YAML.
            INVENTORY_KIND => self.add_inventory(Inventory::parse(&document.to_string())?),
            snapshot::KIND => self.add_snapshot(Snapshot::read_document(&document)?),
            snapshot::FORMER_KIND => bail!(
                "expected `{}`, found `{}`, which is no longer supported: run `explain --save` again",
                snapshot::KIND,
                snapshot::FORMER_KIND,
            ),
            "Policy" if text_at(&document, "/apiVersion").starts_with("csr-warden.dev/") => {
                bail!("expected a request or evidence, found a Policy: name it with --policy")
            }
            _ => self.builder.add_object(document)?,
        }
        Ok(())
    }

    fn add_inventory(&mut self, inventory: Inventory) {
        let fact = Fact::Inventory(Box::new(inventory));
        self.builder.add_shown(Source::Inventory, fact);
    }

    fn add_snapshot(&mut self, snapshot: Snapshot) {
        // Of several snapshots the latest counts: addresses are not older than it knows.
        self.nodes_since = self.nodes_since.max(snapshot.nodes_since);
        for (fact, at) in snapshot.facts {
            self.builder.add_stated(fact, at);
        }
    }

    fn read_pem(&mut self, file: &Path, text: &str) -> Result<()> {
        match pem_label(text) {
            "CERTIFICATE" => return self.read_certificates(file, text),
            label if label.ends_with("PRIVATE KEY") => bail!(
                "expected a certification request or an API server's certificate, found a private \
                 key (`{label}`), which must not be shared"
            ),
            _ => {}
        }
        let Some(requestor) = self.terms.requestor.clone() else {
            bail!("a bare certification request does not name its requestor: give --requestor");
        };
        let object = CsrObject {
            name: name_after(file),
            uid: "".into(),
            resource_version: String::new(),
            created: self.terms.now,
            terminating: false,
            signer: KUBELET_SERVING_SIGNER.into(),
            requestor,
            usages: self.terms.usages.clone().into(),
            expiration_seconds: None,
            settled: None,
            preserved: PreservedMetadata::default(),
        };
        self.builder.add_request(Taken {
            object,
            encoded: text.as_bytes().to_vec(),
        });
        Ok(())
    }

    /// Reads API servers' serving certificates: their SANs are protected. They are not verified
    /// here; the daemon verifies them.
    fn read_certificates(&mut self, file: &Path, text: &str) -> Result<()> {
        let certificates = certificates_of_pem(text).map_err(|error| anyhow!(error))?;
        if certificates.is_empty() {
            bail!("expected an API server's certificate, found one without names and addresses");
        }
        let is_only = certificates.len() == 1;
        for (index, (certificate, sans)) in certificates.into_iter().enumerate() {
            let origin = match is_only {
                true => format!("certificate in {}", file.display()),
                false => format!("certificate {} in {}", index + 1, file.display()),
            };
            let fact = Fact::Protected(Protection {
                origin,
                kind: IdentityKind::ApiServerIdentity,
                sans,
                networks: Vec::new(),
                // The address at which it was read is not known.
                certificate: Some(ServedCertificate {
                    host: None,
                    sha256: Fingerprint::of(&certificate),
                }),
            });
            self.builder.add_shown(Source::ApiServerCertificates, fact);
        }
        Ok(())
    }
}

/// A valid name for a bare request, after its file. Its name on a cluster is not known.
fn name_after(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    if is_dns_subdomain(&stem) {
        return stem.into_owned();
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = stem.chars().take(253).map(plain).collect();
    match name.to_ascii_lowercase().trim_matches('-') {
        "" => "request".to_owned(),
        name => name.to_owned(),
    }
}

/// Sources that the daemon uses and that the builder lacks.
fn not_given(builder: &EvidenceBuilder, policy: &Spec) -> Vec<Source> {
    Source::REQUIRED
        .into_iter()
        .chain(named(policy))
        .filter(|source| !builder.given.contains(source))
        // A single request is no evidence of the keys of other nodes.
        .filter(|source| *source != Source::Requests || builder.requests.len() < 2)
        .collect()
}

/// Optional sources that the policy uses.
fn named(policy: &Spec) -> Vec<Source> {
    let proof = &policy.proof;
    let asked = [&proof.ip_addresses, &proof.node_name, &proof.dns_names];
    let asks = |source| {
        asked
            .iter()
            .any(|asked| asked.all_of.contains(&source) || asked.any_of.contains(&source))
    };
    let each = [
        (Source::Inventory, asks(IndependentSource::Inventory)),
        (Source::Machines, !policy.sources.machines.is_empty()),
        (Source::Dns, asks(IndependentSource::Dns)),
        (
            Source::ServingCertificates,
            asks(IndependentSource::ServingCertificate) || asks(IndependentSource::Renewal),
        ),
    ];
    let named = each.into_iter().filter(|(_, named)| *named);
    named.map(|(source, _)| source).collect()
}

/// PEM label: the text between `-----BEGIN ` and `-----` in the first line.
fn pem_label(text: &str) -> &str {
    let line = text.trim_start().lines().next().unwrap_or_default();
    let label = line.trim_end().strip_prefix("-----BEGIN ");
    label
        .and_then(|label| label.strip_suffix("-----"))
        .unwrap_or_default()
}
