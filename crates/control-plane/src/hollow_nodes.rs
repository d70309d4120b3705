//! A node: a whole kubelet (`go/hollow`) at an address of its own, with the folders that kubeadm gives it,
//! in a mount namespace. Whoever comes by [`HollowNodes::ssh`] finds the same folders.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::assets::Assets;
use super::cluster::Cluster;
use super::netns;
use super::process::{Launch, Process};

/// Puts the machine's folders where kubelets have them, and goes on as the rest of the arguments.
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

/// The programs of an administrator, as far as they are asked for: a way onto a machine, and there
/// the rights, the service and the program that writes the kubelet's configuration.
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

/// All machines of a cluster.
pub struct HollowNodes {
    folder: PathBuf,
}

/// One, with its kubelet. Dropping it ends that.
pub struct HollowNode {
    /// The kubelet; it starts anew on SIGHUP.
    pub kubelet: Process,
    name: String,
    folder: PathBuf,
}

impl HollowNodes {
    /// None yet.
    pub fn new(cluster: &Cluster) -> Result<Self> {
        let folder = cluster.dir().join("machines");
        std::fs::create_dir(&folder)?;
        std::fs::write(folder.join("enter"), ENTER)?;
        Ok(Self { folder })
    }

    /// Writes the administrator's programs into this folder.
    pub fn ssh(&self, programs: &Path) -> Result<()> {
        for (name, text) in PROGRAMS {
            let text = text.replace("MACHINES", &self.folder.to_string_lossy());
            let file = programs.join(name);
            std::fs::write(&file, format!("#!/bin/sh\nset -e\n{text}\n"))?;
            std::fs::set_permissions(file, PermissionsExt::from_mode(0o755))?;
        }
        Ok(())
    }

    /// A machine of this name and address, whose kubelet runs with this configuration. Its containers'
    /// logs are those of the processes of the same names.
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
    /// Its name, and its Node's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The manifest of the API server there, if it has one.
    pub fn manifest(&self) -> PathBuf {
        self.folder.join("kubernetes/manifests/kube-apiserver.yaml")
    }
}
