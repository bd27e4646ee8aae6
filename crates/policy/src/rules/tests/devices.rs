use std::fs;

use crate::plan::{Bar, Driver, MachineDevice, Msix, Pci};
use crate::testing::{assert_breaks, assert_passes, hello_with, plan};
use crate::{Planned, Problems};

const DEVICE: &str = "[[device]]\nname = \"net0\"\ndriver = \"virtio-net\"\naddress = \"01:1f.7\"\nid = \"1af4:1041\"\n\
                      bars = [{ index = 0, size = \"4 KiB\", address = 0xfe01_0000 },\n\
                      { index = 1, size = \"16 KiB\", address = 0xfe00_0000, bits = 64, prefetchable = true }]\n\
                      msix = { bar = 0, offset = 64, entries = 4 }\n";
/// `DEVICE` begins on its line 9.
const BUS: &str = "reset = [{ port = 0xcf9, width = 1, value = 6 }]\n\
                   power_off = [{ name = \"off\", writes = [{ port = 0x604, width = 2, value = 0x2000 }] }]\n\
                   [memory]\ninstalled = \"128 MiB\"\n\n[pci]\nconfig = 0xb000_0000\n\
                   window = { start = 0xc000_0000, size = \"1003 MiB\" }\n";

/// The system of a machine file.
fn machine(text: &str) -> Result<Planned, Problems> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.toml");
    fs::write(&path, text).unwrap();
    plan(&format!("machine = {path:?}\n{}", hello_with("")))
}

/// The system of a machine with a part of its bus and device replaced.
fn changed(from: &str, to: &str) -> Result<Planned, Problems> {
    let text = format!("{BUS}{DEVICE}");
    assert!(text.contains(from), "{from}");
    machine(&text.replacen(from, to, 1))
}

#[test]
fn a_device_is_what_its_table_says() {
    let machine = assert_passes(machine(&format!("{BUS}{DEVICE}"))).plan.machine;
    assert_eq!(machine.pci, Some(Pci { config: 0xb000_0000, window: (0xc000_0000, 1003 << 20) }));
    let small = Bar { index: 0, address: 0xfe01_0000, size: 0x1000, wide: false, prefetchable: false };
    let large = Bar { index: 1, address: 0xfe00_0000, size: 0x4000, wide: true, prefetchable: true };
    let device = MachineDevice {
        name: "net0".to_owned(),
        driver: Driver::VirtioNet,
        bdf: 0x1ff,
        vendor: 0x1af4,
        device: 0x1041,
        bars: vec![small, large],
        msix: Some(Msix { bar: 0, offset: 64, entries: 4 }),
    };
    assert_eq!(machine.devices, [device]);
}

#[test]
fn what_a_device_must_have_is_asked_for() {
    for (line, key) in [(10, "name"), (11, "driver"), (12, "address"), (13, "id"), (14, "bars"), (16, "msix")]
    {
        let text = format!("{BUS}{DEVICE}");
        let lines = text.lines().enumerate();
        let end = if key == "bars" { line + 1 } else { line };
        let rest: String = lines
            .filter(|(number, _)| !(line..=end).contains(&(number + 1)))
            .flat_map(|(_, text)| [text, "\n"])
            .collect();
        assert_breaks(machine(&rest), "missing-key", 9, key);
    }
    assert_breaks(machine(DEVICE), "missing-key", 1, "installed");
    assert_breaks(changed("config = 0xb000_0000\n", ""), "missing-key", 6, "config = 0xb000_0000");
    assert_breaks(changed("size = \"1003 MiB\" ", ""), "missing-key", 8, "window = {");
}

#[test]
fn a_device_needs_a_bus() {
    let bus = BUS.split("[pci]").next().unwrap();
    assert_breaks(machine(&format!("{bus}{DEVICE}")), "missing-key", 1, "[pci] with");
}

#[test]
fn addresses_and_identifiers_are_written_as_lspci_writes_them() {
    for address in ["3", "00:03", "00:20.0", "00:03.8", "100:00.0", "+1:00.0", ""] {
        let to = format!("address = \"{address}\"");
        assert_breaks(changed("address = \"01:1f.7\"", &to), "value-range", 12, "00:03.0");
    }
    for id in ["1af4", "1af4:", "1af41:1041", "1af4:xyz"] {
        assert_breaks(changed("1af4:1041", id), "value-range", 13, "1af4:1041");
    }
}

