//! The programs of a control plane, found in `KUBEBUILDER_ASSETS` or built from Go modules.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use ring::digest;

use super::kubernetes_version;
use super::process::in_path;

/// Paths of the programs, all of which exist.
#[derive(Clone, Debug)]
pub struct Assets {
    /// etcd.
    pub etcd: PathBuf,
    /// kube-apiserver.
    pub api_server: PathBuf,
    /// kube-controller-manager.
    pub controller_manager: PathBuf,
    /// kubectl.
    pub kubectl: PathBuf,
    /// The fleet of kubelet certificate managers (`go/fleet`).
    pub fleet: PathBuf,
    /// Kubernetes' own parser of requests (`go/reader`).
    pub reader: PathBuf,
    /// The kubelet's own generator of requests (`go/asker`).
    pub asker: PathBuf,
    /// A hollow kubelet: complete except for its containers (`go/hollow`).
    pub hollow: PathBuf,
    /// Helm, built from its own Go module.
    pub helm: PathBuf,
    /// metrics-server, built from its own Go module.
    pub metrics_server: PathBuf,
    /// prometheus-adapter, built from its own Go module.
    pub prometheus_adapter: PathBuf,
}

/// The reason why the programs are not available.
#[derive(Debug)]
pub enum Unavailable {
    /// A prerequisite is missing, which the text names.
    Missing(String),
    /// The build failed.
    Broken(anyhow::Error),
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(what) => write!(f, "{what}"),
            Self::Broken(error) => write!(f, "{error:#}"),
        }
    }
}

impl std::error::Error for Unavailable {}

/// A program and its Go package.
struct Program {
    name: &'static str,
    /// The directory of the Go module that pins the versions.
    module: &'static str,
    package: &'static str,
}

/// The module whose Kubernetes version can be changed.
const KUBERNETES: &str = "go";

const PROGRAMS: [Program; 11] = [
    // The API server is first: it has most of the packages of the others.
    Program {
        name: "kube-apiserver",
        module: KUBERNETES,
        package: "k8s.io/kubernetes/cmd/kube-apiserver",
    },
    Program {
        name: "kube-controller-manager",
        module: KUBERNETES,
        package: "k8s.io/kubernetes/cmd/kube-controller-manager",
    },
    Program {
        name: "etcd",
        module: KUBERNETES,
        package: "go.etcd.io/etcd/server/v3",
    },
    Program {
        name: "kubectl",
        module: KUBERNETES,
        package: "k8s.io/kubernetes/cmd/kubectl",
    },
    Program {
        name: "fleet",
        module: KUBERNETES,
        package: "./fleet",
    },
    Program {
        name: "reader",
        module: KUBERNETES,
        package: "./reader",
    },
    Program {
        name: "asker",
        module: KUBERNETES,
        package: "./asker",
    },
    Program {
        name: "hollow",
        module: KUBERNETES,
        package: "./hollow",
    },
    Program {
        name: "helm",
        // Its Kubernetes libraries have another version than the control plane.
        module: "go-helm",
        package: "helm.sh/helm/v4/cmd/helm",
    },
    Program {
        name: "metrics-server",
        module: "go-metrics-server",
        package: "sigs.k8s.io/metrics-server/cmd/metrics-server",
    },
    Program {
        name: "prometheus-adapter",
        module: "go-prometheus-adapter",
        package: "sigs.k8s.io/prometheus-adapter/cmd/adapter",
    },
];

/// The interpreter of the monitoring mixin. It is no part of a control plane.
const JSONNET: Program = Program {
    name: "jsonnet",
    module: "go-jsonnet",
    package: "github.com/google/go-jsonnet/cmd/jsonnet",
};

impl Assets {
    /// Finds each program in `KUBEBUILDER_ASSETS`. Builds a missing one with Go, once.
    ///
    /// The first build takes about eleven minutes on two cores and downloads Go modules. It must
    /// run before [`super::netns::enter`].
    pub fn find() -> Result<Self, Unavailable> {
        let mut files = Vec::new();
        for program in &PROGRAMS {
            files.push(found(program)?);
        }
        let [
            api_server,
            controller_manager,
            etcd,
            kubectl,
            fleet,
            reader,
            asker,
            hollow,
            helm,
            metrics_server,
            prometheus_adapter,
        ] = <[PathBuf; 11]>::try_from(files)
            .map_err(|_| broken("eleven programs were expected"))?;
        Ok(Self {
            etcd,
            api_server,
            controller_manager,
            kubectl,
            fleet,
            reader,
            asker,
            hollow,
            helm,
            metrics_server,
            prometheus_adapter,
        })
    }
}

