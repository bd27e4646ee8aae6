//! Whole descriptions, from text to plan.

use crate::plan::{Backing, Rights, SubjectKind};
use crate::testing::{assert_passes, plan};

const HELLO: &str = include_str!("../../../systems/hello.toml");

#[test]
fn the_hello_system_is_planned() {
    let planned = assert_passes(plan(HELLO));
    let names: Vec<&str> = planned.plan.subjects.iter().map(|subject| subject.name.as_str()).collect();
    assert_eq!(names, ["time", "log", "supervisor", "hello"]);
    let hello = &planned.plan.subjects[3];
    assert_eq!(hello.kind, SubjectKind::Unikernel);
    assert_eq!(hello.command_line, "Hi!");
    let ram = hello.regions.iter().find(|region| region.name == "ram").unwrap();
    assert_eq!((ram.address, ram.size, ram.rights), (0x20_5000, 16 << 20, Rights::ReadWrite));
    assert!(matches!(ram.backing, Backing::Volatile(_)));
}
