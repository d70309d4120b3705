//! A network namespace for the tests.
//!
//! EndpointSlices reject loopback addresses. So an API server that publishes its endpoints needs
//! another address. In a namespace it has one, and no packet leaves the machine.

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::process::in_path;

/// The address that the API server advertises, reserved for documentation by RFC 5737.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);

const INSIDE: &str = "CSR_WARDEN_TEST_NETNS";

/// The network namespace of the tests.
pub enum Network {
    /// A namespace with loopback and [`ADDRESS`] only.
    Own,
    /// The namespace of the machine, with the reason.
    Shared(String),
}

/// Executes this program again in a new namespace. On success this does not return, and the new
/// process gets `Network::Own`. Must be called before any thread is started.
pub fn enter() -> Network {
    if std::env::var_os(INSIDE).is_some() {
        return Network::Own;
    }
    for needed in ["unshare", "ip"] {
        if !in_path(needed) {
            return Network::Shared(format!(
                "`{needed}` is not in the PATH (util-linux, iproute2)"
            ));
        }
    }
    // Tested first, because a failure after `exec` cannot be handled.
    match unshare("true").output() {
        Ok(tried) if tried.status.success() => {}
        Ok(tried) => return Network::Shared(String::from_utf8_lossy(&tried.stderr).trim().into()),
        Err(error) => return Network::Shared(format!("unshare: {error}")),
    }
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return Network::Shared(format!("own program file: {error}")),
    };
    let error = unshare("exec \"$@\"")
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    Network::Shared(format!("unshare: {error}"))
}

/// Adds an address to the namespace of the tests, if it is missing.
pub fn add(address: impl Into<IpAddr>) -> Result<()> {
    let address = address.into();
    let length = if address.is_ipv4() { 32 } else { 128 };
    let address = format!("{address}/{length}");
    let output = Command::new("ip")
        .args(["address", "replace", &address, "dev", "lo"])
        .output()
        .context("run `ip`")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "ip address replace {address}: {error}"
    );
    Ok(())
}

/// Returns a shell in a new namespace that sets loopback up and then runs `then`.
fn unshare(then: &str) -> Command {
    let mut command = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    let script = format!("ip link set lo up && ip address add {ADDRESS}/32 dev lo && {then}");
    command.args(["--net", "--", "sh", "-c", &script, "sh"]);
    command
}
