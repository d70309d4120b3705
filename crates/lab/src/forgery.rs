//! Forged requests of attackers with a stolen kubelet credential.

use std::net::{IpAddr, Ipv4Addr};

use super::random::SeededRng;
use super::request::{Extra, Template};

/// The targets of attackers.
#[derive(Clone, Debug)]
pub struct Targets {
    /// The address of the Service `kubernetes`.
    pub service: Ipv4Addr,
    /// The address of the API server.
    pub api_server: IpAddr,
    /// Names and addresses of other nodes.
    pub victims: Vec<(String, IpAddr)>,
}

/// A kind of forgery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForgeryKind {
    /// The address of the Service `kubernetes`.
    ServiceAddress,
    /// The name of the Service `kubernetes`, in upper and lower case.
    ServiceName,
    /// Another node's address, which the attacker writes into its own Node first.
    AddressOfAnotherNode,
    /// The usage `client auth`.
    ClientAuth,
    /// A second list of extensions behind the first.
    SecondExtensions,
    /// The address of the API server.
    ApiServerAddress,
    /// A certificate authority.
    Authority,
    /// Another node's name.
    NameOfAnotherNode,
    /// The address of a cloud's metadata service.
    Metadata,
    /// Two common names.
    TwoCommonNames,
    /// The address of the Service `kubernetes`, as an IPv4-mapped IPv6 address.
    MappedAddress,
    /// A wildcard DNS name.
    Wildcard,
    /// A second PEM block behind the request.
    SecondBlock,
    /// A URI.
    Uri,
    /// A subject with an organizational unit.
    Unit,
    /// `localhost`.
    Localhost,
}

const METADATA: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));
const SERVICE_NAME: &str = "Kubernetes.Default.SVC";
const WILDCARD: &str = "*.example.org";
const URI: &str = "spiffe://cluster.local/ns/kube-system/sa/admin";

impl ForgeryKind {
    /// All kinds, the most instructive first.
    pub const ALL: [ForgeryKind; 16] = [
        ForgeryKind::ServiceAddress,
        ForgeryKind::AddressOfAnotherNode,
        ForgeryKind::ServiceName,
        ForgeryKind::ClientAuth,
        ForgeryKind::SecondExtensions,
        ForgeryKind::ApiServerAddress,
        ForgeryKind::Authority,
        ForgeryKind::NameOfAnotherNode,
        ForgeryKind::Metadata,
        ForgeryKind::TwoCommonNames,
        ForgeryKind::MappedAddress,
        ForgeryKind::Wildcard,
        ForgeryKind::SecondBlock,
        ForgeryKind::Uri,
        ForgeryKind::Unit,
        ForgeryKind::Localhost,
    ];

    /// Returns `count` kinds in random order. None is repeated before all have been used.
    pub fn some(count: usize, rng: &mut SeededRng) -> Vec<ForgeryKind> {
        let mut all = ForgeryKind::ALL;
        rng.shuffle(&mut all);
        all.into_iter().cycle().take(count).collect()
    }

    /// Returns true if the request is not denied: another Node's claim never denies, so it waits.
    pub fn is_left_waiting(self) -> bool {
        matches!(self, ForgeryKind::AddressOfAnotherNode)
    }

    /// Returns true if the forgery needs a victim that is older than the attacker.
    pub fn has_victim(self) -> bool {
        matches!(
            self,
            ForgeryKind::AddressOfAnotherNode | ForgeryKind::NameOfAnotherNode
        )
    }
}

/// One attacker and its request.
#[derive(Clone, Debug)]
pub struct Forgery {
    /// The kind of forgery.
    pub kind: ForgeryKind,
    /// The attacker's node.
    pub node: String,
    /// The attacker's own address.
    pub own: IpAddr,
    /// Name and address of the node that is attacked.
    pub victim: (String, IpAddr),
    service: Ipv4Addr,
    api_server: IpAddr,
}

impl Forgery {
    /// Creates a forgery. The victim is chosen at random.
    pub fn new(
        kind: ForgeryKind,
        (node, own): (String, IpAddr),
        targets: &Targets,
        rng: &mut SeededRng,
    ) -> Forgery {
        let victims = &targets.victims;
        let victim = victims.get(rng.below(victims.len())).cloned();
        Forgery {
            kind,
            node,
            own,
            // A name and an address that no node has.
            victim: victim.unwrap_or_else(|| ("node-0".into(), Ipv4Addr::new(10, 0, 0, 0).into())),
            service: targets.service,
            api_server: targets.api_server,
        }
    }

