//! The page `docs/verdicts.md`: the codes, the threat table and its vectors.

use std::collections::BTreeSet;
use std::fmt::Write;

use judge::finding::Code;

use super::policies::BasePolicy;
use super::threat_table::Row;
use super::vector::Vector;

const HEAD: &str = "\
# Verdicts

Every shape of request in its row, the code it gets, and the examples that the tests hold the judge to.
Made from `crates/judge/src/finding.rs`, `crates/testkit/src/threat_table.yaml` and `tests/vectors/*.yaml`; do not edit it, run
`UPDATE_DOCS=1 cargo test -p judge`.

- **Approve**: the condition `Approved` is written.
- **Deny**: the condition `Denied` is written. It cannot be taken back, so only for what no later state could make right.
- **Wait**: it stays pending until what is missing has come, or the kubelet has forgotten it.
- **Ignore**: it is not csr-warden's to touch.

The most severe effect of all findings decides: Ignore, then Deny, then Wait. A code never changes its meaning.

An *independent source* is one that no kubelet can write: the *Inventory* is the administrator's own list
of nodes, a *Machine* the object that stands for what a node runs on where something like Cluster API
makes nodes. *Strict only* is what the policy `default` does not ask for, `strict` does, and a policy of
your own may ([policy.md](policy.md)).
";

pub fn write(rows: &[Row], vectors: &[Vector]) -> String {
    let mut out = HEAD.to_owned();
    out.push_str("\n## Codes\n\n| row | code | effect | meaning |\n|--|--|--|--|\n");
    let strict_only = strict_only(vectors);
    for code in Code::ALL {
        let (row, effect, meaning) = (code.row(), code.effect(), code.meaning());
        let only = if strict_only.contains(code) {
            ", strict only"
        } else {
            ""
        };
        writeln!(out, "| {row} | `{code}` | {effect:?}{only} | {meaning} |").unwrap();
    }
    out.push_str(
        "\n## Rows\n\nUnder `default`, `strict` and what a title says is changed in both. \
         `+` and `-` are the codes that `strict` adds and drops.\n",
    );
    for row in rows {
        write!(out, "\n### {}. {}\n\n{}\n", row.row, row.shape, row.verdict).unwrap();
        if let Some(elsewhere) = &row.elsewhere {
            write!(out, "\nNo example here: {elsewhere}.\n").unwrap();
            continue;
        }
        out.push_str("\n| example | default | strict | codes |\n|--|--|--|--|\n");
        for vector in vectors.iter().filter(|vector| vector.row == row.row) {
            out.push_str(&line(vector));
        }
    }
    out
}

/// The codes that vectors have under the shipped policy `strict` and never under `default`.
fn strict_only(vectors: &[Vector]) -> BTreeSet<Code> {
    let as_shipped = || vectors.iter().filter(|vector| vector.policy.is_none());
    let seen = |base| -> BTreeSet<Code> {
        as_shipped()
            .flat_map(|vector| vector.expected(base).codes.iter().copied())
            .collect()
    };
    let [default, strict] = BasePolicy::ALL.map(seen);
    strict.difference(&default).copied().collect()
}

fn line(vector: &Vector) -> String {
    let [default, strict] = BasePolicy::ALL.map(|base| vector.expected(base));
    let mut codes: Vec<String> = default
        .codes
        .iter()
        .map(|code| format!("`{code}`"))
        .collect();
    codes.extend(
        strict
            .codes
            .difference(&default.codes)
            .map(|code| format!("+`{code}`")),
    );
    codes.extend(
        default
            .codes
            .difference(&strict.codes)
            .map(|code| format!("-`{code}`")),
    );
    let title = vector.title.replace('|', "\\|");
    let codes = codes.join(" ");
    format!(
        "| {title} | {} | {} | {codes} |\n",
        default.verdict, strict.verdict
    )
}
