//! Keeps patterns in every register through a storm of exits, while its neighbours do the same with other patterns.
//!
//! Arguments: a number from which the patterns are made, and how many milliseconds the storm lasts.

#![no_std]
#![no_main]

mod bases;

use core::arch::naked_asm;
use core::mem::offset_of;

use solo5::{Event, StartInfo, clock, println};

use bases::Bases;

solo5::unikernel!(main);

fn main(start: &StartInfo) -> i32 {
    let mut arguments = start.arguments();
    let (seed, duration) = (arguments.number(1), arguments.number(1000) * 1_000_000);
    let avx = has_avx();
    let bases = Bases::fill(seed);
    let end = clock::monotonic() + duration;
    let (exits, mut rounds, mut count) = (exits(), 0_u64, 0_u64);
    while clock::monotonic() < end {
        rounds += 1;
        for exit in exits.iter().filter(|exit| rounds.is_multiple_of(exit.every)) {
            count += 1;
            let pattern = Registers::pattern(seed.wrapping_mul(1_000_003).wrapping_add(count), exit.rax);
            let mut result = Registers::ZERO;
            // SAFETY: the function changes nothing but `result`, and keeps to the calling convention.
            unsafe { (exit.provoke)(&pattern, &mut result, u64::from(avx)) };
            if let Some(register) = pattern.difference(&result, exit.changes, avx).or_else(|| bases.changed())
            {
                println!("register {register} changed by {}, exit number {count}", exit.name);
                return 1;
            }
        }
    }
    println!("patterns held through {count} exits{}", if avx { ", with AVX" } else { "" });
    0
}

/// A way to leave the subject for a moment.
struct Exit {
    name: &'static str,
    provoke: unsafe extern "sysv64" fn(&Registers, &mut Registers, u64),
    /// In how many rounds it has its turn once: some take the rest of a minor frame.
    every: u64,
    /// What RAX contains: an event's number or a leaf of CPUID.
    rax: u64,
    /// General registers that may change, one bit each.
    changes: u64,
}

fn exits() -> [Exit; 6] {
    let yielding = Event::named("yield").map_or(UNDEFINED_EVENT, |event| u64::from(event.number()));
    [
        Exit { name: "vmmcall", every: 1, provoke: by_vmmcall, rax: UNDEFINED_EVENT, changes: RAX },
        Exit { name: "vmcall", every: 1, provoke: by_vmcall, rax: UNDEFINED_EVENT, changes: RAX },
        Exit { name: "cpuid", every: 1, provoke: by_cpuid, rax: 1, changes: RAX | RBX | RCX | RDX },
        Exit { name: "yield", every: 16, provoke: by_vmmcall, rax: yielding, changes: RAX },
        Exit { name: "pause", every: 64, provoke: by_pause, rax: 0, changes: 0 },
        Exit { name: "waiting", every: 16, provoke: by_waiting, rax: 0, changes: RCX },
    ]
}

/// Every register that a program can see, but the stack pointer.
#[repr(C, align(64))]
struct Registers {
    /// RAX, RBX, RCX, RDX, RSI, RDI, RBP, R8..=R15, flags.
    general: [u64; 16],
    /// All of YMM0..=YMM15.
    ymm: [[u64; 4]; 16],
    /// What FXSAVE stores: x87, MXCSR, XMM.
    fx: Fx,
}

#[repr(C, align(16))]
struct Fx([u8; 512]);

impl Registers {
    const ZERO: Self = Self { general: [0; 16], ymm: [[0; 4]; 16], fx: Fx([0; 512]) };

