//! What tests share: ELF files made byte by byte, a library of them, and descriptions that are read from texts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::parse::Files;
use crate::{Certificate, Library, Options, Planned, Problem, Problems, Source, plan_text};
use palisade_abi::layout::{INIT_STUB, PROGRAM};

/// An ELF file in the making.
#[derive(Clone)]
pub(crate) struct Elf {
    pub(crate) entry: u64,
    pub(crate) machine: u16,
    pub(crate) kind: u16,
    pub(crate) segments: Vec<TestSegment>,
    pub(crate) notes: Vec<Vec<u8>>,
}

/// A loadable segment of a test program.
#[derive(Clone)]
pub(crate) struct TestSegment {
    pub(crate) address: u64,
    pub(crate) size: u64,
    /// Bits: 1 execute, 2 write, 4 read.
    pub(crate) flags: u32,
    pub(crate) bytes: Vec<u8>,
}

impl Elf {
    /// A unikernel for target muen with ABI version 4: text, constants, data with bss; and, as real ones have it, an
    /// empty segment at address 0.
    pub(crate) fn unikernel() -> Self {
        let segment =
            |address, size, flags, bytes: &[u8]| TestSegment { address, size, flags, bytes: bytes.to_vec() };
        Self {
            entry: PROGRAM + 0x10,
            machine: 62,
            kind: 2,
            segments: vec![
                segment(0, 0, 4, &[]),
                segment(PROGRAM, 0x1800, 5, &[0xf4; 0x1800]),
                segment(PROGRAM + 0x2000, 0x800, 4, b"constants"),
                segment(PROGRAM + 0x3000, 0x2000, 6, b"data"),
            ],
            notes: vec![abi_note(4, 4)],
        }
    }

    /// A native program.
    pub(crate) fn native() -> Self {
        Self::native_with_stack(0x4000)
    }

    /// A native program that asks for a stack of this size.
    pub(crate) fn native_with_stack(size: u32) -> Self {
        let mut elf = Self::unikernel();
        elf.notes.push(note(b"Palisade\0", 1, &words(&[1, size, 0, 0])));
        elf
    }

    /// An init stub.
    pub(crate) fn init() -> Self {
        let text = TestSegment { address: INIT_STUB, size: 0x20, flags: 5, bytes: vec![0x90; 0x20] };
        Self { entry: INIT_STUB, segments: vec![text], notes: Vec::new(), ..Self::unikernel() }
    }

    /// A native program with these network devices.
    pub(crate) fn native_with_networks(names: &[&str]) -> Self {
        let devices: Vec<_> = names.iter().map(|name| (*name, 2)).collect();
        let mut elf = Self::native();
        elf.notes.extend(Self::with_devices(&devices).notes.into_iter().skip(1));
        elf
    }

    /// A unikernel with these devices: (name, 1 = block or 2 = network).
    pub(crate) fn with_devices(devices: &[(&str, u32)]) -> Self {
        let mut contents = words(&[0, 1, devices.len() as u32 + 1]);
        for (name, kind) in [("", 1 << 30)].iter().chain(devices) {
            let mut entry = vec![0; 104];
            entry[..name.len()].copy_from_slice(name.as_bytes());
            entry[68..72].copy_from_slice(&u32::to_le_bytes(*kind));
            contents.extend(entry);
        }
        let mut elf = Self::unikernel();
        elf.notes.push(note(b"Solo5\0", u32::from_le_bytes(*b"MFT1"), &contents));
        elf
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let headers = self.segments.len() + self.notes.len();
        let mut offset = 64 + 56 * headers as u64;
        let mut table = Vec::new();
        let mut contents = Vec::new();
        let loads = self.segments.iter().map(|s| (1, s.flags, s.address, s.size, &s.bytes));
        let notes = self.notes.iter().map(|note| (4, 4, 0, note.len() as u64, note));
        for (kind, flags, address, size, bytes) in loads.chain(notes) {
            table.extend(words(&[kind, flags]));
            table.extend(
                [offset, address, address, bytes.len() as u64, size, 0x1000].map(u64::to_le_bytes).concat(),
            );
            contents.extend(bytes);
            offset += bytes.len() as u64;
        }
        let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        header.extend([self.kind, self.machine].map(u16::to_le_bytes).concat());
        header.extend(words(&[1]));
        header.extend([self.entry, 64, 0].map(u64::to_le_bytes).concat());
        header.extend(words(&[0]));
        header.extend([64, 56, headers as u16, 64, 0, 0].map(u16::to_le_bytes).concat());
        [header, table, contents].concat()
    }
}

