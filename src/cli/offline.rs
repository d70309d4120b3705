//! A cluster in files: requests, and the objects that are evidence.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use jiff::Timestamp;

use super::evidence_builder::{EvidenceBuilder, Taken};
use crate::cluster::x509::sans_of_pem;
use judge::csr::{CsrObject, KUBELET_SERVING_SIGNER, PreservedMetadata, Request, Requestor};
use judge::evidence::{Evidence, Fact, IdentityKind, Inventory, Protection, Source};
use judge::policy::{IndependentSource, Spec};
use judge::yaml;

/// What the files held.
pub(super) struct Offline {
    intake: EvidenceBuilder,
    /// The sources beside those that every judgment needs, as far as the policy names them.
    named: Vec<Source>,
    /// If set, every request was made at this time, and nobody has decided on it.
    as_new: Option<Timestamp>,
}

/// What the command line says of the requests.
pub(super) struct Terms {
    /// Who asks, where a file is nothing but PEM.
    pub(super) requestor: Option<Requestor>,
    /// And what for.
    pub(super) usages: Vec<String>,
    pub(super) now: Timestamp,
    /// Whether requests are taken as made now and decided by nobody.
    pub(super) as_new: bool,
}

/// Reads all files. What is not there is taken as not there in the cluster either, and
/// [`Offline::not_given`] names it.
pub(super) fn read(files: &[impl AsRef<Path>], terms: &Terms, policy: &Spec) -> Result<Offline> {
    let mut offline = Offline {
        intake: EvidenceBuilder::new(policy),
        named: named(policy),
        as_new: terms.as_new.then_some(terms.now),
    };
    for source in Source::ALL {
        let synced = Fact::Synced(source);
        offline.intake.evidence.apply(synced, terms.now);
    }
    for file in files {
        let file = file.as_ref();
        offline
            .read_file(file, terms)
            .with_context(|| format!("{}", file.display()))?;
    }
    Ok(offline)
}

impl Offline {
    /// The administrator's inventory is this.
    pub(super) fn give_inventory(&mut self, inventory: Inventory) {
        self.intake.take_inventory(inventory);
    }

    /// The requests, in the order of the files.
    pub(super) fn requests(&self) -> Vec<Request> {
        let taken = self.intake.requests.iter();
        taken
            .map(|taken| match self.as_new {
                Some(now) => taken.read_as_new(now),
                None => taken.read(),
            })
            .collect()
    }

    /// All else.
    pub(super) fn evidence(&self) -> &Evidence {
        &self.intake.evidence
    }

    /// The sources that the daemon looks at and of which no file holds anything.
    pub(super) fn not_given(&self) -> Vec<Source> {
        Source::REQUIRED
            .into_iter()
            .chain(self.named.iter().copied())
            .filter(|source| !self.intake.given.contains(source))
            // The request itself says nothing of the keys that others have.
            .filter(|source| *source != Source::Requests || self.intake.requests.len() < 2)
            .collect()
    }

    fn read_file(&mut self, file: &Path, terms: &Terms) -> Result<()> {
        let text = if file == Path::new("-") {
            std::io::read_to_string(std::io::stdin()).context("cannot read standard input")?
        } else {
            std::fs::read_to_string(file).context("cannot be read")?
        };
        if text.trim_start().starts_with("-----BEGIN ") {
            return self.read_pem(file, &text, terms);
        }
        let documents = yaml::documents(&text)
            .map_err(|error| anyhow!("expected YAML, JSON or PEM: {error}"))?;
        for document in documents {
            self.intake.take(document)?;
        }
        Ok(())
    }

    fn read_pem(&mut self, file: &Path, text: &str, terms: &Terms) -> Result<()> {
        match pem_label(text) {
            "CERTIFICATE" => return self.read_certificates(file, text),
            label if label.ends_with("PRIVATE KEY") => bail!(
                "expected a certification request or an API server's certificate, found a private \
                 key (`{label}`), which nobody should be given"
            ),
            _ => {}
        }
        let Some(requestor) = terms.requestor.clone() else {
            bail!("a bare certification request says nothing of who asks: give --requestor");
        };
        let name = file
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned());
        let object = CsrObject {
            name: name.unwrap_or_default(),
            uid: "".into(),
            resource_version: String::new(),
            created: terms.now,
            terminating: false,
            signer: KUBELET_SERVING_SIGNER.into(),
            requestor,
            usages: terms.usages.clone().into(),
            expiration_seconds: None,
            settled: None,
            preserved: PreservedMetadata::default(),
        };
        self.intake.take_request(Taken {
            object,
            encoded: text.as_bytes().to_vec(),
        });
        Ok(())
    }

    /// Serving certificates of API servers: what they name is the API server's. Nobody verifies
    /// here that they are; the daemon does.
    fn read_certificates(&mut self, file: &Path, text: &str) -> Result<()> {
        let sans = sans_of_pem(text).map_err(|error| anyhow!(error))?;
        if sans.is_empty() {
            bail!("expected an API server's certificate, found one without names and addresses");
        }
        let origin = format!("certificate in {}", file.display());
        let fact = Fact::Protected(Protection {
            origin,
            kind: IdentityKind::ApiServerIdentity,
            sans,
            networks: Vec::new(),
        });
        self.intake.evidence.apply(fact, Timestamp::UNIX_EPOCH);
        self.intake.given.insert(Source::ApiServerCertificates);
        Ok(())
    }
}

/// The sources that a policy names beside those that every judgment needs.
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
            asks(IndependentSource::ServingCertificate),
        ),
    ];
    let named = each.into_iter().filter(|(_, named)| *named);
    named.map(|(source, _)| source).collect()
}

/// What stands between `-----BEGIN ` and `-----` in the first line.
fn pem_label(text: &str) -> &str {
    let line = text.trim_start().lines().next().unwrap_or_default();
    let label = line.trim_end().strip_prefix("-----BEGIN ");
    label
        .and_then(|label| label.strip_suffix("-----"))
        .unwrap_or_default()
}
