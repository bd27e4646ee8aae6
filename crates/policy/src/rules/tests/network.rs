use std::fmt::Write;

use crate::testing::{Elf, TestLibrary, assert_breaks, assert_passes, hello_with, plan, plan_with};
use crate::{Options, Outbound, Planned, Problems};

const WEBSITE: &str = "[subject.web]\nunikernel = \"website\"\n";

fn published(texts: &[&str], system: &str) -> Result<Planned, Problems> {
    let publish = texts.iter().map(|text| (*text).to_owned()).collect();
    plan_with(system, &Options { publish, ..Options::default() }, &TestLibrary::new())
}

#[test]
fn the_machine_s_card_can_be_named() {
    assert_passes(plan(&format!("[network]\ndevice = \"net0\"\n{WEBSITE}")));
}

#[test]
fn a_card_that_the_machine_does_not_have_is_refused() {
    let with =
        |machine: &str| plan(&format!("machine = \"{machine}\"\n[network]\ndevice = \"net1\"\n{WEBSITE}"));
    assert_breaks(with("qemu-q35"), "network-card", 3, "did you mean `net0`?");
    assert_breaks(with("bochs"), "network-card", 3, "bochs has none");
}

#[test]
fn who_may_restart_the_network_has_one() {
    let with = |unikernel| {
        plan(&format!("[subject.a]\nunikernel = \"{unikernel}\"\nrights = [\"restart-network\"]"))
    };
    assert_passes(with("website"));
    assert_breaks(with("hello"), "network-card", 1, "no channels connect");
}

#[test]
fn at_most_32_devices_share_a_card() {
    let sites = |count: usize| {
        let mut text = String::from("memory = \"2 GiB\"\n[network]\nchannel = \"64 KiB\"\n");
        (0..count).for_each(|id| write!(text, "[subject.s{id}]\nunikernel = \"website\"\n").unwrap());
        plan(&text)
    };
    assert_passes(sites(32));
    assert_breaks(sites(33), "network-ports", 69, "keep to 32");
}

#[test]
fn device_names_leave_room_for_the_names_made_of_them() {
    let named = |name: &str| {
        let library = TestLibrary::new().with("net", Elf::native_with_networks(&[name]));
        plan_with("[subject.a]\nunikernel = \"net\"\n", &Options::default(), &library)
    };
    assert_passes(named(&"n".repeat(53)));
    assert_breaks(named(&"n".repeat(54)), "network-ports", 2, "1 to 53 printable");
    assert_breaks(named("a b"), "network-ports", 2, "1 to 53 printable");
}

#[test]
fn channels_that_hold_too_few_frames_are_refused() {
    let sized = |size: &str| plan(&format!("[network]\nchannel = \"{size}\"\n{WEBSITE}"));
    assert_passes(sized("64 KiB"));
    assert_breaks(sized("60 KiB"), "network-ports", 2, "64 KiB or more");
    assert_breaks(sized("65 KiB"), "channel-size", 2, "make it 68 KiB");
}

#[test]
fn published_ports_of_different_addresses_or_protocols_are_different() {
    let planned = assert_passes(plan(&format!(
        "{WEBSITE}publish = [\"4433:443\", \"4433:443/udp\", \"127.0.0.2:4433:443\", \"0:80\", \"0:81\"]\n"
    )));
    assert_eq!(planned.system.subjects[4].publish.len(), 5);
}

#[test]
fn a_port_is_published_once() {
    let twice = |second: &str| {
        plan(&format!(
            "{WEBSITE}publish = [\"80:80\"]\n[subject.b]\nunikernel = \"website\"\npublish = [\n{second}]\n"
        ))
    };
    assert_breaks(twice("\"80:8080\""), "publish", 7, "another port");
    assert_breaks(twice("\"0.0.0.0:80:8080\""), "publish", 7, "another port");
}

#[test]
fn what_has_no_network_cannot_be_published() {
    assert_breaks(plan(&hello_with("publish = [\"80:80\"]")), "publish", 3, "whose network device");
}

