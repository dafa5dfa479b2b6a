//! A seed -> the same stream of numbers on every machine: xoshiro256++, seeded by SplitMix64.
//!
//! Both as published by Blackman and Vigna (<https://prng.di.unimi.it>). Not for secrets.

/// A stream of numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: [u64; 4],
}

impl Random {
    /// The stream of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut at = seed;
        Self {
            state: core::array::from_fn(|_| split_mix(&mut at)),
        }
    }

    /// The next number.
    pub(crate) const fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let number = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let shifted = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= shifted;
        s[3] = s[3].rotate_left(45);
        number
    }

    /// A number in `0.0..1.0`, a multiple of 2^-53.
    pub(crate) const fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number below `n`, which is not 0; biased by less than `n` / 2^64.
    #[cfg(feature = "std")]
    pub(crate) const fn below(&mut self, n: u32) -> u32 {
        ((self.next_u64() as u128 * n as u128) >> 64) as u32
    }
}

const fn split_mix(at: &mut u64) -> u64 {
    *at = at.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*at ^ (*at >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_the_published_ones() {
        let mut at = 0;
        assert_eq!(split_mix(&mut at), 0xe220_a839_7b1d_cdaf);
        assert_eq!(split_mix(&mut at), 0x6e78_9e6a_a1b9_65f4);
        let mut random = Random {
            state: [1, 2, 3, 4],
        };
        let first = [
            41_943_041,
            58_720_359,
            3_588_806_011_781_223,
            3_591_011_842_654_386,
        ];
        assert_eq!(core::array::from_fn(|_| random.next_u64()), first);
    }

    #[test]
    fn numbers_stay_in_their_ranges() {
        let mut random = Random::new(7);
        let mut sum = 0.0;
        for n in 1..1000 {
            assert!(random.below(n) < n);
            let unit = random.unit();
            assert!((0.0..1.0).contains(&unit));
            sum += unit;
        }
        assert!((450.0..550.0).contains(&sum));
    }
}
