//! How fast the time-stamp counter and the local APIC's timer run, measured against a clock of known frequency.

use super::apic::LocalApic;
use super::processor;

/// Measured speeds: how many TSC ticks and timer ticks passed together, and the TSC's frequency.
pub(crate) struct Speeds {
    pub(crate) tsc_khz: u64,
    pub(crate) tsc_ticks: u64,
    pub(crate) timer_ticks: u64,
}

/// Measures for some 20 milliseconds against the ACPI power-management timer at `pm_timer_port`, or against the interval
/// timer if that is 0. `None` if one of the clocks does not move.
pub(crate) fn measure(apic: &LocalApic, pm_timer_port: u16) -> Option<Speeds> {
    if pm_timer_port == 0 {
        measure_against(apic, &IntervalTimer::start())
    } else {
        measure_against(apic, &PmTimer(pm_timer_port))
    }
}

/// A clock that counts up at a known frequency and wraps at 2^24 or later.
trait Reference {
    /// Its frequency in Hz.
    const FREQUENCY: u64;
    /// Ticks after which it wraps, less one.
    const MASK: u32;
    fn now(&self) -> u32;
}

/// ACPI power-management timer (ACPI 6.5, section 4.8.3.3). It has at least 24 bits.
struct PmTimer(u16);

impl Reference for PmTimer {
    const FREQUENCY: u64 = 3_579_545;
    const MASK: u32 = 0xff_ffff;

    fn now(&self) -> u32 {
        processor::port_read_u32(self.0)
    }
}

/// Channel 2 of the 8254 interval timer, counting down once from its highest value (55 ms).
struct IntervalTimer;

impl IntervalTimer {
    fn start() -> Self {
        processor::port_write_u8(0x61, processor::port_read_u8(0x61) & 0xfc | 1); // gate on, speaker off
        processor::port_write_u8(0x43, 0xb0); // channel 2, both bytes, mode 0, binary
        processor::port_write_u8(0x42, 0xff);
        processor::port_write_u8(0x42, 0xff);
        Self
    }
}

impl Reference for IntervalTimer {
    const FREQUENCY: u64 = 1_193_182;
    const MASK: u32 = 0xffff;

    fn now(&self) -> u32 {
        processor::port_write_u8(0x43, 0x80); // latch channel 2
        let low = processor::port_read_u8(0x42);
        let high = processor::port_read_u8(0x42);
        !(u32::from(high) << 8 | u32::from(low)) & 0xffff
    }
}

fn measure_against<R: Reference>(apic: &LocalApic, reference: &R) -> Option<Speeds> {
    const MILLISECONDS: u64 = 20;
    let wanted = (R::FREQUENCY * MILLISECONDS / 1000) as u32;
    apic.start_measuring();
    let (first, tsc_first) = sample(reference);
    let timer_first = apic.measured();
    let mut polls = 0_u32;
    while reference.now().wrapping_sub(first) & R::MASK < wanted {
        polls += 1;
        if polls == MOST_POLLS {
            return None;
        }
    }
    let (last, tsc_last) = sample(reference);
    let timer_ticks = u64::from(apic.measured().wrapping_sub(timer_first));
    let ticks = u64::from(last.wrapping_sub(first) & R::MASK);
    let tsc_ticks = tsc_last.wrapping_sub(tsc_first);
    let tsc_khz = (tsc_ticks.saturating_mul(R::FREQUENCY) / 1000).checked_div(ticks)?;
    (tsc_khz > 0 && timer_ticks > 0).then_some(Speeds { tsc_khz, tsc_ticks, timer_ticks })
}

/// The reference and the TSC at the same moment: of several attempts the one during which least time passed, so that being held
/// up between the two readings (by a hypervisor, say) does not spoil it.
fn sample<R: Reference>(reference: &R) -> (u32, u64) {
    let mut best = (0, 0);
    let mut least = u64::MAX;
    for _ in 0..8 {
        let before = processor::tsc();
        let ticks = reference.now();
        let after = processor::tsc();
        if after.wrapping_sub(before) < least {
            least = after.wrapping_sub(before);
            best = (ticks, before.wrapping_add(least / 2));
        }
    }
    best
}

/// Far more polls than any machine makes in the time measured.
const MOST_POLLS: u32 = 50_000_000;
