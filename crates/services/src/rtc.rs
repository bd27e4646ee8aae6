//! The real-time clock of a PC: the time of day, to the second, in the CMOS memory's first registers.
//!
//! The chip changes the registers once a second. It says so beforehand (update in progress), but that flag can rise between
//! two reads, so what was read counts only when two readings agree. Waiting for the next change would tell when the second
//! began, but takes up to a second; nobody here needs the time that exactly.

/// The CMOS memory.
pub trait Cmos {
    /// Reads a register.
    fn read(&mut self, register: u8) -> u8;
}

/// Seconds since 1970-01-01 on the clock, which is taken to show universal time; `None` if it shows no valid time.
pub fn read(cmos: &mut impl Cmos) -> Option<u64> {
    let mut previous = None;
    for _ in 0..MOST_READINGS {
        if cmos.read(STATUS_A) & UPDATE_IN_PROGRESS != 0 {
            continue;
        }
        let reading = Reading::take(cmos);
        if previous == Some(reading) {
            return reading.date_time()?.seconds();
        }
        previous = Some(reading);
    }
    None
}

/// A moment in the Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateTime {
    /// Year.
    pub year: u64,
    /// Month, 1..=12.
    pub month: u64,
    /// Day of the month, from 1.
    pub day: u64,
    /// Hour, 0..=23.
    pub hour: u64,
    /// Minute, 0..=59.
    pub minute: u64,
    /// Second, 0..=59.
    pub second: u64,
}

impl DateTime {
    /// The moment so many seconds after the start of 1970.
    #[must_use]
    pub fn from_seconds(seconds: u64) -> Self {
        let (mut days, rest) = (seconds / SECONDS_PER_DAY, seconds % SECONDS_PER_DAY);
        // 400 years are a whole number of days; the loops below then run a bounded number of times.
        let mut year = 1970 + days / DAYS_PER_400_YEARS * 400;
        days %= DAYS_PER_400_YEARS;
        while days >= days_in_year(year) {
            days -= days_in_year(year);
            year += 1;
        }
        let mut month = 1;
        while days >= days_in_month(year, month) {
            days -= days_in_month(year, month);
            month += 1;
        }
        Self { year, month, day: days + 1, hour: rest / 3600, minute: rest / 60 % 60, second: rest % 60 }
    }

    /// Seconds since the start of 1970; `None` if there is no such moment, or it lies before that or after 9999.
    #[must_use]
    pub fn seconds(&self) -> Option<u64> {
        let valid = (1970..=9999).contains(&self.year)
            && (1..=12).contains(&self.month)
            && (1..=days_in_month(self.year, self.month)).contains(&self.day)
            && self.hour < 24
            && self.minute < 60
            && self.second < 60;
        if !valid {
            return None;
        }
        let years: u64 = (1970..self.year).map(days_in_year).sum();
        let months: u64 = (1..self.month).map(|month| days_in_month(self.year, month)).sum();
        let days = years + months + self.day - 1;
        Some(days * SECONDS_PER_DAY + self.hour * 3600 + self.minute * 60 + self.second)
    }
}

/// The registers as they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    second: u8,
    minute: u8,
    hour: u8,
    day: u8,
    month: u8,
    year: u8,
    century: u8,
    status_b: u8,
}

impl Reading {
    fn take(cmos: &mut impl Cmos) -> Self {
        Self {
            second: cmos.read(0x00),
            minute: cmos.read(0x02),
            hour: cmos.read(0x04),
            day: cmos.read(0x07),
            month: cmos.read(0x08),
            year: cmos.read(0x09),
            century: cmos.read(CENTURY),
            status_b: cmos.read(STATUS_B),
        }
    }

    fn date_time(&self) -> Option<DateTime> {
        // Not every machine has a century where most have it.
        let century = self.number(self.century).filter(|c| (19..=99).contains(c)).unwrap_or(20);
        Some(DateTime {
            year: century * 100 + self.number(self.year).filter(|y| *y < 100)?,
            month: self.number(self.month)?,
            day: self.number(self.day)?,
            hour: self.hour_of_day()?,
            minute: self.number(self.minute)?,
            second: self.number(self.second)?,
        })
    }

    fn hour_of_day(&self) -> Option<u64> {
        if self.status_b & HOURS_24 != 0 {
            return self.number(self.hour);
        }
        let hour = self.number(self.hour & !AFTERNOON).filter(|hour| (1..=12).contains(hour))? % 12;
        Some(if self.hour & AFTERNOON != 0 { hour + 12 } else { hour })
    }

    fn number(&self, register: u8) -> Option<u64> {
        let (tens, ones) = (register >> 4, register & 0xf);
        match self.status_b & BINARY != 0 {
            true => Some(u64::from(register)),
            false if tens < 10 && ones < 10 => Some(u64::from(tens * 10 + ones)),
            false => None,
        }
    }
}

