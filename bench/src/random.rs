//! Random numbers for choosing names: fast, seeded, and the same for every peer.

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 to `limit - 1`; 0 when there is no choice.
    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        // The high half of a 32 x 32 bit product: even to one part in 2^32 for each value.
        let product = (self.next() >> 32) * u64::from(limit);
        u32::try_from(product >> 32).unwrap_or(0)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn every_name_is_as_likely_as_any_other() {
        const NAMES: u32 = 100;
        const DRAWS: u32 = 1_000_000;
        let mut random = Random::new(7);
        let mut counts = vec![0_u32; NAMES as usize];
        for _ in 0..DRAWS {
            counts[random.below(NAMES) as usize] += 1;
        }
        // 10,000 expected each; the standard deviation is 100.
        assert!(counts.iter().all(|count| count.abs_diff(DRAWS / NAMES) < 600), "{counts:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_names() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            (0..50).map(|_| random.below(10_000)).collect::<Vec<_>>()
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }

    #[test]
    fn one_name_leaves_no_choice() {
        assert_eq!(Random::new(9).below(1), 0);
    }
}
