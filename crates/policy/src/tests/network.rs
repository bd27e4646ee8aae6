//! The network driver: when a system has one, and what it and its ports get.

use palisade_abi::init_table::Operation;
use palisade_abi::layout::{DEVICES, DMA};
use palisade_abi::nic_config;
use palisade_abi::plan::{source_action, target_action};

use super::wiring::raised;
use super::{operations, region};
use crate::plan::{Backing, DeviceInterrupt, Plan, Rights, Subject, SubjectKind};
use crate::testing::{Elf, TestLibrary, assert_passes, plan_with};
use crate::{Options, Planned, Problems};

fn planned(text: &str) -> Result<Planned, Problems> {
    let library = TestLibrary::new()
        .with("router", Elf::native_with_networks(&["left", "right"]))
        .with("mirage", Elf::with_devices(&[("service", 2)]));
    plan_with(text, &Options::default(), &library)
}

fn networked(text: &str) -> Plan {
    assert_passes(planned(text)).plan
}

const WEBSITE: &str = "[subject.web]\nunikernel = \"website\"\n";

fn nic(plan: &Plan) -> &Subject {
    plan.subjects.iter().find(|subject| subject.kind == SubjectKind::Nic).expect("the system has a driver")
}

fn config(nic: &Subject) -> (nic_config::Header, Vec<nic_config::Port>) {
    let Backing::Content(bytes) = &region(nic, "config").backing else { panic!("it is content") };
    let (header, ports) = nic_config::parse(bytes).expect("a configuration");
    (*header, ports.to_vec())
}

fn number(subject: &Subject, event: &str) -> u8 {
    subject.source_events.iter().find(|known| known.name == event).expect(event).number
}

#[test]
fn a_unikernel_with_an_unconnected_network_device_brings_the_driver() {
    let plan = networked(WEBSITE);
    let names: Vec<&str> = plan.subjects.iter().map(|subject| subject.name.as_str()).collect();
    assert_eq!(names, ["time", "log", "supervisor", "nic", "web"]);
    let [device] = &plan.devices[..] else { panic!("one device") };
    assert_eq!((device.hardware.name.as_str(), device.subject, device.config), ("net0", 3, 0xb001_8000));
    assert_eq!(device.interrupts, [DeviceInterrupt { host_vector: 0x30, guest_vector: 0 }]);
}

#[test]
fn the_right_to_restart_the_network_is_an_event_that_resets_the_driver() {
    let plan = networked(&format!("{WEBSITE}rights = [\"restart-network\"]\n"));
    let web = &plan.subjects[4];
    let event = web.source_events.iter().find(|event| event.name == "network_restart").expect("there");
    let (subject, number) = event.target.expect("somewhere");
    let arrives = nic(&plan).target_events.iter().find(|event| event.number == number).expect("there");
    assert_eq!((subject, event.action, arrives.action), (3, source_action::NONE, target_action::RESET));
}

#[test]
fn a_device_that_nobody_uses_is_left_alone() {
    let plan = networked("[subject.a]\nunikernel = \"hello\"\n");
    assert!(plan.devices.is_empty() && plan.subjects.iter().all(|subject| subject.kind != SubjectKind::Nic));
}

#[test]
fn the_driver_gets_its_registers_and_never_the_table_of_its_interrupts() {
    let plan = networked(WEBSITE);
    let nic = nic(&plan);
    let devices: Vec<_> = nic.regions.iter().filter(|r| matches!(r.backing, Backing::Device(_))).collect();
    let places = devices.iter().map(|r| (r.name.as_str(), r.address, r.size, r.rights));
    let expected = [
        ("device_config", DEVICES, 0x1000, Rights::Read),
        ("device_bar4", DEVICES + 0x2000, 0x4000, Rights::ReadWrite),
    ];
    assert_eq!(places.collect::<Vec<_>>(), expected);
    assert!(matches!(devices[1].backing, Backing::Device(0xfe00_0000)));
    for other in plan.subjects.iter().filter(|subject| subject.kind != SubjectKind::Nic) {
        assert!(other.regions.iter().all(|region| !matches!(region.backing, Backing::Device(_))));
    }
}

#[test]
fn driver_and_device_share_memory_of_their_own() {
    let plan = networked(WEBSITE);
    let dma = region(nic(&plan), "dma");
    let Backing::Volatile(phys) = dma.backing else { panic!("it is memory") };
    assert_eq!(plan.devices[0].dma, [(DMA, phys, 4 << 20)]);
    assert_eq!((dma.address, dma.size, dma.rights, phys % (2 << 20)), (DMA, 4 << 20, Rights::ReadWrite, 0));
    let (header, _) = config(nic(&plan));
    assert_eq!((header.dma, header.dma_size, header.dma_address), (DMA, 4 << 20, DMA));
    assert!(plan.volatile.iter().any(|range| range.start == phys && range.owner == "nic: dma"));
}

