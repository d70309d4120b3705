//! Nodes (`k8s.io/api/core/v1`).

use std::collections::BTreeMap;

use super::messages;
use super::meta::ObjectMeta;
use super::values::{Quantity, Time};

messages! {
    Node {
        metadata: Option<ObjectMeta> = (message, optional, tag = "1");
        spec: Option<NodeSpec> = (message, optional, tag = "2");
        status: Option<NodeStatus> = (message, optional, tag = "3");
    }
    NodeSpec {
        #[serde(rename = "podCIDR")]
        pod_cidr: String = (string, tag = "1");
        #[serde(rename = "podCIDRs")]
        pod_cidrs: Vec<String> = (string, repeated, tag = "7");
        #[serde(rename = "providerID")]
        provider_id: String = (string, tag = "3");
        unschedulable: bool = (bool, tag = "4");
        taints: Vec<Taint> = (message, repeated, tag = "5");
        config_source: Option<NodeConfigSource> = (message, optional, tag = "6");
        #[serde(rename = "externalID")]
        external_id: String = (string, tag = "2");
    }
    Taint {
        key: String = (string, tag = "1");
        value: String = (string, tag = "2");
        effect: String = (string, tag = "3");
        time_added: Option<Time> = (message, optional, tag = "4");
    }
    NodeConfigSource {
        config_map: Option<ConfigMapNodeConfigSource> = (message, optional, tag = "2");
    }
    ConfigMapNodeConfigSource {
        namespace: String = (string, tag = "1");
        name: String = (string, tag = "2");
        uid: String = (string, tag = "3");
        resource_version: String = (string, tag = "4");
        kubelet_config_key: String = (string, tag = "5");
    }
    NodeStatus {
        capacity: BTreeMap<String, Quantity> = (btree_map = "string, message", tag = "1");
        allocatable: BTreeMap<String, Quantity> = (btree_map = "string, message", tag = "2");
        phase: String = (string, tag = "3");
        conditions: Vec<NodeCondition> = (message, repeated, tag = "4");
        addresses: Vec<NodeAddress> = (message, repeated, tag = "5");
        daemon_endpoints: Option<NodeDaemonEndpoints> = (message, optional, tag = "6");
        node_info: Option<NodeSystemInfo> = (message, optional, tag = "7");
        images: Vec<ContainerImage> = (message, repeated, tag = "8");
        volumes_in_use: Vec<String> = (string, repeated, tag = "9");
        volumes_attached: Vec<AttachedVolume> = (message, repeated, tag = "10");
        config: Option<NodeConfigStatus> = (message, optional, tag = "11");
        runtime_handlers: Vec<NodeRuntimeHandler> = (message, repeated, tag = "12");
        features: Option<NodeFeatures> = (message, optional, tag = "13");
        declared_features: Vec<String> = (string, repeated, tag = "14");
    }
    NodeCondition {
        r#type: String = (string, tag = "1");
        status: String = (string, tag = "2");
        last_heartbeat_time: Option<Time> = (message, optional, tag = "3");
        last_transition_time: Option<Time> = (message, optional, tag = "4");
        reason: String = (string, tag = "5");
        message: String = (string, tag = "6");
    }
    NodeAddress {
        r#type: String = (string, tag = "1");
        address: String = (string, tag = "2");
    }
    NodeDaemonEndpoints {
        kubelet_endpoint: Option<DaemonEndpoint> = (message, optional, tag = "1");
    }
    DaemonEndpoint {
        #[serde(rename = "Port")]
        port: i32 = (int32, tag = "1");
    }
    NodeSystemInfo {
        #[serde(rename = "machineID")]
        machine_id: String = (string, tag = "1");
        #[serde(rename = "systemUUID")]
        system_uuid: String = (string, tag = "2");
        #[serde(rename = "bootID")]
        boot_id: String = (string, tag = "3");
        kernel_version: String = (string, tag = "4");
        os_image: String = (string, tag = "5");
        container_runtime_version: String = (string, tag = "6");
        kubelet_version: String = (string, tag = "7");
        kube_proxy_version: String = (string, tag = "8");
        operating_system: String = (string, tag = "9");
        architecture: String = (string, tag = "10");
        swap: Option<NodeSwapStatus> = (message, optional, tag = "11");
    }
    NodeSwapStatus {
        capacity: Option<i64> = (int64, optional, tag = "1");
    }
    ContainerImage {
        names: Vec<String> = (string, repeated, tag = "1");
        size_bytes: i64 = (int64, tag = "2");
    }
    AttachedVolume {
        name: String = (string, tag = "1");
        device_path: String = (string, tag = "2");
    }
    NodeConfigStatus {
        assigned: Option<NodeConfigSource> = (message, optional, tag = "1");
        active: Option<NodeConfigSource> = (message, optional, tag = "2");
        last_known_good: Option<NodeConfigSource> = (message, optional, tag = "3");
        error: String = (string, tag = "4");
    }
    NodeRuntimeHandler {
        // Empty for the default handler, and said all the same.
        name: Option<String> = (string, optional, tag = "1");
        features: Option<NodeRuntimeHandlerFeatures> = (message, optional, tag = "2");
    }
    NodeRuntimeHandlerFeatures {
        recursive_read_only_mounts: Option<bool> = (bool, optional, tag = "1");
        user_namespaces: Option<bool> = (bool, optional, tag = "2");
    }
    NodeFeatures {
        supplemental_groups_policy: Option<bool> = (bool, optional, tag = "1");
    }
}
