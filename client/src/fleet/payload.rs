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

/// The same bytes as printable ASCII, from `0` to `o`: six bits of each.
#[inline]
fn ascii(word: u64) -> u64 {
    (word & 0x3f3f_3f3f_3f3f_3f3f) + 0x3030_3030_3030_3030
}

/// Writes a whole payload, masked with `key` in the same pass (RFC 6455, section 5.3).
#[inline]
pub(super) fn fill(payload: &mut [u8], seed: u64, key: [u8; 4]) {
    fill_as(payload, seed, key, |word| word);
}

/// The same, of text.
pub(super) fn fill_text(payload: &mut [u8], seed: u64, key: [u8; 4]) {
    fill_as(payload, seed, key, ascii);
}

#[inline(always)]
fn fill_as(payload: &mut [u8], seed: u64, key: [u8; 4], form: impl Fn(u64) -> u64) {
    let key = u64::from(u32::from_le_bytes(key));
    let key = key << 32 | key;
    let (words, tail) = payload.as_chunks_mut();
    let mut due = seed;
    for chunk in words {
        *chunk = (form(due) ^ key).to_le_bytes();
        due = due.wrapping_add(GOLDEN);
    }
    if !tail.is_empty() {
        tail.copy_from_slice(&(form(due) ^ key).to_le_bytes()[..tail.len()]);
    }
}

/// Whether `piece` equals the unmasked payload of `seed` from byte `position` on.
#[inline]
pub(super) fn matches(piece: &[u8], seed: u64, position: usize) -> bool {
    matches_as(piece, seed, position, |word| word)
}

/// The same, of text.
pub(super) fn matches_text(piece: &[u8], seed: u64, position: usize) -> bool {
    matches_as(piece, seed, position, ascii)
}

#[inline(always)]
fn matches_as(piece: &[u8], seed: u64, position: usize, form: impl Fn(u64) -> u64) -> bool {
    let (into_word, mut due) = (position % 8, word(seed, position / 8));
    let mut rest = piece;
    if into_word != 0 {
        let head = rest.len().min(8 - into_word);
        if rest[..head] != form(due).to_le_bytes()[into_word..into_word + head] {
            return false;
        }
        rest = &rest[head..];
        due = due.wrapping_add(GOLDEN);
    }
    let (words, tail) = rest.as_chunks();
    let mut differences = 0;
    for &chunk in words {
        differences |= u64::from_le_bytes(chunk) ^ form(due);
        due = due.wrapping_add(GOLDEN);
    }
    differences == 0 && (tail.is_empty() || *tail == form(due).to_le_bytes()[..tail.len()])
}

/// A length from `shortest` to `longest`, each as likely as the others: a function of the message's seed, so it is not
/// stored. The seed is mixed as in SplitMix64, because seeds of consecutive messages are evenly spaced.
pub(super) fn len(seed: u64, shortest: usize, longest: usize) -> usize {
    let mut mixed = seed;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(MIX);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let lengths = (longest - shortest) as u128 + 1;
    // The high half of the product: a modulo favours short lengths.
    shortest + ((u128::from(mixed) * lengths) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    type Fill = fn(&mut [u8], u64, [u8; 4]);
    type Matches = fn(&[u8], u64, usize) -> bool;
    const FORMS: [(Fill, Matches); 2] = [(fill, matches), (fill_text, matches_text)];

    #[test]
    fn matches_any_piece_of_its_payload_and_nothing_else() {
        let seed = seed(3, 141, 59, 26);
        for ((fill, matches), len) in FORMS.into_iter().flat_map(|form| (0..40).map(move |len| (form, len))) {
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
        for ((fill, _), len) in FORMS.into_iter().flat_map(|form| (0..40).map(move |len| (form, len))) {
            let (mut masked, mut plain) = (vec![0; len], vec![0; len]);
            fill(&mut masked, 7, key);
            fill(&mut plain, 7, [0; 4]);
            common::mask::apply(&mut plain, key, 0);
            assert_eq!(masked, plain);
        }
    }

    #[test]
    fn text_is_printable_and_differs_between_messages() {
        let mut seen = HashSet::new();
        for sequence in 0..10_000 {
            let mut text = [0; 16];
            fill_text(&mut text, seed(1, 2, 3, sequence), [0; 4]);
            assert!(text.iter().all(u8::is_ascii_graphic), "{text:?}");
            assert!(seen.insert(text));
        }
    }

    #[test]
    fn lengths_are_uniform_and_repeat() {
        for (shortest, longest) in [(0, 0), (7, 7), (0, 1), (3, 12), (0, 16 << 20)] {
            let lens: Vec<usize> = (0..100)
                .flat_map(|index| (0..500).map(move |sequence| seed(1, index, 2, sequence)))
                .map(|seed| len(seed, shortest, longest))
                .collect();
            assert!(lens.iter().all(|len| (shortest..=longest).contains(len)));
            assert_eq!(len(seed(1, 3, 2, 1), shortest, longest), lens[3 * 500 + 1]);
            let mean = lens.iter().sum::<usize>() as f64 / lens.len() as f64;
            let (middle, width) = ((shortest + longest) as f64 / 2.0, (longest - shortest) as f64);
            assert!((mean - middle).abs() <= width / 100.0, "{shortest} to {longest}: {mean}");
            if longest - shortest < 10 {
                let lengths = longest - shortest + 1;
                for each in shortest..=longest {
                    let share = lens.iter().filter(|&&len| len == each).count() as f64 * lengths as f64;
                    let share = share / lens.len() as f64;
                    assert!((0.9..1.1).contains(&share), "{each} of {shortest} to {longest}: {share}");
                }
            }
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
