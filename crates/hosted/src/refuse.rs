//! Systems that cannot run here, because a subject needs what only a machine has.

use palisade_abi::layout::{LAUNCHER, LAUNCHER_END};
use palisade_abi::plan::target_action;
use palisade_policy::plan::{Plan, SubjectKind};

use crate::Error;

/// Refuses a system that cannot run.
pub(crate) fn check(plan: &Plan) -> Result<(), Error> {
    for subject in plan.subjects.iter().filter(|subject| subject.kind == SubjectKind::Unikernel) {
        let in_the_way = |address, size| address < LAUNCHER_END && address + size > LAUNCHER;
        let why = if !subject.native {
            "is a unikernel of another build, which needs ring 0 of a processor"
        } else if subject.target_events.iter().any(|event| event.action == target_action::INJECT_INTERRUPT) {
            "gets interrupts, which a process does not have"
        } else if subject.regions.iter().any(|region| in_the_way(region.address, region.size)) {
            "lies where its process has its launcher"
        } else {
            continue;
        };
        return Err(Error::NeedsMachine { subject: subject.name.clone(), why });
    }
    Ok(())
}
