use super::pair_and;
use crate::plan::Rights;
use crate::testing::{assert_breaks, assert_passes, plan};

fn channel(writer: &str, reader: &str) -> String {
    format!("[[channel]]\nname = \"c\"\nwriter = {writer}\nreader = {reader}\n")
}

fn event(from: &str, to: &str, more: &str) -> String {
    format!("[[event]]\nfrom = \"{from}\"\nto = \"{to}\"\n{more}\n")
}

#[test]
fn a_channel_has_one_writer_and_one_reader_of_the_same_memory() {
    let planned = assert_passes(plan(&pair_and(&channel("\"a:x\"", "\"b:y\""))));
    let find = |subject: usize, name: &str| {
        planned.plan.subjects[subject].regions.iter().find(|region| region.name == name).unwrap()
    };
    let (writer, reader) = (find(3, "x"), find(4, "y"));
    assert_eq!((writer.rights, reader.rights), (Rights::ReadWrite, Rights::Read));
    assert_eq!(writer.size, reader.size);
    assert_eq!(format!("{:?}", writer.backing), format!("{:?}", reader.backing));
}

#[test]
fn a_channel_without_exactly_two_ends_is_refused() {
    let no_reader = "[[channel]]\nname = \"c\"\nwriter = \"a:x\"\n";
    assert_breaks(plan(&pair_and(no_reader)), "channel-ends", 5, "reader = \"subject:name\"");
    let two_writers = channel("[\"a:x\", \"b:x\"]", "\"b:y\"");
    assert_breaks(plan(&pair_and(&two_writers)), "channel-ends", 7, "one subject of the system");
    assert_breaks(plan(&pair_and(&channel("\"a:x\"", "\"c:y\""))), "channel-ends", 8, "did you mean");
    assert_breaks(plan(&pair_and(&channel("\"a:x\"", "\"log:y\""))), "channel-ends", 8, "connect unikernels");
    assert_breaks(
        plan(&pair_and(&channel("\"a:x\"", "\"a:y\""))),
        "channel-ends",
        8,
        "two different unikernels",
    );
}

#[test]
fn a_resource_name_of_63_bytes_passes() {
    let name = format!("\"a:{}\"", "x".repeat(63));
    assert_passes(plan(&pair_and(&channel(&name, "\"b:y\""))));
}

#[test]
fn a_resource_name_that_is_too_long_or_taken_is_refused() {
    let long = format!("\"a:{}\"", "x".repeat(64));
    assert_breaks(plan(&pair_and(&channel(&long, "\"b:y\""))), "resource-names", 7, "1 to 63");
    assert_breaks(plan(&pair_and(&channel("\"a:a b\"", "\"b:y\""))), "resource-names", 7, "without spaces");
    assert_breaks(
        plan(&pair_and(&channel("\"a:debuglog\"", "\"b:y\""))),
        "resource-names",
        7,
        "other than debuglog",
    );
    let twice = channel("\"a:x\"", "\"b:y\"") + &channel("\"b:z\"", "\"a:x\"").replace("\"c\"", "\"d\"");
    assert_breaks(plan(&pair_and(&twice)), "resource-names", 12, "another name");
}

#[test]
fn the_event_of_a_channel_that_signals_needs_room_for_its_own_name() {
    let signal = |length: usize| {
        let text = channel(&format!("\"a:{}\"", "x".repeat(length)), "\"b:y\"") + "signal = true\n";
        plan(&pair_and(&text))
    };
    assert_passes(signal(57));
    assert_breaks(signal(58), "resource-names", 7, "by 1 bytes");
}

fn channels(count: usize) -> String {
    let one = |n: usize| {
        channel(&format!("\"a:x{n}\""), &format!("\"b:y{n}\"")).replace("\"c\"", &format!("\"c{n}\""))
    };
    pair_and(&(0..count).map(|n| one(n) + "size = \"4 KiB\"\n").collect::<String>())
}

#[test]
fn a_subject_with_as_many_resources_as_its_subject_info_lists_passes() {
    assert_passes(plan(&channels(243)));
}

#[test]
fn more_resources_than_a_subject_info_lists_are_refused() {
    let problems = plan(&channels(244)).unwrap_err();
    let found: Vec<_> =
        problems.iter().map(|p| (p.rule().id, p.place().unwrap().line_and_column().0)).collect();
    assert_eq!(found, [("resource-count", 1), ("resource-count", 3)]);
    assert!(problems.iter().all(|problem| problem.advice().unwrap().contains("255")));
}

