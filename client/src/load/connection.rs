//! The flags of how connections are made and kept.

use crate::cli;
use crate::fleet::{Endpoint, FleetConfig, Host, Url};
use clap::Args;
use std::net::IpAddr;
use std::time::Duration;

/// How to make connections, and how long to wait for the server
#[derive(Args, Clone, Debug)]
pub struct ConnectionArgs {
    /// Local address to connect from, to the server's addresses of its family; give several for more connections than an
    /// address has ports [default: all of 127.0.0.0/8 to a server there, else the kernel's choice]
    #[arg(long, value_name = "IP", num_args = 1.., value_delimiter = ',')]
    pub source_ip: Vec<IpAddr>,

    /// Threads [default: one per core, or as many as the limit on open files requires]
    #[arg(long, value_name = "N", value_parser = cli::count)]
    pub shards: Option<u64>,

    /// Pin each thread to a core: for a server on this machine that also has --pin
    #[arg(long)]
    pub pin: bool,

    /// Fail a handshake that takes longer than this
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = cli::positive_duration)]
    pub connect_timeout: Duration,

    /// Fail a connection that waits longer than this for an echo, or for the server's Close
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = cli::positive_duration)]
    pub message_timeout: Duration,
}

impl ConnectionArgs {
    /// Fails where a source address cannot be used with the server's, as far as the URL says which that is: the addresses
    /// of a name are known only once it is resolved.
    ///
    /// # Errors
    /// Which ones, in one line.
    pub fn check(&self, url: &Url) -> Result<(), String> {
        let Host::Ip(server) = url.authority.host else { return Ok(()) };
        match self.source_ip.iter().find(|source| source.is_ipv4() != server.is_ipv4()) {
            Some(source) => Err(format!(
                "--source-ip {source} and the server's address {server} are not both IPv4, or both IPv6"
            )),
            None => Ok(()),
        }
    }

    /// A fleet of up to `connections` that is connected so.
    pub fn fleet(&self, endpoint: Endpoint, connections: u64) -> FleetConfig {
        FleetConfig {
            shards: self.shards.map(|shards| shards as usize),
            pin: self.pin,
            source_ips: self.source_ip.clone(),
            connect_timeout: self.connect_timeout,
            message_timeout: self.message_timeout,
            ..FleetConfig::new(endpoint, connections)
        }
    }
}
