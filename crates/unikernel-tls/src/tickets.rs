//! Session tickets (RFC 5077; RFC 8446, 4.6.1): the state of a session, sealed, so that the client can keep it for us.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;

use critical_section::Mutex;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::server::ProducesTickets;

use crate::acceptor::Clock;

/// Seals and opens tickets with two generations of keys: the current one, and the one before, which only opens.
pub(crate) struct Tickets {
    clock: Clock,
    keys: Mutex<RefCell<Generations>>,
}

impl Tickets {
    /// `None` if there is no randomness.
    pub(crate) fn new(clock: Clock) -> Option<Self> {
        let keys = Generations { current: Arc::new(Key::new()?), previous: None, since: clock().as_secs() };
        Some(Self { clock, keys: Mutex::new(RefCell::new(keys)) })
    }

    /// The keys of this moment, after a change if it is time for one. Without randomness the old keys stay, rather than no
    /// session being resumed; TLS itself does not work then.
    fn keys(&self) -> (Arc<Key>, Option<Arc<Key>>) {
        let now = (self.clock)().as_secs();
        critical_section::with(|section| {
            let mut keys = self.keys.borrow_ref_mut(section);
            let age = now.saturating_sub(keys.since);
            if age >= PERIOD
                && let Some(fresh) = Key::new()
            {
                let old = core::mem::replace(&mut keys.current, Arc::new(fresh));
                keys.previous = Some(old).filter(|_| age < 2 * PERIOD);
                keys.since = now;
            }
            (keys.current.clone(), keys.previous.clone())
        })
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        PERIOD as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys().0.seal(plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (current, previous) = self.keys();
        current.open(ticket).or_else(|| previous?.open(ticket))
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

struct Generations {
    current: Arc<Key>,
    previous: Option<Arc<Key>>,
    /// When the current key was made, in seconds since 1970.
    since: u64,
}

/// A ticket is the key's name, a nonce, and the sealed state. The name is sealed too.
struct Key {
    name: [u8; NAME],
    key: Box<LessSafeKey>,
}

impl Key {
    fn new() -> Option<Self> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &random::<32>()?).ok()?;
        Some(Self { name: random()?, key: Box::new(LessSafeKey::new(key)) })
    }

    fn seal(&self, plain: &[u8]) -> Option<Vec<u8>> {
        // A random nonce: a counter would tell how many clients there are. One key seals far fewer than 2^32 tickets.
        let nonce = random::<NONCE_LEN>()?;
        let mut ticket = [&self.name, nonce.as_slice(), plain].concat();
        let sealed = ticket.get_mut(NAME + NONCE_LEN..)?;
        let tag = self
            .key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(self.name), sealed)
            .ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        if *name != self.name || sealed.len() > LONGEST_STATE {
            return None;
        }
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.key.open_in_place(nonce, Aad::from(self.name), &mut sealed).ok()?.len();
        sealed.truncate(plain);
        Some(sealed)
    }
}

fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes)
}

/// How long a key seals, and a ticket lasts, in seconds.
const PERIOD: u64 = 6 * 60 * 60;
/// Bytes of a key's name.
const NAME: usize = 16;
/// A state is a few hundred bytes, with a client's certificate some thousand.
const LONGEST_STATE: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicU64, Ordering};
    use core::time::Duration;

    use super::*;

    /// A clock per test, as the tests run at the same time.
    macro_rules! clock {
        ($now:ident) => {{
            static NOW: AtomicU64 = AtomicU64::new(1_800_000_000);
            fn clock() -> Duration {
                Duration::from_secs(NOW.load(Ordering::Relaxed))
            }
            let $now = |seconds: u64| NOW.fetch_add(seconds, Ordering::Relaxed);
            (Tickets::new(clock).unwrap(), $now)
        }};
    }

    #[test]
    fn a_ticket_opens_to_what_was_sealed() {
        let (tickets, _) = clock!(pass);
        let ticket = tickets.encrypt(b"state").unwrap();
        assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(b"state".as_slice()));
        assert!(!ticket.windows(5).any(|window| window == b"state"));
        assert_ne!(ticket, tickets.encrypt(b"state").unwrap());
    }

    #[test]
    fn a_ticket_lives_as_long_as_it_says_and_no_longer_than_twice_that() {
        let (tickets, pass) = clock!(pass);
        pass(PERIOD - 1);
        let ticket = tickets.encrypt(b"state").unwrap();
        pass(u64::from(tickets.lifetime()));
        assert!(tickets.decrypt(&ticket).is_some());
        pass(PERIOD);
        assert!(tickets.decrypt(&ticket).is_none());
    }

    #[test]
    fn after_a_long_silence_no_old_key_is_left() {
        let (tickets, pass) = clock!(pass);
        let ticket = tickets.encrypt(b"state").unwrap();
        pass(2 * PERIOD);
        assert!(tickets.decrypt(&ticket).is_none());
    }

    #[test]
    fn a_ticket_that_was_changed_or_cut_does_not_open() {
        let (tickets, _) = clock!(pass);
        let ticket = tickets.encrypt(b"state").unwrap();
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(tickets.decrypt(&changed), None);
            assert_eq!(tickets.decrypt(&ticket[..at]), None);
        }
        let (others, _) = clock!(pass);
        assert_eq!(others.decrypt(&ticket), None);
    }
}
