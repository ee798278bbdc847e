//! Failures by class, with advice.

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// The class of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Class {
    /// No local port left for this source address (`EADDRNOTAVAIL`).
    PortsExhausted,
    /// No descriptor left, in the process (`EMFILE`) or in the system (`ENFILE`).
    Descriptors,
    /// No listener on the address (`ECONNREFUSED`).
    Refused,
    /// The server reset the connection (`ECONNRESET`, `EPIPE`), or closed it without a Close frame.
    Reset,
    /// No answer in time.
    Timeout,
    /// HTTP status 503: the server is full.
    Rejected503,
    /// Another HTTP status, or a response that is not a valid upgrade (RFC 6455, section 4.1).
    BadHandshake,
    /// TLS failed, or the server expects it.
    Tls,
    /// HTTP status 401 or 403.
    Unauthorized,
    /// HTTP status 429.
    TooManyRequests,
    /// HTTP status 300 to 399.
    Redirect,
    /// HTTP status 500 to 599, except 503.
    ServerError,
    /// The proxy cannot be reached, or opens no tunnel to the server.
    Proxy,
    /// A wrong echo, or an invalid frame.
    WrongEcho,
    /// The server sent an unsolicited Close frame.
    Closed,
    /// Anything else.
    Other,
}

impl Class {
    /// All classes in the order of the fields of [`Failures`].
    pub const ALL: [Class; 16] = [
        Class::PortsExhausted,
        Class::Descriptors,
        Class::Refused,
        Class::Reset,
        Class::Timeout,
        Class::Rejected503,
        Class::BadHandshake,
        Class::Tls,
        Class::Unauthorized,
        Class::TooManyRequests,
        Class::Redirect,
        Class::ServerError,
        Class::Proxy,
        Class::WrongEcho,
        Class::Closed,
        Class::Other,
    ];

    /// The class of a system call's error.
    pub fn of(error: Errno) -> Class {
        match error {
            Errno::ADDRNOTAVAIL => Class::PortsExhausted,
            Errno::MFILE | Errno::NFILE => Class::Descriptors,
            Errno::CONNREFUSED => Class::Refused,
            Errno::CONNRESET | Errno::PIPE | Errno::CONNABORTED => Class::Reset,
            Errno::TIMEDOUT => Class::Timeout,
            _ => Class::Other,
        }
    }

    /// The name of its field in [`Failures`].
    pub fn name(self) -> &'static str {
        match self {
            Class::PortsExhausted => "ports_exhausted",
            Class::Descriptors => "descriptors",
            Class::Refused => "refused",
            Class::Reset => "reset",
            Class::Timeout => "timeout",
            Class::Rejected503 => "rejected_503",
            Class::BadHandshake => "bad_handshake",
            Class::Tls => "tls",
            Class::Unauthorized => "unauthorized",
            Class::TooManyRequests => "too_many_requests",
            Class::Redirect => "redirect",
            Class::ServerError => "server_error",
            Class::Proxy => "proxy",
            Class::WrongEcho => "wrong_echo",
            Class::Closed => "closed",
            Class::Other => "other",
        }
    }

    /// What to do about it: see [`Failures::advice`].
    fn advice(self) -> &'static str {
        match self {
            Class::PortsExhausted => "widen net.ipv4.ip_local_port_range or give more --source-ip",
            Class::Descriptors => "raise `ulimit -Hn` or fs.file-max, or give more --shards",
            Class::Refused => "is the server running, and at this address?",
            Class::Reset => "did the server die, or run out of memory or descriptors? see its log",
            Class::Timeout => {
                "the server is overloaded: try a lower --connect-rate or --rate, or fewer connections"
            }
            Class::Rejected503 => "the server is full: raise its --max-connections or ask for fewer",
            Class::BadHandshake => "is this a WebSocket server, and is the path right?",
            Class::Tls => "does the server accept TLS 1.2 or 1.3 on this port? see its log",
            Class::Unauthorized => "the server requires credentials: add them with --header",
            Class::TooManyRequests => "the server limits the rate of attempts: lower --connect-rate",
            Class::Redirect => "the endpoint has moved: give the new address as --url",
            Class::ServerError => "the server or a proxy in front of it failed: see its log",
            Class::Proxy => "is this an HTTP proxy that allows CONNECT? --proxy none connects without one",
            Class::WrongEcho => {
                "the server does not echo its input: if it is no echo endpoint, add --verify any or none"
            }
            Class::Closed => {
                "the server closed connections: is it shutting down, or its --idle-timeout short?"
            }
            Class::Other => "see the first error",
        }
    }
}

/// The failure of a server that does not answer a Close frame.
pub(super) const NO_CLOSE: &str = "no answer to the Close frame in time";

