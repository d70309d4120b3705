//! Differential test of the judge against Kubernetes' own parser.
//!
//! For each approved request, Go's parser must read the same names, subject and key, and the signer
//! must accept it. Requests are those of the vectors, and mutants of them that are signed again.
//! `CSR_WARDEN_MUTANTS` sets their number.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, ensure};
use judge::csr::names::{DnsName, San};
use judge::csr::{CsrObject, Fingerprint, Request};
use judge::evidence::Evidence;
use judge::policy::Policy;
use judge::{Decision, judge};
use k8s_openapi::ByteString;
use serde::{Deserialize, Serialize};

use crate::{Case, Needs};
use control_plane::assets::Assets;
use control_plane::json_lines::ask;
use testkit::mutant::Parent;
use testkit::now;
use testkit::policies::BasePolicy;
use testkit::random::Random;
use testkit::vector::{Vector, request_pem};

/// The default number of mutants, which takes some seconds with a debug build.
const MUTANTS: usize = 5_000;
/// The maximum number of requests in a batch, to limit memory.
const AT_A_TIME: usize = 10_000;
/// One in this many mutants has a key with slow signatures.
const SLOW_ONES: usize = 64;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("differential_vectors", Needs::Nothing, vectors),
        Case::new("differential_mutants", Needs::Nothing, mutants),
    ]
}

#[derive(Serialize)]
struct Question<'a> {
    pem: &'a str,
    usages: &'a [String],
}

/// The request as Kubernetes parses it, see `go/reader`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    refused: String,
    common_name: String,
    groups: Option<Vec<String>>,
    dns: Option<Vec<String>>,
    ips: Option<Vec<IpAddr>>,
    key: Option<ByteString>,
}

/// The number of requests for each result.
type Counts = BTreeMap<&'static str, usize>;

const WOULD_SIGN: &str = "Kubernetes would sign";

/// A vector with everything that does not depend on the bytes of its request, created once.
struct SignedVector {
    vector: Vector,
    object: CsrObject,
    evidence: Evidence,
    policy: Policy,
}

impl SignedVector {
    fn new(vector: Vector) -> SignedVector {
        SignedVector {
            object: vector.object(),
            evidence: vector.evidence(),
            policy: BasePolicy::Default.with(vector.policy.as_ref()),
            vector,
        }
    }
}

async fn vectors(assets: Arc<Assets>) -> Result<()> {
    let signed_vectors: Vec<SignedVector> =
        Vector::all().into_iter().map(SignedVector::new).collect();
    let asked: Vec<(&SignedVector, String)> = signed_vectors
        .iter()
        .map(|signed| (signed, request_pem(&signed.vector.request)))
        .collect();
    let counts = compare(&assets.reader, &asked)?;
    eprintln!("differential, vectors: {counts:?}");
    ensure!(counts.get("Approve").is_some_and(|approved| *approved > 50));
    Ok(())
}

async fn mutants(assets: Arc<Assets>) -> Result<()> {
    let wanted = std::env::var("CSR_WARDEN_MUTANTS").ok();
    let wanted: usize = wanted.map_or(Ok(MUTANTS), |text| text.parse())?;
    let begun = Instant::now();
    let (slow, fast): (Vec<_>, Vec<_>) = Vector::all()
        .into_iter()
        .filter(|vector| vector.expect.default.verdict == Decision::Approve)
        // There is no order of events here.
        .filter(|vector| !vector.has_seen_order())
        .filter_map(|vector| Some((Parent::of(&vector)?, SignedVector::new(vector))))
        .partition(|(parent, _)| !parent.is_fast);
    let counts = in_batches(wanted, |random, size| {
        let asked: Vec<(&SignedVector, String)> = std::iter::repeat_with(|| {
            let parents = if random.once_in(SLOW_ONES) {
                &slow
            } else {
                &fast
            };
            let (parent, signed) = &parents[random.below(parents.len())];
            Some((signed, parent.mutant(random)?))
        })
        .flatten()
        .take(size)
        .collect();
        compare(&assets.reader, &asked)
    })?;
    let each_second = wanted as f64 / begun.elapsed().as_secs_f64();
    eprintln!("differential, {wanted} mutants, {each_second:.0}/s: {counts:?}");
    // The test is meaningful only if enough mutants are nearly valid.
    for (end, percent) in [("Approve", 2), ("Wait", 2), ("Deny", 20), (WOULD_SIGN, 20)] {
        let count = counts.get(end).copied().unwrap_or_default();
        ensure!(
            count * 100 >= wanted * percent,
            "{end}: {count} of {wanted}, not {percent} %"
        );
    }
    Ok(())
}

