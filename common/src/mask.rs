//! Masking (RFC 6455, section 5.3): octet *i* of a payload is XORed with octet *i* mod 4 of the key.

/// Bytes handled at a step: one AVX2 register or two SSE2 ones, and the size of many a small message.
const STEP: usize = 32;

/// Masks or unmasks `payload` in place. `offset` is the position of its first octet within the frame's payload,
/// so that a payload can be handled in the pieces in which it arrives.
pub fn apply(payload: &mut [u8], key: [u8; 4], offset: usize) {
    let len = payload.len();
    apply_shifted(payload, 0, 0, len, key, offset);
}

/// As [`apply`] for `buffer[from..from + len]`, but leaves the result at `buffer[to..]`, in the same pass.
///
/// An echo's header is four octets shorter than the header it answers (it has no key), so the echoes of one read
/// close up within the buffer they arrived in. `to` lies at or before `from`: a step writes only where it or a
/// step before it has read.
///
/// # Panics
/// If `to > from`, or the ranges do not lie within the buffer.
pub fn apply_shifted(buffer: &mut [u8], from: usize, to: usize, len: usize, key: [u8; 4], offset: usize) {
    assert!(to <= from && len <= buffer.len() && from <= buffer.len() - len);
    let mut key = key;
    key.rotate_left(offset % 4);
    let mut wide = [0; STEP];
    for lane in wide.chunks_exact_mut(4) {
        lane.copy_from_slice(&key);
    }
    let mut done = 0;
    while len - done >= STEP {
        let mut lanes: [u8; STEP] = buffer[from + done..][..STEP].try_into().expect("STEP octets");
        for (octet, mask) in lanes.iter_mut().zip(wide) {
            *octet ^= mask;
        }
        buffer[to + done..][..STEP].copy_from_slice(&lanes);
        done += STEP;
    }
    while done < len {
        buffer[to + done] = buffer[from + done] ^ key[done % 4];
        done += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, octet by octet.
    fn naive(payload: &[u8], key: [u8; 4], offset: usize) -> Vec<u8> {
        payload.iter().enumerate().map(|(i, octet)| octet ^ key[(offset + i) % 4]).collect()
    }

    #[test]
    fn agrees_with_the_definition_at_every_offset_length_and_shift() {
        let source: Vec<u8> = (0..300).map(|i| (i * 7 + 3) as u8).collect();
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for offset in 0..9 {
            for len in (0..=3 * STEP + 5).chain([255, 256, 257]) {
                for shift in [0, 1, 4, 8, 31, 32, 40] {
                    let mut buffer = vec![0xee; shift];
                    buffer.extend_from_slice(&source);
                    apply_shifted(&mut buffer, shift, 0, len, key, offset);
                    assert_eq!(&buffer[..len], naive(&source[..len], key, offset), "{offset} {len} {shift}");
                    assert_eq!(&buffer[shift + len..], &source[len..], "what lies behind is untouched");
                }
            }
        }
    }

    #[test]
    fn pieces_make_the_whole() {
        let source: Vec<u8> = (0..100).collect();
        let key = [1, 2, 3, 4];
        for cut in 0..source.len() {
            let mut pieces = source.clone();
            let (head, tail) = pieces.split_at_mut(cut);
            apply(head, key, 0);
            apply(tail, key, cut);
            assert_eq!(pieces, naive(&source, key, 0));
        }
    }
}
