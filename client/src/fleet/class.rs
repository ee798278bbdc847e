//! Classes of failures.

use rustix::io::Errno;

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
    /// All classes in the order of the fields of [`super::Failures`].
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

    /// The name of its field in [`super::Failures`].
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
}