/// Finds `jsonnet` in `KUBEBUILDER_ASSETS`. Builds it with Go if it is not there, once.
pub fn jsonnet() -> Result<PathBuf, Unavailable> {
    found(&JSONNET)
}

/// Returns the path in `KUBEBUILDER_ASSETS` or in the directory of binaries.
fn found(program: &Program) -> Result<PathBuf, Unavailable> {
    let given = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let ready = given.map(|dir| dir.join(program.name));
    match ready.filter(|file| file.is_file()) {
        Some(file) => Ok(file),
        None => {
            let bin = target_dir().join("control-plane").join("bin");
            built(program, &kubernetes_version::version(), &bin)
        }
    }
}

fn broken(what: &'static str) -> Unavailable {
    Unavailable::Broken(anyhow::Error::msg(what))
}

/// Returns Cargo's target directory that contains the running program.
pub fn target_dir() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let tagged = program
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").is_file());
    tagged.map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
        Path::to_owned,
    )
}

/// Returns the path of the program. Builds it if it is missing or its source has changed.
fn built(program: &Program, version: &str, bin: &Path) -> Result<PathBuf, Unavailable> {
    if !in_path("go") && !bin.join(program.name).is_file() {
        return Err(Unavailable::Missing(format!(
            "no `{}` to run: install Go 1.26 or newer, which builds it from source, or set \
             KUBEBUILDER_ASSETS to a directory with etcd, kube-apiserver, kube-controller-manager, \
             kubectl, fleet, reader, asker, hollow, helm, metrics-server, prometheus-adapter and \
             jsonnet",
            program.name,
        )));
    }
    let build = || -> Result<PathBuf> {
        let (module, bin) = if program.module == KUBERNETES {
            kubernetes_version::module(version, bin)?
        } else {
            let modules = Path::new(env!("CARGO_MANIFEST_DIR"));
            (modules.join(program.module), bin.to_owned())
        };
        let file = bin.join(program.name);
        let stamp = bin.join(format!("{}.stamp", program.name));
        let source = fingerprint(program, &module)?;
        let fresh = || file.is_file() && std::fs::read_to_string(&stamp).is_ok_and(|s| s == source);
        if fresh() {
            return Ok(file);
        }
        std::fs::create_dir_all(&bin).with_context(|| format!("create `{}`", bin.display()))?;
        // Test programs may start concurrently: one builds and the others wait.
        let lock = File::create(bin.join("lock"))?;
        lock.lock().context("lock of the directory of binaries")?;
        if !fresh() {
            go_build(program, version, &module, &file)?;
            std::fs::write(&stamp, &source)?;
        }
        Ok(file)
    };
    build().map_err(Unavailable::Broken)
}

fn go_build(program: &Program, version: &str, module: &Path, file: &Path) -> Result<()> {
    eprintln!("building {} from {} ...", program.name, program.package);
    let begun = Instant::now();
    // Without a version, `kubectl version` and others fail to parse their own.
    let flags = format!(
        "-s -w -X k8s.io/component-base/version.gitVersion=v{version} \
         -X k8s.io/client-go/pkg/version.gitVersion=v{version}"
    );
    let status = Command::new("go")
        .args(["build", "-p", "2", "-ldflags", &flags, "-o"])
        .arg(file)
        .arg(program.package)
        .current_dir(module)
        .status()
        .context("run `go build`")?;
    ensure!(
        status.success(),
        "`go build {}` failed: {status}",
        program.package
    );
    eprintln!(
        "built {} in {:.1} s",
        program.name,
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Returns a digest of the module versions, and of the source if it is in this repository.
fn fingerprint(program: &Program, module: &Path) -> Result<String> {
    let mut sources = vec![module.join("go.mod")];
    if let Some(folder) = program.package.strip_prefix("./") {
        for entry in std::fs::read_dir(module.join(folder))? {
            sources.push(entry?.path());
        }
        sources.sort();
    }
    let mut context = digest::Context::new(&digest::SHA256);
    for source in sources {
        context.update(&std::fs::read(&source).with_context(|| source.display().to_string())?);
    }
    Ok(context
        .finish()
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