    fn pattern(mut seed: u64, rax: u64) -> Self {
        let mut random = || {
            // xorshift64*, by Vigna: any numbers will do that differ in all bits.
            seed = seed.max(1);
            seed ^= seed >> 12;
            seed ^= seed << 25;
            seed ^= seed >> 27;
            seed.wrapping_mul(0x2545_f491_4f6c_dd1d)
        };
        let mut registers = Self::ZERO;
        registers.general.iter_mut().for_each(|register| *register = random());
        registers.general[0] = rax;
        registers.general[FLAGS] = random() & ARITHMETIC_FLAGS | 2;
        let fx = &mut registers.fx.0;
        fx[FX_REGISTERS].iter_mut().for_each(|byte| *byte = random() as u8);
        // All exceptions masked, any rounding; the stack top anywhere, all registers in use.
        fx[0..2].copy_from_slice(&(0x037f | (random() as u16 & 0x0c00)).to_le_bytes());
        fx[2..4].copy_from_slice(&(random() as u16 & 0x3800).to_le_bytes());
        fx[4] = 0xff;
        fx[MXCSR].copy_from_slice(&(0x1f80 | (random() as u32 & 0x6000)).to_le_bytes());
        for (ymm, xmm) in registers.ymm.iter_mut().zip(registers.fx.0[XMM].as_chunks::<16>().0) {
            let half = u128::from_le_bytes(*xmm);
            *ymm = [half as u64, (half >> 64) as u64, random(), random()];
        }
        registers
    }

    /// The first register in which `result` differs where it must not.
    fn difference(&self, result: &Self, changes: u64, avx: bool) -> Option<&'static str> {
        let general =
            (0..16).filter(|at| changes >> at & 1 == 0).find(|at| self.general[*at] != result.general[*at]);
        let fx = |range: core::ops::Range<usize>| self.fx.0[range.clone()] != result.fx.0[range];
        // The last six bytes of each x87 register's place are reserved.
        let x87 = (0..8).map(|at| 32 + at * 16).any(|at| fx(at..at + 10));
        match general {
            Some(at) => Some(NAMES[at]),
            None if fx(0..5) || x87 => Some("x87"),
            None if fx(MXCSR) => Some("MXCSR"),
            None if fx(XMM) => Some("XMM"),
            None if avx && self.ymm != result.ymm => Some("YMM"),
            None => None,
        }
    }
}

/// Whether the AVX registers can be used: CPUID leaf 1, and the state that XCR0 enables.
fn has_avx() -> bool {
    let features = core::arch::x86_64::__cpuid(1).ecx;
    if features & (OSXSAVE | AVX) != OSXSAVE | AVX {
        return false;
    }
    let enabled: u32;
    // SAFETY: OSXSAVE says that the instruction exists.
    unsafe { core::arch::asm!("xgetbv", in("ecx") 0, out("eax") enabled, out("edx") _) };
    enabled & 6 == 6
}

