//! The request head: an accepted head is a valid handshake by a naive parser (RFC 6455, section 4.2.1) and by
//! tungstenite.

#![no_main]

use common::config::MAX_HEAD_LEN;
use common::http::{Request, parse};
use libfuzzer_sys::fuzz_target;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server;
use tungstenite::http::HeaderMap;
use tungstenite::http::header::{CONNECTION, HeaderName, UPGRADE};

fuzz_target!(|data: &[u8]| {
    let verdict = parse(data);
    match &verdict {
        Request::Upgrade { accept_key, head_len, .. } => {
            accepted(&data[..*head_len], accept_key);
            prefixes(data, *head_len);
        }
        Request::Page(..) => prefixes(data, end_of_head(data).expect("a page has a whole head")),
        Request::Partial => assert!(data.len() < MAX_HEAD_LEN),
        Request::Refused(..) => {}
    }
    if verdict != Request::Partial {
        tail(data, &verdict);
    }
    if let Some(end) = end_of_head(data)
        && is_canonical(&data[..end])
    {
        assert!(matches!(verdict, Request::Upgrade { head_len, .. } if head_len == end), "{verdict:?}");
    }
});

/// The index after the first empty line.
fn end_of_head(data: &[u8]) -> Option<usize> {
    // Empty lines before the request line are skipped (RFC 9112, section 2.2).
    let start = data.iter().position(|byte| !b"\r\n".contains(byte))?;
    let ends = (start..data.len()).filter(|&at| data[at] == b'\n');
    ends.map(|at| at + 1).find(|&at| data[..at].ends_with(b"\n\n") || data[..at].ends_with(b"\n\r\n"))
}

/// No prefix of a head may be decided on: the rest could change the verdict.
fn prefixes(data: &[u8], head_len: usize) {
    assert!(head_len <= MAX_HEAD_LEN);
    // A sample of the prefixes of a long head, because each is parsed from its start.
    for cut in (0..head_len).step_by(1 + head_len / 64).chain([head_len - 1]) {
        assert_eq!(parse(&data[..cut]), Request::Partial, "{cut} of {head_len} bytes");
    }
}

/// Input after a request does not change the verdict.
fn tail(data: &[u8], verdict: &Request<'_>) {
    for tail in [&b"\x82\x80\0\0\0\0"[..], b"\r\n", b"A: b\r\n\r\n", b"GET /echo HTTP/1.1\r\n\r\n", b"\0"] {
        match (verdict, &parse(&[data, tail].concat())) {
            // A refused request stays refused, but more input may reveal another fault.
            (Request::Refused(..), Request::Refused(..)) => {}
            (before, after) => assert_eq!(before, after),
        }
    }
}

/// Checks an accepted head by a naive parser (RFC 6455, section 4.2.1, and RFC 9112, section 3.2).
fn accepted(head: &[u8], accept_key: &str) {
    let lines: Vec<&[u8]> = head.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).collect();
    let mut lines = lines.into_iter().skip_while(|line| line.is_empty());
    let request_line = lines.next().expect("a request line");
    assert!(request_line.starts_with(b"GET ") && request_line.ends_with(b" HTTP/1.1"));
    let fields: Vec<(Vec<u8>, &[u8])> = lines
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let colon = line.iter().position(|&byte| byte == b':').expect("a field has a colon");
            (line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii())
        })
        .collect();
    let values = |name: &str| -> Vec<&[u8]> {
        fields.iter().filter(|(field, _)| field == name.as_bytes()).map(|(_, value)| *value).collect()
    };
    let lists = |name: &str, token: &str| {
        values(name)
            .join(&b","[..])
            .split(|&byte| byte == b',')
            .any(|value| value.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    };
    assert_eq!(values("host").len(), 1);
    // No ambiguity: every parser finds the same end of this request.
    assert!(!head.windows(2).any(|bytes| bytes[0] != b'\r' && bytes[1] == b'\n'));
    assert!(values("transfer-encoding").is_empty());
    assert!(values("content-length").iter().all(|len| len.iter().all(|byte| *byte == b'0')));
    assert!(lists("upgrade", "websocket") && lists("connection", "upgrade"));
    assert_eq!(values("sec-websocket-version"), [b"13"]);
    let [key] = values("sec-websocket-key")[..] else { panic!("not one key") };
    assert!(key.len() == 24 && key.ends_with(b"=="));
    assert_eq!(accept_key, tungstenite::handshake::derive_accept_key(key));
    // Four bits of the last of its 22 characters are unused. Tungstenite requires them to be zero, but in the example
    // of RFC 6455, section 4.1, they are not.
    if b"AQgw".contains(&key[21]) {
        tungstenite_accepts(head, accept_key);
    }
}

/// Tungstenite accepts the same head, except for what it does not support: a list in `Upgrade`, a list in several field
/// lines (RFC 9110, section 5.3), and a target that is not a valid URI, of which `common` uses the path.
fn tungstenite_accepts(head: &[u8], accept_key: &str) {
    let (len, mut request) = match server::Request::try_parse(head) {
        Ok(parsed) => parsed.expect("whole"),
        Err(tungstenite::Error::HttpFormat(error)) if error.is::<tungstenite::http::uri::InvalidUri>() => {
            return;
        }
        Err(error) => panic!("{error}"),
    };
    assert_eq!(len, head.len());
    keep_token(request.headers_mut(), UPGRADE, "websocket");
    keep_token(request.headers_mut(), CONNECTION, "upgrade");
    let response = server::create_response(&request).expect("tungstenite accepts it");
    assert_eq!(response.headers()["Sec-WebSocket-Accept"], accept_key);
}

/// Replaces a list by one of its tokens, if it contains the token.
fn keep_token(headers: &mut HeaderMap, name: HeaderName, token: &'static str) {
    let listed = headers.get_all(&name).iter().any(|value| {
        value
            .as_bytes()
            .split(|&byte| byte == b',')
            .any(|value| value.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    });
    if listed {
        headers.insert(name, token.parse().expect("a token"));
    }
}

/// Whether every server must accept this head: the handshake of RFC 6455, section 1.3, plus unknown `X-` fields.
fn is_canonical(head: &[u8]) -> bool {
    let required = [
        "Host: example.com",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let Ok(text) = str::from_utf8(head) else { return false };
    let Some(fields) =
        text.strip_suffix("\r\n\r\n").and_then(|text| text.strip_prefix("GET /echo HTTP/1.1\r\n"))
    else {
        return false;
    };
    let fields: Vec<&str> = fields.split("\r\n").collect();
    let harmless = |field: &&str| {
        let Some((name, value)) = field.strip_prefix("X-").and_then(|field| field.split_once(": ")) else {
            return false;
        };
        let mut bytes = name.bytes();
        bytes.all(|byte| byte.is_ascii_alphanumeric())
            && value.bytes().all(|byte| (0x20..0x7f).contains(&byte))
    };
    head.len() <= MAX_HEAD_LEN
        && fields.len() <= 64
        && required.iter().all(|required| fields.iter().filter(|field| field == &required).count() == 1)
        && fields.iter().filter(|field| !required.contains(field)).all(harmless)
}