#[test]
fn what_driver_and_device_shared_is_gone_when_the_driver_starts_anew() {
    let plan = networked(WEBSITE);
    let (_, operations) = operations(nic(&plan));
    assert!(operations.contains(&Operation::fill(DMA, 4 << 20, 0)));
}

#[test]
fn the_driver_learns_where_its_ports_are() {
    let plan = networked(&format!("{WEBSITE}[subject.two]\nunikernel = \"router\"\n"));
    let nic = nic(&plan);
    let (header, ports) = config(nic);
    assert_eq!(
        (header.device_config, header.bars[4], header.bar_sizes[4]),
        (DEVICES, DEVICES + 0x2000, 0x4000)
    );
    assert_eq!((header.bars[1], header.start_event), (0, number(nic, "device_start")));
    let names: Vec<_> = ports.iter().map(|port| (port.subject(), port.device())).collect();
    assert_eq!(names, [("web", "service"), ("two", "left"), ("two", "right")]);
    for (index, port) in ports.iter().enumerate() {
        let (input, output) = (format!("port{index}|in"), format!("port{index}|out"));
        let [input, output] = [input, output].map(|name| region(nic, &name).clone());
        assert_eq!((port.input, port.input_size, input.rights), (input.address, 2 << 20, Rights::ReadWrite));
        assert_eq!((port.output, port.output_size, output.rights), (output.address, 2 << 20, Rights::Read));
        assert_eq!((port.ready_event, port.recovers), (number(nic, &format!("port{index}_ready")), 1));
    }
}

#[test]
fn a_port_s_two_channels_are_the_unikernel_s_two_channels() {
    let plan = networked(WEBSITE);
    let (nic, web) = (nic(&plan), &plan.subjects[4]);
    let physical = |subject: &Subject, name: &str| format!("{:?}", region(subject, name).backing);
    assert_eq!(physical(nic, "port0|in"), physical(web, "service|in"));
    assert_eq!(physical(nic, "port0|out"), physical(web, "service|out"));
    assert_eq!(region(web, "service|in").rights, Rights::Read);
    assert_eq!(region(web, "service|out").rights, Rights::ReadWrite);
}

#[test]
fn driver_and_port_wake_each_other() {
    let plan = networked(WEBSITE);
    let (nic, web) = (nic(&plan), &plan.subjects[4]);
    let to_web = raised(&plan, nic, "port0_ready");
    assert_eq!(to_web, (source_action::NONE, Some(("web", "service|in_ready", target_action::NONE))));
    let to_nic = raised(&plan, web, "service|out_ready");
    assert_eq!(to_nic, (source_action::NONE, Some(("nic", "port_ready", target_action::NONE))));
}

#[test]
fn only_the_driver_starts_the_device() {
    let plan = networked(WEBSITE);
    for subject in &plan.subjects {
        let starts = subject.source_events.iter().filter(|e| e.action == source_action::START_DEVICE);
        let devices: Vec<_> = starts.map(|event| event.device).collect();
        assert_eq!(devices, if subject.kind == SubjectKind::Nic { vec![Some(0)] } else { vec![] });
    }
}

#[test]
fn an_unmodified_unikernel_tells_of_its_frames_by_pausing() {
    let plan = networked(&format!("{WEBSITE}[subject.old]\nunikernel = \"mirage\"\n"));
    let old = &plan.subjects[5];
    assert_eq!(old.on_pause, Some(number(old, "service|out_ready")));
    assert!(plan.subjects[..5].iter().all(|subject| subject.on_pause.is_none()));
    let (_, ports) = config(nic(&plan));
    assert_eq!(ports.iter().map(|port| port.recovers).collect::<Vec<_>>(), [1, 0]);
}

#[test]
fn the_size_of_the_channels_can_be_chosen() {
    let plan = networked(&format!("[network]\nchannel = \"256 KiB\"\n{WEBSITE}"));
    assert_eq!(config(nic(&plan)).1[0].input_size, 256 << 10);
}

#[test]
fn the_supervisor_always_restarts_the_driver() {
    let plan = networked(WEBSITE);
    let restart = raised(&plan, &plan.subjects[2], "restart_nic");
    assert_eq!(restart, (source_action::NONE, Some(("nic", "reset", target_action::RESET))));
}

#[test]
fn driver_and_unikernel_take_turns_at_once() {
    let plan = networked(WEBSITE);
    let [partition] = &plan.partitions[..] else { panic!("one partition") };
    assert_eq!(partition.groups, (0..5).map(|id| vec![id]).collect::<Vec<_>>());
}
