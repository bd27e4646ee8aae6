//! Which system calls are left to a subject: five, with descriptors that are its own.

use std::collections::BTreeMap;

use palisade_abi::launch::{Instruction, descriptor};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Is,
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// The filter for a subject with this many event descriptors. Whatever it does not allow kills the process, and so does any
/// call by another architecture's numbers.
pub(crate) fn for_subject(events: usize) -> Result<Vec<Instruction>, BackendError> {
    let last = u64::from(descriptor::FIRST_EVENT) + events.saturating_sub(1) as u64;
    let one_number = || argument(2, Is::Eq, EVENT_SIZE);
    let mut writes = vec![SeccompRule::new(vec![argument(0, Is::Eq, WAKE)?, one_number()?])?];
    if events > 0 {
        let first = argument(0, Is::Ge, u64::from(descriptor::FIRST_EVENT))?;
        writes.push(SeccompRule::new(vec![first, argument(0, Is::Le, last)?, one_number()?])?);
    }
    let rules = BTreeMap::from([
        (libc::SYS_write, writes),
        (libc::SYS_read, vec![SeccompRule::new(vec![argument(0, Is::Eq, WAKE)?, one_number()?])?]),
        (libc::SYS_ppoll, vec![SeccompRule::new(vec![argument(1, Is::Le, 1)?])?]),
        (libc::SYS_sched_yield, vec![]),
        (libc::SYS_exit_group, vec![]),
    ]);
    let filter =
        SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, TargetArch::x86_64)?;
    let program: BpfProgram = filter.try_into()?;
    let instruction = |i: &seccompiler::sock_filter| Instruction {
        code: i.code,
        jump_true: i.jt,
        jump_false: i.jf,
        operand: i.k,
    };
    Ok(program.iter().map(instruction).collect())
}

fn argument(number: u8, is: Is, value: u64) -> Result<SeccompCondition, BackendError> {
    // All 64 bits: what Linux ignores of a descriptor must be 0 as well.
    SeccompCondition::new(number, Length::Qword, is, value)
}

const WAKE: u64 = descriptor::WAKE as u64;
/// Bytes of the number that is written to an event descriptor, or read from it.
const EVENT_SIZE: u64 = 8;
