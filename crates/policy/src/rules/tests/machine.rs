use std::fs;
use std::path::PathBuf;

use crate::testing::{TestLibrary, assert_breaks, assert_passes, hello_with, plan, plan_with};
use crate::{Emulator, Options, Planned, Problems};

/// A machine file of its own for a test, removed at its end.
pub(super) struct MachineFile(PathBuf);

impl MachineFile {
    pub(super) fn new(test: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("palisade-{}-{test}.toml", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }

    pub(super) fn plan(&self) -> Result<Planned, Problems> {
        plan(&format!("machine = {:?}\n{}", self.0, hello_with("")))
    }
}

impl Drop for MachineFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A machine in full; `memory` comes last, so that tests can add to it.
pub(super) const OWN: &str = "cpus = 1\nreset = [{ port = 0xcf9, width = 1, value = 6 }]\n\
                   power_off = [{ name = \"off\", writes = [{ port = 0x604, width = 2, value = 0x2000 }] }]\n\
                   [memory]\ninstalled = \"128 MiB\"\n";

#[test]
fn the_built_in_machines_are_known() {
    assert_passes(plan(&format!("machine = \"qemu-q35\"\n{}", hello_with(""))));
    assert_passes(plan(&format!("machine = \"bochs\"\n{}", hello_with(""))));
    assert_passes(plan(&format!("machine = \"qemu-or-bochs\"\n{}", hello_with(""))));
}

#[test]
fn a_system_that_names_no_machine_is_for_the_emulator_it_is_to_run_in() {
    let name = |text: &str, emulator| {
        let options = Options { emulator, ..Options::default() };
        assert_passes(plan_with(text, &options, &TestLibrary::new())).plan.machine.name
    };
    let unnamed = hello_with("");
    assert_eq!(name(&unnamed, None), "qemu-q35");
    assert_eq!(name(&unnamed, Some(Emulator::Bochs)), "bochs");
    assert_eq!(
        name(&format!("machine = \"qemu-or-bochs\"\n{unnamed}"), Some(Emulator::Bochs)),
        "qemu-or-bochs"
    );
}

#[test]
fn a_machine_file_says_which_emulators_can_be_the_machine() {
    let emulators = |line: &str| {
        let planned = MachineFile::new("emulators", &format!("{line}\n{OWN}")).plan();
        planned.map(|planned| planned.system.machine.unwrap().value.emulators.clone())
    };
    assert_eq!(emulators("").unwrap(), []);
    assert_eq!(emulators("emulators = [\"bochs\", \"qemu\"]").unwrap(), [Emulator::Bochs, Emulator::Qemu]);
    assert_breaks(
        MachineFile::new("no-emulator", &format!("emulators = [\"vmware\"]\n{OWN}")).plan(),
        "value-range",
        1,
        "qemu",
    );
}

#[test]
fn the_memory_of_q35_is_split_where_qemu_splits_it() {
    let end = |mebibytes: u64| {
        let options = Options { memory: Some(mebibytes << 20), ..Options::default() };
        let planned = assert_passes(plan_with(&hello_with(""), &options, &TestLibrary::new()));
        let (start, size) = planned.plan.machine.usable[0];
        (start + size) >> 20
    };
    assert_eq!([end(512), end(2815), end(2816), end(3000), end(16_384)], [511, 2814, 2047, 2047, 2047]);
}

#[test]
fn an_unknown_machine_is_refused() {
    let text = format!("machine = \"qemu-q53\"\n{}", hello_with(""));
    assert_breaks(plan(&text), "machine-known", 1, "did you mean `qemu-q35`?");
}

#[test]
fn a_machine_file_is_read() {
    let planned = assert_passes(MachineFile::new("read", OWN).plan());
    assert_eq!(planned.plan.machine.usable, [(0x10_0000, 127 << 20)]);
    assert_eq!(planned.plan.power_off[0].port, 0x604);
}

#[test]
fn ranges_of_memory_can_be_listed() {
    let ranges =
        "usable = [{ start = \"64 MiB\", size = \"1 GiB\" }, { start = \"1 MiB\", size = \"31 MiB\" }]\n";
    let planned = assert_passes(MachineFile::new("ranges", &format!("{OWN}{ranges}")).plan());
    assert_eq!(planned.plan.machine.usable, [(0x10_0000, 31 << 20), (64 << 20, 64 << 20)]);
}

#[test]
fn listed_ranges_above_a_device_hole_stay_where_they_are() {
    let ranges =
        "usable = [{ start = \"1 MiB\", size = \"1 GiB\" }, { start = \"3 GiB\", size = \"4 GiB\" }]\n";
    let planned =
        assert_passes(MachineFile::new("hole", &format!("{}{ranges}", OWN.replace("128 M", "8 G"))).plan());
    assert_eq!(planned.plan.machine.usable, [(0x10_0000, 1 << 30), (3 << 30, 1 << 30)]);
}

#[test]
fn memory_that_overlaps_or_leaves_no_place_for_the_image_is_refused() {
    let overlap =
        "usable = [{ start = \"1 MiB\", size = \"31 MiB\" },\n{ start = \"2 MiB\", size = \"64 MiB\" }]\n";
    let overlap = MachineFile::new("overlap", &format!("{OWN}{overlap}")).plan();
    assert_breaks(overlap, "machine-memory", 7, "one range");
    let late = MachineFile::new("late", &format!("{OWN}start = \"2 MiB\"\n")).plan();
    assert_breaks(late, "machine-memory", 1, "images are loaded there");
}

#[test]
fn a_power_off_method_can_be_chosen() {
    let planned = assert_passes(plan(&format!("power_off = \"exit-device\"\n{}", hello_with(""))));
    assert_eq!(planned.plan.power_off[0].port, 0xf4);
}

#[test]
fn a_power_off_method_that_the_machine_lacks_is_refused() {
    let text = format!("power_off = \"apci\"\n{}", hello_with(""));
    assert_breaks(plan(&text), "power-off-method", 1, "did you mean `acpi`?");
    let lines: Vec<&str> = OWN.lines().filter(|line| !line.starts_with("power_off")).collect();
    assert_breaks(
        MachineFile::new("no-off", &lines.join("\n")).plan(),
        "power-off-method",
        1,
        "[[power_off]]",
    );
}

#[test]
fn every_cpu_has_an_apic_identifier() {
    assert_passes(MachineFile::new("apic", &format!("apic_ids = [4]\n{OWN}")).plan());
}

#[test]
fn a_system_has_at_most_16_cpus() {
    assert_passes(plan(&format!("cpus = 16\n{}", hello_with(""))));
    assert_breaks(plan(&format!("cpus = 17\n{}", hello_with(""))), "value-range", 1, "it can be 1 to 16");
}

#[test]
fn apic_identifiers_that_are_too_few_or_the_same_are_refused() {
    let few =
        MachineFile::new("few", &format!("apic_ids = [0]\n{}", OWN.replace("cpus = 1", "cpus = 2"))).plan();
    assert_breaks(few, "apic-ids", 1, "one identifier per CPU");
    let same =
        MachineFile::new("same", &format!("apic_ids = [3, 3]\n{}", OWN.replace("cpus = 1", "cpus = 2")))
            .plan();
    assert_breaks(same, "apic-ids", 1, "each once");
}

#[test]
fn ports_of_two_owners_are_refused() {
    let clash = MachineFile::new("ports", &format!("debug_port = 0x3ff\n{OWN}")).plan().unwrap_err();
    let problem = clash.iter().next().unwrap();
    assert_eq!(problem.rule().id, "port-owners");
    assert!(problem.message().contains("`log` also belong to the kernel"), "{problem}");
    let clock = MachineFile::new("clock", &format!("serial_port = 0x6b\n{OWN}")).plan().unwrap_err();
    assert!(clock.iter().any(|problem| problem.message().contains("`log` also belong to time")));
}

#[test]
fn a_port_write_that_is_not_complete_is_refused() {
    let text = OWN.replace("width = 2, ", "");
    assert_breaks(MachineFile::new("write", &text).plan(), "value-range", 3, "1, 2 or 4 bytes");
    let text = OWN.replace("width = 2", "width = 3");
    assert_breaks(MachineFile::new("width", &text).plan(), "value-range", 3, "1, 2 or 4 bytes");
}
