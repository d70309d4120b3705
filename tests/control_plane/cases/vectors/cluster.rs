//! A cluster whose csr-warden is started once for each policy and set of protected objects.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client};

use super::environment::{self, ProtectedObjects};
use super::issued_certificates::Issued;
use super::nodes::{Nodes, WatchBarrier};
use super::outcome_counts::{Counted, OutcomeCounts};
use super::plan::{DaemonRun, Plan, Post};
use super::requestor::{self, Requestors};
use super::{issued_certificates, outcome, prior_writes, rejection};
use crate::BINARY;
use crate::cases::forgeries::ANYONE_MAY_ASK;
use control_plane::POLL_INTERVAL;
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::daemon::Daemon;
use control_plane::decision_log::{self, Decision};
use control_plane::install::Installation;
use control_plane::node_user::NewRequest;
use testkit::policies::BasePolicy;

const SOON: Duration = Duration::from_secs(30);
/// Fewer requests than csr-warden keeps open for one requestor.
const AT_A_TIME: usize = 24;
/// The maximum number of concurrent posts.
const AT_ONCE: usize = 8;

/// A cluster with its daemon.
pub struct VectorCluster {
    pub cluster: Cluster,
    pub admin: Client,
    pub requestors: Requestors,
    daemon: Daemon,
    policy: PathBuf,
    nodes: Nodes,
    barrier: WatchBarrier,
    issued: Issued,
    /// The counts for the default policy and for the strict one.
    pub counts: [OutcomeCounts; 2],
    pub differences: Vec<String>,
}

impl VectorCluster {
    /// Starts the cluster without csr-warden.
    pub async fn start(assets: &Assets, options: Options) -> Result<Self> {
        let cluster = Cluster::start(assets, options).await?;
        cluster.apply(ANYONE_MAY_ASK).await?;
        environment::publish_cluster_info(&cluster, &environment::SERVERS).await?;
        let installation = Installation::apply(&cluster, Path::new(BINARY)).await?;
        let policy = cluster.dir().join("policy.yaml");
        std::fs::write(&policy, BasePolicy::Default.written(None).to_string())?;
        let file = policy.to_str().context("path")?.to_owned();
        let args = [
            "--policy",
            &file,
            "--leader-elect=false",
            // Nodes post many vectors each, all of which are decided.
            "--denial-interval=0",
        ];
        let mut daemon = installation.start("csr-warden", &args)?;
        daemon.kill()?;
        Ok(Self {
            admin: cluster.admin(),
            requestors: Requestors::default(),
            daemon,
            policy,
            nodes: Nodes::none(&cluster),
            barrier: WatchBarrier::new(&cluster).await?,
            issued: Issued::collect(cluster.admin()),
            counts: Default::default(),
            differences: Vec::new(),
            cluster,
        })
    }

    /// Runs the whole plan.
    pub async fn run(&mut self, plan: &Plan<'_>) -> Result<()> {
        for run in &plan.runs {
            self.execute(run).await?;
        }
        self.certificates_are_of_their_nodes(plan).await;
        self.nothing_was_said_after_a_verdict()
    }

    async fn certificates_are_of_their_nodes(&mut self, plan: &Plan<'_>) {
        let approved = Counted::Verdict("Approve");
        let least = self.counts.iter().map(|counts| counts.get(&approved)).sum();
        let issued = if let Some(issued) = self.issued.at_least(least).await {
            issued
        } else {
            let how = format!("{least} were approved, and not all of them have a certificate");
            self.differences.push(how);
            self.issued.so_far()
        };
        for (run, post) in plan.posts() {
            let Some(certificate) = issued.get(&post.name) else {
                continue;
            };
            match issued_certificates::check(certificate, post.vector) {
                Ok(names) => {
                    let counts = self.counts(run.base);
                    counts.add(Counted::Certificates, 1);
                    counts.add(Counted::NamesInCertificates, names);
                }
                Err(error) => self.differ(run.base, post, &format!("{error:#}")),
            }
        }
    }

    fn requests(&self) -> Api<CertificateSigningRequest> {
        Api::all(self.admin.clone())
    }

    pub fn counts(&mut self, base: BasePolicy) -> &mut OutcomeCounts {
        match base {
            BasePolicy::Default => &mut self.counts[0],
            BasePolicy::Strict => &mut self.counts[1],
        }
    }

