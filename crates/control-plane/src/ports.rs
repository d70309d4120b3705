//! Free ports on the loopback address.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context as _, Result};

/// Returns `N` different TCP ports that are free on 127.0.0.1.
///
/// Another process could take one before it is used. In a network namespace there is no other
/// process.
pub fn free<const N: usize>() -> Result<[u16; N]> {
    // All are held until the last is found, so that none is returned twice.
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}
