//! Who hears what from whom.

use palisade_abi::plan::{source_action, target_action};
use palisade_abi::supervisor_config::{self, Restart};

use super::{HELLO, region};
use crate::Options;
use crate::plan::{Backing, Plan, ResourceData, Rights, Subject};
use crate::testing::{Elf, TestLibrary, assert_breaks, assert_passes, hello_with, plan, plan_with};

fn hello() -> Plan {
    assert_passes(plan(HELLO)).plan
}

/// Action and target of a source event: the action, and the name and action of the target event.
pub(super) fn raised<'a>(
    plan: &'a Plan,
    subject: &Subject,
    name: &str,
) -> (u8, Option<(&'a str, &'a str, u8)>) {
    let event = subject.source_events.iter().find(|event| event.name == name).unwrap();
    let target = event.target.map(|(id, number)| {
        let target = &plan.subjects[usize::from(id)];
        let event = target.target_events.iter().find(|event| event.number == number).unwrap();
        (target.name.as_str(), event.name.as_str(), event.action)
    });
    (event.action, target)
}

#[test]
fn a_unikernel_s_exit_wakes_the_supervisor() {
    let plan = hello();
    let exit = raised(&plan, &plan.subjects[3], "solo5_exit");
    assert_eq!(exit, (source_action::NONE, Some(("supervisor", "subject_changed", target_action::NONE))));
}

#[test]
fn faults_and_halts_wake_the_supervisor_without_the_subject_s_help() {
    let plan = hello();
    for subject in plan.subjects.iter().filter(|subject| subject.name != "supervisor") {
        let stopped = raised(&plan, subject, "stopped");
        assert_eq!(
            stopped,
            (source_action::NONE, Some(("supervisor", "subject_changed", target_action::NONE)))
        );
        let number =
            subject.source_events.iter().find(|event| event.name == "stopped").map(|event| event.number);
        assert_eq!((subject.on_fault, subject.on_halt), (number, number));
        assert!(subject.resources.iter().all(|resource| resource.name != "stopped"));
    }
}

#[test]
fn a_supervisor_that_stops_stops_the_system() {
    let plan = hello();
    assert_eq!(raised(&plan, &plan.subjects[2], "stopped"), (source_action::SYSTEM_PANIC, None));
}

#[test]
fn the_supervisor_ends_the_system_as_described() {
    let end = |text: &str| {
        let plan = assert_passes(plan(&format!("{text}{}", hello_with("")))).plan;
        plan.subjects[2].source_events.iter().find(|event| event.name == "end").map(|event| event.action)
    };
    assert_eq!(end(""), Some(source_action::SYSTEM_POWER_OFF));
    assert_eq!(end("on_end = \"reset\"\n"), Some(source_action::SYSTEM_RESET));
    assert_eq!(end("on_end = \"stay\"\n"), None);
}

#[test]
fn the_supervisor_can_restart_only_what_may_be_restarted() {
    let plan =
        assert_passes(plan(&hello_with("restart = \"always\"\n[subject.once]\nunikernel = \"hello\""))).plan;
    let reset = raised(&plan, &plan.subjects[2], "restart_hello");
    assert_eq!(reset, (source_action::NONE, Some(("hello", "reset", target_action::RESET))));
    assert!(plan.subjects[2].source_events.iter().all(|event| event.name != "restart_once"));
    assert!(plan.subjects[4].target_events.iter().all(|event| event.action != target_action::RESET));
}

#[test]
fn the_supervisor_s_configuration_has_a_record_for_every_other_subject() {
    let text = hello_with("restart = \"on-failure\"\nbackoff = \"1500 us\"\nbackoff_max = \"2 s\"");
    let plan = assert_passes(plan(&text)).plan;
    let supervisor = &plan.subjects[2];
    let Backing::Content(bytes) = &region(supervisor, "config").backing else { panic!("it is content") };
    let config = supervisor_config::parse(bytes).unwrap();
    let names: Vec<&str> = config.records.iter().map(supervisor_config::Record::name).collect();
    assert_eq!(names, ["time", "log", "hello"]);
    let hello = &config.records[2];
    assert_eq!((hello.subject, hello.unikernel, hello.has_status), (3, 1, 1));
    assert_eq!((hello.restart(), hello.backoff_ms, hello.backoff_max_ms), (Restart::OnFailure, 2, 2000));
    let number =
        |name: &str| supervisor.source_events.iter().find(|event| event.name == name).map(|e| e.number);
    assert_eq!((Some(hello.reset_event), config.end_event), (number("restart_hello"), number("end")));
}

#[test]
fn the_log_reads_what_every_other_subject_writes() {
    let plan = hello();
    let log = &plan.subjects[1];
    for writer in plan.subjects.iter().filter(|subject| subject.name != "log") {
        let read = region(log, &format!("debuglog_{}", writer.name));
        let written = region(writer, "debuglog");
        assert_eq!((read.rights, written.rights), (Rights::Read, Rights::ReadWrite));
        assert_eq!(format!("{:?}", read.backing), format!("{:?}", written.backing));
        assert_eq!(raised(&plan, writer, "log_ready").1, Some(("log", "log_ready", target_action::NONE)));
    }
}

