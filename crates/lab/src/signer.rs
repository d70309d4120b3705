//! A signer of approved kubelet serving requests, as in the controller-manager
//! (`pkg/controller/certificates/signer`). It signs any approved request, regardless of who
//! approved it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Client;
use kube::api::{Api, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use rcgen::{
    CertificateSigningRequestParams, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::kubelet::requests;
use apiserver_sim::Authority;
use judge::csr::KUBELET_SERVING_SIGNER;

/// The default and maximum lifetime of a certificate.
pub const LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// The time by which `notBefore` is in the past, for clocks that are behind.
const BACKDATE: Duration = Duration::from_secs(5 * 60);
/// The minimum lifetime.
const MIN_LIFETIME: Duration = Duration::from_secs(10 * 60);
/// The maximum number of concurrent writes.
const CONCURRENCY: usize = 32;
/// The timeout of one write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// The minimum and maximum delay between attempts. It doubles after each attempt.
const MIN_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// Signs requests until the future is dropped. `lifetime` is the maximum lifetime of a certificate.
pub async fn run(client: Client, authority: Arc<Authority>, lifetime: Duration) {
    let (sender, receiver) = mpsc::channel(CONCURRENCY);
    let ours = format!("spec.signerName={KUBELET_SERVING_SIGNER}");
    let config = watcher::Config::default().fields(&ours);
    let watch = watch(requests(&client), config, sender);
    let approved = futures::stream::unfold(receiver, |mut receiver| async {
        Some((receiver.recv().await?, receiver))
    });
    let work = approved.for_each_concurrent(CONCURRENCY, |request| {
        let (client, authority) = (client.clone(), authority.clone());
        async move {
            sign(&client, &authority, lifetime, request).await;
        }
    });
    futures::future::join(watch, work).await;
}

/// Sends each request to be signed until the receiver is dropped. It relists after an error: a
/// watcher does not do so if its watch starts with 410.
async fn watch(
    api: Api<CertificateSigningRequest>,
    config: watcher::Config,
    due: mpsc::Sender<CertificateSigningRequest>,
) {
    let mut backoff = retry_backoff().build();
    loop {
        let mut seen = pin!(watcher::watcher(api.clone(), config.clone()).applied_objects());
        while let Some(Ok(request)) = seen.next().await {
            backoff = retry_backoff().build();
            if needs_signing(&request) && due.send(request).await.is_err() {
                return;
            }
        }
        sleep(backoff.next().unwrap_or(MAX_BACKOFF)).await;
    }
}

fn retry_backoff() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(MIN_BACKOFF)
        .with_max_delay(MAX_BACKOFF)
        .with_jitter()
        .without_max_times()
}

/// Returns true if the request is approved, and has no certificate and has not failed.
fn needs_signing(request: &CertificateSigningRequest) -> bool {
    let Some(status) = &request.status else {
        return false;
    };
    let has = |wanted: &str| {
        let mut conditions = status.conditions.iter().flatten();
        conditions.any(|condition| condition.type_ == wanted)
    };
    status.certificate.is_none() && has("Approved") && !has("Denied") && !has("Failed")
}

/// Writes the certificate, or the condition Failed. Retries until the write succeeds or the request
/// is gone.
async fn sign(
    client: &Client,
    authority: &Authority,
    lifetime: Duration,
    request: CertificateSigningRequest,
) {
    let name = request.metadata.name.clone().unwrap_or_default();
    let signed = certificate(&request, authority, lifetime, Timestamp::now());
    let mut due = Some(request);
    let mut backoff = retry_backoff().build();
    while let Some(request) = due.take() {
        let written = timeout(WRITE_TIMEOUT, write(client, request.clone(), &signed)).await;
        let error = match written {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::debug!("cannot sign {name}: {error}");
        sleep(backoff.next().unwrap_or(MAX_BACKOFF)).await;
        // Others write the object too, and a write may have succeeded although its response was
        // lost.
        due = match timeout(WRITE_TIMEOUT, requests(client).get_opt(&name)).await {
            Ok(Ok(fresh)) => fresh.filter(needs_signing),
            Ok(Err(_)) | Err(_) => Some(request),
        };
    }
}

async fn write(
    client: &Client,
    mut request: CertificateSigningRequest,
    signed: &Result<String>,
) -> kube::Result<()> {
    let name = request.metadata.name.clone().unwrap_or_default();
    let status = request.status.get_or_insert_default();
    match signed {
        Ok(pem) => status.certificate = Some(ByteString(pem.clone().into_bytes())),
        Err(why) => status
            .conditions
            .get_or_insert_default()
            .push(failed(&format!("{why:#}"))),
    }
    let post = PostParams::default();
    let api = requests(client);
    api.replace_status(&name, &post, &request).await?;
    Ok(())
}

fn failed(why: &str) -> CertificateSigningRequestCondition {
    let now = Some(Time(Timestamp::now()));
    CertificateSigningRequestCondition {
        type_: "Failed".into(),
        status: "True".into(),
        reason: Some("SignerValidationFailure".into()),
        message: Some(why.to_owned()),
        last_update_time: now.clone(),
        last_transition_time: now,
    }
}

/// Issues the certificate at this time. Subject, SAN and key are copied from the request.
pub fn certificate(
    request: &CertificateSigningRequest,
    authority: &Authority,
    lifetime: Duration,
    now: Timestamp,
) -> Result<String> {
    let spec = &request.spec;
    let pem = std::str::from_utf8(&spec.request.0).context("the request is no text")?;
    let mut asked = CertificateSigningRequestParams::from_pem(pem)?;
    let usages = spec.usages.as_deref().unwrap_or_default();
    check(&asked, usages)?;

    let (_, issuer) = X509Certificate::from_der(authority.der())
        .map_err(|error| anyhow!("the authority's certificate: {error}"))?;
    let now = now.as_second();
    let wanted = spec.expiration_seconds.map_or(lifetime, |seconds| {
        Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
    });
    let life = wanted.min(lifetime).max(MIN_LIFETIME);
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    let ends = now
        .saturating_add(seconds(life))
        .saturating_sub(seconds(BACKDATE));
    let ends = ends.min(issuer.validity().not_after.timestamp());

    let at = |second: i64| {
        let since = Duration::from_secs(u64::try_from(second).unwrap_or_default());
        date_time_ymd(1970, 1, 1) + since
    };
    let params = &mut asked.params;
    params.not_before = at(now.saturating_sub(seconds(BACKDATE)));
    params.not_after = at(ends);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    if usages.iter().any(|usage| usage == "key encipherment") {
        params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    let mut serial = [0; 16];
    SystemRandom::new()
        .fill(&mut serial)
        .map_err(|_| anyhow!("no random numbers"))?;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(asked.signed_by(authority.issuer())?.pem())
}

/// `ValidateKubeletServingCSR` in `pkg/apis/certificates/helpers.go`, with its messages.
fn check(asked: &CertificateSigningRequestParams, usages: &[String]) -> Result<()> {
    let subject = &asked.params.distinguished_name;
    let text = |kind: &DnType| match subject.get(kind) {
        Some(DnValue::PrintableString(text)) => text.as_str().to_owned(),
        Some(DnValue::Utf8String(text)) => text.clone(),
        _ => String::new(),
    };
    ensure!(
        text(&DnType::OrganizationName) == "system:nodes",
        "subject organization is not system:nodes"
    );
    let names = &asked.params.subject_alt_names;
    let is_host = |name: &SanType| matches!(name, SanType::DnsName(_) | SanType::IpAddress(_));
    ensure!(
        names.iter().any(is_host),
        "DNS or IP subjectAltName is required"
    );
    for name in names {
        ensure!(
            !matches!(name, SanType::Rfc822Name(_)),
            "email subjectAltNames are not allowed"
        );
        ensure!(
            !matches!(name, SanType::URI(_)),
            "URI subjectAltNames are not allowed"
        );
    }
    let mut usages: Vec<&str> = usages.iter().map(String::as_str).collect();
    usages.sort_unstable();
    usages.dedup();
    ensure!(
        usages == ["digital signature", "server auth"]
            || usages == ["digital signature", "key encipherment", "server auth"],
        "usages did not match [digital signature key encipherment server auth]"
    );
    ensure!(
        text(&DnType::CommonName).starts_with("system:node:"),
        "subject common name does not begin with system:node: "
    );
    Ok(())
}
