//! The `sh` blocks of a page, and the commands that are handled specially.

use std::collections::BTreeSet;

/// Commands that cannot simply run and succeed here, by their prefix.
pub const EXCEPTIONS: &[(&str, Exception)] = &[
    (
        "kubectl logs --namespace kube-system deployment/csr-warden | grep \"this machine's clock is\"",
        Exception::Exits(&[1], "the clocks agree"),
    ),
    (
        "csr-warden status --compare",
        Exception::Elsewhere("cases/canary runs it; the Deployments here have no two logs"),
    ),
    (
        "timedatectl",
        Exception::Elsewhere("the clock of a node, with systemd"),
    ),
    (
        "sudo ",
        Exception::Elsewhere("it is for a node with systemd and a kubelet"),
    ),
    (
        "systemctl ",
        Exception::Elsewhere("it is for a node with systemd"),
    ),
    (
        "journalctl ",
        Exception::Elsewhere("it is for a node with systemd"),
    ),
    (
        "ls -l /var/lib/kubelet",
        Exception::Elsewhere("it is for a node with a kubelet"),
    ),
    (
        "cosign ",
        Exception::Elsewhere("deploy/release/verify runs it, with a local key"),
    ),
    (
        "sha256sum --check",
        Exception::Elsewhere("deploy/release/verify runs it"),
    ),
    (
        "gh attestation ",
        Exception::Elsewhere("the provenance is made on the forge"),
    ),
    (
        "deploy/release/build ",
        Exception::Elsewhere("deploy/release/reproduce runs it"),
    ),
    (
        "sha256sum target/release-artifacts/",
        Exception::Elsewhere("deploy/release/reproduce compares every byte"),
    ),
    (
        "kubeadm ",
        Exception::Elsewhere("kubeadm is not built here; tests/program/enable.rs reads its file"),
    ),
    (
        "cd deploy/enable/ansible",
        Exception::Elsewhere("of what follows, cases/enabling runs the same"),
    ),
    (
        "ansible-playbook ",
        Exception::Elsewhere("cases/enabling runs the playbook"),
    ),
    (
        "helm upgrade --install metrics-server",
        Exception::Elsewhere("its chart is not here; tests/program/enable.rs reads the values"),
    ),
    (
        "helm upgrade --install kube-prometheus-stack",
        Exception::Elsewhere("its chart is not here; tests/program/enable.rs reads the values"),
    ),
    (
        "helm upgrade csr-warden deploy/helm/csr-warden --namespace",
        Exception::Elsewhere("docs/install.md runs it; later, production is from manifests"),
    ),
    (
        "helm get values csr-warden",
        Exception::Elsewhere("production is from manifests; cases/chart runs it"),
    ),
    (
        "helm test ",
        Exception::Elsewhere("no kubelet runs its Pod; cases/chart runs its command"),
    ),
    (
        "kubectl logs --namespace kube-system deployment/metrics-server",
        Exception::Elsewhere("there is no metrics-server"),
    ),
    (
        "kubectl get apiservice v1beta1.metrics.k8s.io",
        Exception::Elsewhere("there is no metrics-server"),
    ),
    (
        "csr-warden bench ",
        Exception::Elsewhere(
            "it wants a cluster for itself; tests/program/bench.rs and benches/scale.rs run it",
        ),
    ),
    (
        "csr-warden explain",
        Exception::Exits(&[1, 3], "the verdict is in the exit code"),
    ),
    (
        "csr-warden doctor",
        Exception::Exits(&[1], "a cluster for tests has problems"),
    ),
    (
        "kubectl logs -n kube-system deployment/csr-warden | grep 'cannot be read'",
        Exception::Exits(&[1], "all can be read"),
    ),
    (
        "kubectl logs -n kube-system deployment/csr-warden | grep -E '\"source\":",
        Exception::Exits(&[1], "there is no prompt"),
    ),
    (
        "kubectl logs -n kube-system deployment/csr-warden | grep 'cannot write a condition'",
        Exception::Exits(&[1], "all can be written"),
    ),
    (
        "kubectl logs -n kube-system deployment/csr-warden | grep 'policy cannot be used'",
        Exception::Exits(&[1], "the policy can be used"),
    ),
];

/// The exception for a command.
pub enum Exception {
    /// It cannot run here, for this reason.
    Elsewhere(&'static str),
    /// It may exit with these codes too, for this reason.
    Exits(&'static [i32], &'static str),
}

/// Placeholders in the pages, with their values.
const PLACEHOLDERS: [(&str, &str); 4] = [
    ("NODE", "node-1"),
    ("NAME", "csr-x7k2p"),
    ("CSR", "csr-w8k5t"),
    ("/etc/kubernetes/pki/ca.crt", "ca.crt"),
];

/// A code block.
pub struct Block {
    /// The number of its first line.
    pub line: usize,
    /// Its commands, each with its continuation lines.
    pub commands: Vec<String>,
}

/// Returns the `sh` blocks of a page.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut inside: Option<Option<Block>> = None;
    let mut goes_on = false;
    for (line, text) in (1..).zip(page.lines()) {
        let text = text.trim_start();
        match (text.strip_prefix("```"), &mut inside) {
            (Some(language), None) => {
                let commands = Vec::new();
                inside = Some((language == "sh").then_some(Block { line, commands }));
            }
            (Some(_), Some(block)) => {
                blocks.extend(block.take());
                inside = None;
            }
            (None, Some(Some(block))) => {
                match block.commands.last_mut() {
                    Some(last) if goes_on => *last = format!("{last}\n{text}"),
                    _ => block.commands.push(text.to_owned()),
                }
                goes_on = text.ends_with('\\');
            }
            (None, Some(None) | None) => {}
        }
    }
    blocks
}

impl Block {
    /// Returns the script to run. Records the exceptions that were used.
    pub fn script(&self, used: &mut BTreeSet<usize>) -> String {
        let mut script = String::new();
        for command in &self.commands {
            let met = EXCEPTIONS
                .iter()
                .position(|(begins, _)| command.starts_with(begins));
            used.extend(met);
            match met.map(|index| &EXCEPTIONS[index].1) {
                Some(Exception::Elsewhere(_)) => continue,
                Some(Exception::Exits(codes, _)) => {
                    let codes: Vec<String> =
                        codes.iter().map(|code| format!("$? = {code}")).collect();
                    let codes = codes.join(" -o ");
                    script += &format!("{} || [ {codes} ]\n", filled(command));
                }
                None => script += &format!("{}\n", filled(command)),
            }
        }
        script
    }
}

/// Returns the command with values instead of placeholders.
fn filled(command: &str) -> String {
    let mut filled = command.to_owned();
    for (stands, value) in PLACEHOLDERS {
        filled = by_words(&filled, stands, value);
    }
    filled
}

/// Matches `NAME` alone, not in `NAMES` or in the heading `NAME:`.
fn by_words(text: &str, word: &str, value: &str) -> String {
    let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut parts = text.split(word).peekable();
    let mut replaced = String::new();
    while let Some(part) = parts.next() {
        replaced += part;
        if let Some(next) = parts.peek() {
            let heading = next.starts_with(':');
            let alone = !replaced.ends_with(in_word) && !next.starts_with(in_word) && !heading;
            replaced += if alone { value } else { word };
        }
    }
    replaced
}
