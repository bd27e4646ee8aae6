//! Machine files from recorded trees.

// Another test program uses all of it.
#[allow(dead_code, unreachable_pub)]
mod common;

use palisade_describe::{Lack, describe};

use common::Recorded;

#[test]
fn a_machine_is_described_from_its_tables_and_its_bus() {
    let description = describe(Recorded::q35().path()).expect("everything is there");
    assert_eq!(description.remarks, [""; 0]);
    for line in [
        "cpus = 2",
        "apic_ids = [0, 1]",
        "local_apic = 0xfee0_0000",
        "pm_timer_port = 0x608",
        "reset = [{ port = 0xcf9, width = 1, value = 0xf }]",
        "installed = \"512 MiB\"",
        "  { start = \"1 MiB\", size = \"523132 KiB\" }, # 0x100000",
        "writes = [{ port = 0x604, width = 2, value = 0x2000 }]",
        "[processor]",
        "svm = true",
        "vtx = false",
        "nested_paging = true",
        "config = 0xb000_0000",
        "window = { start = 0xc000_0000, size = \"1004 MiB\" }",
        "address = \"00:03.0\"",
        "id = \"1af4:1041\"",
        "  { index = 1, size = \"4 KiB\", address = 0xfebf_e000 },",
        "  { index = 4, size = \"16 KiB\", address = 0xfebf_8000, bits = 64, prefetchable = true },",
        "msix = { bar = 1, offset = 0, entries = 4 }",
    ] {
        assert!(description.text.lines().any(|found| found == line), "no {line:?} in:\n{}", description.text);
    }
}

#[test]
fn of_a_cpu_s_features_those_are_told_that_linux_tells() {
    let told = |cpuinfo: &str, register: Option<u64>| {
        let tree = Recorded::q35();
        tree.write("proc/cpuinfo", cpuinfo);
        if let Some(register) = register {
            tree.write("dev/cpu/0/msr", [vec![0; 0x48c], register.to_le_bytes().to_vec()].concat());
        }
        let text = describe(tree.path()).expect("everything is there").text;
        let part = text.split("[processor]\n").nth(1).and_then(|rest| rest.split("\n\n").next());
        part.map(|part| part.trim_end().replace(" = true", "").replace(" = false", "?").replace('\n', " "))
    };
    assert_eq!(told("", None), None);
    let intel = "flags : nx vmx ept xsave\nvmx flags : vnmi preemption_timer ept\n";
    let known = "no_execute xsave svm? vtx extended_page_tables";
    assert_eq!(told(intel, None), Some(format!("{known} preemption_timer")));
    assert_eq!(told(intel, Some(1 << 16)), Some(format!("{known} large_extended_pages preemption_timer")));
    assert_eq!(told(intel, Some(0)), Some(format!("{known} large_extended_pages? preemption_timer")));
    assert_eq!(told("flags : nx vmx ept xsave\n", None), Some(known.to_owned()), "an older Linux");
    assert_eq!(told("flags : fpu\n", None), Some("no_execute? xsave? svm? vtx?".to_owned()));
}

#[test]
fn registers_above_4_gib_get_an_address_that_nobody_has() {
    let tree = Recorded::q35();
    let card = [(1, 0xfebf_e000_u64, 0x1000, 0x4_0200), (4, 0x40_0000_0000, 0x4000, 0x14_220c)];
    tree.device("0000:00:03.0", (0x1af4, 0x1041), &card, Some((1, 0, 4)));
    tree.device("0000:00:04.0", (0x8086, 0x10d3), &[(0, 0xfebf_8000, 0x4000, 0x200)], None);
    let text = describe(tree.path()).expect("everything is there").text;
    // The highest place of that size has register 1 in it, the one below is free.
    assert!(text.contains("index = 4, size = \"16 KiB\", address = 0xfebf_4000,"), "{text}");
}

#[test]
fn without_the_firmware_s_map_the_kernel_s_is_used() {
    let tree = Recorded::q35();
    tree.remove("sys/firmware/memmap");
    let text = describe(tree.path()).expect("everything is there").text;
    assert!(text.contains("{ start = \"1 MiB\", size = \"523132 KiB\" }"), "{text}");
    // What others than root read.
    tree.write("proc/iomem", "00000000-00000000 : Reserved\n00000000-00000000 : System RAM\n");
    let lacks = describe(tree.path()).expect_err("nothing tells the memory");
    let path = tree.path().join("proc/iomem");
    assert_eq!(lacks, [Lack::Forbidden { what: "the memory", path }]);
    assert!(lacks[0].help().contains("root"));
}

