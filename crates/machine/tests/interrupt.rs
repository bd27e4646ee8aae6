//! Requests to stop. In a test program of its own: a signal reaches every run of the process.

mod common;

use palisade_machine::{End, Next, Signal, run};

use common::{assert_all_gone, interrupts, machine, stand_in};

#[test]
fn an_interrupt_ends_the_emulator_at_once() {
    let interrupts = interrupts();
    let mut seen = Vec::new();
    let report = run(&stand_in("never-ends"), &machine(b"image"), &interrupts, &mut |_, bytes| {
        seen.extend_from_slice(bytes);
        signal_hook::low_level::raise(Signal::HangUp.number()).map(|()| Next::Continue)
    });
    assert_eq!(report.expect("the run is watched").end, End::Interrupted(Signal::HangUp));
    assert_all_gone(&seen, 2);
}
