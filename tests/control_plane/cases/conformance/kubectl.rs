//! The real kubectl. Its output must be the same for the embedded API server and for
//! kube-apiserver.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use apiserver_sim::Server;
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use super::kubectl_session::Session;
use super::{client, compare, known_differences, kubectl_files, write_kubeconfig};
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::node_user::NewRequest;
use testkit::forge::Recipe;

/// The minimum number of commands to compare.
const LEAST: usize = 80;

pub async fn same_output(assets: Arc<Assets>) -> Result<()> {
    let options = Options {
        signer: false,
        ..Options::default()
    };
    let cluster = Cluster::start(&assets, options).await?;
    let dir = tempfile::tempdir()?;
    kubectl_files::write(dir.path())?;
    let node = |name: &str| format!("system:node:{name}");
    let mut real = Session::new(&assets, dir.path(), cluster.admin_kubeconfig().to_owned());
    for (name, request) in NODES {
        let client = cluster.client_for(&node(name), &["system:nodes"]).await?;
        node_asks(&client, name, request).await?;
    }
    real.run_commands().await?;

    let server = Server::start(Default::default()).await?;
    let kubeconfig = dir.path().join("embedded.conf");
    write_kubeconfig(
        &server,
        "kubernetes-admin",
        &["system:masters"],
        &kubeconfig,
    )?;
    let mut embedded = Session::new(&assets, dir.path(), kubeconfig);
    for (name, request) in NODES {
        let client = client(&server, &node(name), &["system:nodes"]).await?;
        node_asks(&client, name, request).await?;
    }
    embedded.run_commands().await?;
    embedded.look_around().await?;
    server.stop().await;
    compare(
        &real.said,
        &embedded.said,
        known_differences::KUBECTL,
        LEAST,
    )
}

const NODES: [(&str, &str); 3] = [
    ("node-1", "csr-1"),
    ("node-2", "csr-2"),
    ("node-3", "csr-3"),
];

impl Session {
    async fn run_commands(&mut self) -> Result<()> {
        self.look().await?;
        self.decide().await?;
        self.rights().await?;
        self.write().await?;
        self.make().await?;
        self.end().await
    }

    async fn look(&mut self) -> Result<()> {
        for args in [
            &["get", "csr"][..],
            &["get", "csr", "-o", "wide"],
            &[
                "get",
                "csr",
                "csr-1",
                "-o",
                "jsonpath={.spec.username} {.spec.usages}",
            ],
            &["get", "csr", "-o", "name"],
            &[
                "get",
                "csr",
                "--field-selector",
                "spec.signerName=example.com/other",
            ],
            &["describe", "csr", "csr-1"],
            &["get", "nodes"],
            &["get", "nodes", "-o", "wide"],
            &[
                "get",
                "nodes",
                "-o",
                "custom-columns=N:.metadata.name,A:.status.addresses[*].address",
            ],
            &["describe", "node", "node-1"],
            &["get", "configmaps", "-w", "--request-timeout=2s"],
        ] {
            self.record(0, args).await?;
        }
        self.record(1, &["get", "csr", "absent"]).await
    }

    async fn decide(&mut self) -> Result<()> {
        for args in [
            &["certificate", "approve", "csr-1"][..],
            &["certificate", "approve", "csr-1"],
            &["certificate", "deny", "csr-2"],
            &["get", "csr"],
            &[
                "get",
                "csr",
                "csr-1",
                "-o",
                "jsonpath={.status.conditions[*]['type','reason']}",
            ],
            &["describe", "csr", "csr-2"],
            &[
                "wait",
                "--for=condition=Approved",
                "csr/csr-1",
                "--timeout=5s",
            ],
            &["create", "-f", "csr.json"],
            &["certificate", "approve", "-f", "csr.json"],
        ] {
            self.record(0, args).await?;
        }
        for args in [
            &["certificate", "deny", "csr-1"][..],
            &["certificate", "approve", "absent"],
            &["certificate", "approve", "csr-3", "--as", "jane"],
            &["create", "-f", "csr.json"],
            &["create", "-f", "mistyped.json"],
        ] {
            self.record(1, args).await?;
        }
        Ok(())
    }