#[test]
fn a_text_that_publishes_nothing_is_pointed_at() {
    assert_breaks(plan(&format!("{WEBSITE}publish = [\"443\"]\n")), "value-range", 3, "PORT:PORT");
}

#[test]
fn the_command_line_publishes_in_place_of_the_description() {
    let planned = assert_passes(published(&["1:2"], &format!("{WEBSITE}publish = [\"4433:443\"]\n")));
    let publish = planned.system.subjects[4].publish.iter().map(|publish| publish.value.to_string());
    assert_eq!(publish.collect::<Vec<_>>(), ["127.0.0.1:1:2/tcp"]);
}

#[test]
fn the_command_line_publishes_where_there_is_one_unikernel_to_publish() {
    assert_breaks(published(&["1:2"], &hello_with("")), "publish", 1, "with a network device");
    let two = format!("{WEBSITE}[subject.b]\nunikernel = \"website\"\n");
    assert_breaks(published(&["1:2"], &two), "publish", 1, "--set web.publish=");
    assert_breaks(published(&["1"], WEBSITE), "value-range", 1, "PORT:PORT");
}

#[test]
fn nothing_leaves_unless_the_description_says_so() {
    let outbound =
        |text: &str| assert_passes(plan(&format!("[network]\n{text}\n{WEBSITE}"))).system.network.outbound;
    assert!(matches!(outbound(""), Outbound::Only(none) if none.is_empty()));
    assert!(matches!(outbound("outbound = []"), Outbound::Only(none) if none.is_empty()));
    assert!(matches!(outbound("outbound = \"any\""), Outbound::Any));
    let Outbound::Only(some) = outbound("outbound = [\"a.example:443\", \"a.example:443/udp\"]") else {
        panic!()
    };
    let some: Vec<String> = some.iter().map(|destination| destination.value.to_string()).collect();
    assert_eq!(some, ["a.example:443/tcp", "a.example:443/udp"]);
}

#[test]
fn at_most_64_destinations_are_named() {
    let named = |count: usize| {
        let list: Vec<String> = (0..count).map(|number| format!("\"h{number}.example:443\"")).collect();
        plan(&format!("[network]\noutbound = [{}]\n{WEBSITE}", list.join(", ")))
    };
    assert_passes(named(64));
    assert_breaks(named(65), "outbound", 2, "keep to 64");
}

#[test]
fn a_destination_is_named_once() {
    let named = |list: &str| plan(&format!("[network]\noutbound = [{list}]\n{WEBSITE}"));
    assert_breaks(named("\"a.example:1\", \"A.example:1/tcp\""), "outbound", 2, "leave one of them out");
    assert_breaks(named("\"a.example\""), "value-range", 2, "HOST:PORT");
    assert_breaks(named("7"), "value-type", 2, "outbound");
    assert_breaks(plan(&format!("[network]\noutbound = \"a:1\"\n{WEBSITE}")), "value-type", 2, "in brackets");
}

#[test]
fn a_system_without_a_network_has_no_warning_about_it() {
    assert!(assert_passes(plan(&hello_with(""))).warnings.is_empty());
}

#[test]
fn the_events_of_a_network_device_are_the_builder_s() {
    let event = |from: &str, to: &str| {
        plan(&format!(
            "{WEBSITE}[subject.b]\nunikernel = \"hello\"\n[[event]]\nfrom = \"{from}\"\nto = \"{to}\"\n"
        ))
    };
    assert_passes(event("web:ready", "b:ready"));
    assert_breaks(event("web:service|out_ready", "b:x"), "event-names", 6, "another name");
    assert_breaks(event("b:x", "web:service|in_ready"), "event-names", 7, "another name");
}

#[test]
fn the_schedule_has_a_place_for_the_driver() {
    let scheduled = |system: &str| {
        plan(&format!("{WEBSITE}[[schedule.partition]]\nname = \"all\"\ngroups = [{system}, [\"web\"]]\n"))
    };
    assert_passes(scheduled(r#"["time"], ["log"], ["supervisor"], ["nic"]"#));
    assert_breaks(scheduled(r#"["time"], ["log"], ["supervisor"]"#), "one-group", 1, "nic");
}
