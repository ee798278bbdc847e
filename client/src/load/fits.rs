//! Whether this machine can hold the connections asked for, before the first is opened.
//!
//! The estimates are low, so that nothing possible is refused.

use crate::fleet::{Endpoint, local_ports};
use crate::report::format;
use anyhow::{Context, Result, ensure};
use common::memory::Memory;
use std::net::SocketAddr;

/// Kernel memory per end of a connection, measured: TCP socket 2.4 KB, inode, directory entry and file 1.2 KB, epoll
/// entry 0.1 KB.
const KERNEL_END_BYTES: u64 = 3_700;

/// Fails where the machine certainly cannot hold them.
///
/// # Errors
/// The limit, and what to do, in one line.
pub fn fits(endpoint: &Endpoint, source_ips: &[SocketAddr], connections: u64) -> Result<()> {
    let addrs = endpoint.addrs();
    // To each address, a source address has all local ports.
    let each = connections.div_ceil(addrs.len() as u64);
    for addr in addrs {
        let sources = source_ips.iter().filter(|source| source.is_ipv4() == addr.is_ipv4()).count() as u64;
        // Over loopback every address of 127.0.0.0/8 has ports of its own; IPv6 has only one loopback address.
        if addr.is_ipv6() || !addr.ip().is_loopback() || sources > 0 {
            let fits = ports(each, sources.max(1), local_ports());
            if addrs.len() > 1 { fits.with_context(|| addr.to_string())? } else { fits? }
        }
    }
    let is_here = addrs.iter().all(|addr| addr.ip().is_loopback());
    let available = Memory::now().map_or(u64::MAX, |memory| memory.available);
    memory(connections, if is_here { 2 } else { 1 }, available)
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
    use crate::fleet::Url;

    #[test]
    fn ports_are_counted_per_address() {
        let endpoint = |text: &str| text.parse::<Url>().expect("url").resolve().expect("an address");
        let many = 2 * local_ports();
        let far = fits(&endpoint("ws://[::1]/"), &[], many).expect_err("too many").to_string();
        assert!(far.starts_with(&many.to_string()) && far.contains("give 2 addresses"), "{far}");
        let sources = ["[::1]:0", "[::2]:0"].map(|source| source.parse().expect("an address"));
        assert!(fits(&endpoint("ws://[::1]/"), &sources, many).is_ok());
        let two = ["10.0.0.7:80", "[2001:db8::7]:80"].map(|addr| addr.parse().expect("an address"));
        let two = "ws://echo.example/".parse::<Url>().expect("url").resolve_to(&two);
        assert!(fits(&two, &[], many).is_ok());
        let error = format!("{:#}", fits(&two, &[], many + 1).expect_err("too many"));
        assert!(error.starts_with("10.0.0.7:80: ") && error.contains("give 2 addresses"), "{error}");
        let one_family = [sources[0], sources[1]];
        assert!(fits(&two, &one_family, many + 1).is_err(), "they are not for IPv4");
    }

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