    async fn execute(&mut self, run: &DaemonRun<'_>) -> Result<()> {
        let protected_objects = ProtectedObjects::add(&self.cluster, &run.also_protected).await?;
        prior_writes::approve_keys(&self.cluster, run.keys).await?;
        if run.settled {
            for node_set in &run.node_sets {
                self.nodes.replace_with(&node_set.nodes).await?;
                self.post_and_settle(run.base, &node_set.posts).await?;
            }
        }
        std::fs::write(&self.policy, run.policy.to_string())?;
        self.daemon.process.start()?;
        self.daemon.wait_ready(SOON).await?;
        self.barrier.open().await?;
        for node_set in &run.node_sets {
            self.nodes.replace_with(&node_set.nodes).await?;
            self.barrier.wait(&self.daemon.process.stdout).await?;
            if run.settled {
                self.are_left_alone(run.base, &node_set.posts).await?;
                continue;
            }
            for posts in node_set.posts.chunks(AT_A_TIME) {
                self.post_and_compare(run.base, posts).await?;
                self.forget(&[self.barrier.request()]).await?;
            }
        }
        self.daemon.kill()?;
        prior_writes::release(&self.admin).await?;
        self.forget(&[]).await?;
        if run.settled {
            self.cluster.controller_manager.resume()?;
        }
        protected_objects.remove(&self.cluster).await
    }

    /// Removes all requests but these.
    async fn forget(&self, but: &[&str]) -> Result<()> {
        let kept: Vec<String> = but
            .iter()
            .map(|name| format!("metadata.name!={name}"))
            .collect();
        let all = ListParams::default().fields(&kept.join(","));
        self.requests()
            .delete_collection(&DeleteParams::default(), &all)
            .await?;
        Ok(())
    }

