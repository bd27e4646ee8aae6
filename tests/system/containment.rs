//! What a subject must not do: each attempt stops the one that makes it, is reported with its cause, and nobody else notices.

use crate::harness::{Place, Run, System};

/// Every attempt of the unikernel `attacker` that must stop it, and how its report begins where its own handlers take
/// exceptions.
const ATTEMPTS: &[(&str, &str)] = &[
    ("null-read", "memory: read of 0x0 not mapped"),
    ("null-write", "memory: write to 0x0 not mapped"),
    ("null-call", "memory: execution of 0x0 not mapped"),
    ("write-text", "memory: write to 0x200000 not permitted"),
    ("write-rodata", "memory: write to 0x"),
    ("execute-rodata", "memory: execution of 0x"),
    ("execute-data", "memory: execution of 0x"),
    ("execute-stack", "memory: execution of 0xe07ff"),
    ("execute-heap", "memory: execution of 0x"),
    ("stack-overflow", "memory: write to 0xe07fef"),
    ("read-kernel", "memory: read of 0x100000 not mapped"),
    ("write-kernel", "memory: write to 0x100000 not mapped"),
    ("read-beyond-ram", "memory: read of 0x40000000 not mapped"),
    ("write-beyond-ram", "memory: write to 0x40000000 not mapped"),
    ("read-page-tables", "memory: read of 0xd00000000 not mapped"),
    ("write-page-tables", "memory: write to 0xd00000000 not mapped"),
    ("read-local-apic", "memory: read of 0xfee00020 not mapped"),
    ("write-local-apic", "memory: write to 0xfee000b0 not mapped"),
    ("read-device-config", "memory: read of 0xb0018000 not mapped"),
    ("write-device-config", "memory: write to 0xb0018000 not mapped"),
    ("write-device-registers", "memory: write to 0xfe000000 not mapped"),
    ("write-msix-table", "memory: write to 0xfe010000 not mapped"),
    ("read-drivers-device", "memory: read of 0xf80000000 not mapped"),
    ("write-drivers-memory", "memory: write to 0xfa0000000 not mapped"),
    ("non-canonical", "general protection fault"),
    ("write-subject-info", "memory: write to 0xe00000000 not permitted"),
    ("write-scheduling-info", "memory: write to 0xe00008000 not permitted"),
    ("write-boot-info", "memory: write to 0xe00010000 not permitted"),
    ("write-time-info", "memory: write to 0xfffd00000 not permitted"),
    ("write-init-stub", "memory: write to 0xe00030000 not permitted"),
    ("write-init-table", "memory: write to 0xe00031000 not permitted"),
    ("write-pristine", "memory: write to 0xe80000000 not permitted"),
    ("read-report", "memory: read of 0xe00040000 not mapped"),
    ("read-crash-record", "memory: read of 0xe00050000 not mapped"),
    ("read-other-status", "memory: read of 0xe09000000 not mapped"),
    ("undefined-opcode", "invalid opcode"),
    ("triple-fault", "triple fault"),
    ("garbage-idt", "triple fault"),
    ("garbage-stack", "memory: write to 0xfffffffffffffff8 not mapped"),
    ("port-in", "port 0x60 read"),
    ("port-out", "port 0x80 write"),
    ("port-string-out", "port 0x80 write"),
    ("port-string-in", "port 0x60 read"),
    ("port-wide", "port 0xffff read"),
    ("port-pci", "port 0xcf8 write"),
    ("port-reset", "port 0xcf9 write"),
    ("port-serial", "port 0x3f8 write"),
    ("port-power-off", "port 0x604 write"),
    ("msr-read", "MSR 0x1b read"),
    ("msr-write", "MSR 0x1b write"),
    ("msr-efer", "MSR 0xc0000080 write"),
    ("msr-lstar", "MSR 0xc0000082 write"),
    ("msr-svm", "MSR 0xc0010114 write"),
    ("msr-x2apic", "MSR 0x830 write"),
    ("msr-unknown", "MSR 0x12345678 read"),
    ("cr0-paging", "control register 0 write"),
    ("cr0-write-protect", "control register 0 write"),
    ("cr3", "control register 3 write"),
    ("cr4", "control register 4 write"),
    ("cr8", "control register 8 write"),
    ("dr7", "debug register access"),
    ("extended-state", "forbidden extended state"),
    ("vmrun", "virtualisation instruction"),
    ("vmload", "virtualisation instruction"),
    ("vmsave", "virtualisation instruction"),
    ("stgi", "virtualisation instruction"),
    ("clgi", "virtualisation instruction"),
    ("skinit", "virtualisation instruction"),
    ("invlpga", "virtualisation instruction"),
    ("vmread", "invalid opcode"),
    ("vmwrite", "invalid opcode"),
    ("vmlaunch", "invalid opcode"),
    ("vmresume", "invalid opcode"),
    ("vmxoff", "invalid opcode"),
    ("invept", "invalid opcode"),
    ("invvpid", "invalid opcode"),
    ("vmfunc", "invalid opcode"),
    ("getsec", "invalid opcode"),
    ("wbinvd", "forbidden instruction"),
    ("invd", "forbidden instruction"),
    ("monitor", "forbidden instruction"),
    ("mwait", "forbidden instruction"),
    ("rdpmc", "forbidden instruction"),
    ("rsm", "forbidden instruction"),
    ("syscall", "invalid opcode"),
];

