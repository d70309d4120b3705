//! A network namespace for the tests alone.
//!
//! EndpointSlices refuse loopback addresses, so an API server whose `kubernetes` endpoints are real
//! must have another address; inside a namespace it can have one and still nothing leaves the machine.

use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::process::in_path;

/// The address that the API server advertises, from the block that RFC 5737 keeps for documentation.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);

const INSIDE: &str = "CSR_WARDEN_TEST_NETNS";

/// Where the tests run.
pub enum Network {
    /// In a namespace that has loopback and [`ADDRESS`] only.
    Own,
    /// In the machine's own, with the reason.
    Shared(String),
}

/// Executes this program again inside a namespace of its own: on success this does not return, and
/// the program that starts anew gets `Network::Own`. Must come before any thread is started.
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
    // Tried first with nothing to lose: after `exec` there is no way back.
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

/// Gives the namespace that the tests run in one more address; nothing if it has that already.
pub fn add(address: Ipv4Addr) -> Result<()> {
    let address = format!("{address}/32");
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

/// A shell in a fresh namespace, which brings loopback up and then does `then`.
fn unshare(then: &str) -> Command {
    let mut command = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    let script = format!("ip link set lo up && ip address add {ADDRESS}/32 dev lo && {then}");
    command.args(["--net", "--", "sh", "-c", &script, "sh"]);
    command
}
