//! The Pod of a rendered Deployment, run as a process in a mount namespace.
//!
//! It has the arguments and environment of the Pod, its ServiceAccount's token, and its ConfigMaps
//! and Secrets at their mount paths. It needs the network namespace of [`super::netns`] too, since
//! its ports are those of the Pod.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::Value;

use super::cluster::Cluster;
use super::daemon::Daemon;
use super::manifests::Objects;
use super::process::Launch;

/// The environment variables that hold the address of the API server.
const HOST: &str = "KUBERNETES_SERVICE_HOST";
const PORT: &str = "KUBERNETES_SERVICE_PORT";
/// Mounts empty directories and fills them. `run` leads to the ServiceAccount's volume. The
/// arguments up to `--` are the volumes, each a directory and its mount path. The remaining
/// arguments are the program.
const ENTER: &str = r#"
set -e
account=$1; shift
mount -t tmpfs tmpfs /run
mkdir -p /run/secrets/kubernetes.io/serviceaccount
mount --bind "$account" /run/secrets/kubernetes.io/serviceaccount
mount -t tmpfs tmpfs /etc
while [ "$1" != -- ]; do
    mkdir "$2"
    mount --bind "$1" "$2"
    shift 2
done
shift
exec "$@"
"#;

/// Starts `binary` as the only container of the Deployment, on a node with this address.
///
/// `name` is the name of the Pod and of its log.
pub async fn start(
    cluster: &Cluster,
    binary: &Path,
    objects: &Objects,
    name: &str,
    node: Ipv4Addr,
) -> Result<Daemon> {
    let deployment = objects
        .get("Deployment kube-system/csr-warden")
        .context("no Deployment")?;
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let account = account(cluster, pod, name).await?;
    let volumes = volumes(cluster, pod, objects, name).await?;

    let server = cluster.server().rsplit_once(':').context("a port")?.1;
    let mut variables = vec![
        (HOST.to_owned(), node.to_string()),
        (PORT.to_owned(), server.to_owned()),
        ("HOSTNAME".to_owned(), name.to_owned()),
    ];
    for variable in container["env"].as_array().into_iter().flatten() {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let field = variable.pointer("/valueFrom/fieldRef/fieldPath");
        let value = match (text(&variable["value"]), field.and_then(Value::as_str)) {
            (Some(value), _) => value,
            (None, Some("status.hostIP")) => node.to_string(),
            (None, other) => bail!("a variable from {other:?}"),
        };
        variables.push((text(&variable["name"]).context("a name")?, value));
    }
    let args = container["args"].as_array().context("args")?;
    let args: Vec<&str> = args.iter().filter_map(Value::as_str).collect();
    // The port of the probes, which the test uses too.
    let port = container["ports"][0]["containerPort"]
        .as_u64()
        .context("a port")?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port)?));

    let mut launch = Launch::new(name, Path::new("unshare"), cluster.dir())
        .with_stdin()
        .args(["--mount", "--", "sh", "-c", ENTER, "sh"])
        .args([account.as_os_str()])
        .args(volumes.iter().flat_map(|(folder, path)| [folder, path]))
        .args(["--".as_ref(), binary.as_os_str()])
        .args(args);
    for (name, value) in variables {
        launch = launch.env(name, value);
    }
    Daemon::launch(launch, address)
}

/// Creates the volume of the Pod's ServiceAccount, if the Pod mounts it.
async fn account(cluster: &Cluster, pod: &Value, name: &str) -> Result<PathBuf> {
    ensure!(pod["automountServiceAccountToken"] == true, "no token");
    let account = pod["serviceAccountName"].as_str().context("an account")?;
    let token = cluster.token("kube-system", account).await?;
    let folder = cluster.dir().join(format!("{name}-account"));
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("token"), token)?;
    std::fs::write(folder.join("namespace"), "kube-system")?;
    std::fs::copy(cluster.authority().pair().cert, folder.join("ca.crt"))?;
    Ok(folder)
}

/// Creates the volumes of the Pod. Returns each directory with its mount path.
async fn volumes(
    cluster: &Cluster,
    pod: &Value,
    objects: &Objects,
    name: &str,
) -> Result<Vec<(PathBuf, PathBuf)>> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mounts = list(&pod["containers"][0]["volumeMounts"]);
    let volumes = list(&pod["volumes"]);
    ensure!(mounts.len() == volumes.len(), "{mounts:?} of {volumes:?}");
    let mut mounted = Vec::new();
    for mount in mounts {
        let named = |volume: &&Value| volume["name"] == mount["name"];
        let volume = volumes.iter().find(named).context("no such volume")?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let path = text(&mount["mountPath"]).context("mountPath")?;
        ensure!(path.starts_with("/etc/"), "{mount}");
        let folder = text(&mount["name"]).context("name")?;
        let folder = cluster.dir().join(format!("{name}-{folder}"));
        std::fs::create_dir(&folder)?;
        if let Some(map) = volume["configMap"]["name"].as_str() {
            let map = &objects
                .get(&format!("ConfigMap kube-system/{map}"))
                .context("no such ConfigMap")?;
            for (file, text) in map["data"].as_object().context("data")? {
                std::fs::write(folder.join(file), text.as_str().context("text")?)?;
            }
        } else {
            let secret = volume["secret"]["secretName"].as_str();
            let secret = secret.with_context(|| format!("a volume of another kind: {volume}"))?;
            let api: Api<Secret> = Api::namespaced(cluster.admin(), "kube-system");
            for (file, bytes) in api.get(secret).await?.data.unwrap_or_default() {
                std::fs::write(folder.join(file), bytes.0)?;
            }
        }
        mounted.push((folder, PathBuf::from(path)));
    }
    Ok(mounted)
}
