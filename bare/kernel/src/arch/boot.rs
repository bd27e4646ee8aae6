//! From the loader's 32-bit protected mode to the first Rust function.
//!
//! Two headers name the entry point: Multiboot 1 (specification 0.6.96, with address fields, because QEMU does not load ELF64
//! otherwise) and Multiboot 2 (specification 2.0). Both leave the end of the image and of the cleared memory at zero: the
//! whole file is loaded, and these bytes are the same in every image.
//!
//! The boot code maps the first 4 GiB to themselves, enables SSE, which compiled code uses from its first instruction,
//! and calls `kernel_start_rust` on the boot stack. Other CPUs join it where it enters long mode ([`super::secondary`]).

use core::arch::global_asm;

/// What a Multiboot 1 loader leaves in EAX.
pub(crate) const MULTIBOOT1_LOADED: u32 = 0x2bad_b002;
/// What a Multiboot 2 loader leaves in EAX.
pub(crate) const MULTIBOOT2_LOADED: u32 = 0x36d7_6289;

global_asm!(
    r#"
    .section .boot.headers, "a"
    .balign 8
multiboot1:
    .long 0x1badb002                    // magic
    .long 0x00010003                    // page-aligned modules, memory map, address fields are valid
    .long -(0x1badb002 + 0x00010003)    // checksum
    .long multiboot1                    // header address
    .long kernel_start                  // load address
    .long 0                             // load end: all of the file
    .long 0                             // end of memory to clear: none
    .long boot_entry

    .balign 8
multiboot2:
    .long 0xe85250d6                    // magic
    .long 0                             // i386
    .long multiboot2_end - multiboot2
    .long -(0xe85250d6 + (multiboot2_end - multiboot2))
    .balign 8
    .short 1, 0                         // information request
    .long 12
    .long 6                             // memory map
    .balign 8
    .short 2, 0                         // addresses
    .long 24
    .long multiboot2
    .long kernel_start
    .long 0
    .long 0
    .balign 8
    .short 3, 0                         // entry address
    .long 12
    .long boot_entry
    .balign 8
    .short 0, 0                         // end
    .long 8
multiboot2_end:

    .section .boot.text, "ax"
    .code32
    .globl boot_entry
boot_entry:
    cli
    cld
    mov edi, eax                        // the loader's magic and information: first and second argument later
    mov esi, ebx
    mov esp, offset boot_stack_end

    // Long mode must exist (CPUID 8000_0001h EDX bit 29).
    mov eax, 0x80000000
    cpuid
    cmp eax, 0x80000001
    jb no_long_mode
    mov eax, 0x80000001
    cpuid
    bt edx, 29
    jnc no_long_mode

    // Four page directories of 2 MiB pages map 4 GiB; then the tables above them.
    mov edx, offset boot_directories
    mov eax, 0x83                       // present, writable, large
    xor ecx, ecx
1:  mov [edx + ecx * 8], eax
    add eax, 0x200000
    inc ecx
    cmp ecx, 2048
    jne 1b
    mov edx, offset boot_pointers
    mov eax, offset boot_directories + 3
    xor ecx, ecx
2:  mov [edx + ecx * 8], eax
    add eax, 0x1000
    inc ecx
    cmp ecx, 4
    jne 2b
    mov edx, offset boot_root
    mov eax, offset boot_pointers + 3
    mov [edx], eax
    mov ebx, offset kernel_start_rust

    // Every CPU: the stack is in ESP, and where to go on in EBX.
    .globl boot_enter_long_mode
boot_enter_long_mode:
    mov edx, offset boot_root
    mov cr3, edx
    mov eax, 0x660                      // CR4: PAE, MCE, OSFXSR, OSXMMEXCPT
    mov cr4, eax
    mov ecx, 0xc0000080                 // EFER: long mode
    rdmsr
    or eax, 0x100
    wrmsr
    mov eax, 0x80010033                 // CR0: PG, WP, NE, ET, MP, PE
    mov cr0, eax
    lgdt [boot_gdt_pointer]
    jmp 0x08, offset boot_long_mode

no_long_mode:
    mov esi, offset no_long_mode_text
3:  lodsb
    test al, al
    jz 4f
    out 0xe9, al
    jmp 3b
4:  hlt
    jmp 4b

    .code64
boot_long_mode:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov fs, ax
    mov gs, ax
    mov edi, edi                        // the upper halves are undefined after a change of mode
    mov esi, esi
    mov esp, esp
    mov ebx, ebx
    xor ebp, ebp
    call rbx
    ud2

    .section .rodata.boot, "a"
    .balign 8
    .globl boot_gdt
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff            // 64-bit code
    .quad 0x00cf93000000ffff            // data
    .quad 0x00cf9b000000ffff            // 32-bit code
boot_gdt_pointer:
    .short 31
    .long boot_gdt
no_long_mode_text:
    .asciz "kernel refused: the CPU has no 64-bit mode\n"

    .section .bss.boot, "aw", @nobits
    .balign 4096
boot_root:
    .skip 4096
boot_pointers:
    .skip 4096
boot_directories:
    .skip 16384
boot_stack:
    .skip 16384
boot_stack_end:
"#
);
