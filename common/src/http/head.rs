//! What is asked of a request's head beyond its grammar, which `httparse` knows.
//!
//! Where RFC 9112 leaves a choice, what is ambiguous is refused: an intermediary in front may have read it otherwise,
//! and what it took for one request would be two here, or the other way round (section 11.2).

use super::Status;
use crate::config::MAX_HEAD_LEN;

/// A parsed head, whose parts live as long as the bytes.
pub(super) type Head<'h, 'b> = httparse::Request<'h, 'b>;

/// Whether a line ends in LF alone. It may be taken for an end of line, and need not be (RFC 9112, section 2.2).
pub(super) fn has_bare_lf(head: &[u8]) -> bool {
    let after = |at: usize| head[..at].last() != Some(&b'\r');
    head.iter().enumerate().any(|(at, &byte)| byte == b'\n' && after(at))
}

/// What of a head is too long: the method, the target (RFC 9112, section 3) or the fields (RFC 6585, section 5).
pub(super) fn too_long(bytes: &[u8]) -> Status {
    let head = &bytes[..bytes.len().min(MAX_HEAD_LEN)];
    match (head.contains(&b'\n'), head.contains(&b' ')) {
        (true, _) => Status::HeadTooLong,
        (false, true) => Status::TargetTooLong,
        (false, false) => Status::NotImplemented,
    }
}

/// What a version that `httparse` does not know is: another HTTP (RFC 9110, section 15.6.6), or nonsense.
pub(super) fn bad_version(bytes: &[u8]) -> Status {
    match bytes.split(|&byte| byte == b' ').nth(2).and_then(|version| version.strip_prefix(b"HTTP/")) {
        Some([b'0' | b'2'..=b'9', ..]) => Status::VersionNotSupported,
        _ => Status::BadRequest,
    }
}

/// The values of all fields of this name.
pub(super) fn values<'b>(head: &Head<'_, 'b>, name: &str) -> impl Iterator<Item = &'b [u8]> {
    let named = head.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
    named.map(|field| field.value.trim_ascii())
}

/// The value of a field that may be there once.
pub(super) fn one<'b>(head: &Head<'_, 'b>, name: &str) -> Result<Option<&'b [u8]>, Status> {
    let mut values = values(head, name);
    let first = values.next();
    if values.next().is_none() { Ok(first) } else { Err(Status::BadRequest) }
}

/// The members of a field that is a list, in one line or several (RFC 9110, section 5.3).
pub(super) fn members<'b>(head: &Head<'_, 'b>, name: &str) -> impl Iterator<Item = &'b [u8]> {
    values(head, name).flat_map(|value| value.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii)
}

/// Whether a field that lists tokens has this one, in any case.
pub(super) fn has_token(head: &Head<'_, '_>, name: &str, token: &str) -> bool {
    members(head, name).any(|member| member.eq_ignore_ascii_case(token.as_bytes()))
}

/// Checks the host (RFC 9112, section 3.2): once in HTTP/1.1, at most once in HTTP/1.0, and well-formed.
pub(super) fn check_host(head: &Head<'_, '_>) -> Result<(), Status> {
    match one(head, "Host")? {
        None if head.version == Some(1) => Err(Status::BadRequest),
        // Empty where the target has no authority (RFC 9110, section 7.2).
        None | Some(b"") => Ok(()),
        Some(host) => str::from_utf8(host).ok().and_then(host_and_port).map(drop).ok_or(Status::BadRequest),
    }
}

/// Whether content comes behind the head (RFC 9112, section 6.3).
///
/// # Errors
/// The status that refuses a framing that is ambiguous, or not known here.
pub(super) fn has_content(head: &Head<'_, '_>) -> Result<bool, Status> {
    // The same length twice may be taken for one, and need not be (RFC 9110, section 8.6).
    let length = one(head, "Content-Length")?;
    let codings = members(head, "Transfer-Encoding").collect::<Vec<_>>();
    match (length, &codings[..]) {
        (None, []) => Ok(false),
        (Some(length), []) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
            Ok(length.iter().any(|&digit| digit != b'0'))
        }
        // Section 6.1: with a length as well, or in HTTP/1.0, the framing is faulty.
        (None, [.., last]) if head.version == Some(1) && last.eq_ignore_ascii_case(b"chunked") => {
            if codings.len() == 1 { Ok(true) } else { Err(Status::NotImplemented) }
        }
        _ => Err(Status::BadRequest),
    }
}

/// The path of a target in origin-form or absolute-form (RFC 9112, sections 3.2.1 and 3.2.2). `None` for the forms of
/// other methods, and for what is no target: a fragment is never sent (RFC 9110, section 7.1).
pub(super) fn path(target: &str) -> Option<&str> {
    if !target.is_ascii() || target.contains('#') {
        return None;
    }
    let target = target.split('?').next().unwrap_or_default();
    if target.starts_with('/') {
        return Some(target);
    }
    // RFC 6455, section 4.2.1, item 1: of schemes, these two.
    let (scheme, rest) = target.split_once("://")?;
    if !["http", "https"].iter().any(|http| scheme.eq_ignore_ascii_case(http)) {
        return None;
    }
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    host_and_port(authority).map(|_| path)
}

/// `host` or `host:port`, taken apart (RFC 3986, section 3.2). A user's name is an error (RFC 9110, section 4.2.4).
pub(crate) fn host_and_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let legal = match host.strip_prefix('[').and_then(|address| address.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
            !host.is_empty() && host.bytes().all(legal)
        }
    };
    let digits = port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    (legal && digits).then_some((host, port))
}
