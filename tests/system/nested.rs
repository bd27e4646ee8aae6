//! The nested tables hold alone: with every page of a subject's own tables opened, as if it had rewritten them, the same
//! attempts are stopped by the kernel.

use std::fs;
use std::process::Command;

use palisade_abi::layout::{IMAGE_BASE, PAGE};
use palisade_abi::plan::{MAGIC, Plan, Subject};
use palisade_image::iso;
use palisade_machine::{Image, Program};
use zerocopy::IntoBytes;

use crate::containment::cause_of;
use crate::harness::{Place, System, boot_image};

/// Attempts on memory that the subject has, but not with this right.
const ATTEMPTS: [&str; 13] = [
    "write-text",
    "write-rodata",
    "execute-rodata",
    "execute-data",
    "execute-stack",
    "execute-heap",
    "write-subject-info",
    "write-scheduling-info",
    "write-boot-info",
    "write-time-info",
    "write-init-stub",
    "write-init-table",
    "write-pristine",
];

pub(crate) fn nested_tables_stop_what_opened_guest_tables_let_through(place: Place) {
    let mut image = OpenedImage::build(place);
    for attempt in ATTEMPTS {
        image.open_guest_tables(attempt);
    }
    let (_, lines) = match place {
        Place::Machine | Place::Computer => boot_image(Program::Qemu, Image::Kernel(&image.0)),
        Place::IntelMachine => {
            let disc = iso::bytes(&image.0, "opened").expect("the tools for discs are installed");
            boot_image(Program::Bochs, Image::Iso(&disc))
        }
    };
    for attempt in ATTEMPTS {
        let report = format!("[supervisor] {attempt}: faulted: {}", cause_of(attempt));
        assert!(lines.iter().any(|line| line.starts_with(&report)), "no {report:?} in {lines:#?}");
        // Its own page-fault handler would have reported first.
        let own = format!("[{attempt}] Solo5: trap");
        assert!(!lines.iter().any(|line| line.starts_with(&own)), "{lines:#?}");
    }
}

/// An image that the builder made, and that is changed before it boots.
struct OpenedImage(Vec<u8>);

impl OpenedImage {
    fn build(place: Place) -> Self {
        let subjects = ATTEMPTS.iter().map(|attempt| {
            format!("[subject.{attempt}]\nunikernel = \"testing/attacker\"\nbootparams = \"{attempt}\"\nram = \"512 KiB\"\n")
        });
        let system = System::described(&format!(
            "machine = {:?}\n{}",
            if place == Place::IntelMachine { "bochs" } else { "qemu-q35" },
            subjects.collect::<String>()
        ));
        let out =
            tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
        let built = Command::new(env!("CARGO_BIN_EXE_palisade"))
            .arg("build")
            .arg(system.description())
            .arg("--output")
            .arg(out.path())
            .status();
        assert!(built.expect("the command starts").success());
        Self(fs::read(out.path().join("system.elf")).expect("the image was built"))
    }

    /// Makes every page that a subject's own tables map writable and executable there.
    fn open_guest_tables(&mut self, name: &str) {
        let subject = self.subject(name);
        self.open_table(subject.npt_root, subject.guest_root, 4);
    }

    fn open_table(&mut self, nested_root: u64, table: u64, level: u32) {
        let table = self.nested(nested_root, table);
        for number in 0..PAGE / 8 {
            let entry = self.word(table + number * 8);
            if entry & PRESENT == 0 {
                continue;
            }
            self.set_word(table + number * 8, (entry | WRITABLE) & !NO_EXECUTE);
            if level > 1 && entry & LARGE == 0 {
                self.open_table(nested_root, entry & FRAME, level - 1);
            }
        }
    }

    /// The physical address that a subject's nested tables give for a guest-physical one.
    fn nested(&self, root: u64, address: u64) -> u64 {
        (1..=4).rev().fold(root, |table, level| {
            let index = address >> (12 + 9 * (level - 1)) & 511;
            self.word((table & FRAME) + index * 8) & FRAME
        })
    }

    fn subject(&self, name: &str) -> Subject {
        let starts = (0..self.0.len()).step_by(PAGE as usize);
        let start = starts.into_iter().find(|at| self.0[*at..].starts_with(&MAGIC.to_le_bytes()));
        let start = start.expect("the image has a plan");
        // The plan is read in place, which takes aligned memory.
        let words: Vec<u64> = self.0[start..].as_chunks().0.iter().copied().map(u64::from_le_bytes).collect();
        let plan = Plan::parse(words.as_bytes()).expect("the builder's plan is valid");
        let number = (0..plan.subjects.len()).find(|number| plan.subject_name(*number) == name);
        plan.subjects[number.expect("the subject is in the plan")]
    }

    fn word(&self, phys: u64) -> u64 {
        let at = Self::offset(phys);
        u64::from_le_bytes(self.0[at..at + 8].try_into().expect("eight bytes"))
    }

    fn set_word(&mut self, phys: u64, value: u64) {
        let at = Self::offset(phys);
        self.0[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    fn offset(phys: u64) -> usize {
        (phys - IMAGE_BASE + PAGE) as usize
    }
}

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const FRAME: u64 = 0x000f_ffff_ffff_f000;
