//! The runner against the real emulator, with kernels of a few instructions.

mod common;

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use palisade_machine::{
    Emulator, End, Error, Fixed, Forward, Interface, MacAddress, Machine, Network, Next, OnReset, PciAddress,
    Program, Protocol, UserNetwork, Wire, claim_ports, run,
};

use common::{interrupts, machine, run_machine};

#[test]
fn both_outputs_arrive_and_the_power_off_is_seen() {
    let kernel =
        Kernel::new().write(SERIAL, b"to the serial port\n").write(CONSOLE, b"to the console\n").power_off();
    let (report, output) = run_machine(&qemu(), &machine(&kernel));
    assert_eq!(report.end, End::PowerOff);
    assert_eq!(output.serial, b"to the serial port\n");
    assert_eq!(output.console, b"to the console\n");
}

#[test]
fn a_reset_ends_the_run() {
    let kernel = Kernel::new().write(CONSOLE, b"x").reset();
    let (report, output) = run_machine(&qemu(), &machine(&kernel));
    assert_eq!((report.end, report.resets), (End::Reset, 0));
    assert_eq!(output.console, b"x");
}

#[test]
fn a_reset_boots_again_where_that_is_wanted() {
    let kernel = Kernel::new().write(CONSOLE, b"x").reset();
    let machine = Machine { on_reset: OnReset::BootAgain, ..machine(&kernel) };
    let mut boots = 0;
    let result = run(&qemu(), &machine, &interrupts(), &mut |_, bytes| {
        boots += bytes.len();
        if boots < 3 { Ok(Next::Continue) } else { Err(io::Error::other("enough")) }
    });
    assert!(matches!(result, Err(Error::Output(_))), "{result:?}");
}

#[test]
fn the_exit_device_gives_its_value() {
    let kernel = Kernel::new().write(EXIT_DEVICE, &[16]).spin();
    assert_eq!(run_machine(&qemu(), &machine(&kernel)).0.end, End::ExitDevice(16));
}

#[test]
fn a_kernel_that_spins_is_ended_by_the_time_out() {
    let kernel = Kernel::new().spin();
    let machine = Machine { limit: Some(Duration::from_secs(1)), ..machine(&kernel) };
    assert_eq!(run_machine(&qemu(), &machine).0.end, End::TimeRanOut);
}

#[test]
fn the_network_card_is_where_it_was_put_and_its_ports_lead_inside() {
    // Configuration address of the first register of device 3.
    let kernel = Kernel::new().show_pci_register(0x8000_1800).spin();
    let guest = "192.168.254.10:80".parse().expect("an address");
    let host = "127.0.0.1:0".parse().expect("an address");
    let mut forwards = vec![Forward { protocol: Protocol::Tcp, host, guest }];
    claim_ports(&mut forwards).expect("there is a free port");
    let host = forwards[0].host;
    let gateway = Some("192.168.254.1".parse().expect("an address"));
    let ipv4 = Some(Fixed { address: *guest.ip(), prefix: 24, gateway });
    let interface = Interface { owner: "x".into(), ipv4, ipv6: None };
    let mut user = UserNetwork::around(&[interface]).expect("nothing conflicts");
    user.forwards = forwards;
    let address = PciAddress { device: 3, function: 0 };
    let network = Some(Network { address, mac: MacAddress::ALONE, wire: Wire::User(user) });
    let machine = Machine { network, ..machine(&kernel) };
    let mut seen = Vec::new();
    let result = run(&qemu(), &machine, &interrupts(), &mut |_, bytes| {
        seen.extend_from_slice(bytes);
        TcpStream::connect(host)
            .map(|_| if seen.len() < 4 { Next::Continue } else { Next::EndAfter(Duration::ZERO) })
    });
    assert_eq!(result.expect("the port is open").end, End::Stopped);
    assert_eq!(seen, 0x1041_1af4_u32.to_le_bytes());
}

#[test]
fn an_image_that_qemu_cannot_load_is_its_failure() {
    let End::Crash(crash) = run_machine(&qemu(), &machine(b"not an image")).0.end else {
        panic!("there is nothing to run")
    };
    assert!(!crash.said.is_empty());
}

