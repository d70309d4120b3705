//! Networks, and what may be disrupted (`k8s.io/api/networking/v1`, `k8s.io/api/policy/v1`).

use std::collections::BTreeMap;

use super::messages;
use super::meta::{Condition, LabelSelector, ObjectMeta};
use super::values::{IntOrString, Time};

messages! {
    NetworkPolicy {
        metadata: Option<ObjectMeta> = (message, optional, tag = "1");
        spec: Option<NetworkPolicySpec> = (message, optional, tag = "2");
    }
    NetworkPolicySpec {
        pod_selector: Option<LabelSelector> = (message, optional, tag = "1");
        ingress: Vec<NetworkPolicyIngressRule> = (message, repeated, tag = "2");
        egress: Vec<NetworkPolicyEgressRule> = (message, repeated, tag = "3");
        policy_types: Vec<String> = (string, repeated, tag = "4");
    }
    NetworkPolicyIngressRule {
        ports: Vec<NetworkPolicyPort> = (message, repeated, tag = "1");
        from: Vec<NetworkPolicyPeer> = (message, repeated, tag = "2");
    }
    NetworkPolicyEgressRule {
        ports: Vec<NetworkPolicyPort> = (message, repeated, tag = "1");
        to: Vec<NetworkPolicyPeer> = (message, repeated, tag = "2");
    }
    NetworkPolicyPort {
        protocol: Option<String> = (string, optional, tag = "1");
        port: Option<IntOrString> = (message, optional, tag = "2");
        end_port: Option<i32> = (int32, optional, tag = "3");
    }
    NetworkPolicyPeer {
        pod_selector: Option<LabelSelector> = (message, optional, tag = "1");
        namespace_selector: Option<LabelSelector> = (message, optional, tag = "2");
        ip_block: Option<IPBlock> = (message, optional, tag = "3");
    }
    IPBlock {
        cidr: String = (string, tag = "1");
        except: Vec<String> = (string, repeated, tag = "2");
    }
    ServiceCIDR {
        metadata: Option<ObjectMeta> = (message, optional, tag = "1");
        spec: Option<ServiceCIDRSpec> = (message, optional, tag = "2");
        status: Option<ServiceCIDRStatus> = (message, optional, tag = "3");
    }
    ServiceCIDRSpec {
        cidrs: Vec<String> = (string, repeated, tag = "1");
    }
    ServiceCIDRStatus {
        conditions: Vec<Condition> = (message, repeated, tag = "1");
    }
    PodDisruptionBudget {
        metadata: Option<ObjectMeta> = (message, optional, tag = "1");
        spec: Option<PodDisruptionBudgetSpec> = (message, optional, tag = "2");
        status: Option<PodDisruptionBudgetStatus> = (message, optional, tag = "3");
    }
    PodDisruptionBudgetSpec {
        min_available: Option<IntOrString> = (message, optional, tag = "1");
        selector: Option<LabelSelector> = (message, optional, tag = "2");
        max_unavailable: Option<IntOrString> = (message, optional, tag = "3");
        unhealthy_pod_eviction_policy: Option<String> = (string, optional, tag = "4");
    }
    PodDisruptionBudgetStatus {
        observed_generation: i64 = (int64, tag = "1");
        disrupted_pods: BTreeMap<String, Time> = (btree_map = "string, message", tag = "2");
        disruptions_allowed: i32 = (int32, tag = "3");
        current_healthy: i32 = (int32, tag = "4");
        desired_healthy: i32 = (int32, tag = "5");
        expected_pods: i32 = (int32, tag = "6");
        conditions: Vec<Condition> = (message, repeated, tag = "7");
    }
}