#[test]
fn the_log_hears_a_subject_before_what_the_supervisor_says_of_it() {
    let plan = hello();
    let names = plan.subjects[1].resources.iter().map(|resource| resource.name.as_str());
    let logs: Vec<&str> = names.filter(|name| name.starts_with("debuglog_")).collect();
    assert_eq!(logs, ["debuglog_time", "debuglog_hello", "debuglog_supervisor"]);
}

#[test]
fn only_time_writes_the_time_page() {
    let plan = hello();
    for subject in &plan.subjects {
        let writes = region(subject, "time_info").rights == Rights::ReadWrite;
        assert_eq!(writes, subject.name == "time");
    }
}

#[test]
fn the_supervisor_sees_status_pages_and_nobody_s_memory() {
    let plan = hello();
    let supervisor = &plan.subjects[2];
    let status = region(supervisor, "status_hello");
    assert_eq!((status.address, status.rights), (0xe_0900_3000, Rights::Read));
    let physical = |subject: &Subject, name: &str| format!("{:?}", region(subject, name).backing);
    assert_eq!(physical(supervisor, "status_hello"), physical(&plan.subjects[3], "status"));
    for secret in ["ram", "data", "stack"].map(|name| physical(&plan.subjects[3], name)) {
        assert!(supervisor.regions.iter().all(|region| format!("{:?}", region.backing) != secret));
    }
}

#[test]
fn ports_belong_to_time_and_log_alone() {
    let ports: Vec<_> = hello().subjects.iter().map(|subject| subject.ports.clone()).collect();
    assert_eq!(ports, [vec![(0x70, 2)], vec![(0x3f8, 8)], vec![], vec![]]);
}

#[test]
fn an_unmodified_unikernel_gets_what_the_solo5_interface_names_and_no_more() {
    let library = TestLibrary::new().with("hello", Elf::unikernel());
    let plan = assert_passes(plan_with(&hello_with(""), &Options::default(), &library)).plan;
    let hello = &plan.subjects[3];
    let resources: Vec<&str> = hello.resources.iter().map(|resource| resource.name.as_str()).collect();
    assert_eq!(resources, ["time_info", "debuglog", "solo5_exit"]);
    assert!(
        hello
            .regions
            .iter()
            .all(|region| !["stack", "status", "timed_event"].contains(&region.name.as_str()))
    );
    let time = hello.resources[0].data.clone();
    assert!(matches!(
        time,
        ResourceData::Memory { kind: 5, address: 0xf_ffd0_0000, size: 0x1000, writable: false, .. }
    ));
}

#[test]
fn a_channel_that_signals_wakes_its_reader() {
    let channel = "[subject.b]\nunikernel = \"hello\"\n[[channel]]\nname = \"c\"\nwriter = \"hello:net|out\"\n\
                   reader = \"b:net|in\"\nsignal = true\n";
    let plan = assert_passes(plan(&hello_with(channel))).plan;
    let signal = raised(&plan, &plan.subjects[3], "net|out_ready");
    assert_eq!(signal, (source_action::NONE, Some(("b", "net|in_ready", target_action::NONE))));
}

#[test]
fn large_channels_are_mapped_with_large_pages_at_both_ends() {
    let channel = "[subject.b]\nunikernel = \"hello\"\n[[channel]]\nname = \"c\"\nwriter = \"hello:x\"\n\
                   reader = \"b:x\"\nsize = \"4 MiB\"\n";
    let plan = assert_passes(plan(&hello_with(channel))).plan;
    let large = plan.channels.iter().find(|channel| channel.name == "c").unwrap();
    assert_eq!([large.writer.1, large.reader.1, large.phys].map(|address| address % (2 << 20)), [0, 0, 0]);
}

#[test]
fn a_right_over_the_machine_is_a_source_event_of_that_name() {
    let text = "[subject.a]\nunikernel = \"hello\"\nrights = [\"panic\", \"power-off\", \"panic\"]";
    let planned = assert_passes(plan(text));
    let events = &planned.plan.subjects[3].source_events;
    let actions: Vec<_> = events
        .iter()
        .filter(|e| e.name.starts_with("system_"))
        .map(|e| (e.name.as_str(), e.action))
        .collect();
    let expected = [
        ("system_panic", source_action::SYSTEM_PANIC),
        ("system_power_off", source_action::SYSTEM_POWER_OFF),
    ];
    assert_eq!(actions, expected);
}

#[test]
fn an_unknown_right_is_pointed_at() {
    assert_breaks(
        plan("[subject.a]\nunikernel = \"hello\"\nrights = [\"panics\"]"),
        "value-range",
        3,
        "panic",
    );
}