/// The Solo5 note with target and version.
pub(crate) fn abi_note(target: u32, version: u32) -> Vec<u8> {
    note(b"Solo5\0", u32::from_le_bytes(*b"ABI1"), &words(&[target, version, 0, 0]))
}

fn note(owner: &[u8], kind: u32, contents: &[u8]) -> Vec<u8> {
    let mut note = words(&[owner.len() as u32, contents.len() as u32, kind]);
    note.extend(owner);
    note.resize(note.len().next_multiple_of(4), 0);
    note.extend(contents);
    note
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Programs by name.
pub(crate) struct TestLibrary(pub(crate) BTreeMap<String, Elf>);

impl TestLibrary {
    /// The system's own programs; and the unikernels `hello` and `website`, which are native.
    pub(crate) fn new() -> Self {
        let native = ["time", "log", "supervisor", "nic", "hello"].map(|name| (name, Elf::native()));
        let others = [("init", Elf::init()), ("website", Elf::native_with_networks(&["service"]))];
        Self(native.into_iter().chain(others).map(|(name, elf)| (name.to_owned(), elf)).collect())
    }

    /// With one more unikernel.
    pub(crate) fn with(mut self, name: &str, elf: Elf) -> Self {
        self.0.insert(name.to_owned(), elf);
        self
    }
}

impl Library for TestLibrary {
    fn program(&self, name: &str) -> Option<Arc<[u8]>> {
        self.0.get(name).map(|elf| elf.bytes().into())
    }

    fn unikernels(&self) -> Vec<String> {
        let own = ["time", "log", "supervisor", "nic", "init"];
        self.0.keys().filter(|name| !own.contains(&name.as_str())).cloned().collect()
    }

    fn development_certificate(&self, names: &[String]) -> Result<Certificate, String> {
        Ok(Certificate { certificate: format!("certificate of {}", names.join(" ")), key: "key".to_owned() })
    }
}

/// Plans the system of a text with the usual library.
pub(crate) fn plan(text: &str) -> Result<Planned, Problems> {
    plan_with(text, &Options::default(), &TestLibrary::new())
}

/// Plans the system of a text.
pub(crate) fn plan_with(text: &str, options: &Options, library: &dyn Library) -> Result<Planned, Problems> {
    let source = Source { name: "test.toml".to_owned(), text: text.to_owned() };
    let files = Files { folder: std::path::Path::new("no/such/folder"), site: None };
    plan_text(source, "test", files, options, library)
}

/// A system with the unikernel `hello` and these lines behind its header.
pub(crate) fn hello_with(lines: &str) -> String {
    format!("[subject.hello]\nunikernel = \"hello\"\n{lines}\n")
}

/// The one problem of a text: it breaks `rule` on `line`, and its help contains `help`.
#[track_caller]
pub(crate) fn assert_breaks(result: Result<Planned, Problems>, rule: &str, line: usize, help: &str) {
    let problems = result.expect_err("the rule lets it pass");
    let found = problems.iter().map(describe).collect::<Vec<_>>().join("\n");
    let broken: Vec<&Problem> = problems.iter().filter(|problem| problem.rule().id == rule).collect();
    let [problem] = broken[..] else { panic!("{rule} is broken {} times:\n{found}", broken.len()) };
    assert_eq!(problem.place().map(|place| place.line_and_column().0), Some(line), "{found}");
    assert!(problem.advice().is_some_and(|advice| advice.contains(help)), "{found}");
}

/// A text whose system is planned without a problem.
#[track_caller]
pub(crate) fn assert_passes(result: Result<Planned, Problems>) -> Planned {
    result
        .unwrap_or_else(|problems| panic!("{}", problems.iter().map(describe).collect::<Vec<_>>().join("\n")))
}

fn describe(problem: &Problem) -> String {
    format!("[{}] {:?}: {problem} ({:?})", problem.rule().id, problem.place(), problem.advice())
}
