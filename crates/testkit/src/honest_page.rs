//! The page `docs/honest-nodes.md`: the table of honest nodes, with the tests that show each row.

use std::collections::BTreeMap;
use std::fmt::Write;

use judge::Decision;
use judge::finding::Code;

use super::honest_table::HonestRow;
use super::policies::BasePolicy;
use super::vector::Vector;

const HEAD: &str = "\
# Will csr-warden work in my cluster?

For administrators who consider csr-warden. After this page you know the verdict that each node of your cluster gets,
and the configuration that some nodes need. Generated from `crates/testkit/src/honest_table.yaml` and
`tests/vectors/*.yaml`; do not edit it, run `UPDATE_DOCS=1 cargo test -p judge`.

- Each row is a node without a fault. *Approve* means without a manual step.
- *Wait* means that the request stays pending. Its reason is shown by `csr-warden explain` and by `kubectl describe csr`.
- The verdicts are those of the policy `default`. *Configure* names the field of the [policy](policy.md), or another
  setting, that such a node needs. An empty cell means that nothing has to be configured.
- *Tests* counts the [vectors](verdicts.md) of the row, with the codes of those that are not approved, and names the
  tests with a running daemon.

Whole clusters of each distribution are in `tests/topologies`. Hostile requests are in [verdicts.md](verdicts.md).
";

pub fn write(rows: &[HonestRow], vectors: &[Vector]) -> String {
    let mut out = HEAD.to_owned();
    let mut group = "";
    for row in rows {
        if row.group != group {
            group = &row.group;
            write!(
                out,
                "\n## {group}\n\n| row | node | verdict | configure | tests |\n|--|--|--|--|--|\n"
            )
            .unwrap();
        }
        let configure = row.configure.as_deref().unwrap_or_default();
        let tests = tests(row, vectors);
        let cells =
            [&row.node, &row.verdict, configure, &tests].map(|cell| cell.replace('|', "\\|"));
        writeln!(out, "| H{} | {} |", row.row, cells.join(" | ")).unwrap();
    }
    out
}

/// The number of vectors by verdict, the codes, and the other tests.
fn tests(row: &HonestRow, vectors: &[Vector]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut codes: BTreeMap<Code, ()> = BTreeMap::new();
    for vector in vectors.iter().filter(|v| v.honest == Some(row.row)) {
        let outcome = vector.expected(BasePolicy::Default);
        *counts.entry(outcome.verdict.as_str()).or_default() += 1;
        codes.extend(outcome.codes.iter().map(|code| (*code, ())));
    }
    let verdicts = Decision::ALL.iter().filter_map(|decision| {
        let count = counts.get(decision.as_str())?;
        Some(format!("{count} {decision}"))
    });
    let mut parts = vec![verdicts.collect::<Vec<_>>().join(", ")];
    parts.extend(codes.keys().map(|code| format!("`{code}`")));
    parts.extend(row.elsewhere.iter().map(|test| format!("`{}`", test.case)));
    parts.retain(|part| !part.is_empty());
    parts.join("; ")
}
