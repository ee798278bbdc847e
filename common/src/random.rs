//! Pseudorandom numbers, for what has to differ and need not be a secret.

/// The generator xorshift64 (Marsaglia, *Xorshift RNGs*, 2003): three shifts per number, with a period of 2^64 - 1.
#[derive(Clone, Copy, Debug)]
pub struct Xorshift(u64);

impl Xorshift {
    /// The generator with this seed; with 1 instead of 0, which would give nothing but zeros.
    pub const fn new(seed: u64) -> Xorshift {
        Xorshift(if seed == 0 { 1 } else { seed })
    }

    /// The next number: any but 0.
    #[inline]
    pub const fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_differ_and_repeat_with_the_seed() {
        let numbers = |seed| {
            let mut random = Xorshift::new(seed);
            [random.next_u64(), random.next_u64(), random.next_u64()]
        };
        let [one, two, three] = numbers(7);
        assert!(one != two && two != three && one != three);
        assert_eq!(numbers(7), [one, two, three]);
        assert_ne!(numbers(0)[0], 0);
        assert_eq!(numbers(1)[0], 0x4082_2041);
    }
}
