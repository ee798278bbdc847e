//! HTTP/1.1 requests, valid or not, and a strict parser for response heads (RFC 9112).

use std::fmt;

/// The key of the example in RFC 6455, section 1.3, and its accept value.
pub(crate) const SAMPLE_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const SAMPLE_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

#[derive(Clone)]
pub(crate) struct Request {
    line: String,
    fields: Vec<(String, String)>,
}

impl Request {
    /// A request with a `Host` field only.
    pub fn new(method: &str, path: &str) -> Request {
        Request { line: format!("{method} {path} HTTP/1.1"), fields: vec![] }.with("Host", "127.0.0.1")
    }

    /// A valid opening handshake (RFC 6455, section 4.1).
    pub fn handshake(path: &str) -> Request {
        Request::new("GET", path)
            .with("Upgrade", "websocket")
            .with("Connection", "Upgrade")
            .with("Sec-WebSocket-Key", SAMPLE_KEY)
            .with("Sec-WebSocket-Version", "13")
    }

    /// The same with another request line.
    pub fn line(self, line: &str) -> Request {
        Request { line: line.into(), ..self }
    }

    /// The same with this field instead of any field of that name.
    pub fn with(self, name: &str, value: impl Into<String>) -> Request {
        let mut request = self.without(name);
        request.fields.push((name.into(), value.into()));
        request
    }

    /// The same with this field added, even if the name repeats.
    pub fn and(mut self, name: &str, value: impl Into<String>) -> Request {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// The same without the field of this name.
    pub fn without(mut self, name: &str) -> Request {
        self.fields.retain(|(field, _)| !field.eq_ignore_ascii_case(name));
        self
    }

    /// The encoded head.
    pub fn bytes(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\r\n", self.line)?;
        self.fields.iter().try_for_each(|(name, value)| write!(f, "{name}: {value}\r\n"))?;
        write!(f, "\r\n")
    }
}

#[derive(Debug)]
pub(crate) struct Response {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    /// Parses a response head at the start of `bytes`, and returns it with its length in bytes. `None` if it is
    /// incomplete.
    ///
    /// # Errors
    /// The first violation of RFC 9112.
    pub fn parse_head(bytes: &[u8]) -> Result<Option<(Response, usize)>, String> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let head = str::from_utf8(&bytes[..end]).map_err(|_| "a head that is not text")?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(status_of).ok_or("no status line of HTTP/1.1 (section 4)")?;
        let mut fields = vec![];
        for line in lines {
            let (name, value) =
                line.split_once(':').ok_or_else(|| format!("a field without a colon: {line}"))?;
            if name.is_empty() || name.contains(char::is_whitespace) {
                return Err(format!("a field with a bad name: {line}"));
            }
            fields.push((name.to_string(), value.trim().to_string()));
        }
        Ok(Some((Response { status, fields, body: String::new() }, end + 4)))
    }

    /// The value of the first field with this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Whether the first field with this name has this value, case-insensitively.
    pub fn has(&self, name: &str, value: &str) -> bool {
        self.field(name).is_some_and(|field| field.eq_ignore_ascii_case(value))
    }

    /// Whether the first field with this name lists this token, case-insensitively.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        let mut members = self.field(name).unwrap_or_default().split(',');
        members.any(|member| member.trim().eq_ignore_ascii_case(token))
    }
}

/// The status code of a line such as `HTTP/1.1 200 OK`.
fn status_of(line: &str) -> Option<u16> {
    let (code, _reason) = line.strip_prefix("HTTP/1.1 ")?.split_once(' ')?;
    code.parse().ok().filter(|_| code.len() == 3)
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP/1.1 {}", self.status)?;
        self.fields.iter().try_for_each(|(name, value)| write!(f, " | {name}: {value}"))?;
        write!(f, " | {} bytes of content", self.body.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_parsed_once_it_is_complete() {
        let bytes = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nX:y\r\n\r\nno";
        assert!(Response::parse_head(&bytes[..46]).expect("no error yet").is_none());
        let (response, len) = Response::parse_head(bytes).expect("valid").expect("complete");
        assert_eq!((response.status, len), (404, bytes.len() - 2));
        assert!(response.has("content-length", "2") && response.has("x", "Y"));
    }

    #[test]
    fn invalid_heads_are_errors() {
        for wrong in ["HTTP/1.0 200 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 200 OK\r\nno colon", "200"] {
            assert!(Response::parse_head(format!("{wrong}\r\n\r\n").as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_field_is_replaced_or_removed() {
        let request = Request::handshake("/echo").with("connection", "close").without("HOST");
        let text = request.to_string();
        assert!(
            text.starts_with("GET /echo HTTP/1.1\r\n") && text.ends_with("\r\nconnection: close\r\n\r\n")
        );
        assert!(!text.contains("Upgrade\r\n") && !text.contains("Host"));
    }
}
