//! Attackers with a stolen node credential: they claim what others have, forge requests, and flood.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use http::Method;
use lab::forgery::{Forgery, ForgeryKind, Targets};
use lab::random::SeededRng;
use lab::request::Template;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::kubelet::{post, register};
use super::network::Client;
use super::truth::Asked;
use super::world::NODES;

/// The address of the Service `kubernetes`.
const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// The pause between two requests of a flood.
const FLOOD_PAUSE: Duration = Duration::from_millis(40);

/// An attacker, which attacks until it is stopped.
pub(super) struct Attacker {
    pub(super) node: String,
    task: JoinHandle<()>,
}

/// A plan of an attack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Attack {
    /// Requests of this kind.
    Forge(ForgeryKind),
    /// This number of genuine requests at once.
    Flood(u16),
}

impl Attacker {
    /// Starts an attack on one of these victims.
    pub(super) fn start(
        number: usize,
        attack: Attack,
        victims: Vec<(String, IpAddr)>,
        client: Client,
    ) -> Attacker {
        let node = node(number);
        let mut rng = client.world.rng(&node, 1 << 32);
        let own: IpAddr =
            Ipv4Addr::new(10, 66, (number / 250) as u8, (number % 250) as u8 + 1).into();
        let task = match attack {
            Attack::Forge(kind) => {
                let targets = Targets {
                    service: SERVICE,
                    api_server: Ipv4Addr::LOCALHOST.into(),
                    victims,
                };
                let forgery = Forgery::new(kind, (node.clone(), own), &targets, &mut rng);
                tokio::spawn(forge(client, forgery, rng))
            }
            Attack::Flood(count) => tokio::spawn(flood(client, node.clone(), own, count, rng)),
        };
        Attacker { node, task }
    }

    /// Ends its requests. Its Node stays.
    pub(super) fn stop(&self) {
        self.task.abort();
    }

    /// Takes the credential away, and deletes the Node.
    pub(super) async fn evict(self, administrator: &Client) {
        self.stop();
        delete_node(administrator, &self.node).await;
    }
}

/// The name of an attacker's Node.
pub(super) fn node(number: usize) -> String {
    format!("rogue-{number}")
}

/// Deletes a Node, until it is gone.
pub(super) async fn delete_node(administrator: &Client, node: &str) {
    let path = format!("{NODES}/{node}");
    loop {
        match administrator.call(Method::DELETE, &path, None, None).await {
            Ok((200 | 404, _)) => return,
            Ok(_) | Err(_) => sleep(Duration::from_secs(1)).await,
        }
    }
}

async fn forge(client: Client, forgery: Forgery, mut rng: SeededRng) {
    register(&client, &forgery.node, &forgery.claims(), &mut rng).await;
    let template = forgery.template();
    loop {
        ask(
            &client,
            &template,
            forgery.usages(),
            Some(&forgery),
            &mut rng,
        )
        .await;
        sleep(Duration::from_secs(5) + Duration::from_secs(60).mul_f64(rng.share())).await;
    }
}

async fn flood(client: Client, node: String, own: IpAddr, count: u16, mut rng: SeededRng) {
    register(&client, &node, &[own], &mut rng).await;
    let template = Template::genuine(&node, std::slice::from_ref(&node), &[own]);
    for _ in 0..count {
        ask(
            &client,
            &template,
            &["digital signature", "server auth"],
            None,
            &mut rng,
        )
        .await;
        sleep(FLOOD_PAUSE).await;
    }
}

async fn ask(
    client: &Client,
    template: &Template,
    usages: &[&str],
    forgery: Option<&Forgery>,
    rng: &mut SeededRng,
) {
    let sans = template.ips.iter().map(ToString::to_string);
    let asked = Asked {
        node: template.node.clone(),
        sans: sans.chain(template.dns.clone()).collect(),
        forgery: forgery.map(|forgery| format!("{:?}", forgery.kind)),
        is_left_waiting: forgery.is_some_and(|forgery| forgery.kind.is_left_waiting()),
    };
    client.world.count(|tally| tally.attacks += 1);
    // An attacker does not wait for the answer.
    let _: Option<String> = post(client, template, usages, asked, rng).await;
}