/// Reports that begin differently on Intel's processors: they have other instructions.
const INTEL: &[(&str, &str)] = &[
    ("vmrun", "invalid opcode"),
    ("vmload", "invalid opcode"),
    ("vmsave", "invalid opcode"),
    ("stgi", "invalid opcode"),
    ("clgi", "invalid opcode"),
    ("skinit", "invalid opcode"),
    ("invlpga", "invalid opcode"),
    ("vmread", "virtualisation instruction"),
    ("vmwrite", "virtualisation instruction"),
    ("vmlaunch", "virtualisation instruction"),
    ("vmresume", "virtualisation instruction"),
    ("vmxoff", "virtualisation instruction"),
    ("invept", "virtualisation instruction"),
    ("invvpid", "virtualisation instruction"),
    ("rsm", "invalid opcode"),
];

/// Reports that begin differently where the kernel takes exceptions: the first exception is the last.
const KERNEL_TAKES: &[(&str, &str)] =
    &[("triple-fault", "invalid opcode"), ("garbage-idt", "invalid opcode")];

/// Attempts that must have no effect: the one that makes them goes on.
const NUISANCES: &[&str] = &["cpuid-storm", "halt-with-interrupts", "flags"];
/// Those of them with so many exits that Bochs is at them for minutes.
const STORMS: &[&str] = &["undefined-events", "hypercall-storm"];

pub(crate) fn every_forbidden_attempt_is_contained_and_reported_and_the_neighbour_goes_on(place: Place) {
    attack(place, "guest", |_, cause| cause);
}

pub(crate) fn exceptions_that_go_to_the_kernel_are_contained_the_same_way(place: Place) {
    attack(place, "kernel", |attempt, cause| {
        KERNEL_TAKES.iter().find(|(name, _)| *name == attempt).map_or(cause, |(_, cause)| cause)
    });
}

pub(crate) fn what_may_be_tried_has_no_effect_on_anybody(place: Place) {
    let nuisances = match place {
        Place::Machine | Place::Computer => [STORMS, NUISANCES].concat(),
        Place::IntelMachine => NUISANCES.to_vec(),
    };
    let mut description = neighbours(place);
    for name in &nuisances {
        description += &attacker(name, "guest");
    }
    let run = System::described(&description).at(place).boot();
    run.assert_exit(0);
    for name in nuisances {
        run.assert_in_order(name, &[&format!("trying {name}"), &format!("still here after {name}")]);
    }
    assert_neighbours_went_on(place, &run);
}

