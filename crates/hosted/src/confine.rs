//! The network process gives up what it does not need.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Is,
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// Leaves the process what moving frames and bytes takes, and nothing by which files, programs or other processes could be
/// reached. New sockets only if something may leave the system.
pub(crate) fn network(opens_sockets: bool) -> Result<(), String> {
    let program = filter(opens_sockets).map_err(|error| error.to_string())?;
    seccompiler::apply_filter(&program).map_err(|error| error.to_string())
}

fn filter(opens_sockets: bool) -> Result<BpfProgram, BackendError> {
    let sockets = if opens_sockets { FOR_SOCKETS } else { &[] };
    let mut rules: BTreeMap<_, _> =
        ALWAYS.iter().chain(sockets).map(|number| (*number, Vec::new())).collect();
    // Memory for its own use, which nobody executes: MAP_PRIVATE | MAP_ANONYMOUS, whatever else is asked for.
    let anonymous = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
    let memory = vec![
        SeccompCondition::new(2, Length::Dword, Is::MaskedEq(libc::PROT_EXEC as u64), 0)?,
        SeccompCondition::new(3, Length::Dword, Is::MaskedEq(anonymous), anonymous)?,
    ];
    rules.insert(libc::SYS_mmap, vec![SeccompRule::new(memory)?]);
    let protection = vec![SeccompCondition::new(2, Length::Dword, Is::MaskedEq(libc::PROT_EXEC as u64), 0)?];
    rules.insert(libc::SYS_mprotect, vec![SeccompRule::new(protection)?]);
    if opens_sockets {
        rules.insert(libc::SYS_socket, sockets_of_the_internet()?);
    }
    // Debug builds of Rust ask whether a descriptor is open before they close it.
    let is_open = vec![SeccompCondition::new(1, Length::Qword, Is::Eq, libc::F_GETFD as u64)?];
    rules.insert(libc::SYS_fcntl, vec![SeccompRule::new(is_open)?]);
    SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, TargetArch::x86_64)?
        .try_into()
}

/// TCP and UDP, and no other protocol: sockets of Linux's own kind (`AF_UNIX`) lead to whoever serves on this computer.
fn sockets_of_the_internet() -> Result<Vec<SeccompRule>, BackendError> {
    let mut rules = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM] {
            rules.push(SeccompRule::new(vec![
                SeccompCondition::new(0, Length::Dword, Is::Eq, family as u64)?,
                SeccompCondition::new(1, Length::Dword, Is::MaskedEq(SOCKET_KIND), kind as u64)?,
                SeccompCondition::new(2, Length::Dword, Is::Eq, 0)?,
            ])?);
        }
    }
    Ok(rules)
}

/// What serving takes, as [`palisade_gateway`] lists it, and what Rust's runtime does by itself: `futex` for its locks,
/// `sigaltstack` and `rt_sigreturn` for stacks that overflow, `gettid` for what a panic says, `restart_syscall` for what a stopped
/// process waited for.
const ALWAYS: &[libc::c_long] = &[
    libc::SYS_accept4,
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_wait,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_write,
];

const FOR_SOCKETS: &[libc::c_long] = &[libc::SYS_connect, libc::SYS_getrandom, libc::SYS_getsockopt];

/// Bits of a socket's type that are no flags (`SOCK_TYPE_MASK` in linux/net.h).
const SOCKET_KIND: u64 = 0xf;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_for_tcp_and_udp_only() {
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let filter = filter(true).expect("it can be made");
        let allows =
            |family, kind, protocol| judge(&filter, libc::SYS_socket, [family, kind, protocol]) == ALLOW;
        for family in [libc::AF_INET, libc::AF_INET6] {
            assert!(
                allows(family, libc::SOCK_STREAM | flags, 0) && allows(family, libc::SOCK_DGRAM | flags, 0)
            );
            assert!(
                !allows(family, libc::SOCK_RAW, 0) && !allows(family, libc::SOCK_DGRAM, libc::IPPROTO_ICMP)
            );
        }
        for family in [libc::AF_UNIX, libc::AF_NETLINK, libc::AF_PACKET, libc::AF_VSOCK] {
            assert!(
                !allows(family, libc::SOCK_STREAM, 0) && !allows(family, libc::SOCK_DGRAM, 0),
                "{family}"
            );
        }
        let without = super::filter(false).expect("it can be made");
        assert_ne!(judge(&without, libc::SYS_socket, [libc::AF_INET, libc::SOCK_STREAM, 0]), ALLOW);
    }

    /// What Linux would make of a call: the instructions of bpf(4) that such filters consist of.
    fn judge(filter: &BpfProgram, number: libc::c_long, arguments: [i32; 3]) -> u32 {
        let mut data = vec![number as u32, AUDIT_ARCH_X86_64, 0, 0];
        data.extend(arguments.into_iter().flat_map(|argument| [argument as u32, 0]));
        let (mut at, mut value) = (0, 0);
        loop {
            let instruction = &filter[at];
            at += 1;
            let jump = |holds| usize::from(if holds { instruction.jt } else { instruction.jf });
            match instruction.code {
                0x06 => return instruction.k,
                0x20 => value = data[instruction.k as usize / 4],
                0x54 => value &= instruction.k,
                0x05 => at += instruction.k as usize,
                0x15 => at += jump(value == instruction.k),
                0x25 => at += jump(value > instruction.k),
                0x35 => at += jump(value >= instruction.k),
                other => panic!("{other:#x}"),
            }
        }
    }

    const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
    /// `SECCOMP_RET_ALLOW`.
    const ALLOW: u32 = 0x7fff_0000;
}
