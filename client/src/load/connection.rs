//! The flags of how connections are made and kept.

use super::{ProxyArgs, Source, TlsArgs, fits, source_addresses};
use crate::cli;
use crate::fleet::{Endpoint, FleetConfig, Host, Url};
use anyhow::{Error, Result};
use clap::Args;
use std::time::Duration;

/// How to make connections, and how long to wait for the server
#[derive(Args, Clone, Debug)]
pub struct ConnectionArgs {
    /// How to connect to wss:// servers
    #[command(flatten)]
    pub tls: TlsArgs,

    /// The way to the server
    #[command(flatten)]
    pub proxy: ProxyArgs,

    /// Local address to connect from, to the server's addresses of its family, or the interface that has them, such as eth0;
    /// give several addresses for more connections than one has ports [default: all of 127.0.0.0/8 to a server there, else
    /// the kernel's choice]
    #[arg(long, value_name = "IP", num_args = 1.., value_delimiter = ',')]
    pub source_ip: Vec<Source>,

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
    /// Fails where flags contradict one another, or cannot be used with this server, as far as its URL says: the addresses
    /// of a name are known only once it is resolved.
    ///
    /// # Errors
    /// Which ones, in one line.
    pub fn check(&self, url: &Url) -> Result<(), String> {
        self.tls.check([url].into_iter())?;
        let proxy = self.proxy.proxy_to(url)?;
        let Host::Ip(first_hop) = proxy.as_ref().map_or(&url.authority, |proxy| &proxy.authority).host else {
            return Ok(());
        };
        let of_other_family = |source: &Source| match source {
            Source::Address(source) if source.is_ipv4() != first_hop.is_ipv4() => Some(*source),
            _ => None,
        };
        match self.source_ip.iter().find_map(of_other_family) {
            Some(source) => Err(format!(
                "--source-ip {source} and the server's address {first_hop} are not both IPv4, or both IPv6"
            )),
            None => Ok(()),
        }
    }

    /// Resolves the host of the URL, or of the proxy to it.
    ///
    /// # Errors
    /// Why it has no usable address, in one line.
    pub fn resolve(&self, url: &Url) -> Result<Endpoint> {
        let proxy = self.proxy.proxy_to(url).map_err(Error::msg)?;
        Ok(url.clone().resolve_through(proxy)?)
    }

    /// A fleet of up to `connections` that is connected so.
    ///
    /// # Errors
    /// If this machine cannot hold them, or a source or certificate cannot be used, in one line.
    pub fn fleet(&self, endpoint: Endpoint, connections: u64) -> Result<FleetConfig> {
        let source_ips = source_addresses(&self.source_ip, &endpoint)?;
        fits(&endpoint, &source_ips, connections)?;
        Ok(FleetConfig {
            tls: self.tls.client(&endpoint.url).map_err(Error::msg)?,
            shards: self.shards.map(|shards| shards as usize),
            pin: self.pin,
            source_ips,
            connect_timeout: self.connect_timeout,
            message_timeout: self.message_timeout,
            ..FleetConfig::new(endpoint, connections)
        })
    }
}