    async fn rights(&mut self) -> Result<()> {
        let approval = "certificatesigningrequests.certificates.k8s.io/approval";
        for args in [
            &["auth", "can-i", "update", approval][..],
            &[
                "auth",
                "can-i",
                "create",
                "csr",
                "--as",
                "system:node:x",
                "--as-group",
                "system:nodes",
            ],
            &["auth", "can-i", "get", "/version", "--as", "jane"],
            &["auth", "can-i", "--list"],
            &["auth", "can-i", "--list", "--as", "jane"],
            &[
                "auth",
                "whoami",
                "-o",
                "jsonpath={.status.userInfo.username}",
            ],
        ] {
            self.record(0, args).await?;
        }
        for args in [
            &["auth", "can-i", "get", "nodes", "--as", "jane"][..],
            &["auth", "can-i", "get", "/metrics", "--as", "jane"],
            &[
                "auth",
                "can-i",
                "--list",
                "--as",
                "system:anonymous",
                "--as-group",
                "system:unauthenticated",
            ],
            &["get", "nodes", "--as", "jane"],
        ] {
            self.record(1, args).await?;
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<()> {
        let base = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/base");
        let json_patch = r#"[{"op": "add", "path": "/metadata/labels/d", "value": "4"}]"#;
        for args in [
            &["create", "-f", "map.json", "--dry-run=server"][..],
            &["create", "-f", "map.json"],
            &["delete", "-f", "map.json"],
            &["apply", "-f", "map.json"],
            &["apply", "-f", "map.json"],
            &["apply", "-f", "changed.json", "--dry-run=server"],
            &["apply", "-f", "changed.json"],
            &[
                "apply",
                "view-last-applied",
                "-f",
                "changed.json",
                "-o",
                "json",
            ],
            &["get", "configmap", "map", "-o", "jsonpath={.data}"],
            &["replace", "-f", "map.json"],
            &["get", "configmap", "map", "-o", "jsonpath={.data}"],
            &[
                "apply",
                "--server-side",
                "--force-conflicts",
                "-f",
                "changed.json",
            ],
            &["apply", "--server-side", "-f", "changed.json"],
            &["label", "node", "node-1", "a=b"],
            &["label", "node", "node-1", "a=b"],
            &["label", "node", "node-1", "a=c", "--overwrite"],
            &["annotate", "node", "node-1", "example.com/note=x y"],
            &["annotate", "csr", "csr-1", "example.com/note=x"],
            &[
                "patch",
                "node",
                "node-1",
                "-p",
                r#"{"metadata": {"labels": {"c": "3"}}}"#,
            ],
            &[
                "patch",
                "node",
                "node-1",
                "--type",
                "merge",
                "-p",
                r#"{"spec": {"unschedulable": true}}"#,
            ],
            &[
                "patch", "node", "node-1", "--type", "json", "-p", json_patch,
            ],
            &["uncordon", "node-1"],
            &["cordon", "node-1"],
            &["taint", "node", "node-1", "a=b:NoSchedule"],
            &["get", "node", "node-1", "-o", "wide", "--show-labels"],
            &["get", "node", "node-1", "-o", "jsonpath={.spec.taints}"],
            &["apply", "-k", base],
            &["apply", "-k", base],
            &[
                "get",
                "clusterrole",
                "csr-warden",
                "-o",
                "jsonpath={.rules[*].resources}",
            ],
        ] {
            self.record(0, args).await?;
        }
        for args in [
            &["create", "-f", "map.json"][..],
            &["create", "-f", "wrong.json"],
            &["apply", "-f", "wrong.json"],
            &["label", "node", "node-1", "a=d"],
            &[
                "patch",
                "node",
                "node-1",
                "-p",
                r#"{"spec": {"surprise": 1}}"#,
            ],
        ] {
            self.record(if args.contains(&"patch") { 0 } else { 1 }, args)
                .await?;
        }
        Ok(())
    }

    /// Objects that kubectl builds itself and sends in protobuf. The embedded API server supports
    /// few kinds in protobuf, so these differ. The same objects from a file work.
    async fn make(&mut self) -> Result<()> {
        self.record(0, &["create", "-f", "account.json"]).await?;
        let (code, token, _) = self.run(&["create", "token", "made"]).await?;
        ensure!(code == 0 && token.len() > 10, "no token: {token}");
        for args in [
            &["create", "namespace", "made"][..],
            &["create", "configmap", "made", "--from-literal=a=b"],
            &["create", "secret", "generic", "made", "--from-literal=a=b"],
            &["create", "serviceaccount", "other"],
            &[
                "create",
                "service",
                "externalname",
                "made",
                "--external-name=example.com",
            ],
            &[
                "create",
                "role",
                "made",
                "--verb=get",
                "--resource=configmaps",
            ],
            &["auth", "reconcile", "-f", "role.json"],
            &["explain", "csr.spec"],
        ] {
            self.exit_code(args).await?;
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<()> {
        for args in [
            &["delete", "csr", "csr-2"][..],
            &["delete", "csr", "--all"],
            &["delete", "serviceaccount", "made", "--wait=false"],
            &["delete", "configmap", "absent", "--ignore-not-found"],
            &["get", "csr"],
        ] {
            self.record(0, args).await?;
        }
        self.record(1, &["delete", "csr", "csr-2"]).await
    }

    /// Commands without an equal output, as the versions differ.
    async fn look_around(&self) -> Result<()> {
        for (args, expected) in [
            (&["version"][..], "Server Version: v1.36"),
            (&["api-resources"], "CertificateSigningRequest"),
            (&["get", "services,events", "-A"], "service/kubernetes"),
        ] {
            let (code, stdout, stderr) = self.run(args).await?;
            ensure!(
                code == 0 && stdout.contains(expected),
                "kubectl {args:?} should say `{expected}`:\n{stdout}{stderr}"
            );
        }
        Ok(())
    }
}

/// Creates a Node with one address, and the request of its kubelet.
pub async fn node_asks(client: &Client, node: &str, name: &str) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let made = serde_json::from_value(json!({"metadata": {"name": node}}))?;
    nodes.create(&PostParams::default(), &made).await?;
    let number = node.rsplit('-').next().context("a number")?;
    let address = format!("10.0.0.{number}");
    let status = json!({"status": {"addresses": [
        {"type": "InternalIP", "address": address},
        {"type": "Hostname", "address": node},
    ]}});
    nodes
        .patch_status(node, &PatchParams::default(), &Patch::Merge(status))
        .await?;
    let pem = Recipe::genuine(node, &[node], &[address.parse()?]).pem();
    NewRequest::new(name, pem).post(client).await?;
    Ok(())
}
