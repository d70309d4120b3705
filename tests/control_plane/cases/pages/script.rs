//! What of a block is run, and how.

use std::collections::BTreeSet;

/// Commands that do not simply run and succeed here, by how they begin.
pub const EXCEPTIONS: &[(&str, Exception)] = &[
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
        Exception::Exits(&[1], "nobody is asked"),
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

/// What of a command is different here.
pub enum Exception {
    /// It cannot run here, and why.
    Elsewhere(&'static str),
    /// It may end with these codes too, and why.
    Exits(&'static [i32], &'static str),
}

/// What people put their own values for.
const PLACEHOLDERS: [(&str, &str); 4] = [
    ("NODE", "node-1"),
    ("NAME", "csr-x7k2p"),
    ("CSR", "csr-w8k5t"),
    ("/etc/kubernetes/pki/ca.crt", "ca.crt"),
];

/// The commands between two fences.
pub struct Block {
    /// Where it begins.
    pub line: usize,
    /// Each with the lines that it goes on over.
    pub commands: Vec<String>,
}

/// The blocks of a page that are for a shell.
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
    /// What is run of it. Notes the exceptions that were met.
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

/// The command with values in the pages_cluster of what stands for them.
fn filled(command: &str) -> String {
    let mut filled = command.to_owned();
    for (stands, value) in PLACEHOLDERS {
        filled = by_words(&filled, stands, value);
    }
    filled
}

/// `NAME` alone, not in `NAMES` or in the heading `NAME:`.
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
