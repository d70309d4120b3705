//! The verdicts on the requests that all Nodes' kubelets would send, with the evidence of one read of the
//! cluster.

use serde_json::Value;

use crate::cli::evidence_builder::text_at;
use crate::cli::live::{Look, Lookout};
use crate::doctor::{Basis, KubeletRequests, MissingEvidence, NodeVerdicts, Subject, judge_nodes};
use judge::csr::Request;
use judge::evidence::{Evidence, Fact, Source};
use judge::policy::SHIPPED;

/// Reads the cluster, and judges a request of each Node's kubelet. The error is a sentence.
pub(super) async fn node_verdicts(lookout: &mut Lookout) -> Result<NodeVerdicts, String> {
    let mut look = lookout.look().await.map_err(|why| format!("{why:#}"))?;
    let nodes = look.evidence.sources().state(Source::Nodes).failing;
    if let Some((_, why)) = nodes {
        return Err(format!("Nodes cannot be listed: {why}"));
    }
    let missing: Vec<MissingEvidence> = look
        .unread()
        .into_iter()
        .map(|unread| MissingEvidence {
            source: unread.source,
            reason: unread.reason,
        })
        .collect();
    go_on_without(&mut look);
    let requests = KubeletRequests::new().map_err(|why| why.to_string())?;
    let subjects: Vec<Subject> = look
        .objects
        .iter()
        .filter(|object| text_at(object, "/kind") == "Node")
        .map(|node| subject(node, &requests, &look))
        .collect();
    let asked = subjects.iter().filter_map(|one| one.request.as_ref().ok());
    let asked: Vec<Request> = asked.cloned().collect();
    look.ask(lookout, &asked).await;
    let policy = lookout.policy.clone();
    let basis = Basis {
        policy: &policy,
        text: policy_text(lookout),
        now: look.now,
    };
    let verdicts = judge_nodes(&subjects, &mut look.evidence, basis);
    Ok(NodeVerdicts {
        missing_evidence: missing,
        ..verdicts
    })
}

/// Lets verdicts rest on what was read. The daemon waits for a source that cannot be read, and each Node
/// would wait for it here. Sources that must vouch stay unread.
fn go_on_without(look: &mut Look) {
    let fails = |evidence: &Evidence, source| evidence.sources().state(source).failing.is_some();
    for source in Source::REQUIRED {
        if fails(&look.evidence, source) {
            look.evidence.apply(Fact::Synced(source), look.now);
        }
    }
}

fn subject(object: &Value, requests: &KubeletRequests, look: &Look) -> Subject {
    let name = text_at(object, "/metadata/name");
    let addresses = object.pointer("/status/addresses");
    let addresses = addresses.and_then(Value::as_array).into_iter().flatten();
    let addresses = addresses.filter_map(|address| {
        let kind = address.get("type")?.as_str()?;
        Some((kind, address.get("address")?.as_str()?))
    });
    // The API server's clock may be ahead of this machine's.
    let node = look.evidence.nodes().get(&name);
    let created = node.map_or(look.now, |node| node.created.max(look.now));
    Subject {
        request: requests.of_node(&name, addresses, created),
        node: name,
    }
}

/// The text of the policy, with what it leaves out left out.
fn policy_text(lookout: &Lookout) -> &str {
    if let Some(file) = &lookout.policy_file {
        return &file.text;
    }
    let name = lookout.policy.metadata.name.as_str();
    let shipped = SHIPPED.iter().find(|(shipped, _)| *shipped == name);
    shipped.map_or("", |(_, text)| text)
}
