//! The runner against the real Bochs, with discs of a few instructions.

mod common;

use std::io;
use std::time::Duration;

use palisade_machine::{
    Accelerator, Emulator, End, Error, Image, MacAddress, Machine, Network, OnReset, PciAddress, Program,
    Wire, run,
};

use common::{interrupts, machine, run_machine};

#[test]
fn bochs_gives_both_outputs_and_its_shutdown_is_a_power_off() {
    let disc =
        Disc::new().write(SERIAL, b"to the serial port\n").write(CONSOLE, b"to the console\n").power_off();
    let (report, output) = run_machine(&bochs(), &on(&disc));
    assert_eq!(report.end, End::PowerOff);
    assert_eq!(output.serial, b"to the serial port\n");
    assert_eq!(output.console, b"to the console\n");
}

#[test]
fn a_reset_in_bochs_ends_the_run() {
    for disc in
        [Disc::new().write(CONSOLE, b"x\n").reset(), Disc::new().write(CONSOLE, b"x\n").shut_down_cpu()]
    {
        let (report, output) = run_machine(&bochs(), &on(&disc));
        assert_eq!((report.end, report.resets), (End::Reset, 0));
        assert_eq!(output.console, b"x\n");
    }
}

#[test]
fn a_reset_in_bochs_boots_again_where_that_is_wanted() {
    let disc = Disc::new().write(CONSOLE, b"x\n").reset();
    let machine = Machine { on_reset: OnReset::BootAgain, ..on(&disc) };
    let mut boots = 0;
    let result = run(&bochs(), &machine, &interrupts(), &mut |_, bytes| {
        boots += bytes.iter().filter(|byte| **byte == b'x').count();
        if boots < 3 { Ok(palisade_machine::Next::Continue) } else { Err(io::Error::other("enough")) }
    });
    assert!(matches!(result, Err(Error::Output(_))), "{result:?}");
}

#[test]
fn a_bochs_that_spins_is_ended_by_the_time_out() {
    let disc = Disc::new().spin();
    let machine = Machine { limit: Some(Duration::from_secs(1)), ..on(&disc) };
    assert_eq!(run_machine(&bochs(), &machine).0.end, End::TimeRanOut);
}

#[test]
fn a_disc_that_bochs_cannot_boot_is_its_failure() {
    let End::Crash(crash) = run_machine(&bochs(), &on(&[0; 64 * 1024])).0.end else {
        panic!("there is nothing to run")
    };
    assert!(!crash.said.is_empty() && !crash.said.contains("===="), "{crash:?}");
}

#[test]
fn what_bochs_cannot_be_is_refused_with_the_reason() {
    let disc = Disc::new().spin();
    let address = PciAddress { device: 3, function: 0 };
    let network = Network { address, mac: MacAddress::ALONE, wire: Wire::Tap("tap0".into()) };
    for (machine, reason) in [
        (Machine { image: Image::Kernel(&disc), ..on(&disc) }, "only from a disc"),
        (Machine { accelerator: Accelerator::Kvm, ..on(&disc) }, "every instruction itself"),
        (Machine { network: Some(network), ..on(&disc) }, "no network card"),
        (Machine { memory: 4 << 30, ..on(&disc) }, "at most 2 GiB"),
    ] {
        let refused =
            run(&bochs(), &machine, &interrupts(), &mut |_, _| Ok(palisade_machine::Next::Continue));
        let said = refused.expect_err("it is impossible").to_string();
        assert!(said.contains(reason), "{said}");
    }
}

fn bochs() -> Emulator {
    Emulator::find(Program::Bochs, None).expect("these tests need Bochs")
}

fn on(disc: &[u8]) -> Machine<'_> {
    Machine { image: Image::Iso(disc), ..machine(&[]) }
}

/// A bootable disc under construction: 16-bit code. The format: El Torito Bootable CD-ROM Format Specification 1.0.
struct Disc(Vec<u8>);

const SERIAL: u16 = 0x3f8;
const LINE_CONTROL: u16 = SERIAL + 3;
const CONSOLE: u16 = 0xe9;
const SHUT_DOWN: u16 = 0x8900;
const RESET_CONTROL: u16 = 0xcf9;

impl Disc {
    const SECTOR: usize = 2048;
    const CATALOG: u32 = 19;
    const CODE: u32 = 20;

    /// The serial port sends characters of 8 bits.
    fn new() -> Self {
        Self(Vec::new()).write(LINE_CONTROL, &[3])
    }

    /// `mov dx, port; mov al, byte; out dx, al` for each byte. Behind one for the serial port it waits until the byte is gone.
    fn write(mut self, port: u16, bytes: &[u8]) -> Self {
        for byte in bytes {
            let [low, high] = port.to_le_bytes();
            self.0.extend([0xba, low, high, 0xb0, *byte, 0xee]);
            if port == SERIAL {
                // mov dx, 0x3fd; 1: in al, dx; test al, 0x40; jz 1b
                self.0.extend([0xba, 0xfd, 0x03, 0xec, 0xa8, 0x40, 0x74, 0xfb]);
            }
        }
        self
    }

    fn power_off(self) -> Vec<u8> {
        self.write(SHUT_DOWN, b"Shutdown").spin()
    }

    fn reset(self) -> Vec<u8> {
        self.write(RESET_CONTROL, &[2, 6]).spin()
    }

    /// `call 1f; 1: pop bx; lidt cs:[bx + 10]; int 3`, with an empty interrupt table behind: no exception can be delivered.
    fn shut_down_cpu(mut self) -> Vec<u8> {
        self.0.extend([0xe8, 0, 0, 0x5b, 0x2e, 0x0f, 0x01, 0x5f, 10, 0xcd, 0x03]);
        self.spin()
    }

    /// A jump to itself, and the whole as a disc.
    fn spin(mut self) -> Vec<u8> {
        self.0.extend([0xeb, 0xfe]);
        let mut disc = vec![0; 16 * Self::SECTOR];
        let mut sector = |bytes: &[u8]| {
            disc.extend_from_slice(bytes);
            disc.resize(disc.len().next_multiple_of(Self::SECTOR), 0);
        };
        sector(b"\x01CD001\x01");
        let mut record = b"\0CD001\x01EL TORITO SPECIFICATION".to_vec();
        record.resize(0x47, 0);
        record.extend(Self::CATALOG.to_le_bytes());
        sector(&record);
        sector(b"\xffCD001\x01");
        // The validation entry, whose words add up to 0; the entry of an image that is loaded as it is.
        let mut catalog = vec![1];
        catalog.resize(28, 0);
        catalog.extend([0xaa, 0x55, 0x55, 0xaa]);
        catalog.extend([0x88, 0, 0, 0, 0, 0, 4, 0]);
        catalog.extend(Self::CODE.to_le_bytes());
        sector(&catalog);
        sector(&self.0);
        disc
    }
}
