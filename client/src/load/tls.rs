//! The flags of `wss://`.

use crate::fleet::{Host, Url};
use crate::tls::{Certificates, Client, Options, PrivateKey, check};
use clap::Args;

/// How to connect to wss:// servers
#[derive(Args, Clone, Debug, Default)]
pub struct TlsArgs {
    /// With wss://, trust the certificates in this PEM file instead of the system's: an issuer's, or the server's own
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub ca: Option<String>,

    /// With wss://, accept any certificate: an expired one, one for another name, a forged one
    #[arg(long)]
    pub insecure: bool,

    /// With wss://, present this client certificate, a PEM file that may have those of its issuers too
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<String>,

    /// The private key of --cert, a PEM file
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<String>,

    /// With wss://, resume earlier sessions where the server allows it [default: every handshake is a full one]
    #[arg(long)]
    pub tls_resume: bool,
}

impl TlsArgs {
    /// Fails where flags have no effect on the servers of these URLs, or where a file cannot be used.
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
        self.read().and_then(|files| files.check())
    }

    /// What connections to this URL need; `None` for `ws://`.
    ///
    /// # Errors
    /// Where a file cannot be used, or the system has no certificates to trust, in one line.
    pub fn client(&self, url: &Url) -> Result<Option<Client>, String> {
        if !url.is_tls {
            return Ok(None);
        }
        let host = match &url.authority.host {
            Host::Ip(address) => address.to_string(),
            Host::Name(name) => name.clone(),
        };
        let files = self.read()?;
        let options = Options { insecure: self.insecure, resume: self.tls_resume, ..files.options() };
        Client::new(&host, options).map(Some)
    }

    fn read(&self) -> Result<Files, String> {
        let of = |flag: &'static str| move |why: String| format!("{flag}: {why}");
        let certificates = |file: &Option<String>| file.as_deref().map(Certificates::read).transpose();
        Ok(Files {
            ca: certificates(&self.ca).map_err(of("--ca"))?,
            cert: certificates(&self.cert).map_err(of("--cert"))?,
            key: self.key.as_deref().map(PrivateKey::read).transpose().map_err(of("--key"))?,
        })
    }
}

/// What is in the files of the flags.
struct Files {
    ca: Option<Certificates>,
    cert: Option<Certificates>,
    key: Option<PrivateKey>,
}

impl Files {
    fn options(&self) -> Options<'_> {
        let identity = self.cert.as_ref().zip(self.key.as_ref());
        Options { ca: self.ca.as_ref(), identity, ..Options::default() }
    }

    fn check(&self) -> Result<(), String> {
        check(self.options())
    }
}
