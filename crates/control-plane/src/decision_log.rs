//! The decision log of csr-warden: one JSON line for each decision.

use std::time::Duration;

use anyhow::{Result, bail};
use serde::Deserialize;

use super::output::Output;

/// The deadline for a decision that depends on no other event.
const SOON: Duration = Duration::from_secs(30);

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Decision {
    /// Approve, Deny, Wait or Ignore.
    pub verdict: String,
    /// The request's name.
    pub request: String,
    /// The requestor's user name.
    pub requestor: String,
    /// The codes of all findings.
    pub codes: Vec<String>,
}

/// Parses a line. Returns `None` for other log lines.
pub fn parse(line: &str) -> Option<Decision> {
    serde_json::from_str(line).ok()
}

/// Returns all decisions so far.
pub fn all(output: &Output) -> Vec<Decision> {
    output.lines().iter().filter_map(|l| parse(l)).collect()
}

/// Returns all decisions so far on one request.
pub fn of(output: &Output, request: &str) -> Vec<Decision> {
    let mut decisions = all(output);
    decisions.retain(|decision| decision.request == request);
    decisions
}

/// Waits for this verdict on a request with exactly these codes.
pub async fn expect(
    output: &Output,
    request: &str,
    verdict: &str,
    codes: &[impl AsRef<str>],
) -> Result<()> {
    expect_within(SOON, output, request, verdict, codes).await
}

/// Waits for this verdict as [`expect`] does, with another deadline.
pub async fn expect_within(
    deadline: Duration,
    output: &Output,
    request: &str,
    verdict: &str,
    codes: &[impl AsRef<str>],
) -> Result<()> {
    let codes: Vec<&str> = codes.iter().map(AsRef::as_ref).collect();
    let found = output.find(deadline, |line| {
        let decision = parse(line).filter(|decision| decision.request == request)?;
        (decision.verdict == verdict && decision.codes == codes).then_some(())
    });
    if found.await.is_none() {
        let said = of(output, request);
        let said: Vec<_> = said.iter().map(|d| (&d.verdict, &d.codes)).collect();
        bail!("{request}: expected {verdict} {codes:?} within {deadline:?}, found {said:?}");
    }
    Ok(())
}
