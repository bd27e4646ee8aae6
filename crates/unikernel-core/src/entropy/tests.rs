use rand_chacha::rand_core::RngCore;

use super::*;

/// A source that is random enough, until it has given `left` words.
#[derive(Debug)]
struct Good {
    words: ChaCha20Rng,
    left: usize,
}

impl Good {
    fn new(seed: u8, left: usize) -> Self {
        Self { words: ChaCha20Rng::from_seed([seed; 32]), left }
    }
}

impl Source for Good {
    fn word(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        Some(self.words.next_u64())
    }
}

struct Stuck(u64);

impl Source for Stuck {
    fn word(&mut self) -> Option<u64> {
        Some(self.0)
    }
}

#[test]
fn a_stuck_source_seeds_nothing() {
    for word in [0, u64::MAX, 0x0101_0101_0101_0101, 0x0123_4567_89ab_cdef] {
        assert_eq!(Generator::new(Stuck(word)).err(), Some(NoEntropy::Unhealthy), "{word:#x}");
    }
}

#[test]
fn without_a_source_there_is_no_generator() {
    assert_eq!(Generator::new(Good::new(1, 0)).err(), Some(NoEntropy::NoSource));
    assert_eq!(Generator::new(Good::new(1, START_UP_WORDS + 7)).err(), Some(NoEntropy::NoSource));
}

#[test]
fn no_two_requests_and_no_two_seeds_give_the_same() {
    let mut one = Generator::new(Good::new(1, usize::MAX)).unwrap();
    let mut two = Generator::new(Good::new(2, usize::MAX)).unwrap();
    let mut seen = Vec::new();
    for _ in 0..100 {
        for generator in [&mut one, &mut two] {
            let mut bytes = [0; 16];
            generator.fill(&mut bytes).unwrap();
            assert!(!seen.contains(&bytes));
            seen.push(bytes);
        }
    }
}

#[test]
fn fresh_words_change_what_comes() {
    let words = START_UP_WORDS + 8;
    let output = |later: u8| {
        let mut generator = Generator::new(Good::new(1, words)).unwrap();
        generator.source.source = Good::new(later, usize::MAX);
        let mut all = Vec::new();
        for _ in 0..3 {
            let mut bytes = [0; 8];
            generator.fill(&mut bytes).unwrap();
            all.push(bytes);
        }
        all
    };
    let (one, two) = (output(3), output(4));
    assert_eq!(one[0], two[0], "both began with the same seed");
    assert_ne!(one[1], two[1]);
}

#[test]
fn a_source_that_fails_later_ends_the_randomness_at_the_next_reseed() {
    let mut generator = Generator::new(Good::new(1, START_UP_WORDS + 16)).unwrap();
    let mut bytes = [0; 8];
    for _ in 0..RESEED_INTERVAL {
        generator.fill(&mut bytes).unwrap();
    }
    let before = bytes;
    assert_eq!(generator.fill(&mut bytes), Err(NoEntropy::NoSource));
    assert_eq!(bytes, before);
}
