//! Authorization, and the messages of rejections.

use anyhow::Result;
use serde_json::{Value, json};

use super::exchange::{CSRS, LEASES, MERGE, NODES, Recorder};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1";

pub async fn observe(recorder: &mut Recorder<'_>) -> Result<()> {
    nodes(recorder).await?;
    strangers(recorder).await?;
    roles(recorder).await?;
    reviews(recorder).await
}

fn named(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

async fn nodes(recorder: &mut Recorder<'_>) -> Result<()> {
    let own = format!("{NODES}/conf-1");
    let answer = recorder.post("node", NODES, &named("conf-1")).await?;
    recorder.note(
        "node: makes its own Node",
        answer.parts(&["/metadata/name"]),
    )?;
    let answer = recorder.post("node", NODES, &named("conf-2")).await?;
    recorder.note("node: makes another Node", answer.refusal())?;
    let answer = recorder.get("node", &own).await?;
    recorder.note(
        "node: reads its own Node",
        answer.parts(&["/metadata/name"]),
    )?;
    for (name, user, path) in [
        ("node: reads another Node", "other", own.as_str()),
        ("node: reads all Nodes", "node", NODES),
        (
            "node: reads a secret",
            "node",
            "/api/v1/namespaces/default/secrets/x",
        ),
        ("node: reads all ConfigMaps", "node", "/api/v1/configmaps"),
        ("node: reads all Leases", "node", LEASES),
    ] {
        let answer = recorder.get(user, path).await?;
        recorder.note(name, answer.refusal())?;
    }
    let selected = format!("{NODES}?fieldSelector=metadata.name%3Dconf-1");
    let answer = recorder.get("node", &selected).await?;
    recorder.note(
        "node: lists its own Node",
        json!([answer.code, answer.names()]),
    )?;
    let addresses =
        json!({"status": {"addresses": [{"type": "InternalIP", "address": "10.9.9.9"}]}});
    let answer = recorder
        .patch("other", &format!("{own}/status"), MERGE, &addresses)
        .await?;
    recorder.note("node: writes another's status", answer.refusal())?;
    let answer = recorder
        .patch("node", &format!("{own}/status"), MERGE, &addresses)
        .await?;
    recorder.note(
        "node: writes its own status",
        answer.parts(&["/status/addresses"]),
    )?;
    for (name, patch) in [
        (
            "node: taints itself",
            json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}),
        ),
        (
            "node: makes itself a control plane",
            json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}),
        ),
        (
            "node: gives itself an owner",
            json!({"metadata": {"ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": "x", "uid": "y"},
            ]}}),
        ),
    ] {
        let answer = recorder.patch("node", &own, MERGE, &patch).await?;
        recorder.note(name, answer.refusal())?;
    }
    let label = json!({"metadata": {"labels": {"example.com/zone": "z"}}});
    let answer = recorder.patch("node", &own, MERGE, &label).await?;
    recorder.note(
        "node: any label of others",
        answer.parts(&["/metadata/labels"]),
    )?;
    let answer = recorder.delete("node", &own).await?;
    recorder.note("node: deletes itself", answer.refusal())?;
    let answer = recorder.post("node", LEASES, &named("conf-2")).await?;
    recorder.note("node: makes another's Lease", answer.refusal())?;
    let answer = recorder.post("node", LEASES, &named("conf-1")).await?;
    recorder.note("node: makes its Lease", answer.parts(&["/metadata/name"]))?;
    let other = LEASES.replace("kube-node-lease", "default");
    let answer = recorder.post("node", &other, &named("conf-1")).await?;
    recorder.note("node: a Lease in another namespace", answer.refusal())?;
    let answer = recorder
        .delete("node", &format!("{CSRS}/conf-csr-1"))
        .await?;
    recorder.note("node: deletes a request", answer.refusal())
}