#[test]
fn an_event_signals_its_target() {
    let planned = assert_passes(plan(&pair_and(&event("a:poke", "b:poked", "arrival = \"inject:40\""))));
    let poke = planned.plan.subjects[3].source_events.iter().find(|event| event.name == "poke").unwrap();
    let (target, number) = poke.target.unwrap();
    let poked =
        planned.plan.subjects[usize::from(target)].target_events.iter().find(|e| e.number == number).unwrap();
    assert_eq!((target, poked.name.as_str(), poked.vector), (4, "poked", 40));
}

#[test]
fn an_event_without_both_ends_is_refused() {
    assert_breaks(plan(&pair_and("[[event]]\nfrom = \"a:poke\"")), "event-ends", 5, "to = \"subject:name\"");
    assert_breaks(plan(&pair_and(&event("a:poke", "bb:poked", ""))), "event-ends", 7, "did you mean");
    assert_breaks(plan(&pair_and(&event("a:poke", "time:poked", ""))), "event-ends", 7, "connect unikernels");
    assert_breaks(
        plan(&pair_and(&event("a:poke", "a:poked", ""))),
        "event-ends",
        7,
        "two different unikernels",
    );
}

#[test]
fn many_events_may_arrive_as_one() {
    let events = event("a:one", "b:poked", "") + &event("a:two", "b:poked", "");
    let planned = assert_passes(plan(&pair_and(&events)));
    assert_eq!(
        planned.plan.subjects[4].target_events.iter().filter(|event| event.name == "poked").count(),
        1
    );
}

#[test]
fn events_with_one_name_and_two_meanings_are_refused() {
    let twice = event("a:poke", "b:one", "") + &event("a:poke", "b:two", "");
    assert_breaks(plan(&pair_and(&twice)), "event-names", 10, "another name");
    let arrivals = event("a:one", "b:poked", "") + &event("a:two", "b:poked", "arrival = \"reset\"");
    assert_breaks(plan(&pair_and(&arrivals)), "event-names", 12, "different names");
    assert_breaks(
        plan(&pair_and(&event("a:sleep", "b:poked", ""))),
        "event-names",
        6,
        "other than solo5_exit",
    );
    assert_breaks(plan(&pair_and(&event("a:poke", "b:reset", ""))), "event-names", 7, "other than reset");
    let signal = channel("\"a:x\"", "\"b:y\"") + "signal = true\n" + &event("a:x_ready", "b:poked", "");
    assert_breaks(plan(&pair_and(&signal)), "event-names", 7, "another name");
}

#[test]
fn a_subject_can_raise_events_up_to_number_63() {
    let events: String = (0..55).map(|n| event(&format!("a:e{n}"), "b:poked", "")).collect();
    let planned = assert_passes(plan(&pair_and(&events)));
    assert_eq!(planned.plan.subjects[3].source_events.iter().map(|event| event.number).max(), Some(63));
}

#[test]
fn more_events_than_numbers_are_refused() {
    let raised: String = (0..56).map(|n| event(&format!("a:e{n}"), "b:poked", "")).collect();
    assert_breaks(plan(&pair_and(&raised)), "event-count", 1, "64 numbers");
    let arriving: String = (0..64)
        .map(|n| event(&format!("{}:e{n}", if n < 32 { "a" } else { "c" }), &format!("b:t{n}"), ""))
        .collect();
    let text = format!("{}[subject.c]\nunikernel = \"hello\"\n", pair_and(&arriving));
    assert_breaks(plan(&text), "event-count", 3, "64 numbers");
}

const GROUPS: &str = "[[schedule.partition]]\nname = \"all\"\ngroups = [[\"time\"], [\"log\"], [\"supervisor\"], [\"a\", \"b\"]]\n";

#[test]
fn a_handover_within_a_group_passes() {
    let handover = event("a:call", "b:called", "handover = true") + GROUPS;
    let planned = assert_passes(plan(&pair_and(&handover)));
    assert!(
        planned.plan.subjects[3].source_events.iter().any(|event| event.name == "call" && event.handover)
    );
}

#[test]
fn a_handover_out_of_the_group_is_refused() {
    let handover = event("a:call", "b:called", "handover = true");
    assert_breaks(plan(&pair_and(&handover)), "handover-in-group", 8, "groups = [[\"a\", \"b\"], ..]");
}
