use std::fs;

use palisade_abi::layout::DMA;
use palisade_abi::nic_config;

use crate::plan::{Backing, Iommu, IommuKind};
use crate::testing::{assert_breaks, assert_passes, hello_with, plan};
use crate::{BUILT_IN_MACHINES, Planned, Problems};

/// The system `system` on the machine `qemu-q35` with a part of its description replaced.
fn changed(from: &str, to: &str, system: &str) -> Result<Planned, Problems> {
    let (_, text) = BUILT_IN_MACHINES[0];
    assert!(text.contains(from), "{from}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.toml");
    fs::write(&path, text.replacen(from, to, 1)).unwrap();
    plan(&format!("machine = {path:?}\n{system}"))
}

/// The line of `[iommu]`.
fn line() -> usize {
    BUILT_IN_MACHINES[0].1.lines().position(|line| line == "[iommu]").unwrap() + 1
}

/// All of `[iommu]`.
fn table() -> &'static str {
    let (_, text) = BUILT_IN_MACHINES[0];
    let (_, after) = text.split_at(text.find("[iommu]").unwrap());
    after.split("\n\n").next().unwrap()
}

#[test]
fn an_iommu_is_what_its_table_says() {
    let of =
        |machine: &str| assert_passes(plan(&format!("machine = \"{machine}\"\n{}", hello_with("")))).plan;
    let amd = of("qemu-q35");
    assert_eq!(
        amd.machine.iommu,
        Some(Iommu { kind: IommuKind::Amd, registers: vec![0xfed8_0000], buses: 1 })
    );
    let queues = amd.volatile.iter().find(|range| range.start == amd.iommu_queues).unwrap();
    assert_eq!(
        (queues.owner.as_str(), queues.size, queues.clear),
        ("kernel: queues of the IOMMU", 0x2000, false)
    );
    let intel = of("qemu-q35-vtd").machine.iommu.map(|iommu| (iommu.kind, iommu.registers));
    assert_eq!(intel, Some((IommuKind::Intel, vec![0xfed9_0000])));
    let bochs = of("bochs");
    assert_eq!((bochs.machine.iommu, bochs.iommu_queues), (None, 0));
    let every_bus = assert_passes(changed("buses = 1\n", "", &hello_with(""))).plan.machine.iommu;
    assert_eq!(every_bus.map(|iommu| iommu.buses), Some(256));
}

#[test]
fn several_units_have_queues_of_their_own_and_registers_where_nothing_else_is() {
    let with =
        |list: &str| changed("registers = 0xfed8_0000", &format!("registers = {list}"), &hello_with(""));
    let plan = assert_passes(with("[0xfed8_0000, 0xfed8_4000, 0xfdf0_0000]")).plan;
    assert_eq!(plan.machine.iommu.unwrap().registers, [0xfed8_0000, 0xfed8_4000, 0xfdf0_0000]);
    let queues = plan.volatile.iter().find(|range| range.start == plan.iommu_queues).unwrap();
    assert_eq!(queues.size, 3 * 0x2000);
    let overlap = with("[0xfed8_0000,\n0xfed8_3000]");
    assert_breaks(overlap, "machine-iommu", line() + 3, "a unit of the IOMMU is there");
    assert_breaks(with("[]"), "missing-key", line(), "registers = 0xfed8_0000");
}

#[test]
fn what_an_iommu_must_have_is_asked_for() {
    let without = |key: &str| changed(key, "", &hello_with(""));
    assert_breaks(without("kind = \"amd\"\n"), "missing-key", line(), "kind = \"amd\" or");
    assert_breaks(without("registers = 0xfed8_0000\n"), "missing-key", line(), "registers = 0xfed8_0000");
    let other = changed("kind = \"amd\"", "kind = \"arm\"", &hello_with(""));
    assert_breaks(other, "value-range", line() + 1, "amd");
    assert_breaks(changed("buses = 1", "buses = 0", &hello_with("")), "value-range", line() + 3, "1 to 256");
}

