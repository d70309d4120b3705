//! Names that were protected recently, and are not protected now.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::Api;
use serde_json::json;

use super::{LateEvidenceTest, SOON};
use crate::BINARY;
use crate::cases::vectors::environment::endpoint_slice;
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::decision_log::Decision;
use control_plane::install::Installation;
use control_plane::node_user::has_no_conditions;

/// An API server that restarts is in no EndpointSlice for a while. Its address is denied while it
/// is there, and unassigned for some time afterwards.
pub async fn recently_protected_name_is_not_free(assets: Arc<Assets>) -> Result<()> {
    const STAYS: &str = "10.3.0.1";
    const LEAVES: &str = "10.3.0.2";
    let cluster = Cluster::start(&assets, Options::default()).await?;
    let installation = Installation::apply(&cluster, Path::new(BINARY)).await?;
    // Before the start of csr-warden, which judges nothing before it has listed this.
    cluster.apply(&other_api_servers(&[STAYS, LEAVES])).await?;
    let mut daemon = installation.start("csr-warden", &[])?;
    daemon.wait_ready(SOON).await?;
    let test = LateEvidenceTest {
        cluster: &cluster,
        admin: cluster.admin(),
        daemon: &daemon,
    };
    let address = format!("InternalIP {LEAVES}");
    let user = test.node("claims", &["Hostname claims", &address]).await?;
    let first = test.first_decision(&user, "while-there", LEAVES).await?;
    ensure!(waits_as_endpoint(&first), "{first:?}");

    cluster.apply(&other_api_servers(&[STAYS])).await?;
    let begun = Instant::now();
    let mut asked = 0;
    // Requests and EndpointSlices arrive over two watches.
    let decision = loop {
        asked += 1;
        let name = format!("while-away-{asked}");
        let decision = test.first_decision(&user, &name, LEAVES).await?;
        if begun.elapsed() > SOON || !waits_as_endpoint(&decision) {
            break decision;
        }
    };
    ensure!(
        decision.verdict == "Wait" && decision.codes == ["SanRecentlyProtected"],
        "{decision:?}"
    );
    let requests: Api<CertificateSigningRequest> = Api::all(cluster.admin());
    let waits = requests.get(&decision.request).await?;
    ensure!(has_no_conditions(&waits), "{:?}", waits.status);
    daemon.sigterm(Duration::from_secs(5)).await?;
    Ok(())
}

fn waits_as_endpoint(decision: &Decision) -> bool {
    decision.verdict == "Wait" && decision.codes == ["SanApiServerEndpointUnowned"]
}

/// Renders the EndpointSlice of API servers outside of this cluster. Without a port, none must
/// present its certificate.
fn other_api_servers(addresses: &[&str]) -> String {
    endpoint_slice("others", "IPv4", &json!(addresses), &json!([])).to_string()
}