pub(crate) fn the_reader_of_a_channel_cannot_write_it(place: Place) {
    let run = System::described(
        r#"
        [subject.writer]
        unikernel = "testing/heartbeat"
        [subject.reader]
        unikernel = "testing/attacker"
        bootparams = "write-read-only-channel news"
        [[channel]]
        name = "news"
        writer = "writer:news"
        reader = "reader:news"
        "#,
    )
    .at(place)
    .boot();
    run.assert_exit(121);
    assert_contained(&run, "reader", "memory: write to 0xe1");
}

/// Makes all attempts, each by a subject of its own, several at once beside a neighbour: on AMD's processor half of them,
/// because a system has room for 60. On that in Bochs, whose clock is so slow that a turn of half a millisecond has no more
/// than 7500 instructions, the kernel would use all of them for that many.
/// `expected` gives the beginning of the report from the attempt and what the table says.
fn attack(place: Place, exceptions: &str, expected: impl Fn(&str, &'static str) -> &'static str) {
    let systems = match place {
        Place::Machine | Place::Computer => 2,
        Place::IntelMachine => 6,
    };
    for attempts in ATTEMPTS.chunks(ATTEMPTS.len().div_ceil(systems)) {
        let mut description = neighbours(place);
        for (attempt, _) in attempts {
            description += &attacker(attempt, exceptions);
        }
        let run = System::described(&description).at(place).boot();
        run.assert_exit(121);
        for (attempt, cause) in attempts {
            assert_contained(&run, attempt, expected(attempt, on_processor(place, attempt, cause)));
        }
        assert_neighbours_went_on(place, &run);
    }
}

/// How the report of an attempt begins.
pub(crate) fn cause_of(attempt: &str) -> &'static str {
    let found = ATTEMPTS.iter().find(|(name, _)| *name == attempt);
    found.expect("it is one of them").1
}

fn attacker(attempt: &str, exceptions: &str) -> String {
    format!(
        r#"
        [subject.{attempt}]
        unikernel = "testing/attacker"
        bootparams = "{attempt}"
        exceptions = "{exceptions}"
        ram = "512 KiB"
        log = "16 KiB"
        "#
    )
}

#[track_caller]
fn assert_contained(run: &Run, subject: &str, cause: &str) {
    run.assert_in_order("supervisor", &[&format!("{subject}: faulted: {cause}")]);
    assert_eq!(run.subject(subject)["state"], "faulted", "{subject}: {run}");
    assert!(!run.lines(subject).iter().any(|line| line.contains("NOT CONTAINED")), "{subject}: {run}");
}

/// What the table says of an attempt, on this place's processor.
fn on_processor(place: Place, attempt: &str, on_amd: &'static str) -> &'static str {
    match place {
        Place::Machine | Place::Computer => on_amd,
        Place::IntelMachine => {
            INTEL.iter().find(|(name, _)| *name == attempt).map_or(on_amd, |(_, cause)| cause)
        }
    }
}

/// The neighbour, and one on the network where there is one.
fn neighbours(place: Place) -> String {
    match place {
        Place::Machine | Place::Computer => format!("{NEIGHBOUR}{CORRESPONDENT}"),
        Place::IntelMachine => NEIGHBOUR.to_owned(),
    }
}

/// The neighbour printed every line in its time, the one on the network got every answer, and both ended by themselves.
#[track_caller]
fn assert_neighbours_went_on(place: Place, run: &Run) {
    run.assert_in_order("neighbour", &["beat 1 of 20", "beat 20 of 20"]);
    assert_eq!(run.subject("neighbour")["status"], 0, "{run}");
    if place == Place::Machine {
        run.assert_in_order("correspondent", &["20 of 20 pings answered"]);
        assert_eq!(run.subject("correspondent")["status"], 0, "{run}");
    }
}

const NEIGHBOUR: &str = r#"
    [subject.neighbour]
    unikernel = "testing/heartbeat"
    bootparams = "20 20"
    ram = "1 MiB"
"#;
const CORRESPONDENT: &str = r#"
    [subject.correspondent]
    unikernel = "testing/net-peer"
    bootparams = "ping 10.0.2.15 10.0.2.2 20"
    ram = "1 MiB"
"#;
