//! Free ports on the loopback address.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context as _, Result};

/// `N` different TCP ports that were free on 127.0.0.1 a moment ago.
///
/// Another process could take one before it is used; in a network namespace of its own there is none.
pub fn free<const N: usize>() -> Result<[u16; N]> {
    // All are held until the last is found, so that none is given twice.
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
