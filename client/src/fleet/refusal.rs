//! Responses to the opening handshake other than 101: their class, and a description with the server's own words.

use super::advice::EXPECTS_TLS;
use super::class::Class;
use crate::tls;
use crate::words::{escaped, excerpt, quoted};
use httparse::{Header, Response, Status};

/// A reason phrase is cut after this many characters.
const MAX_REASON_LEN: usize = 60;

/// The first line of the body is cut after this many characters …
const MAX_LINE_LEN: usize = 100;
/// … so it is not awaited beyond this many bytes of the body, which are as many characters in any encoding, and some
/// blank lines.
const MAX_BODY_LEN: usize = 512;

/// The class and the description of a response by `who`. `None`: `may_wait`, and the first line of the body has yet to
/// arrive.
pub(super) fn refusal(
    who: &str,
    response: &Response<'_, '_>,
    body: &[u8],
    may_wait: bool,
) -> Option<(Class, String)> {
    let code = response.code.unwrap_or_default();
    let (content, is_whole) = content(response, body);
    let content = content.trim_ascii_start();
    let line_len = content.iter().position(|&byte| byte == b'\n');
    if may_wait && line_len.is_none() && !is_whole && body.len() < MAX_BODY_LEN {
        return None;
    }
    let line = content[..line_len.unwrap_or(content.len())].trim_ascii_end();
    let reason = escaped(response.reason.unwrap_or_default().trim());
    let reason: String = reason.chars().take(MAX_REASON_LEN).collect();
    let mut said = format!("{who} answered {code} {reason}").trim_end().to_owned();
    if let Some(location) = value(response.headers, "Location").filter(|_| (300..400).contains(&code)) {
        said += &format!(", Location {}", quoted(location));
    }
    if !line.is_empty() {
        said += &format!(", body {}", excerpt(line, MAX_LINE_LEN));
    }
    if code == 400 && tls::expects_tls(content) {
        return Some((Class::Tls, format!("{said}: {EXPECTS_TLS}")));
    }
    Some((class_of(code), said))
}

fn class_of(code: u16) -> Class {
    match code {
        401 | 403 => Class::Unauthorized,
        429 => Class::TooManyRequests,
        503 => Class::Rejected503,
        300..=399 => Class::Redirect,
        500..=599 => Class::ServerError,
        _ => Class::BadHandshake,
    }
}

/// The content of the body that has arrived (of a chunked one, the first chunk), and whether no more is to come. A body
/// of undeclared length ends with the connection, which the server may keep open: what is there has to do.
fn content<'b>(response: &Response<'_, '_>, body: &'b [u8]) -> (&'b [u8], bool) {
    if let Some(codings) = value(response.headers, "Transfer-Encoding") {
        if !codings.eq_ignore_ascii_case(b"chunked") {
            return (&[], true);
        }
        return match httparse::parse_chunk_size(body) {
            Ok(Status::Complete((start, len))) => first(&body[start..], Some(len)),
            Ok(Status::Partial) => (&[], false),
            Err(_) => (&[], true),
        };
    }
    let len = value(response.headers, "Content-Length");
    first(body, len.and_then(|len| str::from_utf8(len).ok()?.parse().ok()))
}

/// The first `len` bytes as far as they have arrived, and whether all have.
fn first(body: &[u8], len: Option<u64>) -> (&[u8], bool) {
    match len.map(usize::try_from) {
        Some(Ok(len)) if len <= body.len() => (&body[..len], true),
        Some(_) => (body, false),
        None => (body, true),
    }
}

