//! Rows 47, 62 and 63: corroboration by Machines. Rivals for a provider ID are a matter of `claims`.

use std::collections::BTreeMap;

use super::SourceResult;
use crate::csr::names::San;
use crate::evidence::{Machine, Machines, Node, NodeReference};
use crate::finding::{Awaited, Code, Findings};
use crate::rules::{Case, protected_sans};

pub(super) fn check(
    case: &Case<'_>,
    node: &Node,
    san: &San,
    findings: &mut Findings,
) -> SourceResult {
    let Some(machines) = &case.evidence.machines else {
        return SourceResult::NotConfigured;
    };
    check_other_machines(case, machines, node, san, findings);
    let own = machines.for_node(node);
    check_own(&own, node, findings, |machine| {
        check_address(machine, node, san)
    })
}

/// Checks the Machines that refer to the Node, one of each kind. `vouch` gives the result of a Machine
/// that is the Node's.
pub(super) fn check_own(
    own: &[&Machine],
    node: &Node,
    findings: &mut Findings,
    vouch: impl Fn(&Machine) -> SourceResult,
) -> SourceResult {
    let mut by_kind: BTreeMap<&str, Vec<&Machine>> = BTreeMap::new();
    for machine in own {
        by_kind.entry(machine.kind()).or_default().push(machine);
    }
    let results: Vec<SourceResult> = by_kind
        .values()
        .map(|of_kind| match of_kind.as_slice() {
            [machine] => check_instance(machine, node, findings).unwrap_or_else(|| vouch(machine)),
            several => check_duplicates(several, node, findings),
        })
        .collect();
    let detail = || format!("no Machine refers to Node {}", node.name);
    let none = || SourceResult::Unproven(Code::MachineMissing, on_machines_of(node), detail());
    combined(results).unwrap_or_else(none)
}

/// Combines the results of several kinds: a contradiction takes precedence over proof, and proof over
/// a missing one.
fn combined(results: Vec<SourceResult>) -> Option<SourceResult> {
    let rank = |result: &SourceResult| match result {
        SourceResult::Contradicted => 0,
        SourceResult::Vouched(_) => 1,
        SourceResult::Unproven(..) => 2,
        SourceResult::NotConfigured => 3,
    };
    results.into_iter().min_by_key(rank)
}

fn check_address(machine: &Machine, node: &Node, san: &San) -> SourceResult {
    if machine.addresses.contains(san) {
        return SourceResult::Vouched(machine.key.to_string());
    }
    if node.is_own_name(san) {
        return SourceResult::Vouched(format!("{}, whose Node it is", machine.key));
    }
    if machine.addresses.is_empty() {
        let detail = format!(
            "{} has no addresses, and only MachineExists in spec.proof works without them",
            machine.key
        );
        return SourceResult::Unproven(Code::MachineIncomplete, on_machines_of(node), detail);
    }
    not_listed(
        machine,
        node,
        san,
        "the policy's proof can accept another source",
    )
}

/// The result of a Machine that has other addresses than this. `remedy` names the field of the policy.
pub(super) fn not_listed(machine: &Machine, node: &Node, san: &San, remedy: &str) -> SourceResult {
    let why = format!(
        "{san} is not among the addresses of {}; {remedy}",
        machine.key
    );
    SourceResult::Unproven(Code::SanUncorroborated, on_machines_of(node), why)
}

/// Checks several Machines of one Node: a contradiction, unless one of them is being deleted.
fn check_duplicates(several: &[&Machine], node: &Node, findings: &mut Findings) -> SourceResult {
    let keys: Vec<&str> = several.iter().map(|machine| &*machine.key).collect();
    let keys = keys.join(", ");
    if several.iter().any(|machine| machine.terminating) {
        let detail = format!("{keys} refer to Node {}, until one is gone", node.name);
        return SourceResult::Unproven(Code::MachineReplaced, on_machines_of(node), detail);
    }
    let detail = format!("{keys} all refer to Node {}", node.name);
    findings.add(Code::MachineRepeated, detail);
    SourceResult::Contradicted
}

