//! The pages `docs/verdicts.md` and `docs/verdicts/`: the codes, the threat table and its vectors.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::ops::RangeInclusive;

use judge::finding::Code;

use super::policies::BasePolicy;
use super::threat_table::Row;
use super::vector::Vector;

const HEAD: &str = "\
# Verdicts

For security reviewers and for anyone who looks up a code. This page lists every code, and the pages with all shapes of
requests, each with examples that the tests run.
It is generated from `crates/judge/src/finding.rs`, `crates/testkit/src/threat_table.yaml` and `tests/vectors/*.yaml` by
`UPDATE_DOCS=1 cargo test -p judge`.

- **Approve**: the condition `Approved` is written.
- **Deny**: the condition `Denied` is written. It is final, so it is only for what no later state could make right.
- **Wait**: the request stays pending until the missing evidence arrives, or until the kubelet has sent another one.
- **Ignore**: csr-warden is not responsible for the request.

The most severe effect of all findings decides: Ignore, then Deny, then Wait. A code never changes its meaning.

An *independent source* is one that no kubelet can write: the *Inventory* is the administrator's own list of nodes, and a
*Machine* is the object of Cluster API and similar projects from which a node is made. *Strict only* marks what `strict`
requires and `default` does not. A policy of your own can require it too ([policy.md](policy.md)).
";

const TOPIC_HEAD: &str = "
Part of the [verdicts](../verdicts.md), which explain the terms. `+` and `-` are the codes that the policy `strict` adds
and drops. An example that changes a policy changes both. In a row, *passes* means that the rule has no finding.
";

/// A page of rows in `docs/verdicts/`.
struct Topic {
    file: &'static str,
    title: &'static str,
    rows: &'static [RangeInclusive<u8>],
}

const TOPICS: [Topic; 8] = [
    Topic {
        file: "requestor.md",
        title: "Requestor, usages and size",
        rows: &[1..=17],
    },
    Topic {
        file: "encoding.md",
        title: "Encoding, signature and key",
        rows: &[18..=24],
    },
    Topic {
        file: "subject.md",
        title: "Subject, extensions and kinds of SAN",
        rows: &[25..=35],
    },
    Topic {
        file: "node.md",
        title: "The Node and its evidence",
        rows: &[36..=40, 57..=67],
    },
    Topic {
        file: "api-server.md",
        title: "Addresses of the API server and of Services",
        rows: &[41..=44],
    },
    Topic {
        file: "addresses.md",
        title: "Other addresses",
        rows: &[45..=48, 74..=75],
    },
    Topic {
        file: "names.md",
        title: "Names",
        rows: &[49..=56, 71..=73],
    },
    Topic {
        file: "attacks.md",
        title: "Attacks on the daemon, and races",
        rows: &[68..=70, 76..=85],
    },
];

impl Topic {
    fn has(&self, row: u8) -> bool {
        self.rows.iter().any(|range| range.contains(&row))
    }

    /// The topic of a row.
    fn of(row: u8) -> &'static Topic {
        let topic = TOPICS.iter().find(|topic| topic.has(row));
        topic.unwrap_or_else(|| panic!("row {row} belongs in a topic of verdicts_page.rs"))
    }
}

/// Returns the pages, by their paths in `docs/`.
pub fn write(rows: &[Row], vectors: &[Vector]) -> Vec<(String, String)> {
    let mut pages = vec![("verdicts.md".to_owned(), overview(rows, vectors))];
    for topic in &TOPICS {
        let rows: Vec<&Row> = rows.iter().filter(|row| topic.has(row.row)).collect();
        pages.push((
            format!("verdicts/{}", topic.file),
            of_topic(topic, &rows, vectors),
        ));
    }
    pages
}

fn overview(rows: &[Row], vectors: &[Vector]) -> String {
    let mut out = HEAD.to_owned();
    out.push_str("\n## Rows\n\n| page | rows | examples |\n|--|--|--|\n");
    for topic in &TOPICS {
        let mut ranges = Vec::new();
        for range in topic.rows {
            ranges.push(format!("{} to {}", range.start(), range.end()));
        }
        let examples = vectors.iter().filter(|vector| topic.has(vector.row));
        writeln!(
            out,
            "| [{}](verdicts/{}) | {} | {} |",
            topic.title,
            topic.file,
            ranges.join(", "),
            examples.count()
        )
        .unwrap();
    }
    for row in rows {
        Topic::of(row.row);
    }
    out.push_str("\n## Codes\n\n| row | code | effect | meaning |\n|--|--|--|--|\n");
    let strict_only = strict_only(vectors);
    for code in Code::ALL {
        let (row, effect, meaning) = (code.row(), code.effect(), code.meaning());
        let file = Topic::of(row).file;
        let only = if strict_only.contains(code) {
            ", strict only"
        } else {
            ""
        };
        writeln!(
            out,
            "| [{row}](verdicts/{file}#row-{row}) | `{code}` | {effect:?}{only} | {meaning} |"
        )
        .unwrap();
    }
    out
}

fn of_topic(topic: &Topic, rows: &[&Row], vectors: &[Vector]) -> String {
    let mut out = format!("# {}\n{TOPIC_HEAD}", topic.title);
    for row in rows {
        write!(
            out,
            "\n## Row {}\n\n**{}**\n\n{}\n",
            row.row, row.shape, row.verdict
        )
        .unwrap();
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
