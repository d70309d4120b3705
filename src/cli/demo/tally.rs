//! Running totals of the demo, and their text for people.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::screen::{Screen, Style, wrap};
use judge::finding::Code;
use lab::attacker::AttackOutcome;
use lab::latency::{Latencies, shown};

/// Width of the progress bar, in cells.
const BAR: usize = 30;

/// Running totals: kubelets served, and outcomes of forgeries.
pub(super) struct Tally {
    nodes: usize,
    attackers: usize,
    served: BTreeSet<String>,
    latencies: Latencies,
    fates: Vec<AttackOutcome>,
    /// Forgeries that are approved or issued, according to the API server.
    approved: usize,
}

impl Tally {
    /// Empty totals for this number of kubelets and attackers.
    pub(super) fn new(nodes: usize, attackers: usize) -> Tally {
        Tally {
            nodes,
            attackers,
            served: BTreeSet::new(),
            latencies: Latencies::default(),
            fates: Vec::new(),
            approved: 0,
        }
    }

    /// Number of kubelets.
    pub(super) fn nodes(&self) -> usize {
        self.nodes
    }

    /// Records that a node has its certificate. Returns the number of nodes served, or `None` if
    /// this node was recorded before.
    pub(super) fn served(&mut self, node: &str, after: Duration) -> Option<usize> {
        let is_news = self.served.insert(node.to_owned());
        if is_news {
            self.latencies.add(after);
        }
        is_news.then_some(self.served.len())
    }

    /// Records the outcome of a forgery.
    pub(super) fn struck(&mut self, fate: AttackOutcome) {
        self.approved += usize::from(fate == AttackOutcome::Approved);
        self.fates.push(fate);
    }

    /// Corrects the count of approved or issued forgeries from the API server's final state. The
    /// count never decreases.
    pub(super) fn correct(&mut self, approved: usize) {
        self.approved = self.approved.max(approved);
    }

    /// Returns true if every kubelet and every forgery has its outcome.
    pub(super) fn is_complete(&self) -> bool {
        self.served.len() == self.nodes && self.fates.len() == self.attackers
    }

    /// Returns true if the demo succeeded: every kubelet is served, and no forgery is approved.
    pub(super) fn is_good(&self) -> bool {
        self.is_complete() && self.approved == 0
    }

    fn denied(&self) -> usize {
        let denied = |fate: &&AttackOutcome| matches!(fate, AttackOutcome::Denied { .. });
        self.fates.iter().filter(denied).count()
    }

    /// Status lines for the terminal.
    pub(super) fn status(&self, screen: &Screen) -> Vec<String> {
        let served = self.served.len();
        let full = (served * BAR).checked_div(self.nodes).unwrap_or(BAR);
        let bar = format!(
            "{}{}",
            screen.styled(Style::Good, &"█".repeat(full)),
            screen.styled(Style::Dim, &"░".repeat(BAR.saturating_sub(full)))
        );
        let latency = if self.latencies.is_empty() {
            "none yet".to_owned()
        } else {
            self.latencies.to_string()
        };
        let approved = match self.approved {
            0 => screen.styled(Style::Good, "none approved"),
            some => screen.styled(Style::Bad, &format!("{some} APPROVED")),
        };
        let mut lines = vec![
            String::new(),
            format!("  kubelets   {bar} {served} of {} served", self.nodes),
            format!("  waited     {latency}"),
        ];
        if self.attackers > 0 {
            lines.push(format!(
                "  forgeries  {} of {} denied, {approved}",
                self.denied(),
                self.attackers
            ));
        }
        lines
    }

    /// Final summary, for people.
    pub(super) fn summary(&self, screen: &Screen) -> String {
        let mut lines = vec![String::new()];
        let (served, nodes) = (self.served.len(), self.nodes);
        let style = if served == nodes {
            Style::Good
        } else {
            Style::Bad
        };
        let kubelets = match nodes {
            1 => "kubelet has its",
            _ => "kubelets have their",
        };
        let sentence = format!("{served} of {nodes} {kubelets} serving certificate");
        lines.push(screen.styled(style, &sentence));
        if !self.latencies.is_empty() {
            lines.push(format!("  {}, from asking to having it", self.latencies));
        }
        let missing = (1..=nodes)
            .map(lab::fleet::name)
            .filter(|name| !self.served.contains(name));
        let missing: Vec<String> = missing.take(10).collect();
        if !missing.is_empty() {
            lines.push(wrap(&format!("without: {}", missing.join(" ")), "  ", "  "));
        }
        if self.attackers > 0 {
            lines.push(self.forgeries(screen));
        }
        lines.extend(self.others());
        lines.extend(self.reasons(screen));
        lines.join("\n")
    }

