//! Looks at a linked program before anybody runs it.

use object::elf;
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader, SectionHeader};
use object::{Endianness, Object, ObjectSymbol};

use crate::error::Defect;

/// Whether the program is complete: nothing of it is left for a dynamic linker.
pub(crate) fn self_contained(linked: &[u8]) -> Result<(), Defect> {
    let file = parse(linked)?;
    let endian = file.endian();
    if file.elf_header().e_type(endian) != elf::ET_EXEC {
        return Err(Defect::Format("it is not linked to a fixed address".to_owned()));
    }
    if file.elf_program_headers().iter().any(|header| match header.p_type(endian) {
        elf::PT_DYNAMIC => true,
        elf::PT_INTERP => !header.data(endian, linked).is_ok_and(|path| path.starts_with(DECOY_INTERPRETER)),
        _ => false,
    }) {
        return Err(Defect::Dynamic);
    }
    let relocations = [elf::SHT_REL, elf::SHT_RELA, elf::SHT_RELR];
    if file.sections().any(|section| {
        let header = section.elf_section_header();
        relocations.contains(&header.sh_type(endian)) && header.sh_size(endian) != 0
    }) {
        return Err(Defect::Relocations);
    }
    match names(&file, |symbol| symbol.is_undefined()) {
        undefined if undefined.is_empty() => Ok(()),
        undefined => Err(Defect::Undefined(undefined)),
    }
}

/// Whether the optimiser proved every panic away. A panic that is left calls a function whose name says so.
pub(crate) fn panic_free(linked: &[u8]) -> Result<(), Defect> {
    let panics = |name: &str| name.contains("panic") || name.contains("unwind_resume");
    let found = names(&parse(linked)?, |symbol| symbol.name().is_ok_and(panics) && !symbol.is_undefined());
    if found.is_empty() { Ok(()) } else { Err(Defect::Panics(found)) }
}

/// The program cut after its last segment. Symbols and sections lie behind it, and no loader reads them.
pub(crate) fn without_symbols(linked: &[u8]) -> Result<Vec<u8>, Defect> {
    let file = parse(linked)?;
    let endian = file.endian();
    let header = file.elf_header();
    let table =
        header.e_phoff(endian) + u64::from(header.e_phnum(endian)) * u64::from(header.e_phentsize(endian));
    let ends =
        file.elf_program_headers().iter().map(|p| p.p_offset(endian).saturating_add(p.p_filesz(endian)));
    let end = ends.chain([table]).max().unwrap_or(0);
    let kept = usize::try_from(end).ok().and_then(|end| linked.get(..end));
    let mut bytes =
        kept.ok_or_else(|| Defect::Format("a segment lies outside the file".to_owned()))?.to_vec();
    for (start, end) in SECTION_FIELDS {
        bytes[start..end].fill(0);
    }
    Ok(bytes)
}

/// Fields of an ELF64 header that describe the sections: `e_shoff`, then `e_shentsize`, `e_shnum`, `e_shstrndx`.
const SECTION_FIELDS: [(usize, usize); 2] = [(0x28, 0x30), (0x3a, 0x40)];

/// Unikernels of other builds name an interpreter that cannot exist, so that nobody starts them as Linux programs; one of
/// our test unikernels imitates that.
const DECOY_INTERPRETER: &[u8] = b"/nonexistent/";

fn parse(linked: &[u8]) -> Result<ElfFile64<'_, Endianness>, Defect> {
    let file = ElfFile64::parse(linked).map_err(|e| Defect::Format(e.to_string()))?;
    match file.elf_header().e_machine(file.endian()) {
        elf::EM_X86_64 => Ok(file),
        other => Err(Defect::Format(format!("machine type {other}"))),
    }
}

fn names<'d>(
    file: &ElfFile64<'d, Endianness>,
    wanted: impl Fn(&object::read::elf::ElfSymbol64<'d, '_, Endianness>) -> bool,
) -> Vec<String> {
    let symbols = file.symbols().filter(|symbol| wanted(symbol));
    let mut names: Vec<_> = symbols.filter_map(|symbol| symbol.name().ok().map(str::to_owned)).collect();
    names.retain(|name| !name.is_empty());
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn this_test() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn a_program_for_an_operating_system_is_refused() {
        assert!(matches!(self_contained(&this_test()), Err(Defect::Format(_) | Defect::Dynamic)));
        assert!(matches!(self_contained(b"#!/bin/sh"), Err(Defect::Format(_))));
    }

    #[test]
    fn a_program_that_can_panic_is_recognised() {
        assert!(matches!(panic_free(&this_test()), Err(Defect::Panics(_))));
    }
}
