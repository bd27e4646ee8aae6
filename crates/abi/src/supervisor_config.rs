//! The supervisor's configuration: what to do when a subject ends.

#![forbid(unsafe_code)]

use core::mem::size_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::layout::{MAX_NAME, MAX_SUBJECTS};
use crate::plan;

/// First eight bytes: `PALSUPV1`.
pub const MAGIC: u64 = u64::from_le_bytes(*b"PALSUPV1");
/// The event number that stands for no event.
pub const NO_EVENT: u8 = 0xff;

/// The beginning of the configuration; the records follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: u64,
    /// Number of records.
    pub count: u32,
    /// Source event that ends the system when all unikernels have ended, or [`NO_EVENT`] to stay.
    pub end_event: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// What to do when a subject ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Record {
    /// Name of the subject, padded with NUL.
    pub name: [u8; MAX_NAME + 1],
    /// Its identifier.
    pub subject: u16,
    /// A [`Restart`].
    pub restart: u8,
    /// Source event of the supervisor that resets it, or [`NO_EVENT`].
    pub reset_event: u8,
    /// 1 if the system ends when this subject and all others with a 1 have ended.
    pub unikernel: u8,
    /// 1 if it has a status page.
    pub has_status: u8,
    /// Zero.
    pub reserved: u16,
    /// Milliseconds to wait before the first restart; doubled for each that follows soon.
    pub backoff_ms: u32,
    /// Most milliseconds to wait.
    pub backoff_max_ms: u32,
}

impl Record {
    /// Name of the subject, without its padding.
    #[must_use]
    pub fn name(&self) -> &str {
        plan::name(&self.name)
    }

    /// When it is restarted.
    #[must_use]
    pub fn restart(&self) -> Restart {
        Restart::from_number(self.restart).unwrap_or(Restart::Never)
    }
}

/// When a subject is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Restart {
    /// Never.
    Never = 0,
    /// After a fault, an abort, or an exit status other than 0.
    OnFailure = 1,
    /// However it ended.
    Always = 2,
}

impl Restart {
    fn from_number(number: u8) -> Option<Self> {
        [Self::Never, Self::OnFailure, Self::Always].into_iter().find(|r| *r as u8 == number)
    }
}

/// A configuration whose records were checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config<'a> {
    /// Source event that ends the system, if any does.
    pub end_event: Option<u8>,
    /// The records.
    pub records: &'a [Record],
}

/// Bytes of a configuration with this many records.
#[must_use]
pub const fn size(records: usize) -> usize {
    size_of::<Header>() + records * size_of::<Record>()
}

/// Writes a configuration; `None` if `bytes` is shorter than [`size`] says or there are too many records.
pub fn write(bytes: &mut [u8], end_event: Option<u8>, records: &[Record]) -> Option<()> {
    let count = u32::try_from(records.len()).ok()?;
    let header = Header { magic: MAGIC, count, end_event: end_event.unwrap_or(NO_EVENT), reserved: [0; 3] };
    header.write_to_prefix(bytes).ok()?;
    records.write_to_prefix(bytes.get_mut(size_of::<Header>()..)?).ok()
}

/// Reads a configuration; `None` if it is none, is cut off, or has values that do not exist.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Config<'_>> {
    let (header, rest) = Header::ref_from_prefix(bytes).ok()?;
    let count = usize::try_from(header.count).ok()?;
    let (records, _) = <[Record]>::ref_from_prefix_with_elems(rest, count).ok()?;
    let valid =
        |r: &Record| usize::from(r.subject) < MAX_SUBJECTS && Restart::from_number(r.restart).is_some();
    if header.magic != MAGIC || count > MAX_SUBJECTS || !records.iter().all(valid) {
        return None;
    }
    Some(Config { end_event: Some(header.end_event).filter(|e| *e != NO_EVENT), records })
}

const _: () = assert!(size_of::<Header>() == 16 && size_of::<Record>() == 48);

#[cfg(test)]
mod tests {
    use super::*;

    fn record(subject: u16, restart: u8) -> Record {
        Record {
            name: plan::padded("hello"),
            subject,
            restart,
            reset_event: 4,
            unikernel: 1,
            has_status: 1,
            reserved: 0,
            backoff_ms: 100,
            backoff_max_ms: 10_000,
        }
    }

    fn round_trip(end_event: Option<u8>, records: &[Record], check: impl Fn(Option<Config<'_>>)) {
        let mut words = [0_u64; 32];
        assert_eq!(write(words.as_mut_bytes(), end_event, records), Some(()));
        check(parse(words.as_bytes()));
    }

    #[test]
    fn a_configuration_survives_the_round_trip() {
        let records = [record(3, 0), record(4, 2)];
        for end_event in [None, Some(5)] {
            round_trip(end_event, &records, |config| {
                assert_eq!(config, Some(Config { end_event, records: &records }));
            });
        }
        assert_eq!((records[0].name(), records[1].restart()), ("hello", Restart::Always));
    }

    #[test]
    fn values_that_do_not_exist_are_refused() {
        round_trip(None, &[record(64, 0)], |config| assert_eq!(config, None));
        round_trip(None, &[record(3, 3)], |config| assert_eq!(config, None));
        assert_eq!(parse([0_u64; 8].as_bytes()), None);
        assert_eq!(parse([MAGIC, 2, 0, 0].as_bytes()), None);
    }
}
