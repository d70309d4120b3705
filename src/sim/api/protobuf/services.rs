//! Services, and where they are served (`k8s.io/api/core/v1`, `k8s.io/api/discovery/v1`).

use std::collections::BTreeMap;

use super::core::ObjectReference;
use super::messages;
use super::meta::{Condition, ObjectMeta};
use super::values::IntOrString;

messages! {
    Service {
        metadata: Option<ObjectMeta> = (message, optional, tag = "1");
        spec: Option<ServiceSpec> = (message, optional, tag = "2");
        status: Option<ServiceStatus> = (message, optional, tag = "3");
    }
    ServiceSpec {
        ports: Vec<ServicePort> = (message, repeated, tag = "1");
        selector: BTreeMap<String, String> = (btree_map = "string, string", tag = "2");
        #[serde(rename = "clusterIP")]
        cluster_ip: String = (string, tag = "3");
        #[serde(rename = "clusterIPs")]
        cluster_ips: Vec<String> = (string, repeated, tag = "18");
        r#type: String = (string, tag = "4");
        #[serde(rename = "externalIPs")]
        external_ips: Vec<String> = (string, repeated, tag = "5");
        session_affinity: String = (string, tag = "7");
        #[serde(rename = "loadBalancerIP")]
        load_balancer_ip: String = (string, tag = "8");
        load_balancer_source_ranges: Vec<String> = (string, repeated, tag = "9");
        external_name: String = (string, tag = "10");
        external_traffic_policy: String = (string, tag = "11");
        health_check_node_port: i32 = (int32, tag = "12");
        publish_not_ready_addresses: bool = (bool, tag = "13");
        session_affinity_config: Option<SessionAffinityConfig> = (message, optional, tag = "14");
        ip_families: Vec<String> = (string, repeated, tag = "19");
        ip_family_policy: Option<String> = (string, optional, tag = "17");
        allocate_load_balancer_node_ports: Option<bool> = (bool, optional, tag = "20");
        load_balancer_class: Option<String> = (string, optional, tag = "21");
        internal_traffic_policy: Option<String> = (string, optional, tag = "22");
        traffic_distribution: Option<String> = (string, optional, tag = "23");
    }
    ServicePort {
        name: String = (string, tag = "1");
        protocol: String = (string, tag = "2");
        app_protocol: Option<String> = (string, optional, tag = "6");
        port: i32 = (int32, tag = "3");
        target_port: Option<IntOrString> = (message, optional, tag = "4");
        node_port: i32 = (int32, tag = "5");
    }
    SessionAffinityConfig {
        #[serde(rename = "clientIP")]
        client_ip: Option<ClientIPConfig> = (message, optional, tag = "1");
    }
    ClientIPConfig {
        timeout_seconds: Option<i32> = (int32, optional, tag = "1");
    }
    ServiceStatus {
        load_balancer: Option<LoadBalancerStatus> = (message, optional, tag = "1");
        conditions: Vec<Condition> = (message, repeated, tag = "2");
    }
    LoadBalancerStatus {
        ingress: Vec<LoadBalancerIngress> = (message, repeated, tag = "1");
    }
    LoadBalancerIngress {
        ip: String = (string, tag = "1");
        hostname: String = (string, tag = "2");
        ip_mode: Option<String> = (string, optional, tag = "3");
        ports: Vec<PortStatus> = (message, repeated, tag = "4");
    }
    PortStatus {
        port: i32 = (int32, tag = "1");
        protocol: String = (string, tag = "2");
        error: Option<String> = (string, optional, tag = "3");
    }
    EndpointSlice {
        metadata: Option<ObjectMeta> = (message, optional, tag = "1");
        address_type: String = (string, tag = "4");
        endpoints: Vec<Endpoint> = (message, repeated, tag = "2");
        ports: Vec<EndpointPort> = (message, repeated, tag = "3");
    }
    Endpoint {
        addresses: Vec<String> = (string, repeated, tag = "1");
        conditions: Option<EndpointConditions> = (message, optional, tag = "2");
        hostname: Option<String> = (string, optional, tag = "3");
        target_ref: Option<ObjectReference> = (message, optional, tag = "4");
        deprecated_topology: BTreeMap<String, String> = (btree_map = "string, string", tag = "5");
        node_name: Option<String> = (string, optional, tag = "6");
        zone: Option<String> = (string, optional, tag = "7");
        hints: Option<EndpointHints> = (message, optional, tag = "8");
    }
    EndpointConditions {
        ready: Option<bool> = (bool, optional, tag = "1");
        serving: Option<bool> = (bool, optional, tag = "2");
        terminating: Option<bool> = (bool, optional, tag = "3");
    }
    EndpointHints {
        for_zones: Vec<ForZone> = (message, repeated, tag = "1");
        for_nodes: Vec<ForNode> = (message, repeated, tag = "2");
    }
    ForZone {
        name: String = (string, tag = "1");
    }
    ForNode {
        name: String = (string, tag = "1");
    }
    EndpointPort {
        name: Option<String> = (string, optional, tag = "1");
        protocol: Option<String> = (string, optional, tag = "2");
        port: Option<i32> = (int32, optional, tag = "3");
        app_protocol: Option<String> = (string, optional, tag = "4");
    }
}
