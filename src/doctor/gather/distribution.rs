//! Facts that tell distributions apart: API groups, and ConfigMaps in `kube-system`.

use k8s_openapi::api::core::v1::ConfigMap;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::reader::{Reader, Right, path};
use crate::doctor::distributions::{Sign, signs};
use crate::doctor::facts::Known;

const GROUPS: Right<'static> = Right::new("get", "/apis");

/// The used part of the list of API groups.
#[derive(Deserialize)]
struct Groups {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
}

/// Reads the names of the API groups that the API server serves.
pub(super) async fn api_groups(reader: &Reader) -> Known<Vec<String>> {
    let request = http::Request::get("/apis").body(Vec::new());
    let request = request.map_err(kube::core::request::Error::BuildRequest);
    let text = reader.text(GROUPS, request).await?;
    let text = text.map_err(|error| GROUPS.failed(&error))?;
    let read: Result<Groups, _> = serde_json::from_str(&text);
    let groups = read.map_err(|error| GROUPS.failure(false, error.to_string()))?;
    Ok(groups.groups.into_iter().map(|group| group.name).collect())
}

/// Reads the names of the ConfigMaps in `kube-system` that are a sign of a distribution.
pub(super) async fn config_maps(reader: &Reader) -> Known<Vec<&'static str>> {
    let right = Right::new("get", "configmaps").in_namespace("kube-system");
    let path = path::<ConfigMap>(Some("kube-system"));
    let mut found = Vec::new();
    for sign in signs() {
        let Sign::ConfigMap(name) = sign else {
            continue;
        };
        let object: Option<IgnoredAny> = reader.get(right, &path, name).await?;
        found.extend(object.map(|_| name));
    }
    Ok(found)
}
