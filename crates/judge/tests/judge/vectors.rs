//! Tests of the judge against every vector of `tests/vectors`, under both policies.

use std::collections::{BTreeMap, BTreeSet};

use judge::csr::{MAX_REQUEST_BYTES, PackedPem, Request};
use judge::finding::Code;
use judge::finding::Effect;
use judge::{Decision, Verdict};
use testkit::policies::BasePolicy;
use testkit::vector::{Outcome, Vector, request_pem};
use testkit::{honest_page, honest_table, threat_table, verdicts_page};

const MIN_VECTORS: usize = 200;

#[test]
fn every_vector_has_its_expected_verdict() {
    let mut wrong = Vec::new();
    for vector in Vector::all() {
        for base in BasePolicy::ALL {
            let (expected, found) = (vector.expected(base), vector.outcome(base));
            if found != *expected {
                wrong.push(format!(
                    "row {} `{}`, {}:\n  expected {expected}\n  found    {found}",
                    vector.row,
                    vector.title,
                    base.as_str()
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The reason of a denial is the code of the first denying finding; the message has all of them.
#[test]
fn a_denial_has_the_reason_and_details_of_its_findings() {
    let mut several = 0;
    for vector in Vector::all() {
        let judged = vector.judgment(BasePolicy::Default);
        let Verdict::Deny(denial) = &judged.verdict else {
            continue;
        };
        let denying = judged.findings.iter().filter(|f| f.effect == Effect::Deny);
        let denying: Vec<_> = denying.collect();
        assert_eq!(
            denial.reason(),
            denying[0].code.as_str(),
            "{}",
            vector.title
        );
        let details: Vec<&str> = denying.iter().map(|f| f.detail.as_str()).collect();
        let whole = details.join("; ");
        let said = denial.message();
        assert!(
            said.ends_with(&format!("): {whole}")) || said.ends_with('…'),
            "{said}"
        );
        assert!(said.contains("policy default ("), "{said}");
        several += usize::from(denying.len() > 1);
    }
    assert!(several > 10, "{several}");
}

/// `Request::key_of` returns the key that is judged, or nothing for a request without a key.
#[test]
fn key_of_returns_the_key_that_is_judged() {
    let mut keys = 0;
    for vector in Vector::all() {
        let pem = request_pem(&vector.request);
        let read = Request::read(vector.object(), pem.as_bytes());
        let key = Request::key_of(pem.as_bytes());
        if vector.expected(BasePolicy::Default).verdict == Decision::Approve {
            let judged = read.content.map(|content| content.key);
            assert_eq!(key, judged, "row {} `{}`", vector.row, vector.title);
            keys += usize::from(key.is_some());
        }
    }
    assert!(keys > 50, "{keys}");
    assert_eq!(Request::key_of(b"no request"), None);
    let long = [b'\n'; MAX_REQUEST_BYTES + 1];
    let genuine = request_pem(&Vector::all()[0].request);
    let padded = [long.as_slice(), genuine.as_bytes()].concat();
    assert_eq!(Request::key_of(&padded), None);
}

/// A packed request gives the same result as an unpacked one.
#[test]
fn a_packed_request_is_parsed_as_an_unpacked_one() {
    for vector in Vector::all() {
        let pem = request_pem(&vector.request);
        let late = Request::read_packed(vector.object(), &PackedPem::new(pem.as_bytes()));
        let read = Request::read(vector.object(), pem.as_bytes());
        assert_eq!(late, read, "row {} `{}`", vector.row, vector.title);
    }
}

#[test]
fn vectors_are_many_and_each_has_a_unique_title() {
    let mut titles = BTreeSet::new();
    for vector in Vector::all() {
        let title = (vector.row, vector.title.clone());
        assert!(
            titles.insert(title),
            "two vectors of row {} are `{}`",
            vector.row,
            vector.title
        );
    }
    assert!(titles.len() >= MIN_VECTORS, "only {} vectors", titles.len());
}

/// The policy `strict` must not approve without an independent source.
#[test]
fn strict_never_approves_without_an_independent_source() {
    let loosened = |vector: &Vector| {
        let asked =
            |policy: &serde_json::Value| policy.pointer("/proof/ipAddresses/anyOf").cloned();
        vector.policy.as_ref().and_then(asked) == Some(serde_json::json!([]))
    };
    let on_its_word = |vector: &&Vector| {
        vector.inventory.is_none()
            && vector.machines.is_none()
            && vector.answers.is_empty()
            && !loosened(vector)
    };
    for vector in Vector::all().iter().filter(on_its_word) {
        assert_ne!(
            vector.expect.strict.verdict,
            Decision::Approve,
            "{}",
            vector.title
        );
    }
}

#[test]
fn every_code_has_a_vector() {
    let vectors = Vector::all();
    let seen: BTreeSet<Code> = outcomes(&vectors)
        .flat_map(|(_, outcome)| &outcome.codes)
        .copied()
        .collect();
    let unseen: Vec<&Code> = Code::ALL
        .iter()
        .filter(|code| !seen.contains(code))
        .collect();
    assert!(unseen.is_empty(), "no vector expects {unseen:?}");
}

/// Each row has vectors with and without one of its codes. A row without codes has vectors that are
/// approved and vectors that are not.
#[test]
fn every_row_has_vectors_on_both_sides_of_its_line() {
    let vectors = Vector::all();
    let mut sides: BTreeMap<u8, (usize, BTreeSet<bool>)> = BTreeMap::new();
    for vector in &vectors {
        sides.entry(vector.row).or_default().0 += 1;
    }
    for (row, outcome) in outcomes(&vectors) {
        let has_codes = Code::ALL.iter().any(|code| code.row() == row);
        let side = if has_codes {
            outcome.codes.iter().any(|code| code.row() == row)
        } else {
            outcome.verdict == Decision::Approve
        };
        sides.entry(row).or_default().1.insert(side);
    }
    let rows = threat_table::rows();
    let numbers: Vec<u8> = rows.iter().map(|row| row.row).collect();
    assert_eq!(numbers, (1..=85).collect::<Vec<u8>>());
    for row in rows {
        let found = sides.get(&row.row).cloned().unwrap_or_default();
        match row.elsewhere {
            Some(_) => assert_eq!(found.0, 0, "row {} has vectors after all", row.row),
            None => assert!(
                found.0 >= 2 && found.1.len() == 2,
                "row {}: {found:?}",
                row.row
            ),
        }
    }
}

/// Each row of honest nodes has vectors that are approved and vectors that are not, or a test elsewhere.
#[test]
fn every_honest_row_has_vectors_on_both_sides_of_its_line() {
    let vectors = Vector::all();
    let rows = honest_table::rows();
    let numbers: Vec<u8> = rows.iter().map(|row| row.row).collect();
    let groups = [1..=8, 10..=14, 20..=26, 30..=36, 40..=42, 50..=51, 60..=68];
    assert_eq!(numbers, groups.into_iter().flatten().collect::<Vec<u8>>());
    for vector in &vectors {
        let known = vector.honest.is_none_or(|row| numbers.contains(&row));
        assert!(known, "`{}` is of no honest row", vector.title);
    }
    let mut wrong = Vec::new();
    for row in rows {
        let of_row = vectors.iter().filter(|v| v.honest == Some(row.row));
        let approved =
            |vector: &Vector| vector.expected(BasePolicy::Default).verdict == Decision::Approve;
        let sides: BTreeSet<bool> = of_row.map(approved).collect();
        let problem = match sides.len() {
            0 if row.elsewhere.is_empty() => Some("has neither vectors nor a test"),
            1 => Some("has vectors on one side only"),
            _ => None,
        };
        wrong.extend(problem.map(|problem| format!("H{} {problem}", row.row)));
        let missing = row.elsewhere.iter().filter(|test| !test.exists());
        wrong.extend(missing.map(|test| format!("H{}: {test:?} does not exist", row.row)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `UPDATE_DOCS=1 cargo test -p judge` writes them again.
#[test]
fn the_pages_are_up_to_date() {
    let vectors = Vector::all();
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");
    for (path, text) in verdicts_page::write(&threat_table::rows(), &vectors) {
        is_up_to_date(&format!("{docs}/{path}"), &text);
    }
    let honest = honest_page::write(&honest_table::rows(), &vectors);
    is_up_to_date(&format!("{docs}/honest-nodes.md"), &honest);
}

fn is_up_to_date(path: &str, text: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, text).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == text,
        "{path} is stale: run `UPDATE_DOCS=1 cargo test -p judge`"
    );
}

fn outcomes(vectors: &[Vector]) -> impl Iterator<Item = (u8, &Outcome)> {
    vectors
        .iter()
        .flat_map(|vector| BasePolicy::ALL.map(|base| (vector.row, vector.expected(base))))
}