/// The failure of a server that selects none of the subprotocols offered.
pub(super) const NO_SUBPROTOCOL: &str = "the server selected none of the subprotocols offered";

/// The failure of a server that sends an unsolicited message where echoes are verified.
pub(super) const GREETED: &str = "a message arrived before one was sent";

/// Failures of a server that does not greet.
pub(super) const NO_GREETING: &str = "no greeting in time";
pub(super) const NOT_GREETED: &str = "the server closed the connection before its greeting";
/// What to do about them.
const NO_GREETING_ADVICE: &str = "does the server send a message first? if not, omit --expect greeting";
/// What to do about a proxy without credentials, or with wrong ones.
const PROXY_CREDENTIALS: &str =
    "the proxy requires credentials: give them in --proxy http://USER:PASSWORD@HOST:PORT";

/// What to do about a proxy that opens no tunnels to this server.
const PROXY_FORBIDS: &str = "the proxy does not allow CONNECT to this host and port: see its rules, or --proxy none to connect without one";

/// The failure of a server that received plain HTTP instead of TLS.
pub(super) const EXPECTS_TLS: &str = "it expects TLS";

/// Advice for failures whose text says more than their class: class, part of the text, advice.
const ADVICE: [(Class, &str, &str); 34] = [
    (Class::Timeout, NO_CLOSE, "the server does not answer Close frames (RFC 6455, 5.5.1), or is overloaded"),
    (
        Class::Unauthorized,
        "answered 403",
        "the server does not allow this client: check --header, --origin and its access rules",
    ),
    (Class::BadHandshake, "answered 400", "does the server require a --header or --subprotocol? see its log"),
    (Class::BadHandshake, "answered 404", "is the path right?"),
    (
        Class::BadHandshake,
        "answered 407",
        "a proxy requires credentials: add --header 'Proxy-Authorization: ...'",
    ),
    (Class::BadHandshake, NO_SUBPROTOCOL, "give a --subprotocol that the server supports, or none"),
    (Class::BadHandshake, "names a subprotocol", "does the server require a --subprotocol?"),
    (Class::Proxy, "answered 407", PROXY_CREDENTIALS),
    // tinyproxy rejects wrong credentials with 401.
    (Class::Proxy, "answered 401", PROXY_CREDENTIALS),
    (Class::Proxy, "answered 403", PROXY_FORBIDS),
    (Class::Proxy, "answered 405", PROXY_FORBIDS),
    (Class::Proxy, "answered 50", "the proxy cannot reach the server: does it run, and is the --url right?"),
    (
        Class::Proxy,
        "connect: ",
        "is the proxy running, and at this address? --proxy none connects without one",
    ),
    (Class::Proxy, "in time", "the proxy does not answer, or cannot reach the server: see its log"),
    (
        Class::Reset,
        "during the handshake",
        "is this a WebSocket server, does it expect wss://, does it accept more connections? see its log",
    ),
    (Class::Reset, NOT_GREETED, NO_GREETING_ADVICE),
    (Class::Timeout, NO_GREETING, NO_GREETING_ADVICE),
    (
        Class::WrongEcho,
        GREETED,
        "if the server sends a message first, add --expect greeting; if it sends others too, --verify any or none",
    ),
    (
        Class::Reset,
        "during the TLS handshake",
        "does the server expect TLS on this port, and accept more connections? see its log",
    ),
    (Class::Tls, EXPECTS_TLS, "give its URL as wss://"),
    (Class::Tls, "without TLS", "give its URL as ws://, or the port of its TLS"),
    (Class::Tls, "unknown issuer", "trust the issuer with --ca FILE, or any certificate with --insecure"),
    (Class::Tls, "self-signed", "trust this certificate with --ca FILE, or any with --insecure"),
    (Class::Tls, "certificate expired", "renew the certificate, or accept any with --insecure"),
    (
        Class::Tls,
        "is not valid before",
        "set the clock of this machine, or accept any certificate with --insecure",
    ),
    (
        Class::Tls,
        "certificate is not for",
        "give one of its names in --url, or accept any certificate with --insecure",
    ),
    (Class::Tls, "certificate is not valid", "replace the certificate, or accept any with --insecure"),
    (Class::Tls, "alert certificate_required", "give a client certificate with --cert FILE and --key FILE"),
    (
        Class::Tls,
        "alert handshake_failure",
        "does the server require a client certificate (--cert, --key), or support only old versions or ciphers?",
    ),
    (
        Class::Tls,
        "alert protocol_version",
        "the client supports TLS 1.2 and 1.3: enable one of them in the server",
    ),
    (
        Class::Tls,
        "alert unrecognized_name",
        "the server has no certificate for this name: is the host in --url right?",
    ),
    (Class::Tls, "alert unknown_ca", "the server does not trust the issuer of --cert"),
    (Class::Tls, "alert bad_certificate", "the server rejects the certificate in --cert: see its log"),
    (Class::Tls, "alert certificate_", "the server rejects the certificate in --cert: see its log"),
];

