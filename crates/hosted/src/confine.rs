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
    let sockets = if opens_sockets { SOCKETS } else { &[] };
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
    // Debug builds of Rust ask whether a descriptor is open before they close it.
    let is_open = vec![SeccompCondition::new(1, Length::Qword, Is::Eq, libc::F_GETFD as u64)?];
    rules.insert(libc::SYS_fcntl, vec![SeccompRule::new(is_open)?]);
    SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, TargetArch::x86_64)?
        .try_into()
}

/// What serving takes, as [`palisade_gateway`] lists it, and what Rust's runtime does by itself: `futex` for its locks,
/// `sigaltstack` and `rt_sigreturn` for stacks that overflow, `restart_syscall` for what a stopped process waited for.
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
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigreturn,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_write,
];

const SOCKETS: &[libc::c_long] =
    &[libc::SYS_connect, libc::SYS_getrandom, libc::SYS_getsockopt, libc::SYS_socket];