#[test]
fn devices_are_told_apart() {
    let second = |name: &str, address: &str| {
        let bars = "bars = [{ index = 0, size = \"4 KiB\", address = 0xfe02_0000 }, { index = 1, size = \"4 KiB\", address = 0xfe03_0000 }]";
        machine(&format!(
            "{BUS}{DEVICE}[[device]]\nname = \"{name}\"\ndriver = \"virtio-net\"\naddress = \"{address}\"\nid = \"1af4:1041\"\n\
             {bars}\nmsix = {{ bar = 0, entries = 1 }}\n"
        ))
    };
    assert_passes(second("net1", "00:03.0"));
    assert_breaks(second("net0", "00:03.0"), "device-names", 18, "another name");
    assert_breaks(second("net1", "01:1f.7"), "device-names", 20, "lspci");
    assert_breaks(second("Net 1", "00:03.0"), "device-names", 18, "1 to 31 characters");
}

#[test]
fn the_bus_lies_where_nothing_else_is() {
    let config = |address: &str| changed("config = 0xb000_0000", &format!("config = {address}"));
    assert_breaks(config("0xb000_1000"), "pci-bus", 6, "1 MiB for each bus");
    assert_breaks(config("0x700_0000"), "pci-bus", 6, "MCFG");
    assert_breaks(config("0xfed0_0000"), "pci-bus", 6, "MCFG");
    let window = |size: &str| changed("1003 MiB", size);
    assert_passes(window("1 GiB"));
    assert_breaks(window("1025 MiB"), "pci-bus", 6, "4 GiB or below");
}

#[test]
fn base_addresses_lie_where_nothing_else_is() {
    let at = |address: &str| changed("0xfe00_0000", address);
    assert_passes(at("0xfe02_0000"));
    assert_breaks(at("0xfe00_1000"), "device-bars", 15, "multiple of its size: 0xfe000000");
    assert_breaks(at("0xa000_0000"), "device-bars", 15, "the window is 0xc0000000..0xfeb00000");
    assert_breaks(at("0xfeb0_0000"), "device-bars", 15, "the window is");
    assert_breaks(changed("0xfe01_0000", "0xfe00_0000"), "device-bars", 15, "nobody has");
    let in_everything = |address: &str| {
        let bus = BUS.replace("start = 0xc000_0000, size = \"1003 MiB\"", "start = 0, size = \"4 GiB\"");
        machine(&format!("{bus}{DEVICE}").replace("0xfe00_0000", address))
    };
    for (address, owner) in [
        ("0x700_0000", "memory"),
        ("0xb010_0000", "configuration space"),
        ("0xfec0_0000", "I/O APIC"),
        ("0xfee0_0000", "local APIC"),
        ("0xfed0_0000", "chipset"),
        ("0xfee1_0000", "chipset"),
    ] {
        let problems = in_everything(address).unwrap_err();
        let [problem] = &problems.iter().collect::<Vec<_>>()[..] else { panic!("{problems:?}") };
        assert!(problem.rule().id == "device-bars" && problem.message().contains(owner), "{problem}");
    }
}

#[test]
fn registers_have_sizes_and_numbers_that_exist() {
    assert_breaks(changed("16 KiB", "12 KiB"), "device-bars", 15, "a power of two, 4 KiB to 64 MiB");
    assert_breaks(changed("16 KiB", "2 KiB"), "device-bars", 15, "a power of two, 4 KiB to 64 MiB");
    assert_breaks(changed("16 KiB", "128 MiB"), "device-bars", 15, "a power of two, 4 KiB to 64 MiB");
    assert_breaks(changed("index = 1", "index = 0"), "device-bars", 15, "0 to 5");
    assert_breaks(changed("index = 1", "index = 5"), "device-bars", 15, "64 bits takes the next one");
    assert_breaks(changed("index = 1", "index = 6"), "value-range", 15, "0 to 5");
    assert_breaks(changed("bits = 64", "bits = 48"), "value-range", 15, "bits = 64");
}

#[test]
fn the_table_of_interrupts_is_apart_from_the_registers() {
    let msix = |table: &str| changed("bar = 0, offset = 64, entries = 4", table);
    assert_passes(msix("bar = 0, offset = 0, entries = 256"));
    assert_breaks(msix("bar = 0, offset = 0, entries = 257"), "device-msix", 16, "at 0x1000");
    assert_breaks(msix("bar = 2, offset = 0, entries = 4"), "device-msix", 16, "no base address register 2");
    assert_breaks(msix("bar = 0, offset = 4, entries = 4"), "device-msix", 16, "multiple of 8");
    assert_breaks(msix("bar = 0, entries = 2049"), "value-range", 16, "1 to 2048");
    let alone = changed(
        ",\n{ index = 1, size = \"16 KiB\", address = 0xfe00_0000, bits = 64, prefetchable = true }",
        "",
    );
    assert_breaks(alone, "device-msix", 15, "must be in another one");
}
