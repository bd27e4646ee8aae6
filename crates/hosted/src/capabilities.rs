//! Capabilities: what is left of root's rights in a process that root has made (capabilities(7)).

#![allow(unsafe_code)]

/// Gives up all capabilities for good: those that this process has, and those that a program could bring. Between `clone3`
/// and a program: system calls only. Tells whether none is left.
///
/// In a namespace of users of its own they reach nothing outside; on a computer that grants none, they are root's.
pub(crate) fn give_up() -> bool {
    let header = Header { version: VERSION_3, process: 0 };
    let nothing = [Set { effective: 0, permitted: 0, inheritable: 0 }; 2];
    // SAFETY: numbers, and structures that live until the call returns.
    unsafe {
        // Whoever may not do these two has no capability that they would take away.
        libc::prctl(libc::PR_SET_SECUREBITS, NO_ROOT, 0, 0, 0);
        for capability in 0..MOST_CAPABILITIES {
            libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
        }
        // Ambient ones go with the inheritable ones.
        libc::syscall(libc::SYS_capset, &raw const header, nothing.as_ptr()) == 0
    }
}

/// `struct __user_cap_header_struct` of linux/capability.h.
#[repr(C)]
struct Header {
    version: u32,
    /// 0 for the caller.
    process: i32,
}

/// `struct __user_cap_data_struct`: 32 capabilities.
#[derive(Clone, Copy)]
#[repr(C)]
struct Set {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`: two sets.
const VERSION_3: u32 = 0x2008_0522;
const MOST_CAPABILITIES: libc::c_ulong = 64;
/// linux/securebits.h: user 0 is nobody special when a program is executed, and that stays so (`SECBIT_NOROOT` and
/// `SECBIT_NOROOT_LOCKED`).
const NO_ROOT: libc::c_ulong = 1 << 0 | 1 << 1;
