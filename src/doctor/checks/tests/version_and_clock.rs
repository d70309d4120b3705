//! Findings on the API server.

use std::time::Duration;

use jiff::SignedDuration;

use super::{certificate, found, presents};
use crate::cluster::clock::Offset;
use crate::doctor::facts::{Kubelet, NodeRestriction, Proxied, SignedBy};
use crate::doctor::finding_code::Code;

#[test]
fn version_and_clock_skew() {
    assert_eq!(
        found(|facts| facts.service_cidrs = Ok(false)),
        [Code::ServerTooOld]
    );
    let skew = |seconds| {
        found(|facts| {
            facts.clock = Ok(Offset {
                ahead: SignedDuration::from_secs(seconds),
                uncertainty: Duration::from_secs(1),
            });
        })
    };
    assert_eq!(skew(6), []);
    assert_eq!(skew(7), [Code::ClockSkew]);
    assert_eq!(skew(-7), [Code::ClockSkew]);
}

#[test]
fn verification_by_the_api_server_shows_in_its_behavior() {
    let hidden = |proxied: Proxied| {
        found(|facts| {
            facts.api_servers = Ok(Vec::new());
            let mut own = certificate();
            own.signed_by = SignedBy::Itself;
            facts.kubelets = vec![Kubelet {
                node: "n1".into(),
                dialed: presents(own),
                proxied,
            }];
        })
    };
    assert_eq!(
        hidden(Proxied::Bootstrap(true)),
        [Code::KubeletSelfSigned, Code::ApiServerDoesNotVerify]
    );
    assert_eq!(
        hidden(Proxied::NotTrusted("x509: …".into())),
        [Code::KubeletSelfSigned]
    );
    assert_eq!(
        found(|facts| facts.api_servers = Ok(Vec::new())),
        [Code::ApiServerUnseen]
    );
    assert_eq!(
        found(|facts| facts.api_servers.as_mut().unwrap()[0].args.clear()),
        [Code::ApiServerDoesNotVerify]
    );
}

#[test]
fn writes_to_other_nodes() {
    assert_eq!(
        found(|facts| facts.restriction = NodeRestriction::Accepted("n1".into())),
        [Code::NodeRestrictionOff]
    );
    assert_eq!(
        found(|facts| facts.restriction = NodeRestriction::NotTried("x".into())),
        [Code::NodeRestrictionUnknown]
    );
}
