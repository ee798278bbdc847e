//! The cases of the conformance suite, by theme. Each starts its own server.

pub(crate) mod admin;
pub(crate) mod admission;
pub(crate) mod budget;
pub(crate) mod close;
pub(crate) mod delivery;
pub(crate) mod drain;
pub(crate) mod echo;
pub(crate) mod endpoints;
pub(crate) mod fairness;
pub(crate) mod flags;
pub(crate) mod fragments;
pub(crate) mod handshake;
pub(crate) mod leaks;
pub(crate) mod live;
pub(crate) mod metrics;
pub(crate) mod origins;
pub(crate) mod ping;
pub(crate) mod ready;
pub(crate) mod refusals;
pub(crate) mod requests;
pub(crate) mod shards;
pub(crate) mod size;
pub(crate) mod surroundings;
pub(crate) mod timeouts;
pub(crate) mod utf8;
pub(crate) mod violations;

/// Pseudo-random bytes, reproducible from `seed` (xorshift64*).
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Text of `len` bytes, in characters of one to four bytes.
fn prose(len: usize) -> String {
    let mut text = String::with_capacity(len);
    for character in "Grüße, κόσμε! 世界 🦀🚀 ".chars().cycle() {
        match len - text.len() {
            0 => break,
            left if left >= character.len_utf8() => text.push(character),
            _ => text.push('.'),
        }
    }
    text
}

#[test]
fn prose_has_the_requested_length() {
    for len in [0, 1, 2, 3, 125, 126, 65_536] {
        assert_eq!(prose(len).len(), len);
    }
}
