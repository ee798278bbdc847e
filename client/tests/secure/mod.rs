//! Certificates made by the test, and HAProxy as SECURITY.md configures it.

use crate::local::scratch;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// An issuer of certificates.
pub struct Authority {
    /// Its own certificate.
    pub file: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key in one file, as HAProxy reads it, and as --cert and --key do too.
pub fn pem(certificate: &str, key: &KeyPair) -> PathBuf {
    let file = scratch("pair.pem");
    fs::write(&file, format!("{certificate}{}", key.serialize_pem())).expect("a file");
    file
}

fn params(common_name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

/// A certificate signed by its own key; with `is_issuer`, as `openssl req -x509` makes them.
pub fn self_signed(names: &[&str], is_issuer: bool, until_year: i32) -> PathBuf {
    let (mut params, key) = (params("self", names), KeyPair::generate().expect("a key"));
    params.not_after = rcgen::date_time_ymd(until_year, 1, 1);
    if is_issuer {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    pem(&params.self_signed(&key).expect("a certificate").pem(), &key)
}

impl Authority {
    /// An issuer of this name.
    pub fn new(name: &str) -> Authority {
        let (mut params, key) = (params(name, &[]), KeyPair::generate().expect("a key"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let file = scratch("ca.pem");
        fs::write(&file, params.self_signed(&key).expect("a certificate").pem()).expect("a file");
        Authority { file, issuer: Issuer::new(params, key) }
    }

    /// A certificate for these names, valid from 1975 to this year.
    pub fn issue(&self, names: &[&str], until_year: i32) -> PathBuf {
        let (mut params, key) = (params("end entity", names), KeyPair::generate().expect("a key"));
        params.not_after = rcgen::date_time_ymd(until_year, 1, 1);
        pem(&params.signed_by(&key, &self.issuer).expect("a certificate").pem(), &key)
    }
}

/// HAProxy with TLS, in front of a server. Ended when dropped.
pub struct Proxy {
    pub port: u16,
    child: Child,
}

impl Proxy {
    /// Starts it with the configuration of SECURITY.md and these additions to its `bind` line. Prints a note and returns
    /// `None` where it is not installed.
    pub fn start(certificate: &Path, bind: &str, server: &str) -> Option<Proxy> {
        let security = concat!(env!("CARGO_MANIFEST_DIR"), "/../SECURITY.md");
        let text = fs::read_to_string(security).expect("SECURITY.md");
        let (_, rest) = text.split_once("```haproxy\n").expect("a configuration");
        let (config, _) = rest.split_once("```").expect("its end");
        let (listens, connects) = (":443 ssl crt /etc/haproxy/example.com.pem", "127.0.0.1:8000");
        assert!(config.contains(listens) && config.contains(connects), "{config}");
        // The listener is its standard input, so that the port is free and accepts connections from the start.
        let listens_here = format!("fd@0 ssl crt {} {bind}", certificate.display());
        let config = config.replace(listens, &listens_here).replace(connects, server) + "\n";
        let file = scratch("haproxy.cfg");
        fs::write(&file, config).expect("a file");
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("an address").port();
        let mut command = Command::new("haproxy");
        command.args(["-db", "-f"]).arg(&file).stdin(Stdio::from(OwnedFd::from(listener)));
        match command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(child) => Some(Proxy { port, child }),
            Err(error) => {
                conformance::note(&format!("skipped: haproxy is not installed ({error})"));
                None
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
