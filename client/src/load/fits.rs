//! Whether this machine can hold the connections asked for, before the first is opened.
//!
//! The estimates are low, so that nothing possible is refused.

use crate::fleet::{Url, local_ports};
use crate::report::format;
use anyhow::{Result, ensure};
use common::memory::Memory;
use std::net::IpAddr;

/// Kernel memory per end of a connection, measured: TCP socket 2.4 KB, inode, directory entry and file 1.2 KB, epoll
/// entry 0.1 KB.
const KERNEL_END_BYTES: u64 = 3_700;

/// Fails where the machine certainly cannot hold them.
///
/// # Errors
/// The limit, and what to do, in one line.
pub fn fits(url: &Url, source_ips: &[IpAddr], connections: u64) -> Result<()> {
    let loopback = url.addr.ip().is_loopback();
    let sources = source_ips.len().max(1) as u64;
    // Over loopback every address of 127.0.0.0/8 has ports of its own; IPv6 has only one loopback address.
    if !(loopback && url.addr.is_ipv4() && source_ips.is_empty()) {
        ports(connections, sources, local_ports())?;
    }
    let available = Memory::now().map_or(u64::MAX, |memory| memory.available);
    memory(connections, if loopback { 2 } else { 1 }, available)
}

fn ports(connections: u64, sources: u64, per_source: u64) -> Result<()> {
    let most = sources.saturating_mul(per_source);
    ensure!(
        connections <= most,
        "{connections} connections need more local ports than the {most} there are (net.ipv4.ip_local_port_range has \
         {per_source} for each address): give {} addresses with --source-ip, or widen that range",
        connections.div_ceil(per_source)
    );
    Ok(())
}

fn memory(connections: u64, ends: u64, available: u64) -> Result<()> {
    let needed = connections.saturating_mul(KERNEL_END_BYTES * ends);
    ensure!(
        needed <= available,
        "{connections} connections need {} of kernel memory on this machine, and {} are available: ask for at most {}",
        format::bytes(needed as f64),
        format::bytes(available as f64),
        available / (KERNEL_END_BYTES * ends)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_are_refused_with_the_way_out() {
        assert!(ports(28_232, 1, 28_232).is_ok() && ports(28_233, 2, 28_232).is_ok());
        let error = ports(100_000, 1, 28_232).unwrap_err().to_string();
        assert!(error.contains("28232") && error.contains("give 4 addresses with --source-ip"), "{error}");
        assert!(memory(1_000_000, 2, 8_000_000_000).is_ok());
        let error = memory(10_000_000, 2, 24_000_000_000).unwrap_err().to_string();
        assert!(error.contains("74 GB") && error.contains("at most 3243243"), "{error}");
    }
}
