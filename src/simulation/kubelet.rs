//! An honest kubelet: its Node, and the certificate manager of client-go with its waits and retries
//! (`util/certificate/certificate_manager.go`).

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use apiserver_sim::User;
use http::Method;
use k8s_openapi::ByteString;
use lab::random::SeededRng;
use lab::request::Template;
use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::machines::provider_id;
use super::network::Client;
use super::signer::{BACKDATE, LIFETIME};
use super::truth::Asked;
use super::world::{NODES, REQUESTS, has_condition};
use judge::csr::KUBELET_SERVING_SIGNER;

/// The time that a kubelet waits for a certificate (`certificateWaitTimeout`).
const CERTIFICATE_WAIT: Duration = Duration::from_secs(15 * 60);
/// The pause after the first of five failures; it doubles.
const FIRST_BACKOFF: Duration = Duration::from_secs(2);
/// The pause after each failure from the sixth on.
const LAST_BACKOFF: Duration = Duration::from_secs(32);
/// The time after which a client that heard of no change of its request reads it again.
const READ_AGAIN: Duration = Duration::from_secs(60);

/// A kubelet's certificate.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) not_after: Instant,
}

/// A kubelet that can be stopped and started again.
pub(super) struct Kubelet {
    pub(super) name: String,
    client: Client,
    addresses: watch::Sender<Vec<IpAddr>>,
    held: Arc<Mutex<Option<Held>>>,
    starts: u64,
    task: Option<JoinHandle<()>>,
}

impl Kubelet {
    /// Creates a kubelet that does not run yet.
    pub(super) fn new(name: &str, address: IpAddr, client: Client) -> Kubelet {
        client.world.truth().honest.insert(name.to_owned());
        Kubelet {
            name: name.to_owned(),
            client,
            addresses: watch::channel(vec![address]).0,
            held: Arc::default(),
            starts: 0,
            task: None,
        }
    }

    /// Starts it after this time. It keeps the certificate that it had.
    pub(super) fn start(&mut self, after: Duration) {
        self.starts += 1;
        let world = &self.client.world;
        let manager = Manager {
            name: self.name.clone(),
            rng: world.rng(&self.name, self.starts << 32),
            client: self.client.clone(),
            addresses: self.addresses.subscribe(),
            held: self.held.clone(),
        };
        self.task = Some(tokio::spawn(async move {
            sleep(after).await;
            manager.run().await;
        }));
    }

    /// Stops it at once.
    pub(super) fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.task.is_some()
    }

    /// Gives it this address alone.
    pub(super) fn set_address(&self, address: IpAddr) {
        self.addresses.send_replace(vec![address]);
    }

    pub(super) fn address(&self) -> Option<IpAddr> {
        self.addresses.borrow().first().copied()
    }

    /// The reason why it cannot serve by TLS, if it cannot.
    pub(super) fn unserved(&self) -> Option<String> {
        let held = self
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(held) = held else {
            return Some(format!("{} has no certificate", self.name));
        };
        let wanted = self.addresses.borrow().clone();
        if held.addresses != wanted {
            let Held { addresses, .. } = held;
            return Some(format!(
                "{} has {wanted:?}, its certificate {addresses:?}",
                self.name
            ));
        }
        let age = Instant::now().checked_duration_since(held.not_after)?;
        let seconds = age.as_secs();
        Some(format!(
            "the certificate of {} ended {seconds} s ago",
            self.name
        ))
    }
}

/// A running certificate manager.
struct Manager {
    name: String,
    rng: SeededRng,
    client: Client,
    addresses: watch::Receiver<Vec<IpAddr>>,
    held: Arc<Mutex<Option<Held>>>,
}