#[test]
fn everything_that_is_missing_is_said_at_once() {
    let empty = tempfile::tempdir().expect("there is room for a directory");
    let lacks = describe(empty.path()).expect_err("there is nothing");
    let said: Vec<_> = lacks.iter().map(ToString::to_string).collect();
    for (said, (what, file)) in said.iter().zip([
        ("the CPUs", "tables/APIC"),
        ("how to power off", "tables/FACP"),
        ("the memory", "proc/iomem"),
    ]) {
        assert!(said.starts_with(what) && said.ends_with(&format!("{file} is not there")), "{said}");
    }
    assert_eq!(said.len(), 3);
}

#[test]
fn tables_that_are_damaged_or_of_no_use_are_named() {
    let complaint = |change: &dyn Fn(&Recorded)| {
        let tree = Recorded::q35();
        change(&tree);
        let lacks = describe(tree.path()).expect_err("something is wrong");
        lacks.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    let cut_off = complaint(&|tree| tree.write("sys/firmware/acpi/tables/APIC", b"APIC\xff\xff\0\0"));
    assert!(cut_off.ends_with("APIC is cut off"), "{cut_off}");
    let no_cpu = complaint(&|tree| tree.table("APIC", &[0; 8]));
    assert!(no_cpu.ends_with("APIC names no CPU"), "{no_cpu}");
    let no_sleep = complaint(&|tree| tree.table("DSDT", b"nothing"));
    assert!(no_sleep.ends_with("DSDT has no plain object _S5"), "{no_sleep}");
    let reduced = complaint(&|tree| {
        let mut body = vec![0; 208];
        body[112 - 36 + 2] = 0x10;
        tree.table("FACP", &body);
    });
    assert!(reduced.ends_with("FACP describes reduced hardware, which has no port for it"), "{reduced}");
    let changed = complaint(&|tree| {
        let mut bytes =
            std::fs::read(tree.path().join("sys/firmware/acpi/tables/APIC")).expect("it is there");
        bytes[40] ^= 1;
        tree.write("sys/firmware/acpi/tables/APIC", bytes);
    });
    assert!(changed.ends_with("APIC has a wrong checksum"), "{changed}");
}

#[test]
fn a_card_that_no_system_can_use_is_left_out_with_the_reason() {
    for (bars, msix, why) in [
        (&[(0, 0xfeb0_0000, 0x8_0000, 0x14_0204)][..], Some((0, 0x8000, 4)), "share a range"),
        (&[(0, 0xc040, 0x20, 0x4_0101), (1, 0xfebf_e000, 0x1000, 0x200)], Some((1, 0, 4)), "I/O ports"),
        (&[(1, 0xfebf_e000, 0x1000, 0x200)], None, "no MSI-X"),
        (
            &[(1, 0xfebf_e000, 0x100, 0x200), (4, 0xfebf_8000, 0x4000, 0x200)],
            Some((4, 0, 4)),
            "less than a page",
        ),
    ] {
        let tree = Recorded::q35();
        tree.device("0000:00:03.0", (0x1af4, 0x1041), bars, msix);
        let description = describe(tree.path()).expect("the rest is there");
        assert!(!description.text.contains("[[device]]"), "{}", description.text);
        assert!(
            description.remarks.iter().any(|remark| remark.contains("0000:00:03.0") && remark.contains(why)),
            "{description:?}"
        );
    }
}

#[test]
fn a_bus_that_cannot_be_read_is_a_remark() {
    let tree = Recorded::q35();
    let path = "sys/bus/pci/devices/0000:00:03.0/config";
    let whole = std::fs::read(tree.path().join(path)).expect("it is there");
    // What others than root read.
    tree.write(path, &whole[..64]);
    let description = describe(tree.path()).expect("the rest is there");
    assert!(!description.text.contains("[pci]"));
    assert!(
        description.remarks[0].contains("only root may read") && description.remarks[0].contains("as root")
    );
    tree.remove("sys/firmware/acpi/tables/MCFG");
    assert!(describe(tree.path()).expect("the rest is there").remarks[0].starts_with("there is no PCI bus"));
}
