//! `--source-ip`: addresses of this machine, and interfaces that have some.

use crate::fleet::Endpoint;
use anyhow::{Result, ensure};
use if_addrs::{IfAddr, Interface, get_if_addrs};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

/// A source of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An address.
    Address(IpAddr),
    /// An interface: its name, and all its addresses.
    Interface(String, Vec<SocketAddr>),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Source, String> {
        if let Ok(address) = text.parse() {
            return Ok(Source::Address(address));
        }
        let all = get_if_addrs().map_err(|error| format!("cannot list the interfaces: {error}"))?;
        interface(text, &all)
    }
}

/// The interface of this name, of `all` the addresses of the machine.
fn interface(name: &str, all: &[Interface]) -> Result<Source, String> {
    let addresses: Vec<_> = all.iter().filter(|each| each.name == name).map(address).collect();
    if addresses.is_empty() {
        let mut names: Vec<_> = all.iter().map(|each| each.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let names = names.join(", ");
        return Err(format!("neither an IP address nor an interface that has one; these have: {names}"));
    }
    Ok(Source::Interface(name.to_owned(), addresses))
}

/// The address to bind to. A link-local one of IPv6 is unique only together with its interface (RFC 4007).
fn address(interface: &Interface) -> SocketAddr {
    match &interface.addr {
        IfAddr::V4(of) => SocketAddr::new(of.ip.into(), 0),
        IfAddr::V6(of) if of.is_link_local() => {
            SocketAddrV6::new(of.ip, 0, 0, interface.index.unwrap_or_default()).into()
        }
        IfAddr::V6(of) => SocketAddr::new(of.ip.into(), 0),
    }
}

/// The addresses to connect to the endpoint from, each once: of interfaces those that can reach one of its addresses.
///
/// # Errors
/// An interface without such an address, in one line.
pub fn addresses(sources: &[Source], endpoint: &Endpoint) -> Result<Vec<SocketAddr>> {
    let mut all = Vec::new();
    for source in sources {
        let usable: Vec<SocketAddr> = match source {
            Source::Address(address) => vec![SocketAddr::new(*address, 0)],
            Source::Interface(name, addresses) => {
                let reaches = |from: &&SocketAddr| endpoint.addrs().iter().any(|to| can_reach(**from, *to));
                let usable: Vec<_> = addresses.iter().filter(reaches).copied().collect();
                let [to, ..] = endpoint.addrs() else { unreachable!("an endpoint has an address") };
                let family = if to.is_ipv4() { "IPv4" } else { "IPv6" };
                ensure!(
                    !usable.is_empty(),
                    "the interface {name} has no {family} address that reaches {}: give another --source-ip",
                    to.ip()
                );
                usable
            }
        };
        for address in usable {
            if !all.contains(&address) {
                all.push(address);
            }
        }
    }
    Ok(all)
}

/// Whether the addresses are of one family, and of one scope: a link-local address reaches only others, and in IPv6 it is
/// also reached only from others, which know the interface.
fn can_reach(from: SocketAddr, to: SocketAddr) -> bool {
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => !from.is_link_local() || to.is_link_local(),
        (IpAddr::V6(from), IpAddr::V6(to)) => from.is_unicast_link_local() == to.is_unicast_link_local(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Url;
    use if_addrs::{IfOperStatus, Ifv4Addr, Ifv6Addr};

    fn of(name: &str, address: &str) -> Interface {
        let addr = match address.parse().expect("an address") {
            IpAddr::V4(ip) => IfAddr::V4(Ifv4Addr { ip, netmask: ip, prefixlen: 24, broadcast: None }),
            IpAddr::V6(ip) => IfAddr::V6(Ifv6Addr { ip, netmask: ip, prefixlen: 64, broadcast: None }),
        };
        let index = Some(7);
        Interface { name: name.to_owned(), addr, index, oper_status: IfOperStatus::Up, is_p2p: false }
    }

    fn machine() -> Vec<Interface> {
        let all = [
            ("lo", "127.0.0.1"),
            ("eth0", "10.0.0.3"),
            ("eth0", "fe80::3"),
            ("eth0", "2001:db8::3"),
            ("eth0", "10.0.0.4"),
            ("eth0", "169.254.0.3"),
        ];
        all.map(|(name, address)| of(name, address)).to_vec()
    }

    fn from(sources: &[Source], url: &str) -> Result<Vec<String>, String> {
        let endpoint = url.parse::<Url>().expect(url).resolve().expect("an address");
        let addresses = addresses(sources, &endpoint).map_err(|error| error.to_string())?;
        Ok(addresses.iter().map(SocketAddr::to_string).collect())
    }

    #[test]
    fn an_interface_is_its_addresses_of_the_servers_family_and_scope() {
        let eth0 = [interface("eth0", &machine()).expect("an interface")];
        assert_eq!(from(&eth0, "ws://10.1.0.1/").expect("two"), ["10.0.0.3:0", "10.0.0.4:0"]);
        assert_eq!(from(&eth0, "ws://[2001:db8::1]/").expect("one"), ["[2001:db8::3]:0"]);
        assert_eq!(from(&eth0, "ws://[fe80::1]/").expect("one"), ["[fe80::3%7]:0"]);
        let local = from(&eth0, "ws://169.254.0.1/").expect("three");
        assert_eq!(local, ["10.0.0.3:0", "10.0.0.4:0", "169.254.0.3:0"]);
        let both = [Source::Address("10.0.0.4".parse().expect("an address")), eth0[0].clone()];
        assert_eq!(from(&both, "ws://10.1.0.1/").expect("each once"), ["10.0.0.4:0", "10.0.0.3:0"]);
    }

    #[test]
    fn what_is_unusable_is_explained() {
        assert_eq!("::1".parse(), Ok(Source::Address("::1".parse().expect("an address"))));
        let error = interface("eth9", &machine()).expect_err("no such interface");
        assert_eq!(error, "neither an IP address nor an interface that has one; these have: eth0, lo");
        let lo = [interface("lo", &machine()).expect("an interface")];
        let error = from(&lo, "ws://[2001:db8::1]/").expect_err("IPv4 only");
        assert!(
            error.starts_with("the interface lo has no IPv6 address that reaches 2001:db8::1"),
            "{error}"
        );
    }
}