    /// Counts of denied and approved forgeries, as text.
    fn forgeries(&self, screen: &Screen) -> String {
        let (denied, attackers) = (self.denied(), self.attackers);
        let style = if self.approved == 0 {
            Style::Good
        } else {
            Style::Bad
        };
        let forgeries = match attackers {
            1 => "forgery",
            _ => "forgeries",
        };
        let sentence = format!(
            "{denied} of {attackers} {forgeries} denied, {} approved",
            self.approved
        );
        screen.styled(style, &sentence)
    }

    /// Forgeries that were neither denied nor approved.
    fn others(&self) -> Vec<String> {
        let count =
            |wanted: fn(&AttackOutcome) -> bool| self.fates.iter().filter(|f| wanted(f)).count();
        let pending = count(|fate| matches!(fate, AttackOutcome::Pending));
        let refused = count(|fate| matches!(fate, AttackOutcome::Refused(_)));
        let mut lines = Vec::new();
        if pending > 0 {
            lines.push(format!(
                "  {pending} left waiting, and so without a certificate"
            ));
        }
        if refused > 0 {
            lines.push(format!("  {refused} rejected by the API server"));
        }
        lines
    }

    /// Each code with its row of the threat table and its meaning.
    fn reasons(&self, screen: &Screen) -> Vec<String> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for fate in &self.fates {
            if let AttackOutcome::Denied { code, .. } = fate {
                *counts.entry(code).or_default() += 1;
            }
        }
        if counts.is_empty() {
            return Vec::new();
        }
        let head = format!("{:<26}{:>5}{:>5}  because", "denied as", "times", "row");
        let mut lines = vec![String::new(), screen.styled(Style::Dim, &head)];
        for code in Code::ALL {
            let Some(count) = counts.remove(code.as_str()) else {
                continue;
            };
            let cell = format!("{:<26}", code.as_str());
            let rest = format!("{count:>5}{:>5}  {}", code.row(), code.meaning());
            // Wrapped with the plain cell in place: the escape codes of its style have no width.
            let indent = " ".repeat(26 + 12);
            let broken = wrap(&format!("{cell}{rest}"), "", &indent);
            let after = broken.strip_prefix(&cell).unwrap_or(&rest);
            lines.push(format!("{}{after}", screen.styled(Style::Bold, &cell)));
        }
        for (code, count) in counts {
            lines.push(format!("{code:<26}{count:>5}"));
        }
        lines.push(String::new());
        lines.push("Each row is one of docs/verdicts.md.".into());
        lines
    }
}

/// Introduction: the requestors and their requests.
pub(super) fn cast(kubelets: u16, attackers: u16) -> String {
    let kubelets = match kubelets {
        1 => "1 kubelet asks for its serving certificate".to_owned(),
        many => format!("{many} kubelets ask for serving certificates"),
    };
    let attackers = match attackers {
        0 => return kubelets,
        1 => "1 attacker with a stolen kubelet credential asks".to_owned(),
        many => format!("{many} attackers with stolen kubelet credentials ask"),
    };
    format!("{kubelets}, and {attackers} for what is not theirs")
}

/// Outcome of one forgery, one sentence a line.
pub(super) fn told(fate: &AttackOutcome) -> Vec<String> {
    match fate {
        AttackOutcome::Denied {
            code,
            detail,
            after,
        } => vec![
            format!("denied in {}: {code}", shown(*after)),
            detail.clone(),
        ],
        AttackOutcome::Approved => vec!["APPROVED, which must never be".to_owned()],
        AttackOutcome::Pending => vec!["left waiting, and so without a certificate".to_owned()],
        AttackOutcome::Refused(why) => vec![format!("rejected by the API server: {why}")],
    }
}
