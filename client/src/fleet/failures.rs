//! Failures by class.

use super::advice::advice;
use super::class::Class;
use serde::{Deserialize, Serialize};

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
        advice(class, self.first.as_deref().unwrap_or_default())
    }

    /// The classes that occurred, with their counts.
    pub fn classes(&self) -> impl Iterator<Item = (Class, u64)> {
        Class::ALL.iter().map(|&class| (class, self.of(class))).filter(|&(_, count)| count > 0)
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}
