//! What holds for every system and every text.

use palisade_abi::layout::PAGE;
use palisade_abi::nic_config;
use proptest::prelude::*;

use crate::plan::{Backing, Plan, Region, Rights, Subject, SubjectKind};
use crate::testing::{Elf, TestLibrary, plan, plan_with};
use crate::{Options, elf};

/// Sizes in KiB, some of which are no whole number of pages, and some of which no machine has.
fn size() -> impl Strategy<Value = u64> {
    prop_oneof![4 => (1_u64..64).prop_map(|pages| pages * 4), 2 => 1_u64..20_000, 1 => Just(3 << 20)]
}

#[derive(Debug, Clone)]
struct Described {
    /// Program, RAM, and whether it reads a file.
    subjects: Vec<(&'static str, u64, bool)>,
    /// Bytes of a channel of the network, in KiB.
    network: u64,
    channels: Vec<(usize, usize, u64, bool)>,
    events: Vec<(usize, usize)>,
    memory: u64,
}

fn described() -> impl Strategy<Value = Described> {
    let channels = prop::collection::vec((0_usize..6, 0_usize..6, size(), any::<bool>()), 0..6);
    let events = prop::collection::vec((0_usize..6, 0_usize..6), 0..6);
    let program = prop::sample::select(vec!["hello", "plain", "website", "mirage"]);
    let subjects = prop::collection::vec((program, size(), any::<bool>()), 1..6);
    let numbers = (size(), 16_u64..5000);
    (subjects, channels, events, numbers).prop_map(|(subjects, channels, events, (network, memory))| {
        Described { subjects, network, channels, events, memory }
    })
}

impl Described {
    fn text(&self) -> String {
        let subject = |(id, (program, ram, data)): (usize, &(&str, u64, bool))| {
            let data = if *data { format!("data = {{ notes = {A_FILE:?} }}\n") } else { String::new() };
            format!("[subject.s{id}]\nunikernel = \"{program}\"\nram = \"{ram} KiB\"\n{data}")
        };
        let channel = |(id, (writer, reader, size, signal)): (usize, &(usize, usize, u64, bool))| {
            format!(
                "[[channel]]\nname = \"c{id}\"\nwriter = \"s{writer}:w{id}\"\nreader = \"s{reader}:r{id}\"\n\
                 size = \"{size} KiB\"\nsignal = {signal}\n"
            )
        };
        let network = format!("[network]\nchannel = \"{} KiB\"\n", self.network);
        let event = |(id, (from, to)): (usize, &(usize, usize))| {
            format!("[[event]]\nfrom = \"s{from}:f{id}\"\nto = \"s{to}:t{id}\"\n")
        };
        let subjects = self.subjects.iter().enumerate().map(subject).collect::<String>();
        let channels = self.channels.iter().enumerate().map(channel).collect::<String>();
        let events = self.events.iter().enumerate().map(event).collect::<String>();
        format!("memory = \"{} MiB\"\n{network}{subjects}{channels}{events}", self.memory)
    }
}

/// The invariants that a plan promises, looked at without the rules.
fn assert_invariants(plan: &Plan) {
    for pair in plan.volatile.windows(2) {
        assert!(pair[0].start + pair[0].size <= pair[1].start, "{pair:?}");
    }
    let mut writers: Vec<(u64, u64, &str)> = Vec::new();
    for subject in &plan.subjects {
        for pair in subject.regions.windows(2) {
            assert!(pair[0].address + pair[0].size <= pair[1].address, "{pair:?}");
        }
        for region in &subject.regions {
            assert!(region.size > 0 && region.size % PAGE == 0 && region.address % PAGE == 0, "{region:?}");
            assert!(region.address >= 64 << 10);
            match &region.backing {
                Backing::Volatile(phys) => {
                    let owned = |range: &&crate::plan::VolatileRange| {
                        range.start == *phys && range.size == region.size
                    };
                    assert!(plan.volatile.iter().any(|range| owned(&range)), "{region:?}");
                    if region.rights == Rights::ReadWrite {
                        writers.push((*phys, region.size, &subject.name));
                    }
                }
                Backing::Content(bytes) => assert!(bytes.len() as u64 <= region.size, "{region:?}"),
                Backing::Device(_) => assert_eq!(subject.kind, SubjectKind::Nic),
                Backing::SubjectInfo | Backing::BootInfo => {}
            }
        }
        for event in &subject.source_events {
            let defined = |(id, number): (u16, u8)| {
                plan.subjects[usize::from(id)].target_events.iter().any(|target| target.number == number)
            };
            assert!(event.number < 64 && event.target.is_none_or(defined), "{event:?}");
        }
        let own = |number| subject.source_events.iter().any(|event| event.number == number);
        assert!(subject.on_pause.is_none_or(own));
        if subject.kind == SubjectKind::Nic {
            assert_ports(subject);
        }
    }
    let drivers = plan.subjects.iter().filter(|subject| subject.kind == SubjectKind::Nic).count();
    assert_eq!(plan.devices.len(), drivers);
    writers.sort_unstable();
    for pair in writers.windows(2) {
        assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{pair:?}");
    }
}

/// Every port of the driver has two channels that the driver has too.
fn assert_ports(nic: &Subject) {
    let region = |name: &str| nic.regions.iter().find(|region| region.name == name).expect("a region");
    let Backing::Content(bytes) = &region("config").backing else { panic!("it is content") };
    let (_, ports) = nic_config::parse(bytes).expect("a configuration");
    let place = |region: &Region| (region.address, region.size, region.rights);
    for (number, port) in ports.iter().enumerate() {
        let (input, output) = (region(&format!("port{number}|in")), region(&format!("port{number}|out")));
        assert_eq!(place(input), (port.input, port.input_size, Rights::ReadWrite));
        assert_eq!(place(output), (port.output, port.output_size, Rights::Read));
        assert!(nic.source_events.iter().any(|event| event.number == port.ready_event));
    }
    assert!(!ports.is_empty());
}

const A_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

proptest! {
    #[test]
    fn every_system_gives_problems_or_a_plan_that_keeps_its_promises(described in described()) {
        let library = TestLibrary::new()
            .with("plain", Elf::unikernel())
            .with("mirage", Elf::with_devices(&[("service", 2), ("other", 2)]));
        match plan_with(&described.text(), &Options::default(), &library) {
            Ok(planned) => assert_invariants(&planned.plan),
            Err(problems) => prop_assert!(problems.iter().any(|problem| !problem.is_warning())),
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "(\\PC|\n){0,200}") {
        let _ = plan(&text);
    }

    #[test]
    fn no_text_of_known_words_makes_the_reader_panic(words in prop::collection::vec(prop::sample::select(WORDS), 0..40)) {
        let _ = plan(&words.concat());
    }

    #[test]
    fn every_problem_says_where_and_what_would_be_right(words in prop::collection::vec(prop::sample::select(WORDS), 0..40)) {
        if let Err(problems) = plan(&words.concat()) {
            for problem in problems.iter() {
                let place = problem.place().expect("a place");
                prop_assert!(place.range.end <= place.source.text.len());
                prop_assert!(problem.advice().is_some_and(|help| !help.is_empty()), "{problem}");
            }
        }
    }

    #[test]
    fn no_bytes_make_the_program_reader_panic(at in 0_usize..0x400, byte: u8, length in 0_usize..0x4000) {
        let mut bytes = Elf::with_devices(&[("service", 2)]).bytes();
        bytes.truncate(length.max(0x100));
        if let Some(changed) = bytes.get_mut(at) {
            *changed = byte;
        }
        let _ = elf::Inspection::of(&bytes);
    }
}

const WORDS: &[&str] = &[
    "[subject.a]\n",
    "[subject.b]\n",
    "[[channel]]\n",
    "[[event]]\n",
    "[schedule]\n",
    "[[schedule.cpu]]\n",
    "[[schedule.partition]]\n",
    "[memory]\n",
    "name = ",
    "machine = ",
    "unikernel = ",
    "ram = ",
    "cpu = ",
    "writer = ",
    "reader = ",
    "size = ",
    "from = ",
    "to = ",
    "frames = ",
    "groups = ",
    "arrival = ",
    "bootparams = ",
    "minor_frame = ",
    "[network]\n",
    "[subject.a.data]\n",
    "device = ",
    "channel = ",
    "publish = ",
    "site = ",
    "key = ",
    "\"website\"\n",
    "[\"1:2\", \"3\"]\n",
    "\"hello\"\n",
    "\"a:x\"\n",
    "\"b:y\"\n",
    "\"16 MiB\"\n",
    "\"5 ms\"\n",
    "\"\"\n",
    "0\n",
    "-1\n",
    "99999999999999999999999\n",
    "true\n",
    "1.5\n",
    "[[\"a\"], [\"b\"]]\n",
    "[{ partition = \"x\" }]\n",
    "{}\n",
    "\"qemu-q35\"\n",
    "\"inject:300\"\n",
    "1979-05-27\n",
    "x",
    "=",
    "\"",
    "\n",
];
