//! Randomness: a hardware source under constant health tests, and the generator that it seeds.

mod health;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use self::health::Health;

/// A source of raw random words: on x86-64 the processor's own generator.
pub trait Source {
    /// A word. `None` if the source has none, although it was asked for patiently.
    fn word(&mut self) -> Option<u64>;
}

/// Why there is no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoEntropy {
    /// The machine has no source, or it gives nothing.
    NoSource,
    /// What the source gives is not random: a health test failed. It is not believed again.
    Unhealthy,
}

/// A generator of random bytes whose output tells nothing about earlier output.
///
/// ChaCha20 makes the bytes. After each request the generator replaces its key by output that nobody else sees, so a key
/// that is found out later does not reveal what was generated before; every [`RESEED_INTERVAL`] requests fresh words of
/// the source go into the key, so one that was found out is of no use for long.
#[derive(Debug)]
pub struct Generator<S> {
    source: Checked<S>,
    stream: ChaCha20Rng,
    requests: u32,
}

impl<S: Source> Generator<S> {
    /// Seeds a generator, after the start-up test of the source (NIST SP 800-90B, 4.3).
    ///
    /// # Errors
    ///
    /// When the source gives nothing or does not look random.
    pub fn new(source: S) -> Result<Self, NoEntropy> {
        let mut source = Checked { source, health: Health::new() };
        for _ in 0..START_UP_WORDS {
            source.word()?;
        }
        let stream = ChaCha20Rng::from_seed(source.seed()?);
        Ok(Self { source, stream, requests: 0 })
    }

    /// Fills `bytes`.
    ///
    /// # Errors
    ///
    /// When it is time for fresh words, and the source gives none or has become unhealthy. Then `bytes` is unchanged.
    pub fn fill(&mut self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        let fresh =
            if self.requests.is_multiple_of(RESEED_INTERVAL) { self.source.seed()? } else { [0; SEED] };
        self.requests = self.requests.wrapping_add(1);
        self.stream.fill_bytes(bytes);
        let mut key = [0; SEED];
        self.stream.fill_bytes(&mut key);
        mix(&mut key, &fresh);
        self.stream = ChaCha20Rng::from_seed(key);
        Ok(())
    }
}

/// A source whose every word is tested.
#[derive(Debug)]
struct Checked<S> {
    source: S,
    health: Health,
}

impl<S: Source> Checked<S> {
    fn word(&mut self) -> Result<u64, NoEntropy> {
        let word = self.source.word().ok_or(NoEntropy::NoSource)?;
        if self.health.accepts(word) { Ok(word) } else { Err(NoEntropy::Unhealthy) }
    }

    /// A key from twice as many bits as it has: the health tests are made for a source of half a bit per bit.
    fn seed(&mut self) -> Result<[u8; SEED], NoEntropy> {
        let mut seed = [0; SEED];
        for _ in 0..2 {
            let mut part = [0; SEED];
            for bytes in part.chunks_exact_mut(8) {
                bytes.copy_from_slice(&self.word()?.to_le_bytes());
            }
            mix(&mut seed, &part);
        }
        Ok(seed)
    }
}

fn mix(key: &mut [u8; SEED], fresh: &[u8; SEED]) {
    for (byte, fresh) in key.iter_mut().zip(fresh) {
        *byte ^= fresh;
    }
}

/// How many requests a generator serves between two looks at its source.
pub const RESEED_INTERVAL: u32 = 1024;

/// Bytes of a key.
const SEED: usize = 32;

/// 1024 samples of a byte each.
const START_UP_WORDS: usize = 128;

#[cfg(test)]
mod tests;