/// A function that loads all registers from its first argument, does something, and stores them to its second one. The
/// third says whether AVX can be used.
macro_rules! provoke {
    ($name:ident, $($instruction:literal),+) => {
        #[unsafe(naked)]
        unsafe extern "sysv64" fn $name(pattern: &Registers, result: &mut Registers, avx: u64) {
            naked_asm!(
                "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15",
                "push rdx", "push rsi",
                "fxrstor64 [rdi + {fx}]",
                "test edx, edx",
                "jz 2f",
                "vmovups ymm0, [rdi + {ymm}]", "vmovups ymm1, [rdi + {ymm} + 32]",
                "vmovups ymm2, [rdi + {ymm} + 64]", "vmovups ymm3, [rdi + {ymm} + 96]",
                "vmovups ymm4, [rdi + {ymm} + 128]", "vmovups ymm5, [rdi + {ymm} + 160]",
                "vmovups ymm6, [rdi + {ymm} + 192]", "vmovups ymm7, [rdi + {ymm} + 224]",
                "vmovups ymm8, [rdi + {ymm} + 256]", "vmovups ymm9, [rdi + {ymm} + 288]",
                "vmovups ymm10, [rdi + {ymm} + 320]", "vmovups ymm11, [rdi + {ymm} + 352]",
                "vmovups ymm12, [rdi + {ymm} + 384]", "vmovups ymm13, [rdi + {ymm} + 416]",
                "vmovups ymm14, [rdi + {ymm} + 448]", "vmovups ymm15, [rdi + {ymm} + 480]",
                "2:",
                "push qword ptr [rdi + 120]", "popfq",
                "mov rax, [rdi]", "mov rbx, [rdi + 8]", "mov rcx, [rdi + 16]", "mov rdx, [rdi + 24]",
                "mov rsi, [rdi + 32]", "mov rbp, [rdi + 48]", "mov r8, [rdi + 56]", "mov r9, [rdi + 64]",
                "mov r10, [rdi + 72]", "mov r11, [rdi + 80]", "mov r12, [rdi + 88]", "mov r13, [rdi + 96]",
                "mov r14, [rdi + 104]", "mov r15, [rdi + 112]", "mov rdi, [rdi + 40]",
                $($instruction,)+
                "push rdi",
                "mov rdi, [rsp + 8]",
                "mov [rdi], rax", "mov [rdi + 8], rbx", "mov [rdi + 16], rcx", "mov [rdi + 24], rdx",
                "mov [rdi + 32], rsi", "mov [rdi + 48], rbp", "mov [rdi + 56], r8", "mov [rdi + 64], r9",
                "mov [rdi + 72], r10", "mov [rdi + 80], r11", "mov [rdi + 88], r12", "mov [rdi + 96], r13",
                "mov [rdi + 104], r14", "mov [rdi + 112], r15",
                "pushfq", "pop qword ptr [rdi + 120]",
                "pop qword ptr [rdi + 40]",
                "fxsave64 [rdi + {fx}]",
                "cmp qword ptr [rsp + 8], 0",
                "je 3f",
                "vmovups [rdi + {ymm}], ymm0", "vmovups [rdi + {ymm} + 32], ymm1",
                "vmovups [rdi + {ymm} + 64], ymm2", "vmovups [rdi + {ymm} + 96], ymm3",
                "vmovups [rdi + {ymm} + 128], ymm4", "vmovups [rdi + {ymm} + 160], ymm5",
                "vmovups [rdi + {ymm} + 192], ymm6", "vmovups [rdi + {ymm} + 224], ymm7",
                "vmovups [rdi + {ymm} + 256], ymm8", "vmovups [rdi + {ymm} + 288], ymm9",
                "vmovups [rdi + {ymm} + 320], ymm10", "vmovups [rdi + {ymm} + 352], ymm11",
                "vmovups [rdi + {ymm} + 384], ymm12", "vmovups [rdi + {ymm} + 416], ymm13",
                "vmovups [rdi + {ymm} + 448], ymm14", "vmovups [rdi + {ymm} + 480], ymm15",
                "vzeroupper",
                "3:",
                // The state that compiled code expects: x87 empty, default rounding, direction upwards.
                "fninit",
                "mov dword ptr [rsp], 0x1f80",
                "ldmxcsr [rsp]",
                "cld",
                "pop rsi", "pop rdx",
                "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx",
                "ret",
                fx = const offset_of!(Registers, fx),
                ymm = const offset_of!(Registers, ymm),
            )
        }
    };
}

provoke!(by_vmmcall, "vmmcall");
provoke!(by_vmcall, "vmcall");
provoke!(by_cpuid, "cpuid");
provoke!(by_pause, "pause");
// Long enough for the end of a minor frame to fall into it sometimes.
provoke!(by_waiting, "mov ecx, 50000", "4: loop 4b");

const NAMES: [&str; 16] = [
    "RAX", "RBX", "RCX", "RDX", "RSI", "RDI", "RBP", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15",
    "RFLAGS",
];
const FLAGS: usize = 15;
const RAX: u64 = 1 << 0;
const RBX: u64 = 1 << 1;
const RCX: u64 = 1 << 2;
const RDX: u64 = 1 << 3;

/// Carry, parity, adjust, zero, sign, direction, overflow.
const ARITHMETIC_FLAGS: u64 = 0xcd5;

/// Bits of CPUID leaf 1, ECX.
const OSXSAVE: u32 = 1 << 27;
const AVX: u32 = 1 << 28;

/// The last number: no policy defines so many.
const UNDEFINED_EVENT: u64 = 63;

/// Parts of what FXSAVE stores.
const MXCSR: core::ops::Range<usize> = 24..28;
const FX_REGISTERS: core::ops::Range<usize> = 32..416;
const XMM: core::ops::Range<usize> = 160..416;
