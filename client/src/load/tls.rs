//! The flags of `wss://`.

use crate::fleet::{Host, Url};
use crate::tls::{Certificates, Client, Options, PrivateKey, check};
use clap::Args;

/// How to connect to wss:// servers
#[derive(Args, Clone, Debug, Default)]
pub struct TlsArgs {
    /// With wss://, trust the certificates in this PEM file instead of the system's: an issuer's, or the server's own
    #[arg(long, value_name = "FILE", value_parser = Certificates::read, conflicts_with = "insecure")]
    pub ca: Option<Certificates>,

    /// With wss://, accept any certificate: an expired one, one for another name, a forged one
    #[arg(long)]
    pub insecure: bool,

    /// With wss://, present this client certificate, a PEM file that may have those of its issuers too
    #[arg(long, value_name = "FILE", value_parser = Certificates::read, requires = "key")]
    pub cert: Option<Certificates>,

    /// The private key of --cert, a PEM file
    #[arg(long, value_name = "FILE", value_parser = PrivateKey::read, requires = "cert")]
    pub key: Option<PrivateKey>,

    /// With wss://, resume earlier sessions where the server allows it [default: every handshake is a full one]
    #[arg(long)]
    pub tls_resume: bool,
}

impl TlsArgs {
    /// Fails where flags do not go together, or have no effect on the servers of these URLs.
    ///
    /// # Errors
    /// Which ones, and why, in one line.
    pub fn check<'u>(&self, mut urls: impl Iterator<Item = &'u Url>) -> Result<(), String> {
        let given = [
            ("--ca", self.ca.is_some()),
            ("--insecure", self.insecure),
            ("--cert", self.cert.is_some()),
            ("--tls-resume", self.tls_resume),
        ];
        if let Some((flag, _)) = given.iter().find(|(_, is_given)| *is_given)
            && !urls.any(|url| url.is_tls)
        {
            return Err(format!("{flag} is for wss:// only, and the server is not given as such"));
        }
        self.identity().map_or(Ok(()), check)
    }

    /// What connections to this URL need; `None` for `ws://`.
    ///
    /// # Errors
    /// Where the system has no certificates to trust, in one line.
    pub fn client(&self, url: &Url) -> Result<Option<Client>, String> {
        if !url.is_tls {
            return Ok(None);
        }
        let host = match &url.authority.host {
            Host::Ip(address) => address.to_string(),
            Host::Name(name) => name.clone(),
        };
        let options = Options {
            ca: self.ca.as_ref(),
            insecure: self.insecure,
            identity: self.identity(),
            resume: self.tls_resume,
        };
        Client::new(&host, options).map(Some)
    }

    fn identity(&self) -> Option<(&Certificates, &PrivateKey)> {
        self.cert.as_ref().zip(self.key.as_ref())
    }
}
