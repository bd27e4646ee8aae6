//! A serial port of the 16550 kind: transmission only, and never longer than it takes.

use crate::log::Output;

/// The eight registers of a serial port.
pub trait Registers {
    /// Reads a register.
    fn read(&mut self, register: u16) -> u8;
    /// Writes a register.
    fn write(&mut self, register: u16, value: u8);
}

/// A serial port: 115200 baud, 8 data bits, no parity, 1 stop bit.
#[derive(Debug)]
pub struct Uart<R> {
    registers: R,
}

impl<R: Registers> Uart<R> {
    /// Prepares the port.
    pub fn new(mut registers: R) -> Self {
        for (register, value) in [
            (INTERRUPT_ENABLE, 0),
            (LINE_CONTROL, DIVISOR_ACCESS),
            (DIVISOR_LOW, 1),
            (DIVISOR_HIGH, 0),
            (LINE_CONTROL, EIGHT_BITS),
            (FIFO_CONTROL, FIFO_ENABLE_AND_CLEAR),
            (MODEM_CONTROL, READY),
        ] {
            registers.write(register, value);
        }
        Self { registers }
    }

    /// Whether the last bit of everything written is on the line.
    pub fn has_sent_everything(&mut self) -> bool {
        self.registers.read(LINE_STATUS) & TRANSMITTER_EMPTY != 0
    }

    fn takes_bytes(&mut self) -> bool {
        (0..MOST_POLLS).any(|_| self.registers.read(LINE_STATUS) & HOLDING_REGISTER_EMPTY != 0)
    }
}

impl<R: Registers> Output for Uart<R> {
    /// Writes bytes. Those that a port does not take in time are lost: a dead port must not stop the log.
    fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(FIFO_SIZE) {
            if self.takes_bytes() {
                piece.iter().for_each(|byte| self.registers.write(DATA, *byte));
            }
        }
    }
}

const FIFO_SIZE: usize = 16;

/// A full FIFO takes 1.4 ms to empty; reading a register takes about a microsecond on real hardware.
const MOST_POLLS: u32 = 10_000;

// Registers and their bits (National Semiconductor PC16550D).
const DATA: u16 = 0;
const DIVISOR_LOW: u16 = 0;
const DIVISOR_HIGH: u16 = 1;
const INTERRUPT_ENABLE: u16 = 1;
const FIFO_CONTROL: u16 = 2;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
const DIVISOR_ACCESS: u8 = 0x80;
const EIGHT_BITS: u8 = 0x03;
const FIFO_ENABLE_AND_CLEAR: u8 = 0x07;
/// Data terminal ready, request to send.
const READY: u8 = 0x03;
/// The FIFO is empty; the byte that left it last may still be on its way.
const HOLDING_REGISTER_EMPTY: u8 = 0x20;
/// FIFO and shift register are empty.
const TRANSMITTER_EMPTY: u8 = 0x40;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Port {
        writes: Vec<(u16, u8)>,
        reads_until_empty: u32,
        wait: u32,
        status: u8,
    }

    impl Registers for &mut Port {
        fn read(&mut self, register: u16) -> u8 {
            assert_eq!(register, LINE_STATUS);
            if self.wait > 0 {
                self.wait -= 1;
                return 0;
            }
            self.wait = self.reads_until_empty;
            self.status
        }

        fn write(&mut self, register: u16, value: u8) {
            self.writes.push((register, value));
        }
    }

    #[test]
    fn all_bytes_go_out_in_order() {
        let mut port =
            Port { reads_until_empty: 100, wait: 100, status: HOLDING_REGISTER_EMPTY, ..Port::default() };
        let text: Vec<u8> = (0..50).collect();
        Uart::new(&mut port).write(&text);
        let sent: Vec<u8> = port
            .writes
            .iter()
            .skip(7)
            .map(|(register, value)| {
                assert_eq!(*register, DATA);
                *value
            })
            .collect();
        assert_eq!(sent, text);
    }

    #[test]
    fn everything_is_sent_once_the_last_bit_has_left() {
        let mut port = Port { status: HOLDING_REGISTER_EMPTY, ..Port::default() };
        assert!(!Uart::new(&mut port).has_sent_everything());
        port.status |= TRANSMITTER_EMPTY;
        assert!(Uart::new(&mut port).has_sent_everything());
    }

    #[test]
    fn a_dead_port_loses_text_but_no_time() {
        let mut port = Port { wait: u32::MAX, ..Port::default() };
        Uart::new(&mut port).write(b"text");
        assert_eq!(port.writes.len(), 7);
        assert_eq!(port.wait, u32::MAX - MOST_POLLS);
    }
}
