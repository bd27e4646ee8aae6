//! The supervisor's configuration.

use palisade_abi::plan::padded;
use palisade_abi::supervisor_config::{self, NO_EVENT, Record};

use super::events::{END, SUPERVISOR, SubjectEvents, is_native, restart_name};
use crate::plan::SubjectKind;
use crate::system::{Subject, System};

/// The configuration's bytes: a record for every subject but the supervisor itself.
pub(super) fn config(system: &System, events: &SubjectEvents) -> Vec<u8> {
    let others = system.subjects.iter().enumerate().filter(|(id, _)| *id != SUPERVISOR);
    let records: Vec<Record> = others.map(|(id, subject)| record(id, subject, events)).collect();
    let mut bytes = vec![0; supervisor_config::size(records.len())];
    supervisor_config::write(&mut bytes, events.source(END), &records)
        .expect("the configuration has the size of its records");
    bytes
}

fn record(id: usize, subject: &Subject, events: &SubjectEvents) -> Record {
    let milliseconds = |microseconds: u64| u32::try_from(microseconds.div_ceil(1000)).unwrap_or(u32::MAX);
    Record {
        name: padded(&subject.name.value),
        subject: id as u16,
        restart: subject.restart as u8,
        reset_event: events.source(&restart_name(&subject.name.value)).unwrap_or(NO_EVENT),
        unikernel: u8::from(subject.kind == SubjectKind::Unikernel),
        has_status: u8::from(is_native(subject)),
        reserved: 0,
        backoff_ms: milliseconds(subject.backoff.value),
        backoff_max_ms: milliseconds(subject.backoff_max.value),
    }
}
