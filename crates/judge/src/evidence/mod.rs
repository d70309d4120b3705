//! Evidence about the cluster, with the origin of each fact: plain data and lookups.

mod answers;
mod certificates;
mod claims;
mod clock;
mod fact;
mod identity;
mod inventory;
mod keys;
mod machines;
mod networks;
mod node;
mod nodes;
mod protected_identities;
mod recently_protected;
mod sources;

use std::collections::BTreeSet;

pub use answers::{Answer, Answers};
pub use certificates::{Certificates, ServingCertificate};
pub use claims::{Claim, Claimant, Claimed, Sighting};
pub use clock::Instants;
pub use fact::{Applied, Fact, Protection, TimedFact};
pub use identity::{Identity, IdentityKind, ServedCertificate};
pub use inventory::KIND as INVENTORY_KIND;
pub use inventory::{Inventory, InventoryFile, InventoryMatch, InventoryNode, InventoryPattern};
pub use keys::Keys;
pub use machines::{Machine, Machines, NodeReference};
pub use networks::{Networks, to_ipv4_mapped};
pub use node::{AddressType, Node, NodeAddress};
pub use nodes::{MAX_ALIKE, Nodes};
pub use protected_identities::{Protected, reserved_kind};
pub use sources::{Source, SourceState, Sources};

use fact::POLICY_SERVICE_NETWORKS;

/// Everything that a verdict may rest on. Outside of this crate [`Evidence::apply`] alone adds to it.
#[derive(Debug, Default)]
pub struct Evidence {
    pub(crate) nodes: Nodes,
    pub(crate) protected: Protected,
    pub(crate) keys: Keys,
    pub(crate) certificates: Certificates,
    /// The names of the cluster's Namespaces.
    pub(crate) namespaces: BTreeSet<Box<str>>,
    pub(crate) inventory: Option<Inventory>,
    pub(crate) machines: Option<Machines>,
    pub(crate) answers: Answers,
    pub(crate) sources: Sources,
}

impl Evidence {
    /// The Nodes, with an index of the names and addresses that they claim.
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Names, addresses and networks that no node may have.
    pub fn protected(&self) -> &Protected {
        &self.protected
    }

    /// The keys of approved requests, with the node of each.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The Machines; `None` if the policy names no kind of Machine.
    pub fn machines(&self) -> Option<&Machines> {
        self.machines.as_ref()
    }

    /// The state of every source.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The sources that every judgment needs. The inventory and the Machines are among them only if
    /// they are configured. ServiceCIDRs are not where the API server has none and the policy names the networks
    /// of Services.
    pub fn required_sources(&self) -> impl Iterator<Item = Source> {
        let by_policy = self.protected.has_origin(POLICY_SERVICE_NETWORKS)
            && self.sources.is_not_served(Source::ServiceCidrs);
        let built_in = Source::REQUIRED.into_iter();
        let built_in = built_in.filter(move |source| *source != Source::ServiceCidrs || !by_policy);
        let inventory = self.inventory.as_ref().map(|_| Source::Inventory);
        let machines = self.machines.as_ref().map(|_| Source::Machines);
        let configured = inventory.into_iter().chain(machines);
        built_in.chain(configured)
    }
}