/// The value of the first header of this name.
fn value<'h>(headers: &[Header<'h>], name: &str) -> Option<&'h [u8]> {
    headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdict on a response once `arrived` bytes of it have arrived, which include its head.
    fn verdict(answer: &str, arrived: usize, may_wait: bool) -> Option<(Class, String)> {
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut response = Response::new(&mut headers);
        let head_len = response.parse(answer.as_bytes()).expect("HTTP").unwrap();
        refusal("the server", &response, &answer.as_bytes()[head_len..arrived.max(head_len)], may_wait)
    }

    fn whole(answer: &str) -> (Class, String) {
        verdict(answer, answer.len(), true).expect("a verdict")
    }

    #[test]
    fn each_status_has_its_class() {
        for (codes, class) in [
            (&[200, 204, 100, 400, 404, 407, 426, 431, 600, 999][..], Class::BadHandshake),
            (&[401, 403], Class::Unauthorized),
            (&[429], Class::TooManyRequests),
            (&[300, 301, 302, 307, 308, 399], Class::Redirect),
            (&[500, 502, 504, 599], Class::ServerError),
            (&[503], Class::Rejected503),
        ] {
            for code in codes {
                let answered = whole(&format!("HTTP/1.1 {code} Reason\r\nContent-Length: 0\r\n\r\n"));
                assert_eq!(answered, (class, format!("the server answered {code} Reason")));
            }
        }
    }

    #[test]
    fn location_and_the_first_line_of_the_body_are_shown() {
        let long = format!("400 B\r\n\r\n{}", "ü".repeat(101));
        let cut = format!("400 B, body '{}…'", "ü".repeat(100));
        for (answer, said) in [
            ("404 Not Found\r\nContent-Length: 11\r\n\r\nno such way", "404 Not Found, body 'no such way'"),
            ("401 No\r\nContent-Length: 10\r\n\r\n\r\n \ntoken!", "401 No, body 'token!'"),
            ("401 No\r\nContent-Length: 2\r\n\r\nnot this", "401 No, body 'no'"),
            ("500 \r\n\r\nold\nnew", "500, body 'old'"),
            ("200 OK\r\nContent-Length: 9\r\n\r\n<html>\r\n\r\n", "200 OK, body '<html>'"),
            (
                "429 Slow\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=y\r\nwait!\r\n0\r\n\r\n",
                "429 Slow, body 'wait!'",
            ),
            ("429 Slow\r\nTransfer-Encoding: gzip\r\n\r\n\x1f\x0b", "429 Slow"),
            ("429 Slow\r\nTransfer-Encoding: chunked\r\n\r\nno size", "429 Slow"),
            ("302 Found\r\nLocation: /new\r\n\r\n", "302 Found, Location '/new'"),
            ("403 No\r\nLocation: /new\r\n\r\n", "403 No"),
            ("400 B\r\nContent-Length: 9\r\n\r\na\x1b[2J\x00\"'", "400 B, body 'a\\u{1b}[2J\\0\"''"),
            (long.as_str(), cut.as_str()),
        ] {
            let answer = format!("HTTP/1.1 {answer}");
            let (_, text) = verdict(&answer, answer.len(), false).expect("a verdict");
            assert_eq!(text, format!("the server answered {said}"), "{answer:?}");
        }
    }

    #[test]
    fn a_declared_body_is_awaited_up_to_its_first_line() {
        let head = "HTTP/1.1 401 No\r\nContent-Length: 600\r\n\r\n";
        let chunked = "HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (answer, awaited) in [
            (format!("{head}\r\n \r\na line\n"), "\r\n \r\na line\n".len()),
            (format!("{head}{}", "x".repeat(600)), MAX_BODY_LEN),
            (format!("{head}{}", " ".repeat(600)), MAX_BODY_LEN),
            ("HTTP/1.1 401 No\r\nContent-Length: 4\r\n\r\nword".to_owned(), 4),
            (format!("{chunked}4\r\nword\r\n0\r\n\r\n"), 7),
            (format!("{chunked}7\r\nword\nabc"), 8),
            ("HTTP/1.1 401 No\r\n\r\nword\n".to_owned(), 0),
            ("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n".to_owned(), 0),
            ("HTTP/1.1 401 No\r\nContent-Length: many\r\n\r\n".to_owned(), 0),
        ] {
            let head_len = answer.find("\r\n\r\n").expect("a head") + 4;
            for arrived in head_len..=answer.len() {
                let is_due = arrived >= head_len + awaited;
                assert_eq!(verdict(&answer, arrived, true).is_some(), is_due, "{arrived} of {answer:?}");
                let (class, text) = verdict(&answer, arrived, false).expect("a verdict at any time");
                assert!(
                    class == Class::Unauthorized && text.starts_with("the server answered 401 No"),
                    "{text}"
                );
            }
        }
    }
}