#[test]
fn registers_of_an_iommu_lie_where_nothing_else_is() {
    for (address, help) in [
        ("0xfed8_0800", "IVRS, DMAR"),
        ("0", "IVRS, DMAR"),
        ("0xffff_e000", "below 4 GiB"),
        ("0x100_0000", "memory is there"),
        ("0xfedf_d000", "the local APIC is there"),
    ] {
        let problems = changed("0xfed8_0000", address, &hello_with(""));
        assert_breaks(problems, "machine-iommu", line() + 2, help);
    }
    let problems = changed("0xfed8_0000", "0xfe00_3000", &hello_with("")).unwrap_err();
    assert!(problems.iter().any(|p| p.rule().id == "device-bars" && p.message().contains("the IOMMU")));
}

#[test]
fn a_device_beyond_the_buses_of_the_iommu_is_refused() {
    let moved = |buses: &str| {
        let (_, text) = BUILT_IN_MACHINES[0];
        let text = text.replace("buses = 1", buses);
        changed(BUILT_IN_MACHINES[0].1, &text.replace("00:03.0", "02:03.0"), &hello_with(""))
    };
    assert_passes(moved("buses = 3"));
    assert_breaks(moved("buses = 2"), "machine-iommu", line(), "buses = 3");
}

#[test]
fn the_reach_of_a_card_is_told_where_no_iommu_confines_it() {
    let two = "[subject.a]\nunikernel = \"website\"\n[subject.b]\nunikernel = \"website\"\n";
    let planned = assert_passes(changed(table(), "", two));
    let [warning] = &planned.warnings[..] else { panic!("{:?}", planned.warnings) };
    assert_eq!(warning.rule().id, "dma-unconfined");
    assert_eq!(
        warning.message(),
        "net0 can read and overwrite all memory of the machine: no IOMMU confines it"
    );
    assert!(warning.advice().is_some_and(|help| help.contains("every program but the driver `nic`")));
    assert!(assert_passes(plan(two)).warnings.is_empty());
}

#[test]
fn a_card_is_told_the_driver_s_addresses_where_an_iommu_translates_them() {
    let address = |planned: &Planned| {
        let nic = &planned.plan.subjects[3];
        let config = nic.regions.iter().find(|region| region.name == "config").unwrap();
        let Backing::Content(bytes) = &config.backing else { panic!("it is content") };
        nic_config::parse(bytes).unwrap().0.dma_address
    };
    let system = "[subject.a]\nunikernel = \"website\"\n";
    let confined = assert_passes(plan(system));
    let (guest, phys, _) = confined.plan.devices[0].dma[0];
    assert_eq!((address(&confined), guest), (guest, DMA));
    assert_ne!(guest, phys);
    let unconfined = assert_passes(changed(table(), "", system));
    assert_eq!(address(&unconfined), unconfined.plan.devices[0].dma[0].1);
}

#[test]
fn a_cpu_that_no_message_of_a_device_reaches_is_refused_if_there_is_a_device() {
    let message = |machine: &str, ids: &str, system: &str| {
        let (_, text) = BUILT_IN_MACHINES.iter().find(|(name, _)| *name == machine).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large.toml");
        fs::write(&path, text.replacen("cpus = 1", &format!("cpus = 2\napic_ids = {ids}"), 1)).unwrap();
        let planned = plan(&format!("machine = {path:?}\n{system}"));
        planned.err().map(|problems| {
            let all: Vec<_> = problems.iter().map(|p| format!("{}: {}", p.rule().id, p.message())).collect();
            all.join("; ")
        })
    };
    let refused = |cpu: u16| {
        let what = "apic-reach: interrupts like those of `net0` do not reach";
        Some(format!("{what} CPU {cpu}: its local APIC identifier is 255"))
    };
    let site = "[subject.a]\nunikernel = \"website\"\n";
    let two = format!("{site}[subject.b]\nunikernel = \"hello\"\ncpu = 1\n");
    assert_eq!(message("qemu-q35-vtd", "[255, 1]", &hello_with("")), None, "there are no devices");
    for machine in ["qemu-q35", "qemu-q35-vtd"] {
        assert_eq!(message(machine, "[255, 1]", site), refused(0));
        assert_eq!(message(machine, "[254, 255]", site), None, "the other CPU is not used");
        assert_eq!(message(machine, "[0, 255]", &two), refused(1), "no device's driver runs there");
    }
}
