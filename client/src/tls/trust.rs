//! Which certificates of servers are accepted.

use super::pem::Certificates;
use super::provider;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use std::sync::Arc;
use thiserror::Error;

/// Verifies servers by their certificates.
#[derive(Debug)]
pub(super) struct Trust {
    /// `None`: any certificate is accepted.
    issuers: Option<Arc<WebPkiServerVerifier>>,
    /// Certificates that are accepted as a server's own, whatever they are for.
    given: Vec<CertificateDer<'static>>,
}

/// A certificate that its own key has signed, and that is not trusted.
#[derive(Debug, Error)]
#[error("self-signed")]
pub(super) struct SelfSigned;

impl Trust {
    /// Trusts the system's issuers, or those given, or anyone.
    ///
    /// # Errors
    /// Why there is none to trust, in one line.
    pub(super) fn new(ca: Option<&Certificates>, insecure: bool) -> Result<Trust, String> {
        if insecure {
            return Ok(Trust::anyone());
        }
        let (roots, given) = match ca {
            Some(ca) => (roots_of(ca)?, ca.list().to_vec()),
            None => (system_roots()?, Vec::new()),
        };
        let issuers = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| format!("no certificate can be verified: {error}"))?;
        Ok(Trust { issuers: Some(issuers), given })
    }

    pub(super) fn anyone() -> Trust {
        Trust { issuers: None, given: Vec::new() }
    }
}

fn roots_of(ca: &Certificates) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for (at, certificate) in ca.list().iter().enumerate() {
        roots.add(certificate.clone()).map_err(|error| {
            format!("certificate {} in {} is not valid X.509 ({error})", at + 1, ca.file())
        })?;
    }
    Ok(roots)
}

/// Those of `SSL_CERT_FILE` or `SSL_CERT_DIR`, if set, else of the system's usual places. Some may not parse.
fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or(String::new(), |error| format!(" ({error})"));
        return Err(format!(
            "this system has no trusted certificates{why}: install ca-certificates, or give --ca FILE"
        ));
    }
    Ok(roots)
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(issuers) = &self.issuers else { return Ok(ServerCertVerified::assertion()) };
        match issuers.verify_server_cert(end_entity, intermediates, name, ocsp_response, now) {
            // `openssl req -x509` makes a certificate that is its own issuer. Its validity has been verified.
            Err(error) if is_issuer(&error) && self.given.contains(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            Err(error) if is_unknown(&error) && is_self_signed(end_entity) => {
                Err(CertificateError::Other(OtherError(Arc::new(SelfSigned))).into())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match &self.issuers {
            Some(issuers) => issuers.verify_tls12_signature(message, certificate, signed),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match &self.issuers {
            Some(issuers) => issuers.verify_tls13_signature(message, certificate, signed),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Whether the only fault is that a server presents an issuer's certificate as its own.
fn is_issuer(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) = error else { return false };
    matches!(cause.downcast_ref::<webpki::Error>(), Some(webpki::Error::CaUsedAsEndEntity))
}

fn is_unknown(error: &Error) -> bool {
    is_issuer(error) || *error == Error::InvalidCertificate(CertificateError::UnknownIssuer)
}

fn is_self_signed(certificate: &CertificateDer<'_>) -> bool {
    webpki::EndEntityCert::try_from(certificate).is_ok_and(|parsed| parsed.issuer() == parsed.subject())
}
