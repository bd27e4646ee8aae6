//! Things that must have no effect on anybody.

use core::arch::asm;

use solo5::raise_number;

use crate::Attack;

/// All of them.
pub(crate) const ATTACKS: &[Attack] = &[
    ("undefined-events", |_| undefined_events()),
    ("hypercall-storm", |_| (0..200_000).for_each(|_| raise_number(UNDEFINED_EVENT))),
    ("cpuid-storm", |_| cpuid_storm()),
    ("halt-with-interrupts", |_| halt()),
    ("flags", |_| flags()),
];

/// Every number that no policy defines: beyond 63, and all patterns of high bits over small numbers.
fn undefined_events() {
    (64..=0xffff).for_each(raise_number);
    for bit in 6..64 {
        (0..64).for_each(|low| raise_number(1 << bit | low));
        raise_number(u64::MAX << bit);
    }
    raise_number(UNDEFINED_EVENT);
}

/// All leaves that could be known, and some that are not.
fn cpuid_storm() {
    for leaf in (0..0x40).chain(0x8000_0000..0x8000_0040).chain(0x4000_0000..0x4000_0010).chain([u32::MAX]) {
        (0..8).for_each(|subleaf| {
            core::hint::black_box(core::arch::x86_64::__cpuid_count(leaf, subleaf));
        });
    }
}

/// Sleeps as operating systems do, until the timed event of one millisecond from now.
fn halt() {
    let page = solo5::shared_memory("timed_event").map(palisade_abi::timed_event::TimedEvent);
    if let (Some(page), Some(timer)) = (page, solo5::Event::named("timer")) {
        page.set(solo5::clock::ticks() + u64::from(solo5::clock::kilohertz()), timer.number());
        // SAFETY: the timed event ends the halt.
        unsafe { asm!("sti", "hlt", "cli") }
    }
}

/// Flags that ring 0 may set, and that must not hurt the kernel: alignment check, nested task, I/O privilege.
fn flags() {
    for bits in [1_u64 << 18, 1 << 14, 3 << 12] {
        // SAFETY: the flags change back before anything else happens.
        unsafe {
            asm!("pushfq", "or [rsp], {bits}", "popfq", "mov eax, 63", "vmmcall", "pushfq", "xor [rsp], {bits}", "popfq",
                bits = in(reg) bits, out("eax") _);
        }
    }
}

/// The last number: no policy defines so many.
const UNDEFINED_EVENT: u64 = 63;