async fn strangers(recorder: &mut Recorder<'_>) -> Result<()> {
    for (name, path) in [
        ("stranger: one Node", "/api/v1/nodes/conf-1"),
        ("stranger: all Nodes", NODES),
        ("stranger: all requests", CSRS),
        (
            "stranger: a namespace's events",
            "/api/v1/namespaces/default/events",
        ),
        ("stranger: metrics", "/metrics"),
    ] {
        let answer = recorder.get("jane", path).await?;
        recorder.note(name, answer.refusal())?;
    }
    let watch = format!("{CSRS}?watch=true&timeoutSeconds=1");
    let answer = recorder.get("jane", &watch).await?;
    recorder.note("stranger: a watch", answer.refusal())?;
    let answer = recorder.get("jane", "/api").await?;
    recorder.note("stranger: discovery", answer.parts(&["/kind", "/versions"]))
}

async fn roles(recorder: &mut Recorder<'_>) -> Result<()> {
    let approve = json!({
        "apiGroups": ["certificates.k8s.io"],
        "resources": ["certificatesigningrequests/approval"],
        "verbs": ["update"],
    });
    let read = json!({
        "apiGroups": ["certificates.k8s.io"],
        "resources": ["certificatesigningrequests"],
        "verbs": ["get", "list"],
    });
    let mut role = named("conf-approver");
    role["rules"] = json!([approve, read]);
    recorder
        .post("admin", &format!("{RBAC}/clusterroles"), &role)
        .await?;
    let mut binding = named("conf-approver");
    binding["roleRef"] = json!({
        "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "conf-approver",
    });
    binding["subjects"] =
        json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}]);
    recorder
        .post("admin", &format!("{RBAC}/clusterrolebindings"), &binding)
        .await?;
    let path = format!("{CSRS}/conf-csr-2");
    granted(recorder, "jane", &path).await?;
    let answer = recorder.get("jane", &path).await?;
    recorder.note("role: what it allows", answer.parts(&["/metadata/name"]))?;
    let mut body = answer.body;
    body["status"] = json!({"conditions": [{"type": "Approved", "status": "True"}]});
    let approval = format!("{path}/approval");
    let answer = recorder.put("jane", &approval, &body).await?;
    recorder.note(
        "role: approves for a signer without leave",
        answer.refusal(),
    )?;
    let signer = json!({
        "apiGroups": ["certificates.k8s.io"],
        "resources": ["signers"],
        "resourceNames": ["kubernetes.io/kubelet-serving"],
        "verbs": ["approve"],
    });
    role["rules"] = json!([approve, read, signer]);
    recorder
        .put(
            "admin",
            &format!("{RBAC}/clusterroles/conf-approver"),
            &role,
        )
        .await?;
    for _ in 0..200 {
        let review = json!({"spec": {"resourceAttributes": {
            "group": "certificates.k8s.io", "resource": "signers", "verb": "approve",
            "name": "kubernetes.io/kubelet-serving",
        }}});
        let path = format!("{REVIEWS}/selfsubjectaccessreviews");
        if recorder
            .post("jane", &path, &review)
            .await?
            .at("/status/allowed")
            == true
        {
            break;
        }
        tokio::time::sleep(control_plane::POLL_INTERVAL).await;
    }
    let answer = recorder.put("jane", &approval, &body).await?;
    recorder.note(
        "role: approves for a signer with leave",
        answer.parts(&["/status/conditions/0/type"]),
    )?;
    let answer = recorder.delete("jane", &path).await?;
    recorder.note("role: what it does not allow", answer.refusal())
}

/// kube-apiserver learns about roles by a watch of its own.
async fn granted(recorder: &Recorder<'_>, user: &str, path: &str) -> Result<()> {
    for _ in 0..200 {
        if recorder.get(user, path).await?.code == 200 {
            return Ok(());
        }
        tokio::time::sleep(control_plane::POLL_INTERVAL).await;
    }
    anyhow::bail!("{user} never gets the role")
}

