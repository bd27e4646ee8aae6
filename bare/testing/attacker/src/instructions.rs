//! Instructions that a subject must not execute, or not with these operands.

use core::arch::asm;

use crate::Attack;

/// An attack that consists of instructions. They may change any register that a function may change, and RBX is kept.
macro_rules! attack {
    ($name:literal, $($instruction:literal),+) => {
        ($name, |_| {
            // SAFETY: none is claimed: whether this is contained is what the test finds out.
            unsafe { asm!("push rbx", $($instruction,)+ "pop rbx", clobber_abi("sysv64")) }
        })
    };
}

/// All of them.
pub(crate) const ATTACKS: &[Attack] = &[
    attack!("undefined-opcode", "ud2"),
    attack!("triple-fault", "push 0", "push 0", "lidt [rsp]", "ud2", "add rsp, 16"),
    attack!("garbage-idt", "mov rax, -1", "push rax", "push rax", "lidt [rsp]", "ud2", "add rsp, 16"),
    attack!("garbage-stack", "mov rbx, rsp", "xor esp, esp", "push rax", "mov rsp, rbx"),
    // Ports: keyboard, power-on diagnostics, PCI configuration, reset, the log's serial port, power off.
    attack!("port-in", "in al, 0x60"),
    attack!("port-out", "out 0x80, al"),
    attack!("port-string-out", "lea rsi, [rsp]", "mov edx, 0x80", "mov ecx, 4", "rep outsb"),
    attack!("port-string-in", "sub rsp, 16", "lea rdi, [rsp]", "mov edx, 0x60", "insb", "add rsp, 16"),
    attack!("port-wide", "mov edx, 0xffff", "in eax, dx"),
    attack!("port-pci", "mov edx, 0xcf8", "mov eax, 0x80000000", "out dx, eax"),
    attack!("port-reset", "mov edx, 0xcf9", "mov al, 6", "out dx, al"),
    attack!("port-serial", "mov edx, 0x3f8", "mov al, 65", "out dx, al"),
    attack!("port-power-off", "mov edx, 0x604", "mov eax, 0x2000", "out dx, ax"),
    // MSRs: local APIC base, EFER, system call target, SVM control, x2APIC interrupt command.
    attack!("msr-read", "mov ecx, 0x1b", "rdmsr"),
    attack!("msr-write", "mov ecx, 0x1b", "xor eax, eax", "xor edx, edx", "wrmsr"),
    attack!("msr-efer", "mov ecx, 0xc0000080", "xor eax, eax", "xor edx, edx", "wrmsr"),
    attack!("msr-lstar", "mov ecx, 0xc0000082", "xor eax, eax", "xor edx, edx", "wrmsr"),
    attack!("msr-svm", "mov ecx, 0xc0010114", "xor eax, eax", "xor edx, edx", "wrmsr"),
    attack!("msr-x2apic", "mov ecx, 0x830", "mov eax, 0xc4500", "xor edx, edx", "wrmsr"),
    attack!("msr-unknown", "mov ecx, 0x12345678", "rdmsr"),
    // Control registers.
    attack!("cr0-paging", "mov rax, cr0", "btr rax, 31", "mov cr0, rax"),
    attack!("cr0-write-protect", "mov rax, cr0", "btr rax, 16", "mov cr0, rax"),
    attack!("cr3", "mov rax, 0x200000", "mov cr3, rax"),
    attack!("cr4", "mov rax, cr4", "btc rax, 20", "mov cr4, rax"),
    attack!("cr8", "mov eax, 15", "mov cr8, rax"),
    attack!("dr7", "mov eax, 0x403", "mov dr7, rax"),
    attack!("extended-state", "xor ecx, ecx", "mov eax, -1", "mov edx, -1", "xsetbv"),
    // Virtualisation of its own, AMD's and Intel's.
    attack!("vmrun", "mov rax, 0x200000", "vmrun rax"),
    attack!("vmload", "mov rax, 0x200000", "vmload rax"),
    attack!("vmsave", "mov rax, 0x200000", "vmsave rax"),
    attack!("stgi", "stgi"),
    attack!("clgi", "clgi"),
    attack!("skinit", "skinit eax"),
    attack!("invlpga", "xor eax, eax", "xor ecx, ecx", "invlpga rax, ecx"),
    attack!("vmread", "mov eax, 0x6c16", "vmread rax, rax"),
    attack!("vmwrite", "mov eax, 0x6c16", "vmwrite rax, rax"),
    attack!("vmlaunch", "vmlaunch"),
    attack!("vmresume", "vmresume"),
    attack!("vmxoff", "vmxoff"),
    attack!("invept", "mov eax, 2", "push 0", "push 0", "invept rax, [rsp]", "add rsp, 16"),
    attack!("invvpid", "mov eax, 2", "push 0", "push 0", "invvpid rax, [rsp]", "add rsp, 16"),
    attack!("vmfunc", "xor eax, eax", "xor ecx, ecx", "vmfunc"),
    attack!("getsec", "xor eax, eax", "getsec"),
    // Matters of the whole machine.
    attack!("wbinvd", "wbinvd"),
    attack!("invd", "invd"),
    attack!("monitor", "lea rax, [rsp]", "xor ecx, ecx", "xor edx, edx", "monitor"),
    attack!("mwait", "xor eax, eax", "xor ecx, ecx", "mwait"),
    attack!("rdpmc", "xor ecx, ecx", "rdpmc"),
    attack!("rsm", "rsm"),
    attack!("syscall", "syscall"),
];