impl Manager {
    async fn run(mut self) {
        let addresses = self.addresses.borrow_and_update().clone();
        register(&self.client, &self.name, &addresses, &mut self.rng).await;
        loop {
            let due = self.rotation_deadline();
            tokio::select! {
                biased;
                changed = self.addresses.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.report_addresses();
                }
                () = sleep_until(due) => {}
            }
            let mut failures = 0;
            while !self.rotate().await {
                failures += 1;
                let pause = match failures {
                    1..=5 => FIRST_BACKOFF * (1 << (failures - 1)),
                    _ => LAST_BACKOFF,
                };
                sleep(pause.mul_f64(1.0 + 0.1 * self.rng.share())).await;
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// The time at which the certificate must be renewed (`nextRotationDeadline`).
    fn rotation_deadline(&mut self) -> Instant {
        let held = self
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let wanted = self.addresses.borrow().clone();
        match held {
            Some(held) if held.addresses == wanted => {
                let left = LIFETIME.mul_f64(1.0 - (0.7 + 0.2 * self.rng.share()));
                held.not_after
                    .checked_sub(left)
                    .unwrap_or_else(Instant::now)
            }
            Some(_) | None => Instant::now(),
        }
    }

    /// Writes the new addresses into the Node, before or after the request for a certificate.
    fn report_addresses(&mut self) {
        let (client, name) = (self.client.clone(), self.name.clone());
        let addresses = self.addresses.borrow_and_update().clone();
        let after = Duration::from_secs(10).mul_f64(self.rng.share());
        let after = if self.rng.below(2) == 0 {
            Duration::ZERO
        } else {
            after
        };
        let mut latest = self.addresses.clone();
        tokio::spawn(async move {
            sleep(after).await;
            loop {
                if *latest.borrow_and_update() != addresses {
                    return;
                }
                let body = json!({"status": {"addresses": node_addresses(&name, &addresses)}});
                let path = format!("{NODES}/{name}/status");
                match client.call(Method::PATCH, &path, Some(body), None).await {
                    Ok((200 | 404, _)) => return,
                    Ok(_) | Err(_) => sleep(LAST_BACKOFF / 3).await,
                }
            }
        });
    }

    /// Requests a certificate and waits for it (`rotateCerts`).
    async fn rotate(&mut self) -> bool {
        if self.addresses.has_changed().unwrap_or(false) {
            self.report_addresses();
        }
        let addresses = self.addresses.borrow().clone();
        let template = Template::genuine(&self.name, std::slice::from_ref(&self.name), &addresses);
        let asked = Asked {
            node: self.name.clone(),
            sans: addresses
                .iter()
                .map(ToString::to_string)
                .chain([self.name.clone()])
                .collect(),
            forgery: None,
            is_left_waiting: false,
        };
        let usages = ["digital signature", "server auth"];
        let Some(request) = post(&self.client, &template, &usages, asked, &mut self.rng).await
        else {
            return false;
        };
        let wait = timeout(CERTIFICATE_WAIT, certificate(&self.client, &request));
        let issued = tokio::select! {
            biased;
            // The requested addresses are no longer current.
            _ = self.addresses.changed() => None,
            issued = wait => issued.ok().flatten(),
        };
        self.client.world.forget_changes_of(&request);
        self.addresses.mark_unchanged();
        if *self.addresses.borrow() != addresses {
            self.report_addresses();
            return false;
        }
        let Some(der) = issued else { return false };
        let Ok(issued) = crate::cluster::certificate_fields::serving_certificate(&der) else {
            return false;
        };
        let world = &self.client.world;
        let now = super::world::BEGIN + world.elapsed();
        let age = Duration::try_from(now.duration_since(issued.issued)).unwrap_or_default();
        let not_after = Instant::now() + LIFETIME.saturating_sub(age);
        debug_assert!(age >= BACKDATE);
        for address in &addresses {
            world.truth().shown.insert(address.to_string(), der.clone());
        }
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(Held {
            addresses,
            not_after,
        });
        world.count(|tally| tally.certificates += 1);
        true
    }
}

/// Creates a Node, until it is there.
pub(super) async fn register(
    client: &Client,
    name: &str,
    addresses: &[IpAddr],
    rng: &mut SeededRng,
) {
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {"providerID": provider_id(name)},
        "status": {"addresses": node_addresses(name, addresses)},
    });
    loop {
        match client
            .call(Method::POST, NODES, Some(node.clone()), None)
            .await
        {
            Ok((201 | 409, answer)) if answer.get("message").is_none_or(is_present) => return,
            Ok(_) | Err(_) => sleep(Duration::from_secs(1).mul_f64(1.0 + 6.0 * rng.share())).await,
        }
    }
}

/// True for the message of an object that exists already.
fn is_present(message: &Value) -> bool {
    message
        .as_str()
        .is_some_and(|message| message.contains("already exists"))
}

fn node_addresses(name: &str, addresses: &[IpAddr]) -> Value {
    let own = [json!({"type": "Hostname", "address": name})];
    let addresses = addresses.iter();
    let addresses = addresses.map(|ip| json!({"type": "InternalIP", "address": ip}));
    own.into_iter().chain(addresses).collect()
}

/// Requests a certificate. Returns the name of the request.
pub(super) async fn post(
    client: &Client,
    template: &Template,
    usages: &[&str],
    asked: Asked,
    rng: &mut SeededRng,
) -> Option<String> {
    let pem = template.pem(&key(rng)).ok()?;
    let body = json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": "csr-"},
        "spec": {
            "request": ByteString(pem.into_bytes()),
            "signerName": KUBELET_SERVING_SIGNER,
            "usages": usages,
        },
    });
    let number = client.world.truth().ask(asked);
    let sent = client
        .call(Method::POST, REQUESTS, Some(body), Some(number))
        .await;
    let (status, made) = sent.ok()?;
    let name = made.pointer("/metadata/name").and_then(Value::as_str);
    (status == 201).then(|| name.map(str::to_owned)).flatten()
}

/// A key that follows from the random numbers.
fn key(rng: &mut SeededRng) -> KeyPair {
    // PKCS #8 of an Ed25519 key (RFC 8410, 7).
    let mut der = vec![
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    for _ in 0..4 {
        der.extend(rng.number().to_le_bytes());
    }
    let der = rustls::pki_types::PrivatePkcs8KeyDer::from(der);
    KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_ED25519).expect("a key")
}

/// Waits for the certificate of a request; `None` if it is rejected or gone.
async fn certificate(client: &Client, request: &str) -> Option<CertificateDer<'static>> {
    let changes = client.world.changes_of(request);
    let path = format!("{REQUESTS}/{request}");
    loop {
        // An error means that the time is over.
        let _ = timeout(READ_AGAIN, changes.notified()).await;
        loop {
            match client.call(Method::GET, &path, None, None).await {
                Ok((200, found)) => {
                    let object = found.as_object()?;
                    if has_condition(object, "Denied") || has_condition(object, "Failed") {
                        return None;
                    }
                    let Some(issued) = found.pointer("/status/certificate") else {
                        break;
                    };
                    let pem: ByteString = serde_json::from_value(issued.clone()).ok()?;
                    return CertificateDer::from_pem_slice(&pem.0).ok();
                }
                Ok((404, _)) => return None,
                Ok(_) | Err(_) => sleep(Duration::from_secs(1)).await,
            }
        }
    }
}

/// The user of a node's credential.
pub(super) fn node_user(name: &str) -> User {
    User::new(&format!("system:node:{name}"), &["system:nodes"])
}
