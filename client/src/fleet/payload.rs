//! Message payloads, computed instead of stored: byte *i* of message *n* on connection *c* is a function of *i*, *n* and
//! *c*, so every echo can be compared with its message.

/// Two odd constants with well-mixed bits: the golden ratio, and one of SplitMix64's.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const MIX: u64 = 0xbf58_476d_1ce4_e5b9;

/// The seed of a message's payload. It differs between messages of a connection, and between connections.
#[inline]
pub(super) fn seed(shard: u32, index: u32, phase: u32, sequence: u32) -> u64 {
    let connection = u64::from(shard) << 32 | u64::from(index);
    let message = u64::from(phase) << 32 | u64::from(sequence);
    (connection.wrapping_mul(GOLDEN) ^ message).wrapping_mul(MIX)
}

/// Bytes `8 * n` to `8 * n + 7`: one addition, because the client shares the server's cores. Payloads of different seeds
/// differ in every word.
#[inline]
fn word(seed: u64, n: usize) -> u64 {
    seed.wrapping_add((n as u64).wrapping_mul(GOLDEN))
}

/// Writes a whole payload, masked with `key` in the same pass (RFC 6455, section 5.3).
#[inline]
pub(super) fn fill(payload: &mut [u8], seed: u64, key: [u8; 4]) {
    let key = u64::from(u32::from_le_bytes(key));
    let key = key << 32 | key;
    let (words, tail) = payload.as_chunks_mut();
    let mut due = seed;
    for chunk in words {
        *chunk = (due ^ key).to_le_bytes();
        due = due.wrapping_add(GOLDEN);
    }
    if !tail.is_empty() {
        tail.copy_from_slice(&(due ^ key).to_le_bytes()[..tail.len()]);
    }
}

/// Whether `piece` equals the unmasked payload of `seed` from byte `position` on.
#[inline]
pub(super) fn matches(piece: &[u8], seed: u64, position: usize) -> bool {
    let (into_word, mut due) = (position % 8, word(seed, position / 8));
    let mut rest = piece;
    if into_word != 0 {
        let head = rest.len().min(8 - into_word);
        if rest[..head] != due.to_le_bytes()[into_word..into_word + head] {
            return false;
        }
        rest = &rest[head..];
        due = due.wrapping_add(GOLDEN);
    }
    let (words, tail) = rest.as_chunks();
    let mut differences = 0;
    for &chunk in words {
        differences |= u64::from_le_bytes(chunk) ^ due;
        due = due.wrapping_add(GOLDEN);
    }
    differences == 0 && (tail.is_empty() || *tail == due.to_le_bytes()[..tail.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn matches_any_piece_of_its_payload_and_nothing_else() {
        let seed = seed(3, 141, 59, 26);
        for len in 0..40 {
            let mut payload = vec![0; len];
            fill(&mut payload, seed, [0; 4]);
            for from in 0..=len {
                for to in from..=len {
                    assert!(matches(&payload[from..to], seed, from), "{from}..{to} of {len}");
                }
            }
            for at in 0..len {
                payload[at] ^= 1;
                assert!(!matches(&payload, seed, 0), "byte {at} of {len} differs");
                assert!(!matches(&payload[at..], seed, at));
                payload[at] ^= 1;
            }
        }
    }

    #[test]
    fn masking_in_the_same_pass_equals_masking_after() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for len in 0..40 {
            let (mut masked, mut plain) = (vec![0; len], vec![0; len]);
            fill(&mut masked, 7, key);
            fill(&mut plain, 7, [0; 4]);
            common::mask::apply(&mut plain, key, 0);
            assert_eq!(masked, plain);
        }
    }

    #[test]
    fn no_two_messages_are_equal() {
        let mut seen = HashSet::new();
        for shard in 0..4 {
            for index in 0..16 {
                for phase in 0..4 {
                    for sequence in 0..64 {
                        assert!(seen.insert(word(seed(shard, index, phase, sequence), 0)));
                    }
                }
            }
        }
    }
}
