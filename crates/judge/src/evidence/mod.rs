//! What is known of the cluster, and who says so: plain data and look-ups.

mod answers;
mod clock;
mod fact;
mod identity;
mod inventory;
mod keys;
mod machines;
mod networks;
mod nodes;
mod protected_identities;
mod recently_protected;
mod sources;

pub use answers::{Answer, Answers};
pub use clock::Instants;
pub use fact::{Applied, Fact, Protection};
pub use identity::{Identity, IdentityKind};
pub use inventory::KIND as INVENTORY_KIND;
pub use inventory::{
    Inventory, InventoryError, InventoryFile, InventoryMatch, InventoryNode, InventoryPattern,
};
pub use keys::Keys;
pub use machines::{Machine, Machines, NodeReference};
pub use networks::{Networks, to_ipv4_mapped};
pub use nodes::{AddressType, Node, NodeAddress, Nodes};
pub use protected_identities::{Protected, reserved_kind};
pub use sources::{Source, SourceState, Sources};

/// Everything that a verdict may rest on.
#[derive(Debug, Default)]
pub struct Evidence {
    /// The Nodes and what they claim.
    pub nodes: Nodes,
    /// Names and addresses that are not any node's to have.
    pub protected: Protected,
    /// Which node has which key.
    pub keys: Keys,
    /// The administrator's own list of nodes, if there is one.
    pub inventory: Option<Inventory>,
    /// What made the nodes, if that is watched.
    pub machines: Option<Machines>,
    /// What others have answered.
    pub answers: Answers,
    /// Whether all of this is complete and fresh.
    pub sources: Sources,
}

impl Evidence {
    /// The sources that every judgment needs: one that is not configured is none of them.
    pub fn required_sources(&self) -> impl Iterator<Item = Source> {
        let inventory = self.inventory.as_ref().map(|_| Source::Inventory);
        let machines = self.machines.as_ref().map(|_| Source::Machines);
        let configured = inventory.into_iter().chain(machines);
        Source::REQUIRED.into_iter().chain(configured)
    }
}
