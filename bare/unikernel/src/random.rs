//! Random bytes.

use core::cell::RefCell;

use critical_section::Mutex;
use palisade_unikernel_core::entropy::{Generator, NoEntropy};

use crate::Error;
use crate::platform::HardwareRandom;

/// Fills `bytes` with what nobody can guess.
///
/// # Errors
///
/// [`Error::NoEntropy`]: the processor has no generator, or what it gives does not look random.
pub fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    critical_section::with(|section| match &mut *GENERATOR.borrow_ref_mut(section) {
        Ok(generator) => generator.fill(bytes),
        Err(reason) => Err(*reason),
    })
    .map_err(|_| Error::NoEntropy)
}

/// Seeds the generator. Without randomness the unikernel goes on: what needs secrets refuses to.
pub(crate) fn start() {
    #[cfg(feature = "tls")]
    getrandom::set_source(|bytes| fill(bytes).is_ok());
    let generator = Generator::new(HardwareRandom::find());
    match generator {
        Ok(_) => log::debug!("random numbers come from the processor"),
        Err(NoEntropy::NoSource) => {
            log::warn!("no randomness: the processor has no generator, or it gives nothing")
        }
        Err(NoEntropy::Unhealthy) => {
            log::warn!("no randomness: the processor's generator fails the health tests")
        }
    }
    critical_section::with(|section| *GENERATOR.borrow_ref_mut(section) = generator);
}

static GENERATOR: Mutex<RefCell<Result<Generator<HardwareRandom>, NoEntropy>>> =
    Mutex::new(RefCell::new(Err(NoEntropy::NoSource)));
