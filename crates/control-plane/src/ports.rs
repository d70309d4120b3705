//! Free ports on the loopback address.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, bail};

/// Ports outside of `ip_local_port_range`, from which clients get theirs: between the search for a
/// port and its use, or while a server is stopped, no client takes one. Services of type NodePort
/// begin at 30000.
const PORTS: Range<u16> = 20_000..30_000;

/// Returns `N` different TCP ports that are free on every IPv4 address.
///
/// Each call returns other ports, until all have been returned. Another process could take one
/// before it is used. In a network namespace there is no other process.
pub fn free<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    for port in &mut ports {
        *port = next()?;
    }
    Ok(ports)
}

fn next() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let many = PORTS.end - PORTS.start;
    // Concurrent runs start at different ports.
    let begin = u16::try_from(std::process::id() % u32::from(many))?;
    for _ in 0..many {
        let next = NEXT.fetch_add(1, Ordering::Relaxed) % many;
        let port = PORTS.start + (begin + next) % many;
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port from {} to {}", PORTS.start, PORTS.end - 1)
}
