//! Rows 18 to 34 and 48 to 51: the encoded request. Parsing has found the defects of the bytes. These
//! rules check the content against the requestor and against known keys.

use super::Case;
use crate::finding::{Code, Findings, escaped};

pub(super) fn check(case: &Case<'_>, findings: &mut Findings) {
    findings.extend(&case.request.findings);
    let username = &case.request.object.requestor.username;
    if let Some(content) = &case.request.content
        && let Some(common_name) = &content.common_name
        && **common_name != **username
    {
        let detail = format!(
            "expected CN `{}`, found `{}`",
            escaped(username.as_bytes()),
            escaped(common_name.as_bytes())
        );
        findings.add(Code::CommonNameMismatch, detail);
    } else if let Some(content) = &case.request.content
        && content.common_name.is_none()
    {
        let detail = "expected one CN as a PrintableString, as kubelets send it, found none";
        findings.add(Code::CommonNameMismatch, detail);
    }
}

/// Row 24: a key that belongs to another node.
pub(super) fn check_key_owner(case: &Case<'_>, findings: &mut Findings) {
    if let Some(content) = &case.request.content
        && let Some(owner) = case.evidence.keys.owner(&content.key)
        && Some(owner) != case.requestor.as_ref()
    {
        let detail = format!("the key was already approved for node {owner}");
        findings.add(Code::KeyOfAnotherNode, detail);
    }
}
