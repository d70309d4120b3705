//! Comparison of decisions, without a cluster.

use super::*;

fn line(uid: &str, second: u8, verdict: &str, codes: &[&str]) -> String {
    serde_json::json!({
        "timestamp": format!("2026-11-30T10:00:{second:02}Z"), "kind": "Decision", "verdict": verdict,
        "request": format!("csr-{uid}"), "uid": uid, "requestor": "system:node:a", "node": "a",
        "codes": codes, "policy": "default", "policyDigest": "cb8f1f5f6b11",
        "enforcement": "DryRun", "version": "0.1.0", "replica": "r",
    })
    .to_string()
}

fn last(lines: &[String]) -> BTreeMap<String, Decision> {
    let mut last = BTreeMap::new();
    for line in lines {
        if let Some(decision) = Decision::parse(line.as_bytes()) {
            decisions::record(decision, &mut last);
        }
    }
    last
}

fn compare(open: &[&str], decided: &[&str], first: &[String], second: &[String]) -> Comparison {
    let open = open.iter().map(|uid| ((*uid).to_owned(), true));
    let decided = decided.iter().map(|uid| ((*uid).to_owned(), false));
    let existing: Existing = open.chain(decided).collect();
    let both = [last(first), last(second)];
    Comparison::of(Timestamp::UNIX_EPOCH, Vec::new(), &existing, &both)
}

fn names(comparison: &Comparison) -> Vec<&str> {
    let items = comparison.items.iter();
    items.map(|item| item.request.as_str()).collect()
}

#[test]
fn the_last_verdicts_are_compared_with_their_codes_in_any_order() {
    let first = [
        line("same", 1, "Wait", &["A", "B"]),
        line("verdict", 3, "Approve", &[]),
        line("codes", 2, "Wait", &["A"]),
        line("gone", 2, "Deny", &["A"]),
        "{\"timestamp\":\"2026-11-30T10:00:00Z\",\"level\":\"INFO\"}".to_owned(),
        "not JSON".to_owned(),
    ];
    let second = [
        line("same", 3, "Wait", &["B", "A"]),
        // Another replica's line can come later.
        line("same", 2, "Wait", &["A"]),
        line("verdict", 3, "Wait", &["SanUncorroborated"]),
        line("codes", 2, "Wait", &["A", "B"]),
    ];
    let open = ["same", "verdict", "codes"];
    let comparison = compare(&open, &[], &first, &second);
    assert_eq!(names(&comparison), ["csr-verdict", "csr-codes"]);
    assert_eq!((comparison.compared, comparison.different), (3, 2));
    assert_eq!(comparison.exit_code(), DIFFERENT);
    let text = comparison.text(true);
    assert!(text.contains("Wait SanUncorroborated"), "{text}");
    assert!(
        text.ends_with("2 of 3 requests with a verdict of both differ\n"),
        "{text}"
    );

    let equal = compare(&["same"], &[], &first, &second);
    assert_eq!((equal.exit_code(), equal.items.len()), (0, 0));
}

#[test]
fn an_open_request_without_a_verdict_of_both_is_incomplete() {
    let first = [
        line("open", 1, "Wait", &["A"]),
        line("old", 1, "Approve", &[]),
    ];
    let comparison = compare(&["open"], &["old"], &first, &[]);
    assert_eq!(names(&comparison), ["csr-open"]);
    assert_eq!(comparison.exit_code(), INCOMPLETE);
    assert_eq!((comparison.incomplete, comparison.decided_before), (1, 1));
    assert!(comparison.text(false).contains("<none>"));
    assert_eq!(comparison.remarks().len(), 2);
}

/// A canary that waits where production approves is the difference that matters most.
#[test]
fn a_decided_request_is_compared_by_the_last_verdict_of_each() {
    let first = [
        line("a", 8, "Wait", &["NodeMissing"]),
        line("a", 10, "Approve", &[]),
    ];
    let second = [line("a", 8, "Wait", &["NodeMissing"])];
    let comparison = compare(&[], &["a"], &first, &second);
    assert_eq!(names(&comparison), ["csr-a"]);
    assert_eq!(comparison.exit_code(), DIFFERENT);
}

#[test]
fn a_deployment_is_named_with_its_namespace() {
    let name = |text: &str| text.parse::<ReleaseName>().map(|name| name.to_string());
    assert_eq!(name("csr-warden"), Ok("kube-system/csr-warden".to_owned()));
    assert_eq!(
        name("canary/csr-warden"),
        Ok("canary/csr-warden".to_owned())
    );
    for wrong in ["", "/a", "a/", "a/b/c"] {
        assert!(name(wrong).unwrap_err().contains("NAMESPACE/DEPLOYMENT"));
    }
}
