//! The program's own segment and interrupt descriptors (Intel SDM volume 3, chapters 3.4.5, 6.14 and 8.7).

use core::arch::asm;
use core::mem::size_of;

use super::global::Global;
use super::vectors;

/// Loads the program's own descriptor tables, after which every exception and interrupt has a handler.
pub(crate) fn install() {
    TABLES.with(|tables| {
        tables.task.stacks[EXCEPTION_STACK as usize - 1] = tables.exceptions.top();
        tables.task.stacks[INTERRUPT_STACK as usize - 1] = tables.interrupts.top();
        // Beyond the segment's limit: there is no map.
        tables.task.io_map = size_of::<TaskState>() as u16;
        tables.segments = segments(&tables.task);
        for (vector, gate) in tables.gates.iter_mut().enumerate() {
            let stack = if vector < vectors::EXCEPTIONS { EXCEPTION_STACK } else { INTERRUPT_STACK };
            *gate = interrupt_gate(vectors::stub(vector), stack);
        }
        load(tables);
    });
}

/// Everything the processor reads by itself, and the stacks it switches to. The stacks keep handlers away from the red
/// zone that the prebuilt core library uses, and give a stack overflow a place to be reported from.
#[repr(C, align(16))]
struct Tables {
    segments: [u64; 5],
    task: TaskState,
    gates: [[u64; 2]; vectors::COUNT],
    exceptions: Stack,
    interrupts: Stack,
}

/// The 64-bit task-state segment. `stacks` is the interrupt stack table.
#[repr(C, packed(4))]
struct TaskState {
    reserved_0: u32,
    privileged_stacks: [u64; 3],
    reserved_1: u64,
    stacks: [u64; 7],
    reserved_2: u64,
    reserved_3: u16,
    io_map: u16,
}

#[repr(C, align(16))]
struct Stack([u8; STACK_SIZE]);

impl Stack {
    fn top(&self) -> u64 {
        self.0.as_ptr_range().end as u64
    }
}

/// What LGDT and LIDT read.
#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

impl TablePointer {
    fn to<T>(table: &T) -> Self {
        Self { limit: (size_of::<T>() - 1) as u16, base: core::ptr::from_ref(table) as u64 }
    }
}

fn segments(task: &TaskState) -> [u64; 5] {
    let base = core::ptr::from_ref(task) as u64;
    // Limit in bits 0..16, base in bits 16..40 and 56..64, type 9 (available 64-bit TSS) and P in bits 40..48; the second
    // half holds the upper part of the base.
    let low = (size_of::<TaskState>() as u64 - 1)
        | (base & 0xff_ffff) << 16
        | 0x89 << 40
        | (base >> 24 & 0xff) << 56;
    [0, CODE_DESCRIPTOR, DATA_DESCRIPTOR, low, base >> 32]
}

/// Offset in bits 0..16, 48..64 and 64..96, selector in bits 16..32, stack in bits 32..35, type 0xe (interrupt gate: the
/// handler runs with interrupts disabled) and P in bits 40..48.
fn interrupt_gate(handler: u64, stack: u64) -> [u64; 2] {
    let low = (handler & 0xffff) | CODE << 16 | stack << 32 | 0x8e << 40 | (handler >> 16 & 0xffff) << 48;
    [low, handler >> 32]
}

fn load(tables: &Tables) {
    let segments = TablePointer::to(&tables.segments);
    let gates = TablePointer::to(&tables.gates);
    // SAFETY: both tables live as long as the program. The new segments are flat like the old ones, so no address changes
    // its meaning; the far return reloads CS.
    unsafe {
        asm!(
            "lgdt [{segments}]",
            "push {code}",
            "lea {scratch}, [rip + 2f]",
            "push {scratch}",
            "retfq",
            "2:",
            "mov ds, {data:e}",
            "mov es, {data:e}",
            "mov ss, {data:e}",
            "ltr {task:x}",
            "lidt [{gates}]",
            segments = in(reg) &raw const segments,
            gates = in(reg) &raw const gates,
            code = const CODE,
            data = in(reg) DATA,
            task = in(reg) TASK,
            scratch = out(reg) _,
        );
    }
}

static TABLES: Global<Tables> = Global::new(Tables {
    segments: [0; 5],
    task: TaskState {
        reserved_0: 0,
        privileged_stacks: [0; 3],
        reserved_1: 0,
        stacks: [0; 7],
        reserved_2: 0,
        reserved_3: 0,
        io_map: 0,
    },
    gates: [[0; 2]; vectors::COUNT],
    exceptions: Stack([0; STACK_SIZE]),
    interrupts: Stack([0; STACK_SIZE]),
});

const STACK_SIZE: usize = 16 * 1024;

/// Entries of the interrupt stack table, counted from 1.
const EXCEPTION_STACK: u64 = 1;
const INTERRUPT_STACK: u64 = 2;

/// Selectors: index in the segment table times 8.
const CODE: u64 = 0x08;
const DATA: u32 = 0x10;
const TASK: u16 = 0x18;

/// 64-bit code: present, executable, readable, accessed, long mode, limit 4 GiB.
const CODE_DESCRIPTOR: u64 = 0x00af_9b00_0000_ffff;
/// Data: present, writable, accessed, limit 4 GiB.
const DATA_DESCRIPTOR: u64 = 0x00cf_9300_0000_ffff;