    /// Describes the request, as in "rogue-1 asks for localhost" after the node name.
    pub fn description(&self) -> String {
        let Forgery {
            victim: (name, address),
            service,
            api_server,
            ..
        } = self;
        match self.kind {
            ForgeryKind::ServiceAddress => {
                format!("asks for {service}, the address of the Service kubernetes")
            }
            ForgeryKind::ServiceName => format!("asks for {SERVICE_NAME}"),
            ForgeryKind::AddressOfAnotherNode => {
                format!("writes {address} of {name} into its own Node, then asks for it")
            }
            ForgeryKind::ClientAuth => "asks for the usage client auth as well".into(),
            ForgeryKind::SecondExtensions => {
                "hides a second list of extensions behind the first".into()
            }
            ForgeryKind::ApiServerAddress => {
                format!("asks for {api_server}, where the API server is reached")
            }
            ForgeryKind::Authority => "asks to be a certificate authority".into(),
            ForgeryKind::NameOfAnotherNode => format!("asks for the name {name}"),
            ForgeryKind::Metadata => format!("asks for {METADATA}, the cloud's metadata service"),
            ForgeryKind::TwoCommonNames => format!("calls itself system:node:{name} and itself"),
            ForgeryKind::MappedAddress => format!(
                "asks for {}, the Service's address dressed as IPv6",
                service.to_ipv6_mapped()
            ),
            ForgeryKind::Wildcard => format!("asks for {WILDCARD}"),
            ForgeryKind::SecondBlock => "puts a second request behind the first".into(),
            ForgeryKind::Uri => format!("asks for {URI}"),
            ForgeryKind::Unit => "adds OU=system:masters to its subject".into(),
            ForgeryKind::Localhost => "asks for localhost".into(),
        }
    }

