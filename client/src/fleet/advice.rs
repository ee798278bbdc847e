//! What to do about failures.

use super::class::Class;

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

/// What to do about failures of this class, of which `first` describes one.
pub(super) fn advice(class: Class, first: &str) -> &'static str {
    let known = ADVICE.iter().find(|(of, words, _)| *of == class && first.contains(words));
    known.map_or_else(|| of_class(class), |(_, _, advice)| advice)
}

/// What to do where the description says no more than the class.
fn of_class(class: Class) -> &'static str {
    match class {
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
        Class::Closed => "the server closed connections: is it shutting down, or its --idle-timeout short?",
        Class::Other => "see the first error",
    }
}
