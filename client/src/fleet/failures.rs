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
    /// A wrong echo, or an invalid frame.
    WrongEcho,
    /// The server sent an unsolicited Close frame.
    Closed,
    /// Anything else.
    Other,
}

impl Class {
    /// All classes in the order of the fields of [`Failures`].
    pub const ALL: [Class; 10] = [
        Class::PortsExhausted,
        Class::Descriptors,
        Class::Refused,
        Class::Reset,
        Class::Timeout,
        Class::Rejected503,
        Class::BadHandshake,
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
            Class::WrongEcho => "the server does not echo its input: is this an echo endpoint?",
            Class::Closed => {
                "the server closed connections: is it shutting down, or its --idle-timeout short?"
            }
            Class::Other => "see the first error",
        }
    }
}

/// The failure of a server that does not answer a Close frame.
pub(super) const NO_CLOSE: &str = "no answer to the Close frame in time";

/// Advice for failures whose text says more than their class: class, part of the text, advice.
const ADVICE: [(Class, &str, &str); 9] = [
    (Class::Timeout, NO_CLOSE, "the server does not answer Close frames (RFC 6455, 5.5.1), or is overloaded"),
    (Class::BadHandshake, "answered 3", "the endpoint has moved: give the new address as --url"),
    (Class::BadHandshake, "answered 401", "the server requires credentials; this client sends none"),
    (Class::BadHandshake, "answered 403", "the server does not allow this client: check its access rules"),
    (Class::BadHandshake, "answered 404", "is the path right?"),
    (Class::BadHandshake, "answered 407", "a proxy requires credentials; this client sends none"),
    (Class::BadHandshake, "answered 429", "the server limits the rate of attempts: lower --connect-rate"),
    (Class::BadHandshake, "answered 5", "the server or a proxy in front of it failed: see its log"),
    (
        Class::Reset,
        "during the handshake",
        "is this a WebSocket server, and does it accept more connections? see its log",
    ),
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