async fn reviews(recorder: &mut Recorder<'_>) -> Result<()> {
    let path = format!("{REVIEWS}/selfsubjectaccessreviews");
    for (name, user, verb) in [
        ("review: an administrator may", "admin", "delete"),
        ("review: a node may", "node", "create"),
        ("review: a node may not", "node", "delete"),
    ] {
        let review = json!({"spec": {"resourceAttributes": {"resource": "nodes", "verb": verb}}});
        let answer = recorder.post(user, &path, &review).await?;
        recorder.note(name, answer.parts(&["/kind", "/status/allowed"]))?;
    }
    let of_other = json!({"spec": {"user": "jane",
        "resourceAttributes": {"resource": "nodes", "verb": "get"}}});
    let answer = recorder
        .post(
            "admin",
            &format!("{REVIEWS}/subjectaccessreviews"),
            &of_other,
        )
        .await?;
    recorder.note(
        "review: of another user",
        answer.parts(&["/status/allowed"]),
    )?;
    rules(recorder).await?;
    tokens(recorder).await?;
    let whoami = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let answer = recorder.post("node", whoami, &json!({})).await?;
    recorder.note(
        "review: who am I",
        answer.parts(&["/status/userInfo/username"]),
    )?;
    let headers = [
        ("impersonate-user", "system:node:conf-1"),
        ("impersonate-group", "system:nodes"),
        ("content-type", "application/json"),
    ];
    let body = named("conf-9").to_string().into_bytes();
    let dry = format!("{NODES}?dryRun=All");
    let answer = recorder
        .send("admin", "POST", &dry, &headers, body.clone())
        .await?;
    recorder.note("impersonation: the limits of a node hold", answer.refusal())?;
    let answer = recorder.send("jane", "POST", &dry, &headers, body).await?;
    recorder.note(
        "impersonation: not for everybody",
        answer.parts(&["/reason"]),
    )
}

async fn rules(recorder: &mut Recorder<'_>) -> Result<()> {
    let path = format!("{REVIEWS}/selfsubjectrulesreviews");
    for (name, user, namespace) in [
        ("review: the rules of an administrator", "admin", "default"),
        ("review: the rules of a user with a role", "jane", "default"),
        ("review: the rules of a node", "other", "default"),
        ("review: the rules of no namespace", "jane", ""),
    ] {
        let review = json!({"spec": {"namespace": namespace}});
        let answer = recorder.post(user, &path, &review).await?;
        // kube-apiserver returns them in any order.
        let rules = |path: &str| {
            let rules = answer.at(path);
            let mut rules = rules.as_array().cloned().unwrap_or_default();
            rules.sort_by_key(Value::to_string);
            rules
        };
        recorder.note(
            name,
            json!([
                answer.code,
                answer.at("/message"),
                rules("/status/resourceRules"),
                rules("/status/nonResourceRules"),
                answer.at("/status/incomplete"),
            ]),
        )?;
    }
    Ok(())
}

async fn tokens(recorder: &mut Recorder<'_>) -> Result<()> {
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    recorder.post("admin", accounts, &named("conf-sa")).await?;
    let path = format!("{accounts}/conf-sa/token");
    let issued = recorder.post("admin", &path, &json!({})).await?;
    recorder.note(
        "token: of a ServiceAccount",
        json!([issued.code, issued.at("/kind")]),
    )?;
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    for (name, user, token) in [
        ("token: a good one", "admin", issued.str("/status/token")),
        ("token: a bad one", "admin", "words".to_owned()),
        ("token: not allowed to ask", "jane", "words".to_owned()),
    ] {
        let review = json!({"spec": {"token": token}});
        let answer = recorder.post(user, reviews, &review).await?;
        let mut groups = answer.at("/status/user/groups");
        if let Some(groups) = groups.as_array_mut() {
            groups.sort_by_key(Value::to_string);
        }
        let who = answer.parts(&["/status/authenticated", "/status/user/username"]);
        recorder.note(
            name,
            json!([who, groups, answer.at("/status/error").is_string()]),
        )?;
    }
    Ok(())
}
