//! The continuous health tests of NIST SP 800-90B, 4.4: on bytes, and for repetitions on whole words too.
//!
//! Both are made for a source that gives at least four bits of entropy in a byte, and fail a good one with a probability
//! of 2^-30 per sample (repetition) or window (proportion). A processor's generator gives eight; what the tests catch is
//! one that is stuck or broken, which has happened: some processors answered every request with the same word after a
//! suspend.

/// What the tests remember. Once failed, always failed.
#[derive(Debug)]
pub(super) struct Health {
    /// The word before.
    word: Option<u64>,
    /// The sample that repeats, and how often it was there in a row.
    last: u8,
    repeated: u32,
    /// The first sample of the window, how often it was there, and how many samples the window has.
    first: u8,
    counted: u32,
    seen: u32,
    failed: bool,
}

impl Health {
    pub(super) const fn new() -> Self {
        Self { word: None, last: 0, repeated: 0, first: 0, counted: 0, seen: 0, failed: false }
    }

    /// Tests the bytes of a word. `false` means that the source is not to be used, neither this word nor any later one.
    pub(super) fn accepts(&mut self, word: u64) -> bool {
        // 4.4.1 for samples of 64 bits, of which 32 are entropy: the cutoff is 1 + 30 / 32, rounded up.
        self.failed |= self.word.replace(word) == Some(word);
        for sample in word.to_le_bytes() {
            self.repetition_count(sample);
            self.adaptive_proportion(sample);
        }
        !self.failed
    }

    /// 4.4.1: no sample too often in a row.
    fn repetition_count(&mut self, sample: u8) {
        if sample == self.last {
            self.repeated += 1;
        } else {
            self.last = sample;
            self.repeated = 1;
        }
        self.failed |= self.repeated >= REPETITION_CUTOFF;
    }

    /// 4.4.2: no sample too often in a window that it begins.
    fn adaptive_proportion(&mut self, sample: u8) {
        if self.seen == 0 {
            self.first = sample;
            self.counted = 0;
        }
        self.counted += u32::from(sample == self.first);
        self.failed |= self.counted >= PROPORTION_CUTOFF;
        self.seen = (self.seen + 1) % WINDOW;
    }
}

/// 1 + 30 / 4, rounded up.
const REPETITION_CUTOFF: u32 = 9;

/// Samples in a window of a source that is not binary.
const WINDOW: u32 = 512;

/// 1 + the number of equal samples among 512 that a source of four bits per sample exceeds with probability 2^-30.
const PROPORTION_CUTOFF: u32 = 71;

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest number that a binomial variable exceeds with a probability of at most `alpha`.
    fn critical(trials: u32, probability: f64, alpha: f64) -> u32 {
        let mut term = (1.0 - probability).powi(trials as i32);
        let mut below = term;
        let mut k = 0;
        while 1.0 - below > alpha {
            term *= f64::from(trials - k) / f64::from(k + 1) * probability / (1.0 - probability);
            below += term;
            k += 1;
        }
        k
    }

    #[test]
    fn the_cutoffs_are_those_of_the_standard() {
        let alpha = 2f64.powi(-30);
        assert_eq!(REPETITION_CUTOFF, 1 + (30.0f64 / 4.0).ceil() as u32);
        assert_eq!(PROPORTION_CUTOFF, 1 + critical(WINDOW, 1.0 / 16.0, alpha));
    }

    #[test]
    fn a_sample_may_repeat_eight_times_and_not_nine() {
        let mut health = Health::new();
        assert!(health.accepts(u64::from_le_bytes([1; 8])));
        assert!(!health.accepts(u64::from_le_bytes([1, 2, 3, 4, 5, 6, 7, 8])));
    }

    #[test]
    fn a_source_that_failed_once_has_failed() {
        let mut health = Health::new();
        assert!(!health.accepts(0) || !health.accepts(0));
        assert!(!health.accepts(0x0123_4567_89ab_cdef));
    }

    #[test]
    fn a_sample_that_is_there_too_often_fails_even_among_others() {
        let mut health = Health::new();
        let words = (0..64u64).map(|i| u64::from_le_bytes([7, i as u8, 7, 100, 7, 101, 7, 102]));
        assert_eq!(
            words.take_while(|word| health.accepts(*word)).count() as u32,
            (PROPORTION_CUTOFF - 1) / 4
        );
    }
}