    /// Describes the purpose of the attack.
    pub fn purpose(&self) -> &'static str {
        match self.kind {
            ForgeryKind::ServiceAddress | ForgeryKind::ServiceName | ForgeryKind::MappedAddress => {
                "to pass for the API server before every pod"
            }
            ForgeryKind::ApiServerAddress => "to pass for the API server before every node",
            ForgeryKind::AddressOfAnotherNode | ForgeryKind::NameOfAnotherNode => {
                "to be sent the logs, exec sessions and secrets meant for that node"
            }
            ForgeryKind::ClientAuth => "to log in with a certificate that is made for serving",
            ForgeryKind::SecondExtensions => "to be signed what a checker of the first never sees",
            ForgeryKind::Authority => "to sign certificates for any name there is",
            ForgeryKind::Metadata => "to hand out cloud credentials in its place",
            ForgeryKind::TwoCommonNames => {
                "to be one node to the checker and another to the signer"
            }
            ForgeryKind::Wildcard => "to be any host under that domain",
            ForgeryKind::SecondBlock => "to have one checked and the other signed",
            ForgeryKind::Uri => "to pass for a workload that a service mesh trusts",
            ForgeryKind::Unit => "to be taken for a group that may do anything",
            ForgeryKind::Localhost => "to pass for whatever a program asks on its own machine",
        }
    }

    /// Returns the addresses in the attacker's own Node.
    pub fn claims(&self) -> Vec<IpAddr> {
        match self.kind {
            ForgeryKind::AddressOfAnotherNode => vec![self.own, self.victim.1],
            // A kubelet may write any address into its own Node.
            ForgeryKind::ServiceAddress => vec![self.own, self.service.into()],
            ForgeryKind::ApiServerAddress => vec![self.own, self.api_server],
            ForgeryKind::Metadata => vec![self.own, METADATA],
            ForgeryKind::ServiceName
            | ForgeryKind::ClientAuth
            | ForgeryKind::SecondExtensions
            | ForgeryKind::Authority
            | ForgeryKind::NameOfAnotherNode
            | ForgeryKind::TwoCommonNames
            | ForgeryKind::MappedAddress
            | ForgeryKind::Wildcard
            | ForgeryKind::SecondBlock
            | ForgeryKind::Uri
            | ForgeryKind::Unit
            | ForgeryKind::Localhost => vec![self.own],
        }
    }

    /// Returns the template of the request.
    pub fn template(&self) -> Template {
        let mut template =
            Template::genuine(&self.node, std::slice::from_ref(&self.node), &self.claims());
        match self.kind {
            ForgeryKind::ServiceAddress
            | ForgeryKind::AddressOfAnotherNode
            | ForgeryKind::ApiServerAddress
            | ForgeryKind::Metadata
            | ForgeryKind::ClientAuth => {}
            ForgeryKind::ServiceName => template.dns.push(SERVICE_NAME.into()),
            ForgeryKind::NameOfAnotherNode => template.dns.push(self.victim.0.clone()),
            ForgeryKind::Wildcard => template.dns.push(WILDCARD.into()),
            ForgeryKind::Localhost => template.dns.push("localhost".into()),
            ForgeryKind::MappedAddress => template.ips.push(self.service.to_ipv6_mapped().into()),
            ForgeryKind::Authority => template.extra = Some(Extra::Authority),
            ForgeryKind::SecondExtensions => template.extra = Some(Extra::SecondExtensions),
            ForgeryKind::TwoCommonNames => {
                let other = format!("system:node:{}", self.victim.0);
                template.extra = Some(Extra::FirstCommonName(other));
            }
            ForgeryKind::SecondBlock => {
                template.extra = Some(Extra::SecondBlock(SERVICE_NAME.into()))
            }
            ForgeryKind::Uri => template.extra = Some(Extra::Uri(URI.into())),
            ForgeryKind::Unit => template.extra = Some(Extra::Unit("system:masters".into())),
        }
        template
    }

    /// Returns the requested usages.
    pub fn usages(&self) -> &'static [&'static str] {
        if self.kind == ForgeryKind::ClientAuth {
            &["digital signature", "server auth", "client auth"]
        } else {
            &["digital signature", "server auth"]
        }
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use rcgen::KeyPair;

    use super::*;
    use crate::{fleet, judge_fixtures};
    use judge::csr::Request;
    use judge::policy::default_policy;
    use judge::{Decision, Judgment, judge};

    fn targets() -> Targets {
        Targets {
            service: judge_fixtures::SERVICE.parse().unwrap(),
            api_server: Ipv4Addr::LOCALHOST.into(),
            victims: vec![(fleet::name(2), fleet::address(2))],
        }
    }

    /// Judges a request of node-1, whose Node has these additional addresses.
    fn judged(template: &Template, usages: &[&str], claims: &[IpAddr]) -> Judgment {
        let now = jiff::Timestamp::from_second(1_800_000_000).unwrap();
        let mut evidence = judge_fixtures::evidence(3, now).unwrap();
        let mut node = evidence.nodes().get("node-1").unwrap().clone();
        for ip in claims {
            let address = judge::evidence::NodeAddress::parse("InternalIP", &ip.to_string());
            node.addresses.extend(address);
        }
        evidence.apply(judge::evidence::Fact::Node(Box::new(node)), now);
        let pem = template.pem(&KeyPair::generate().unwrap()).unwrap();
        let request = Request::read(
            judge_fixtures::object("node-1", usages, now),
            pem.as_bytes(),
        );
        judge(&request, &default_policy().unwrap(), &evidence, now)
    }

    #[test]
    fn a_genuine_request_is_approved() {
        let template = Template::genuine("node-1", &["node-1".into()], &[fleet::address(1)]);
        let judgment = judged(&template, &["digital signature", "server auth"], &[]);
        let codes = judgment.codes();
        assert_eq!(judgment.verdict.decision(), Decision::Approve, "{codes:?}");
    }

    #[test]
    fn every_forgery_is_denied_or_waits_for_its_own_reason() {
        let mut reasons = BTreeSet::new();
        for kind in ForgeryKind::ALL {
            let own = ("node-1".to_owned(), fleet::address(1));
            let forgery = Forgery::new(kind, own, &targets(), &mut SeededRng::new(1));
            let judgment = judged(&forgery.template(), forgery.usages(), &forgery.claims());
            let codes = judgment.codes();
            let expected = if kind.is_left_waiting() {
                Decision::Wait
            } else {
                Decision::Deny
            };
            assert_eq!(judgment.verdict.decision(), expected, "{kind:?}: {codes:?}");
            reasons.insert(codes);
        }
        assert!(reasons.len() >= 12, "{reasons:?}");
    }

    #[test]
    fn each_kind_is_used_before_any_is_repeated() {
        let some = ForgeryKind::some(ForgeryKind::ALL.len(), &mut SeededRng::new(9));
        assert!(ForgeryKind::ALL.iter().all(|kind| some.contains(kind)));
        assert_eq!(
            some,
            ForgeryKind::some(ForgeryKind::ALL.len(), &mut SeededRng::new(9))
        );
    }
}
