//! Requests whose metadata takes megabytes: nothing of a kubelet's has to be preserved in them.

use std::sync::Arc;

use anyhow::{Result, ensure};
use http::Request;

use super::test_cluster::{SOON, TestCluster};
use crate::{Case, Needs};
use control_plane::assets::Assets;
use control_plane::node_user::{NodeUser, settled};
use testkit::forge::Recipe;

/// Size of the metadata in protobuf. JSON needs six bytes for each.
const SIZE: usize = 1_400_000;

pub fn cases() -> Vec<Case> {
    vec![Case::new(
        "hostile_metadata_is_not_held",
        Needs::Nothing,
        is_not_held,
    )]
}

fn varint(mut number: usize, out: &mut Vec<u8>) {
    while number > 0x7f {
        out.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap());
}

/// Writes a field of protobuf that has a length.
fn field(number: usize, bytes: &[u8], out: &mut Vec<u8>) {
    varint(number << 3 | 2, out);
    varint(bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// A CertificateSigningRequest in protobuf (`generated.proto` of `certificates/v1` and `meta/v1`) with an
/// owner of a very long name. In JSON it would exceed the size of a request body.
fn encoded(name: &str, pem: &str) -> Vec<u8> {
    let (mut owner, mut meta, mut spec, mut request) = (vec![], vec![], vec![], vec![]);
    field(1, b"Thing", &mut owner);
    field(3, &vec![1; SIZE], &mut owner);
    field(4, b"u", &mut owner);
    field(5, b"x.example/v1", &mut owner);
    field(1, name.as_bytes(), &mut meta);
    field(13, &owner, &mut meta);
    field(1, pem.as_bytes(), &mut spec);
    field(5, b"digital signature", &mut spec);
    field(5, b"server auth", &mut spec);
    field(7, b"kubernetes.io/kubelet-serving", &mut spec);
    field(1, &meta, &mut request);
    field(2, &spec, &mut request);
    let (mut kind, mut unknown) = (vec![], vec![]);
    field(1, b"certificates.k8s.io/v1", &mut kind);
    field(2, b"CertificateSigningRequest", &mut kind);
    field(1, &kind, &mut unknown);
    field(2, &request, &mut unknown);
    [b"k8s\0".as_slice(), &unknown].concat()
}

async fn post(user: &NodeUser, name: &str) -> Result<()> {
    let ip = "10.0.0.1".parse()?;
    let pem = Recipe::genuine(&user.name, &[&user.name, "kubernetes"], &[ip]).pem();
    let request = Request::post("/apis/certificates.k8s.io/v1/certificatesigningrequests")
        .header("content-type", "application/vnd.kubernetes.protobuf")
        .body(encoded(name, &pem))?;
    user.client().request_text(request).await?;
    Ok(())
}

async fn is_not_held(assets: Arc<Assets>) -> Result<()> {
    let test = TestCluster::new(&assets).await?;
    let liar = test.node("liar", &["10.0.0.1"]).await?;
    let honest = test.node("honest", &["10.0.0.2"]).await?;
    let args = ["--denial-interval=0"];
    let mut daemon = test.installation.start("one", &args)?;
    daemon.wait_ready(SOON).await?;
    let before = daemon.peak_resident_kib()?;
    let names: Vec<String> = (0..6).map(|index| format!("large-{index}")).collect();
    for name in &names {
        post(&liar, name).await?;
    }
    test.ask(&honest, "beside", &["10.0.0.2"]).await?;
    test.is_approved("beside").await?;
    for name in &names {
        settled(&test.admin, name, "Denied").await?;
    }
    let failed = daemon.metric("csr_warden_writes_total{result=\"failed\"}");
    ensure!(failed.await? == 0, "failed writes");
    let more = daemon.peak_resident_kib()?.saturating_sub(before) / 1024;
    println!("{more} MiB more");
    // One event of the watch, and no copy of it.
    ensure!(more <= 32, "{more} MiB more");
    daemon.sigterm(SOON).await?;
    Ok(())
}