fn qemu() -> Emulator {
    Emulator::find(Program::Qemu, None).expect("these tests need QEMU")
}

/// A Multiboot kernel under construction: 32-bit code behind its header.
struct Kernel(Vec<u8>);

const SERIAL: u16 = 0x3f8;
const CONSOLE: u16 = 0xe9;
const EXIT_DEVICE: u16 = 0xf4;
const KEYBOARD_CONTROLLER: u16 = 0x64;
const PCI_ADDRESS: u16 = 0xcf8;
const PCI_DATA: u16 = 0xcfc;
/// PM1a control of the q35 machine, where the firmware puts it.
const POWER_MANAGEMENT: u16 = 0x604;

impl Kernel {
    const BASE: u32 = 0x10_0000;

    fn new() -> Self {
        const MAGIC: u32 = 0x1bad_b002;
        const FLAGS: u32 = 0x1_0003;
        let checksum = 0_u32.wrapping_sub(MAGIC + FLAGS);
        let entry = Self::BASE + 32;
        let header = [MAGIC, FLAGS, checksum, Self::BASE, Self::BASE, 0, 0, entry];
        Self(header.iter().flat_map(|word| word.to_le_bytes()).collect())
    }

    /// `mov dx, port; mov al, byte; out dx, al` for each byte.
    fn write(mut self, port: u16, bytes: &[u8]) -> Self {
        for byte in bytes {
            self.set_port(port);
            self.0.extend([0xb0, *byte, 0xee]);
        }
        self
    }

    /// Writes a register of the PCI configuration space to the console, its lowest byte first.
    fn show_pci_register(mut self, address: u32) -> Self {
        // mov dx, 0xcf8; mov eax, address; out dx, eax; mov dx, 0xcfc; in eax, dx; mov dx, 0xe9
        self.set_port(PCI_ADDRESS);
        self.0.push(0xb8);
        self.0.extend(address.to_le_bytes());
        self.0.push(0xef);
        self.set_port(PCI_DATA);
        self.0.push(0xed);
        self.set_port(CONSOLE);
        // out dx, al; shr eax, 8
        self.0.extend([0xee, 0xc1, 0xe8, 0x08].repeat(4));
        self
    }

    /// `mov dx, port; mov ax, 0x2000; out dx, ax`: sleep enable, state S5.
    fn power_off(mut self) -> Vec<u8> {
        self.set_port(POWER_MANAGEMENT);
        self.0.extend([0x66, 0xb8, 0x00, 0x20, 0x66, 0xef]);
        self.spin()
    }

    fn reset(self) -> Vec<u8> {
        self.write(KEYBOARD_CONTROLLER, &[0xfe]).spin()
    }

    /// A jump to itself, and the whole as an ELF file with one segment.
    fn spin(mut self) -> Vec<u8> {
        self.0.extend([0xeb, 0xfe]);
        let size = self.0.len() as u64;
        let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
        elf.resize(16, 0);
        elf.extend([2_u16, 62].iter().flat_map(|half| half.to_le_bytes()));
        elf.extend(1_u32.to_le_bytes());
        elf.extend([u64::from(Self::BASE) + 32, 64, 0].iter().flat_map(|word| word.to_le_bytes()));
        elf.extend(0_u32.to_le_bytes());
        elf.extend([64_u16, 56, 1, 0, 0, 0].iter().flat_map(|half| half.to_le_bytes()));
        elf.extend([1_u32, 7].iter().flat_map(|word| word.to_le_bytes()));
        let place = u64::from(Self::BASE);
        elf.extend([0x1000, place, place, size, size, 0x1000].iter().flat_map(|word| word.to_le_bytes()));
        elf.resize(0x1000, 0);
        elf.extend(self.0);
        elf
    }

    fn set_port(&mut self, port: u16) {
        let [low, high] = port.to_le_bytes();
        self.0.extend([0x66, 0xba, low, high]);
    }
}
