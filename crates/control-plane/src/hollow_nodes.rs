//! Hollow nodes: each runs a complete kubelet without real containers (`go/hollow`), at an address
//! of its own.
//!
//! A mount namespace gives it the directories of kubeadm. A command over [`HollowNodes::ssh`] sees
//! the same directories.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::assets::Assets;
use super::cluster::Cluster;
use super::netns;
use super::process::{Launch, Process};

/// Mounts the node's directories at the kubelet's paths, and executes the remaining arguments.
const ENTER: &str = r#"
set -e
machine=$1; shift
mount -t tmpfs tmpfs /etc
mkdir /etc/kubernetes
mount --bind "$machine/kubernetes" /etc/kubernetes
mount -t tmpfs tmpfs /var/lib
mkdir /var/lib/kubelet
mount --bind "$machine/kubelet" /var/lib/kubelet
exec "$@"
"#;

/// Stubs of an administrator's programs: `ssh`, `sudo`, `systemctl` and `kubeadm`.
const PROGRAMS: [(&str, &str); 4] = [
    (
        "ssh",
        r#"machine=$1; shift
exec unshare --mount -- sh "MACHINES/enter" "MACHINES/$machine" sh -c "$*""#,
    ),
    ("sudo", r#"exec "$@""#),
    (
        "systemctl",
        r#"[ "$*" = "restart kubelet" ]
exec kill -HUP "$(cat /var/lib/kubelet/pid)""#,
    ),
    (
        "kubeadm",
        r#"[ "$*" = "upgrade node phase kubelet-config" ]
exec kubectl get configmap kubelet-config -n kube-system -o jsonpath={.data.kubelet} \
    >/var/lib/kubelet/config.yaml"#,
    ),
];

/// All hollow nodes of a cluster.
pub struct HollowNodes {
    folder: PathBuf,
}

/// A hollow node with its kubelet, which is stopped when dropped.
pub struct HollowNode {
    /// The kubelet, which restarts on SIGHUP.
    pub kubelet: Process,
    name: String,
    folder: PathBuf,
}

impl HollowNodes {
    /// Creates an empty set of nodes.
    pub fn new(cluster: &Cluster) -> Result<Self> {
        let folder = cluster.dir().join("machines");
        std::fs::create_dir(&folder)?;
        std::fs::write(folder.join("enter"), ENTER)?;
        Ok(Self { folder })
    }

    /// Writes the administrator's programs into this directory.
    pub fn ssh(&self, programs: &Path) -> Result<()> {
        for (name, text) in PROGRAMS {
            let text = text.replace("MACHINES", &self.folder.to_string_lossy());
            let file = programs.join(name);
            std::fs::write(&file, format!("#!/bin/sh\nset -e\n{text}\n"))?;
            std::fs::set_permissions(file, PermissionsExt::from_mode(0o755))?;
        }
        Ok(())
    }

    /// Starts a node with this name and address, whose kubelet has this configuration. Its
    /// containers' logs are those of the processes with the same names.
    pub fn start(
        &self,
        assets: &Assets,
        cluster: &Cluster,
        name: &str,
        address: Ipv4Addr,
        config: &str,
    ) -> Result<HollowNode> {
        netns::add(address)?;
        let folder = self.folder.join(name);
        let (kubernetes, kubelet) = (folder.join("kubernetes"), folder.join("kubelet"));
        std::fs::create_dir_all(kubernetes.join("pki"))?;
        std::fs::create_dir_all(kubernetes.join("manifests"))?;
        std::fs::create_dir_all(kubelet.join("pki"))?;
        let ca = cluster.authority().pair().cert;
        std::fs::copy(ca, kubernetes.join("pki/ca.crt"))?;
        let user = format!("system:node:{name}");
        let credential = cluster.kubeconfig_for(&user, &["system:nodes"])?;
        std::fs::copy(credential, kubernetes.join("kubelet.conf"))?;
        std::fs::write(kubelet.join("config.yaml"), config)?;
        let process = format!("kubelet-{name}");
        let launch = Launch::new(&process, Path::new("unshare"), cluster.dir())
            .args(["--mount", "--", "sh"])
            .args([self.folder.join("enter"), folder.clone()])
            .args([&assets.hollow])
            .args([
                format!("--name={name}"),
                format!("--node-ip={address}"),
                format!("--logs={}", cluster.dir().display()),
            ]);
        Ok(HollowNode {
            kubelet: Process::spawn(launch)?,
            name: name.to_owned(),
            folder,
        })
    }
}

impl HollowNode {
    /// Returns the name of the node.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the path of the API server's manifest on this node.
    pub fn manifest(&self) -> PathBuf {
        self.folder.join("kubernetes/manifests/kube-apiserver.yaml")
    }
}
