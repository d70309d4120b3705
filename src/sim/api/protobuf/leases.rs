//! Leases (`k8s.io/api/coordination/v1`).

use super::messages;
use super::meta::ObjectMeta;
use super::values::MicroTime;

messages! {
    Lease {
        metadata: Option<ObjectMeta> = (message, optional, tag = "1");
        spec: Option<LeaseSpec> = (message, optional, tag = "2");
    }
    LeaseSpec {
        holder_identity: Option<String> = (string, optional, tag = "1");
        lease_duration_seconds: Option<i32> = (int32, optional, tag = "2");
        acquire_time: Option<MicroTime> = (message, optional, tag = "3");
        renew_time: Option<MicroTime> = (message, optional, tag = "4");
        lease_transitions: Option<i32> = (int32, optional, tag = "5");
        strategy: Option<String> = (string, optional, tag = "6");
        preferred_holder: Option<String> = (string, optional, tag = "7");
    }
}