/// Number of failures per class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// [`Class::PortsExhausted`]
    pub ports_exhausted: u64,
    /// [`Class::Descriptors`]
    pub descriptors: u64,
    /// [`Class::Refused`]
    pub refused: u64,
    /// [`Class::Reset`]
    pub reset: u64,
    /// [`Class::Timeout`]
    pub timeout: u64,
    /// [`Class::Rejected503`]
    pub rejected_503: u64,
    /// [`Class::BadHandshake`]
    pub bad_handshake: u64,
    /// [`Class::Tls`]. This and the next five appear in JSON only where they occurred.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tls: u64,
    /// [`Class::Unauthorized`]
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unauthorized: u64,
    /// [`Class::TooManyRequests`]
    #[serde(default, skip_serializing_if = "is_zero")]
    pub too_many_requests: u64,
    /// [`Class::Redirect`]
    #[serde(default, skip_serializing_if = "is_zero")]
    pub redirect: u64,
    /// [`Class::ServerError`]
    #[serde(default, skip_serializing_if = "is_zero")]
    pub server_error: u64,
    /// [`Class::Proxy`]
    #[serde(default, skip_serializing_if = "is_zero")]
    pub proxy: u64,
    /// [`Class::WrongEcho`]
    pub wrong_echo: u64,
    /// [`Class::Closed`]
    pub closed: u64,
    /// [`Class::Other`]
    pub other: u64,
    /// The first failure as text, such as "connect: Connection refused".
    pub first: Option<String>,
}

impl Failures {
    /// The number of failures of `class`.
    pub fn of(&self, class: Class) -> u64 {
        match class {
            Class::PortsExhausted => self.ports_exhausted,
            Class::Descriptors => self.descriptors,
            Class::Refused => self.refused,
            Class::Reset => self.reset,
            Class::Timeout => self.timeout,
            Class::Rejected503 => self.rejected_503,
            Class::BadHandshake => self.bad_handshake,
            Class::Tls => self.tls,
            Class::Unauthorized => self.unauthorized,
            Class::TooManyRequests => self.too_many_requests,
            Class::Redirect => self.redirect,
            Class::ServerError => self.server_error,
            Class::Proxy => self.proxy,
            Class::WrongEcho => self.wrong_echo,
            Class::Closed => self.closed,
            Class::Other => self.other,
        }
    }

    /// Adds `n` failures of `class`.
    pub fn add(&mut self, class: Class, n: u64) {
        *match class {
            Class::PortsExhausted => &mut self.ports_exhausted,
            Class::Descriptors => &mut self.descriptors,
            Class::Refused => &mut self.refused,
            Class::Reset => &mut self.reset,
            Class::Timeout => &mut self.timeout,
            Class::Rejected503 => &mut self.rejected_503,
            Class::BadHandshake => &mut self.bad_handshake,
            Class::Tls => &mut self.tls,
            Class::Unauthorized => &mut self.unauthorized,
            Class::TooManyRequests => &mut self.too_many_requests,
            Class::Redirect => &mut self.redirect,
            Class::ServerError => &mut self.server_error,
            Class::Proxy => &mut self.proxy,
            Class::WrongEcho => &mut self.wrong_echo,
            Class::Closed => &mut self.closed,
            Class::Other => &mut self.other,
        } += n;
    }

    /// Adds the failures of `more`; keeps its own `first` if it has one.
    pub fn merge(&mut self, more: &Failures) {
        for class in Class::ALL {
            self.add(class, more.of(class));
        }
        if self.first.is_none() {
            self.first.clone_from(&more.first);
        }
    }

    /// The number of failures of all classes.
    pub fn total(&self) -> u64 {
        Class::ALL.iter().map(|&class| self.of(class)).sum()
    }

    /// What to do about failures of a class. The first failure's text can make the advice more specific.
    pub fn advice(&self, class: Class) -> &'static str {
        let first = self.first.as_deref().unwrap_or_default();
        let known = ADVICE.iter().find(|(of, words, _)| *of == class && first.contains(words));
        known.map_or(class.advice(), |(_, _, advice)| advice)
    }

    /// The classes that occurred, with their counts.
    pub fn classes(&self) -> impl Iterator<Item = (Class, u64)> {
        Class::ALL.iter().map(|&class| (class, self.of(class))).filter(|&(_, count)| count > 0)
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}
