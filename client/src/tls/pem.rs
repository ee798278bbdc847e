//! Certificates and keys from PEM files (RFC 7468).

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

/// The longest file: bundles of all public issuers have a quarter of a MiB.
const MAX_FILE_LEN: u64 = 16 << 20;

/// The certificates of a file: at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificates {
    file: String,
    list: Arc<[CertificateDer<'static>]>,
}

/// The private key of a file. It is not shown.
#[derive(Clone)]
pub struct PrivateKey {
    file: String,
    der: Arc<PrivateKeyDer<'static>>,
}

impl Certificates {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn read(file: &str) -> Result<Certificates, String> {
        let bytes = read(file)?;
        let list: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let list = list.map_err(|error| not_pem(file, &error))?;
        if list.is_empty() {
            return Err(format!("{file} has no certificate in PEM ('-----BEGIN CERTIFICATE-----')"));
        }
        Ok(Certificates { file: file.to_owned(), list: list.into() })
    }

    /// The name of the file.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    pub(super) fn list(&self) -> &[CertificateDer<'static>] {
        &self.list
    }
}

impl PrivateKey {
    /// Reads a file, of which the first key counts.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn read(file: &str) -> Result<PrivateKey, String> {
        let bytes = read(file)?;
        match PrivateKeyDer::from_pem_slice(&bytes) {
            Ok(der) => Ok(PrivateKey { file: file.to_owned(), der: Arc::new(der) }),
            Err(pem::Error::NoItemsFound) => {
                let is_encrypted = bytes.windows(9).any(|part| part == b"ENCRYPTED");
                let way_out = if is_encrypted {
                    format!("an encrypted one only: decrypt it with 'openssl pkey -in {file} -out NEW'")
                } else {
                    "'-----BEGIN PRIVATE KEY-----' or the like is missing".to_owned()
                };
                Err(format!("{file} has no private key in PEM: {way_out}"))
            }
            Err(error) => Err(not_pem(file, &error)),
        }
    }

    /// The name of the file.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    pub(super) fn der(&self) -> PrivateKeyDer<'static> {
        self.der.clone_key()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.file)
    }
}

fn read(file: &str) -> Result<Vec<u8>, String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(file)?.take(MAX_FILE_LEN + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_FILE_LEN {
            return Err(io::Error::other(format!("longer than {MAX_FILE_LEN} bytes")));
        }
        Ok(bytes)
    };
    read().map_err(|error| format!("cannot read {file}: {error}"))
}

fn not_pem(file: &str, error: &pem::Error) -> String {
    let why = match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no END line",
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is wrong",
        pem::Error::Base64Decode(_) => "a section is not base64",
        _ => return format!("{file} is not valid PEM: {error}"),
    };
    format!("{file} is not valid PEM: {why}")
}
