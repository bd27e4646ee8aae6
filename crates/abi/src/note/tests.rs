use zerocopy::IntoBytes;

use super::*;

const DEVICES: ManifestNote<2> =
    ManifestNote::new([("service", DeviceKind::Network), ("disk", DeviceKind::Block)]);

fn manifest() -> Vec<u8> {
    DEVICES.bytes().collect()
}

fn parsed(segment: &[u8]) -> Result<ProgramNotes<'_>, NoteError> {
    let mut notes = ProgramNotes::default();
    notes.add(segment)?;
    Ok(notes)
}

/// The error for a manifest note with `bytes` written at `offset` of the manifest itself.
fn damaged(offset: usize, bytes: &[u8]) -> NoteError {
    let mut note = manifest();
    note[24 + offset..][..bytes.len()].copy_from_slice(bytes);
    parsed(&note).unwrap_err()
}

#[test]
fn a_program_says_what_it_was_built_for() {
    let note = AbiNote::muen(3);
    assert_eq!(parsed(note.as_bytes()).unwrap().abi, Some(Abi { target: 4, version: 3 }));
    assert_eq!(Target::from_number(4), Some(Target::Muen));
    assert_eq!(Target::from_number(1).map(Target::name), Some("hvt"));
    assert_eq!(Target::from_number(7), None);
}

#[test]
fn a_manifest_lists_its_devices_by_handle() {
    let note = manifest();
    let notes = parsed(&note).unwrap();
    let devices: Vec<_> = notes.manifest.unwrap().devices().collect();
    let service = Device { handle: 1, name: "service", kind: DeviceKind::Network };
    assert_eq!(devices, [service, Device { handle: 2, name: "disk", kind: DeviceKind::Block }]);
}

#[test]
fn a_manifest_can_be_without_devices() {
    let note: Vec<u8> = ManifestNote::new([]).bytes().collect();
    assert_eq!(parsed(&note).unwrap().manifest.unwrap().devices().count(), 0);
}

#[test]
fn a_native_program_says_how_much_stack_it_wants() {
    let note = PalisadeNote::new(0x1_0000);
    assert_eq!(parsed(note.as_bytes()).unwrap().palisade, Some(Palisade { stack_size: 0x1_0000 }));
}

#[test]
fn notes_are_found_in_one_segment_or_in_several() {
    let (abi, manifest, palisade) = (AbiNote::muen(4), manifest(), PalisadeNote::new(4096));
    let foreign =
        [8, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, b'O', b'p', b'e', b'n', b'B', b'S', b'D', 0, 0, 0, 0, 0];
    let aligned_to_8 =
        [&foreign[..], &manifest, &[0; 4], abi.as_bytes(), &[0; 4], palisade.as_bytes()].concat();
    let notes = parsed(&aligned_to_8).unwrap();
    assert!(notes.abi.is_some() && notes.manifest.is_some() && notes.palisade.is_some());

    let mut one_by_one = ProgramNotes::default();
    for segment in [&foreign[..], &manifest, abi.as_bytes(), palisade.as_bytes()] {
        one_by_one.add(segment).unwrap();
    }
    assert_eq!(one_by_one, notes);
}

#[test]
fn a_note_is_there_only_once() {
    let twice = [AbiNote::muen(3), AbiNote::muen(4)];
    assert_eq!(parsed(twice.as_bytes()), Err(NoteError::Twice { kind: ABI_TYPE }));
}

#[test]
fn a_note_that_is_cut_off_is_an_error() {
    for note in [AbiNote::muen(3).as_bytes(), &manifest(), PalisadeNote::new(4096).as_bytes()] {
        for length in 1..note.len() {
            assert_eq!(parsed(&note[..length]), Err(NoteError::CutOff), "{length}");
        }
    }
    assert_eq!(parsed(&[0xff; 40]), Err(NoteError::CutOff));
    assert_eq!(parsed(&[]), Ok(ProgramNotes::default()));
}

#[test]
fn a_damaged_manifest_is_refused() {
    assert_eq!(damaged(0, &[2]), NoteError::Version { kind: MANIFEST_TYPE, version: 2 });
    assert_eq!(damaged(4, &[0]), NoteError::EntryCount(0));
    assert_eq!(damaged(4, &[65]), NoteError::EntryCount(65));
    assert_eq!(damaged(4, &[4]), NoteError::Size { kind: MANIFEST_TYPE, size: 12 + 3 * 104 });
    assert_eq!(damaged(8, b"x"), NoteError::FirstEntry);
    assert_eq!(damaged(8 + 68, &[1]), NoteError::FirstEntry);
    assert_eq!(damaged(112, &[b'x'; 68]), NoteError::DeviceName(1));
    assert_eq!(damaged(112, &[0xff]), NoteError::DeviceName(1));
    assert_eq!(damaged(112, &[0]), NoteError::DeviceName(1));
    assert_eq!(damaged(112 + 68, &[3]), NoteError::DeviceKind { handle: 1, kind: 3 });
    assert_eq!(damaged(216 + 96, &[1]), NoteError::Attached(2));
    assert_eq!(damaged(216, b"service"), NoteError::DuplicateDevice { first: 1, second: 2 });
}

#[test]
fn other_damaged_notes_are_refused() {
    let mut abi = AbiNote::muen(3).as_bytes().to_vec();
    abi[4] = 12;
    assert_eq!(parsed(&abi), Err(NoteError::Size { kind: ABI_TYPE, size: 12 }));
    let palisade = |at: usize, value: u8| {
        let mut note = PalisadeNote::new(4096).as_bytes().to_vec();
        note[at] = value;
        parsed(&note).unwrap_err()
    };
    assert_eq!(palisade(24, 2), NoteError::Version { kind: PALISADE_TYPE, version: 2 });
    assert_eq!(palisade(28, 1), NoteError::StackSize(4097));
    assert_eq!(palisade(29, 0), NoteError::StackSize(0));
    assert_eq!(palisade(4, 8), NoteError::Size { kind: PALISADE_TYPE, size: 8 });
}