fn days_in_year(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;
const DAYS_PER_400_YEARS: u64 = 146_097;

/// An update lasts about 2 ms; the slowest machine reads two times well within this many attempts.
const MOST_READINGS: usize = 100_000;

// Registers and bits of the MC146818 and its descendants.
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;
/// Where most machines, and QEMU, keep the century.
const CENTURY: u8 = 0x32;
const UPDATE_IN_PROGRESS: u8 = 0x80;
const BINARY: u8 = 0x04;
const HOURS_24: u8 = 0x02;
const AFTERNOON: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    struct Chip {
        registers: [u8; 128],
        busy: usize,
        tick_after: Option<usize>,
        reads: usize,
    }

    impl Chip {
        fn new(status_b: u8, [second, minute, hour, day, month, year, century]: [u8; 7]) -> Self {
            let mut registers = [0; 128];
            for (register, value) in [
                (0, second),
                (2, minute),
                (4, hour),
                (7, day),
                (8, month),
                (9, year),
                (0x32, century),
                (0xb, status_b),
            ] {
                registers[register] = value;
            }
            Self { registers, busy: 0, tick_after: None, reads: 0 }
        }
    }

    impl Cmos for Chip {
        fn read(&mut self, register: u8) -> u8 {
            self.reads += 1;
            if self.tick_after == Some(self.reads) {
                // One second before midnight becomes midnight.
                for (register, value) in [(0, 0), (2, 0), (4, 0), (7, 1), (8, 1), (9, 0x27)] {
                    self.registers[register] = value;
                }
            }
            if register == STATUS_A {
                let busy = self.busy > 0;
                self.busy = self.busy.saturating_sub(1);
                return if busy { UPDATE_IN_PROGRESS } else { 0 };
            }
            self.registers[usize::from(register)]
        }
    }

    /// 2026-11-22 23:05:09 UTC.
    const MOMENT: u64 = 1_795_388_709;

    #[test]
    fn all_encodings_give_the_same_time() {
        for (status_b, registers) in [
            (HOURS_24, [0x09, 0x05, 0x23, 0x22, 0x11, 0x26, 0x20]),
            (0, [0x09, 0x05, 0x91, 0x22, 0x11, 0x26, 0x20]),
            (HOURS_24 | BINARY, [9, 5, 23, 22, 11, 26, 20]),
            (BINARY, [9, 5, 0x80 + 11, 22, 11, 26, 20]),
            (HOURS_24, [0x09, 0x05, 0x23, 0x22, 0x11, 0x26, 0xff]),
        ] {
            assert_eq!(read(&mut Chip::new(status_b, registers)), Some(MOMENT), "{registers:x?}");
        }
    }

    #[test]
    fn twelve_is_midnight_or_noon() {
        let at = |hour| read(&mut Chip::new(0, [0, 0, hour, 0x01, 0x01, 0x70, 0x19]));
        assert_eq!(at(0x12), Some(0));
        assert_eq!(at(0x92), Some(12 * 3600));
    }

    #[test]
    fn a_change_between_two_registers_is_never_seen() {
        let new_year =
            DateTime { year: 2027, month: 1, day: 1, hour: 0, minute: 0, second: 0 }.seconds().unwrap();
        for tick_after in 1..25 {
            let mut chip = Chip::new(HOURS_24, [0x59, 0x59, 0x23, 0x31, 0x12, 0x26, 0x20]);
            chip.tick_after = Some(tick_after);
            let seconds = read(&mut chip).unwrap();
            assert!(seconds == new_year || seconds == new_year - 1, "{tick_after}: {seconds}");
        }
    }

    #[test]
    fn an_update_is_waited_for_but_not_forever() {
        let mut chip = Chip::new(HOURS_24, [0x09, 0x05, 0x23, 0x22, 0x11, 0x26, 0x20]);
        chip.busy = 50;
        assert_eq!(read(&mut chip), Some(MOMENT));
        chip.busy = usize::MAX;
        assert_eq!(read(&mut chip), None);
    }

    #[test]
    fn a_clock_without_a_valid_time_is_refused() {
        assert_eq!(read(&mut Chip::new(HOURS_24, [0xff; 7])), None);
        assert_eq!(read(&mut Chip::new(HOURS_24, [0, 0, 0, 0x30, 0x02, 0x26, 0x20])), None);
        assert_eq!(read(&mut Chip::new(0, [0; 7])), None);
    }

    #[test]
    fn every_day_is_itself_after_there_and_back() {
        for day in 0..400 * 366 {
            let seconds = day * SECONDS_PER_DAY + 12_345;
            assert_eq!(DateTime::from_seconds(seconds).seconds(), Some(seconds));
        }
        assert_eq!(
            DateTime::from_seconds(MOMENT),
            DateTime { year: 2026, month: 11, day: 22, hour: 23, minute: 5, second: 9 }
        );
    }
}
