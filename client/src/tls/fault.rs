//! What went wrong in TLS, in one line.

use super::trust::SelfSigned;
use crate::words::excerpt;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, OtherError};
use std::time::{Duration, SystemTime};

/// A first line of a server without TLS is cut after this many characters.
const MAX_LINE_LEN: usize = 60;

/// The first byte of an alert record (RFC 8446, section 5.1). No HTTP response begins with it.
const ALERT: u8 = 21;

/// What bodies say where a server that expects TLS received none: nginx, Go and others, Apache.
const EXPECT_TLS: [&str; 3] = [
    "plain HTTP request was sent to HTTPS port",
    "HTTP request to an HTTPS server",
    "plain HTTP to an SSL-enabled",
];

/// Whether a server has answered plain HTTP with an alert, so that it expects TLS.
pub fn is_alert(answer: &[u8]) -> bool {
    answer.first() == Some(&ALERT)
}

/// Whether the body of a 400 says that the server expects TLS.
pub fn expects_tls(body: &[u8]) -> bool {
    let says = |words: &str| body.windows(words.len()).any(|part| part == words.as_bytes());
    EXPECT_TLS.into_iter().any(says)
}

/// Describes the answer of a server that does not speak TLS, by its first bytes; `None` if it does.
pub fn answered_without_tls(answer: &[u8]) -> Option<String> {
    // The types of records: change_cipher_spec, alert, handshake, application_data.
    if matches!(answer, [] | [20..=23, 3, ..] | [20..=23]) {
        return None;
    }
    let line = answer.split(|&byte| byte == b'\n').next().unwrap_or_default().trim_ascii();
    Some(format!("the server answered without TLS: {}", excerpt(line, MAX_LINE_LEN)))
}

/// Describes a failure of TLS.
pub fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(fault) => certificate(fault),
        Error::AlertReceived(alert) => format!("the server sent the TLS alert {}", name(*alert)),
        Error::PeerIncompatible(fault) => {
            format!("the server has no TLS version or cipher suite of this client ({fault:?})")
        }
        _ => format!("TLS failed: {error}"),
    }
}

fn certificate(fault: &CertificateError) -> String {
    const ITS: &str = "the server's certificate";
    match fault {
        CertificateError::UnknownIssuer => format!("{ITS} has an unknown issuer"),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("{ITS} expired on {}", date(*not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("{ITS} is not valid before {}", date(*not_before))
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
            let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
            format!("{ITS} is not for {}, but for {names}", expected.to_str())
        }
        CertificateError::Other(OtherError(cause)) if cause.is::<SelfSigned>() => {
            format!("{ITS} is self-signed")
        }
        _ => format!("{ITS} is not valid: {fault}"),
    }
}

/// The name in `DnsName("echo.example")`, the form in which webpki has it.
fn bare(presented: &str) -> &str {
    presented.split_once("(\"").and_then(|(_, rest)| rest.strip_suffix("\")")).unwrap_or(presented)
}

fn date(time: UnixTime) -> String {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()));
    time.map_or("an unknown date".to_owned(), |time| humantime::format_rfc3339_seconds(time).to_string())
}

/// The name of an alert in RFC 8446, section 6.
fn name(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA => "unknown_ca".to_owned(),
        AlertDescription::UnknownPSKIdentity => "unknown_psk_identity".to_owned(),
        AlertDescription::UnrecognisedName => "unrecognized_name".to_owned(),
        AlertDescription::Unknown(number) => number.to_string(),
        _ => {
            let mut snake = String::new();
            for letter in format!("{alert:?}").chars() {
                if letter.is_ascii_uppercase() && !snake.is_empty() {
                    snake.push('_');
                }
                snake.push(letter.to_ascii_lowercase());
            }
            snake
        }
    }
}