    /// Posts all requests. Returns those that the API server has accepted.
    async fn post<'a>(
        &mut self,
        base: BasePolicy,
        posts: &'a [Post<'a>],
    ) -> Result<Vec<&'a Post<'a>>> {
        let mut asks = Vec::new();
        for post in posts {
            let object = &post.vector.object;
            let mut ask = NewRequest::new(&post.name, post.pem.clone());
            ask.signer.clone_from(&object.signer);
            ask.usages.clone_from(&object.usages);
            ask.expires = object.expiration_seconds;
            if is_terminating(post) {
                ask.metadata["finalizers"] = serde_json::json!([prior_writes::FINALIZER]);
            }
            let user = &post.vector.requestor;
            let client = self.requestors.client(&self.cluster, user).await?;
            asks.push(async move { (post, ask.post(&client).await) });
        }
        let posted: Vec<_> = futures::stream::iter(asks)
            .buffered(AT_ONCE)
            .collect()
            .await;
        let mut taken = Vec::new();
        for (post, answer) in posted {
            let user = &post.vector.requestor;
            let counts = self.counts(base);
            counts.add(Counted::Posted, 1);
            if !requestor::has_certificate(user) {
                counts.add(Counted::PostedByImpersonation, 1);
            }
            match answer {
                Ok(request) => {
                    if let Err(error) = requestor::is_recorded(user, &request) {
                        self.differ(base, post, &error.to_string());
                    }
                    taken.push(post);
                }
                Err(kube::Error::Api(status)) => {
                    let why = rejection::reason(&status.message);
                    let genuine = post.expected.verdict == judge::Decision::Approve;
                    counts.add(Counted::Refused(status.code, why), 1);
                    if genuine {
                        counts.add(Counted::GenuineRefused, 1);
                        let why = format!("the API server refuses it: {}", status.message);
                        self.differ(base, post, &why);
                    }
                }
                Err(error) => return Err(error).context(post.name.clone()),
            }
        }
        Ok(taken)
    }

    async fn post_and_settle<'a>(&mut self, base: BasePolicy, posts: &'a [Post<'a>]) -> Result<()> {
        let (held, others): (Vec<_>, Vec<_>) = self
            .post(base, posts)
            .await?
            .into_iter()
            .partition(|post| prior_writes::needs_no_signer(&post.vector.object));
        for post in others {
            prior_writes::settle(&self.admin, &post.name, &post.vector.object).await?;
        }
        self.cluster.controller_manager.pause()?;
        for post in held {
            prior_writes::settle(&self.admin, &post.name, &post.vector.object).await?;
        }
        Ok(())
    }

    async fn are_left_alone(&mut self, base: BasePolicy, posts: &[Post<'_>]) -> Result<()> {
        for post in posts {
            let request = self.requests().get(&post.name).await?;
            let said = decision_log::of(self.daemon.stdout(), &post.name);
            if let Err(error) = prior_writes::is_left_alone(&request, &said) {
                self.differ(base, post, &error.to_string());
            }
            let expected = post.expected.verdict;
            self.counts(base).verdict("Ignore", expected);
        }
        Ok(())
    }

    async fn post_and_compare(&mut self, base: BasePolicy, posts: &[Post<'_>]) -> Result<()> {
        let read = self.daemon.stdout().count();
        let taken = self.post(base, posts).await?;
        let said = self.decisions(read, &taken).await?;
        let stored = self.settled(&taken, &said).await?;
        for post in taken {
            let request = stored.get(&post.name).context("a request is gone")?;
            let decision = said.get(&post.name);
            let verdict = decision.map_or("Ignore", |decision| &decision.verdict);
            self.counts(base).verdict(verdict, post.expected.verdict);
            if let Err(error) = outcome::compare(post, decision, request) {
                self.differ(base, post, &format!("{error:#}"));
            }
        }
        Ok(())
    }

    /// Waits for the decision on each of these. Requests for another signer get none.
    async fn decisions(
        &self,
        read: usize,
        posts: &[&Post<'_>],
    ) -> Result<BTreeMap<String, Decision>> {
        let ours = posts.iter().filter(|post| is_for_us(post));
        let mut awaited: BTreeSet<String> = ours.map(|post| post.name.clone()).collect();
        let mut said = BTreeMap::new();
        if awaited.is_empty() {
            return Ok(said);
        }
        let all = self.daemon.stdout().find_after(read, SOON, |line| {
            let decision = decision_log::parse(line)?;
            if awaited.remove(&decision.request) {
                said.insert(decision.request.clone(), decision);
            }
            awaited.is_empty().then_some(())
        });
        let complete = all.await.is_some();
        ensure!(complete, "no decision on {awaited:?} within {SOON:?}");
        Ok(said)
    }

    /// Waits until the decisions are written and the certificates are signed.
    async fn settled(
        &self,
        posts: &[&Post<'_>],
        said: &BTreeMap<String, Decision>,
    ) -> Result<BTreeMap<String, CertificateSigningRequest>> {
        if posts.is_empty() {
            return Ok(BTreeMap::new());
        }
        let begun = Instant::now();
        loop {
            let list = self.requests().list(&ListParams::default()).await?;
            let stored: BTreeMap<String, CertificateSigningRequest> = list
                .items
                .into_iter()
                .filter_map(|request| Some((request.metadata.name.clone()?, request)))
                .collect();
            let is_done = |(name, decision): (&String, &Decision)| {
                let request = stored.get(name);
                request.is_some_and(|request| outcome::is_done(&decision.verdict, request))
            };
            // An outcome that is not complete in time is reported as a difference.
            if said.iter().all(is_done) || begun.elapsed() > SOON {
                return Ok(stored);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    fn differ(&mut self, base: BasePolicy, post: &Post<'_>, how: &str) {
        self.counts(base).add(Counted::Differences, 1);
        self.differences.push(format!(
            "row {} `{}`, {}:\n  expected {}\n  {how}",
            post.vector.row,
            post.vector.title,
            base.as_str(),
            post.expected
        ));
    }

    /// A waiting request may be judged again with the next Nodes, before csr-warden sees its
    /// deletion.
    fn nothing_was_said_after_a_verdict(&self) -> Result<()> {
        let mut over = BTreeSet::new();
        for decision in decision_log::all(self.daemon.stdout()) {
            ensure!(
                !over.contains(&decision.request),
                "judged again: {decision:?}"
            );
            if decision.verdict != "Wait" {
                over.insert(decision.request);
            }
        }
        Ok(())
    }
}

fn is_for_us(post: &Post<'_>) -> bool {
    post.vector.object.signer == judge::csr::KUBELET_SERVING_SIGNER
}

fn is_terminating(post: &Post<'_>) -> bool {
    post.vector.object.terminating
}
