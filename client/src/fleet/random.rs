//! Random numbers of a fleet, different in each run.

use common::random::Xorshift;
use std::hash::{BuildHasher, Hasher, RandomState};

/// A random number from the standard library's hash seeds. Not for cryptography.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A generator with a random seed.
pub(super) fn generator() -> Xorshift {
    Xorshift::new(random())
}
