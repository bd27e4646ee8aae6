//! The status page: what the program says about itself to the supervisor.

use palisade_abi::status::{Abort, StatusPage};

use crate::arch::{self, Global};

/// Sets one of the subject's progress counters.
pub fn set_counter(index: usize, value: u64) {
    if let Some(page) = page() {
        page.set_counter(index, value);
    }
}

/// How many times the subject was started, as the program said with [`started`]; 0 if it has no status page.
pub(crate) fn generation() -> u64 {
    page().and_then(|page| page.generation()).unwrap_or(0)
}

/// Finds the page, and says that the program runs, in this generation.
pub(crate) fn started(generation: u64) {
    PAGE.with(|page| *page = arch::shared_memory("status").map(StatusPage));
    if let Some(page) = page() {
        page.begin(generation);
    }
}

/// Says that the program ends with this exit status.
pub(crate) fn exited(code: i32) {
    if let Some(page) = page() {
        page.exit(code);
    }
}

/// Says that the program gives up, because of an exception or because it wants to.
pub(crate) fn aborted(abort: &Abort) {
    if let Some(page) = page() {
        page.abort(abort);
    }
}

fn page() -> Option<StatusPage<'static>> {
    PAGE.with(|page| *page).flatten()
}

/// The page, found once: programs count what they do often.
static PAGE: Global<Option<StatusPage<'static>>> = Global::new(None);