/// Checks that Machine and Node have the same provider ID. Returns `None` if they do, or if the policy
/// does not compare them.
fn check_instance(machine: &Machine, node: &Node, findings: &mut Findings) -> Option<SourceResult> {
    if !machine.checks_provider_id {
        return None;
    }
    match (&machine.provider_id, &node.provider_id) {
        (Some(of_machine), Some(of_node)) if of_machine == of_node => None,
        (Some(of_machine), Some(of_node)) => {
            let detail = format!(
                "{} is instance {of_machine}, Node {} is instance {of_node}",
                machine.key, node.name
            );
            if machine.terminating {
                let awaits = on_machines_of(node);
                return Some(SourceResult::Unproven(
                    Code::MachineReplaced,
                    awaits,
                    detail,
                ));
            }
            findings.add(Code::MachineProviderIdMismatch, detail);
            Some(SourceResult::Contradicted)
        }
        (of_machine, _) => {
            let (lacking, awaits) = if of_machine.is_none() {
                (machine.key.to_string(), on_machines_of(node))
            } else {
                let awaits = vec![Awaited::Node(node.name.shared())];
                (format!("Node {}", node.name), awaits)
            };
            let detail = format!("{lacking} has no provider ID");
            Some(SourceResult::Unproven(
                Code::MachineIncomplete,
                awaits,
                detail,
            ))
        }
    }
}

/// Checks that no Machine of another node has the SAN. Guests can write what some Machines show, so that
/// denies only a node whose own Machine has addresses and not this one.
fn check_other_machines(
    case: &Case<'_>,
    machines: &Machines,
    node: &Node,
    san: &San,
    findings: &mut Findings,
) {
    let own = machines.for_node(node);
    let lists_any = own.iter().any(|machine| !machine.addresses.is_empty());
    let lists_it = own.iter().any(|machine| machine.addresses.contains(san));
    // A Machine is the Node's by its name, which it need not list.
    let is_elsewhere = lists_any && !lists_it && !node.is_own_name(san);
    for other in machines.with_address(san) {
        if other.refers_to(node) || may_both_have(case, other, san) {
            continue;
        }
        let is_older = other.created < node.created && !other.terminating;
        if is_elsewhere && is_older && other.belongs_to_other_node(node) {
            let detail = format!("{san} is an address of {}, not of this node's", other.key);
            findings.add(Code::SanOfOlderMachine, detail);
        } else {
            let detail = format!("{san} is an address of {} too", other.key);
            let own = Awaited::Node(node.name.shared());
            let awaits = vec![Awaited::Machine(other.key.clone()), own];
            findings.wait(Code::SanContested, awaits, detail);
        }
    }
}

/// Returns true if the policy lets several nodes have the SAN, this one and that of the other Machine among
/// them. A Machine shows what its guest reports, such as a virtual address that moves.
fn may_both_have(case: &Case<'_>, other: &Machine, san: &San) -> bool {
    let mut shared = case.policy.spec.names.shared.iter();
    if shared.any(|shared| shared.contains(san)) {
        return true;
    }
    let nodes = &case.evidence.nodes;
    let of_other: Vec<&Node> = match (&other.node, &other.provider_id) {
        (NodeReference::Name(Some(name)), _) => nodes.get(name.as_str()).into_iter().collect(),
        (NodeReference::ProviderId, Some(id)) => {
            let with_id = nodes.with_provider_id(id);
            with_id.map(|(node, _)| node).collect()
        }
        (NodeReference::Name(None) | NodeReference::ProviderId, _) => Vec::new(),
    };
    let is_allowed = |node: &&Node| protected_sans::is_allowed(&case.as_asked_by(node), san);
    protected_sans::is_allowed(case, san) && !of_other.is_empty() && of_other.iter().all(is_allowed)
}

fn on_machines_of(node: &Node) -> Vec<Awaited> {
    let by_id = node.provider_id.iter();
    let by_id = by_id.map(|id| Awaited::Machine(id.clone()));
    std::iter::once(Awaited::Machine(node.name.shared()))
        .chain(by_id)
        .collect()
}
