//! Masking (RFC 6455, section 5.3): byte *i* of a payload is XORed with byte *i* mod 4 of the key.

/// Masks or unmasks `payload` in place. `offset` is the position of its first byte within the frame's payload, so that a
/// payload can be handled in the pieces in which it arrives.
#[inline(always)]
pub fn apply(payload: &mut [u8], mut key: [u8; 4], offset: usize) {
    key.rotate_left(offset % 4);
    // A word at a time in the source, which the compiler makes eight.
    let (words, rest) = payload.as_chunks_mut();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(key)).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(key) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, byte by byte.
    fn naive(payload: &[u8], key: [u8; 4], offset: usize) -> Vec<u8> {
        payload.iter().enumerate().map(|(i, byte)| byte ^ key[(offset + i) % 4]).collect()
    }

    #[test]
    fn agrees_with_the_definition_at_every_offset_length_and_alignment() {
        let source: Vec<u8> = (0..400).map(|i| (i * 7 + 3) as u8).collect();
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for offset in 0..9 {
            for len in (0..=100).chain([255, 256, 257]) {
                for start in 0..9 {
                    let mut buffer = source.clone();
                    apply(&mut buffer[start..start + len], key, offset);
                    let expected = naive(&source[start..start + len], key, offset);
                    assert_eq!(buffer[start..start + len], expected, "{offset} {len} {start}");
                    assert_eq!(buffer[..start], source[..start], "what lies before is untouched");
                    assert_eq!(buffer[start + len..], source[start + len..], "what lies behind is untouched");
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
