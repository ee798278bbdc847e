//! Random numbers of a fleet: each run has others.

use common::random::Xorshift;
use std::hash::{BuildHasher, Hasher, RandomState};

/// A random number from the standard library's own source, which is as good as a hash table needs.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A generator with a random seed.
pub(super) fn generator() -> Xorshift {
    Xorshift::new(random())
}