/// Runs batches on all cores until there are `wanted` results. A batch has a seed of its own, so
/// the mutants are the same on any machine.
fn in_batches(
    wanted: usize,
    batch: impl Fn(&mut Random, usize) -> Result<Counts> + Sync,
) -> Result<Counts> {
    // At least a few, so that each core has its share of a small number.
    let size = wanted.div_ceil(4).clamp(1, AT_A_TIME);
    let next = AtomicUsize::new(0);
    let work = || -> Result<Counts> {
        let mut counts = Counts::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let left = wanted.saturating_sub(index * size);
            if left == 0 {
                return Ok(counts);
            }
            let found = batch(&mut Random::new(index as u64), size.min(left));
            // The other threads stop.
            let found = found.inspect_err(|_| next.store(wanted, Ordering::Relaxed))?;
            add(&mut counts, found);
        }
    };
    thread::scope(|scope| {
        let cores = thread::available_parallelism()?.get();
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let mut counts = Counts::new();
        for worker in workers {
            add(
                &mut counts,
                worker.join().map_err(|_| anyhow!("a worker panicked"))??,
            );
        }
        Ok(counts)
    })
}

fn add(counts: &mut Counts, more: Counts) {
    for (end, count) in more {
        *counts.entry(end).or_default() += count;
    }
}

/// Judges each request, parses it with Kubernetes, and compares the approved ones.
fn compare(reader: &Path, asked: &[(&SignedVector, String)]) -> Result<Counts> {
    let questions: Vec<Question<'_>> = asked
        .iter()
        .map(|(signed, pem)| Question {
            pem,
            usages: &signed.object.usages,
        })
        .collect();
    let answers: Vec<Answer> = ask(reader, &questions)?;
    let mut counts = Counts::new();
    for ((signed, text), answer) in asked.iter().zip(answers) {
        let request = Request::read(signed.object.clone(), text.as_bytes());
        let judged = judge(&request, &signed.policy, &signed.evidence, now());
        let decision = judged.verdict.decision();
        *counts.entry(decision.as_str()).or_default() += 1;
        if answer.refused.is_empty() {
            *counts.entry(WOULD_SIGN).or_default() += 1;
        }
        if decision == Decision::Approve {
            let vector = &signed.vector;
            same(request, &answer)
                .with_context(|| format!("row {} `{}`\n{text}", vector.row, vector.title))?;
        }
    }
    Ok(counts)
}

/// Returns true if Kubernetes parses the request as it was judged.
fn same(judged: Request, answer: &Answer) -> Result<()> {
    ensure!(
        answer.refused.is_empty(),
        "Kubernetes refuses it: {}",
        answer.refused
    );
    ensure!(
        *answer.common_name == *judged.object.requestor.username,
        "Kubernetes reads CN `{}`",
        answer.common_name
    );
    let groups = answer.groups.clone().unwrap_or_default();
    ensure!(groups == ["system:nodes"], "Kubernetes reads O {groups:?}");
    let content = judged.content.context("approved without content")?;
    let judged: BTreeSet<San> = content.sans.into_iter().collect();
    let mut read = BTreeSet::new();
    for name in answer.dns.iter().flatten() {
        let name = DnsName::parse(name.as_bytes()).map_err(|(_, why)| anyhow!(why))?;
        read.insert(San::Dns(name));
    }
    read.extend(answer.ips.iter().flatten().copied().map(San::Ip));
    ensure!(
        judged == read,
        "judged {judged:?}, Kubernetes reads {read:?}"
    );
    let key = answer.key.as_ref().map(|key| Fingerprint::of(&key.0));
    ensure!(key == Some(content.key), "another key");
    Ok(())
}
