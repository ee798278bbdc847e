//! TLS for `wss://`, without sockets: what to trust, one connection's records, and what its failures mean.

mod fault;
mod pem;
mod sessions;
mod stream;
mod trust;

pub use fault::{expects_tls, explain, is_alert};
pub use pem::{Certificates, PrivateKey};
pub use stream::{Status, Stream};

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, Error, InconsistentKeys};
use sessions::Sessions;
use std::fmt;
use std::sync::Arc;
use trust::Trust;

/// How to make connections over TLS 1.2 and 1.3. Cheap to clone; clones share the sessions to resume.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// What a [`Client`] trusts, presents and keeps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// The certificates to trust instead of the system's.
    pub ca: Option<&'a Certificates>,
    /// Accept any certificate, and do not verify that the server has its key.
    pub insecure: bool,
    /// The client's certificate, with those of its issuers, and its key.
    pub identity: Option<(&'a Certificates, &'a PrivateKey)>,
    /// Resume sessions instead of making full handshakes.
    pub resume: bool,
}

impl Client {
    /// For connections to the server of this name or IP address, which is also the SNI if it is a name (RFC 6066, section
    /// 3).
    ///
    /// # Errors
    /// Why not, in one line.
    pub fn new(host: &str, options: Options<'_>) -> Result<Client, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            format!("'{host}' cannot be the name of a TLS server: give a DNS name or an IP address")
        })?;
        let trust = Trust::new(options.ca, options.insecure)?;
        Ok(Client { config: Arc::new(config(trust, options)?), name })
    }
}

/// Fails where the files cannot be used. Does not read the system's certificates.
///
/// # Errors
/// Why not, in one line.
pub fn check(options: Options<'_>) -> Result<(), String> {
    let trust = options.ca.map_or(Ok(Trust::anyone()), |ca| Trust::new(Some(ca), false))?;
    config(trust, options).map(drop)
}

fn config(trust: Trust, options: Options<'_>) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites of TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(trust));
    let mut config = match options.identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder
            .with_client_auth_cert(chain.list().to_vec(), key.der())
            .map_err(|error| mismatch(&error, chain, key))?,
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = if options.resume {
        Resumption::store(Arc::new(Sessions::default()))
    } else {
        Resumption::disabled()
    };
    Ok(config)
}

fn mismatch(error: &Error, chain: &Certificates, key: &PrivateKey) -> String {
    match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            format!("the key in {} does not match the first certificate in {}", key.file(), chain.file())
        }
        Error::InvalidCertificate(_) => {
            format!("the first certificate in {} is not valid X.509 ({error})", chain.file())
        }
        _ => format!("the key in {} cannot be used ({error}): give an RSA, ECDSA or Ed25519 key", key.file()),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({:?})", self.name)
    }
}

#[cfg(test)]
mod tests;
