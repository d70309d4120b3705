//! Decisions in the log of a Pod.

use std::collections::BTreeMap;
use std::pin::pin;

use futures::{AsyncBufReadExt as _, AsyncReadExt as _};
use http::Request;
use jiff::Timestamp;
use kube::Client;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Maximum length of a line, in bytes. A decision has at most 20 KiB.
const MAX_LINE_BYTES: u64 = 64 * 1024;

/// A decision on a request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "LoggedDecision")]
pub(super) struct Decision {
    /// When.
    #[schemars(with = "String")]
    pub(super) timestamp: Timestamp,
    /// `Approve`, `Deny`, `Wait` or `Ignore`.
    pub(super) verdict: String,
    /// The codes of all findings.
    pub(super) codes: Vec<String>,
    #[serde(skip_serializing)]
    #[schemars(skip)]
    pub(super) request: String,
    #[serde(skip_serializing)]
    #[schemars(skip)]
    pub(super) uid: String,
    #[serde(skip_serializing)]
    #[schemars(skip)]
    pub(super) node: String,
    #[serde(skip_serializing)]
    #[schemars(skip)]
    pub(super) policy: String,
    #[serde(skip_serializing)]
    #[schemars(skip)]
    pub(super) policy_digest: String,
    #[serde(skip_serializing)]
    #[schemars(skip)]
    pub(super) enforcement: String,
    #[serde(skip_serializing)]
    #[schemars(skip)]
    pub(super) version: String,
}

impl Decision {
    /// Parses a line of the decision log; `None` for any other line.
    pub(super) fn parse(line: &[u8]) -> Option<Decision> {
        /// The field that distinguishes decisions from messages.
        #[derive(Deserialize)]
        struct Kind<'a> {
            kind: &'a str,
        }
        let Kind { kind } = serde_json::from_slice(line).ok()?;
        (kind == "Decision").then(|| serde_json::from_slice(line).ok())?
    }

    /// True if verdict and codes are the same, in any order.
    pub(super) fn is_like(&self, other: &Decision) -> bool {
        let sorted = |decision: &Decision| {
            let mut codes = decision.codes.clone();
            codes.sort_unstable();
            codes
        };
        self.verdict == other.verdict && sorted(self) == sorted(other)
    }
}

/// Reads the log of a container. Keeps the last decision on each request, by UID. Returns the number of
/// decisions, and of other lines.
pub(super) async fn read_log(
    client: &Client,
    request: Request<Vec<u8>>,
    last: &mut BTreeMap<String, Decision>,
) -> kube::Result<(usize, usize)> {
    let mut stream = pin!(client.request_stream(request).await?);
    let (mut decisions, mut others) = (0, 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = stream.as_mut().take(MAX_LINE_BYTES);
        let read = limited.read_until(b'\n', &mut line).await;
        if read.map_err(kube::Error::ReadEvents)? == 0 {
            return Ok((decisions, others));
        }
        match Decision::parse(&line) {
            Some(decision) => {
                decisions += 1;
                record(decision, last);
            }
            None => others += 1,
        }
    }
}

/// Keeps a decision if it is the latest one on its request.
pub(super) fn record(decision: Decision, last: &mut BTreeMap<String, Decision>) {
    let known = last.get(&decision.uid);
    if known.is_none_or(|known| known.timestamp <= decision.timestamp) {
        last.insert(decision.uid.clone(), decision);
    }
}
