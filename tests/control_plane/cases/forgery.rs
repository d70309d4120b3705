//! An entry of `forgeries.yaml`, and the request that it describes.

use std::net::IpAddr;

use anyhow::Result;
use kube::Client;
use serde::Deserialize;
use serde_json::Value;

use control_plane::node_user::NewRequest;
use testkit::forge::Recipe;
use testkit::forge::octets::{IpOctets, Octets};

/// An entry of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forgery {
    pub row: u8,
    pub shape: String,
    #[serde(default)]
    pub claims: Vec<String>,
    pub node: Option<String>,
    pub user: Option<String>,
    #[serde(default)]
    pub groups: Vec<String>,
    pub usages: Option<Vec<String>>,
    pub expires: Option<i32>,
    pub signer: Option<String>,
    #[serde(default)]
    pub alone: bool,
    pub recipe: Value,
    pub expect: Expect,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    Denied(Vec<String>),
    Waits(Vec<String>),
    Ignored(Vec<String>),
    Unseen,
    Refused(u16),
}

/// The node that posts a forgery.
pub struct Attacker {
    pub name: String,
    pub address: String,
    pub client: Client,
}

impl Forgery {
    /// Creates the request for this attacker.
    pub fn ask(&self, name: &str, attacker: &Attacker) -> Result<NewRequest> {
        let text = serde_json::to_string(&self.recipe)?
            .replace("NODE", &attacker.name)
            .replace("LONG", &"x".repeat(17_000));
        let mut recipe: Recipe = serde_json::from_str(&text)?;
        recipe.node.clone_from(&attacker.name);
        if !self.alone {
            recipe.dns.insert(0, Octets::from(&attacker.name));
            recipe
                .ip
                .insert(0, IpOctets::from(attacker.address.parse::<IpAddr>()?));
        }
        let mut ask = NewRequest::new(name, recipe.pem());
        ask.expires = self.expires;
        if let Some(usages) = &self.usages {
            ask.usages.clone_from(usages);
        }
        if let Some(signer) = &self.signer {
            ask.signer.clone_from(signer);
        }
        Ok(ask)
    }
}
