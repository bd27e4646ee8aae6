//! Figures about an image for people to read.

use palisade_abi::layout::PAGE;
use sha2::{Digest, Sha256};

use super::System;

/// Figures about an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Name of the system.
    pub system: String,
    /// Names of the subjects, in the order of their identifiers.
    pub subjects: Vec<String>,
    /// Pages that subjects can reach; one that several can reach is counted for each.
    pub subject_pages: u64,
    /// Physical pages that one subject writes and others read.
    pub shared_pages: u64,
    /// Pages that are page tables.
    pub table_pages: u64,
    /// SHA-256 of the kernel as it lies in memory, if it could be found.
    pub kernel_sha256: Option<[u8; 32]>,
    /// SHA-256 of the file.
    pub image_sha256: [u8; 32],
}

impl Facts {
    pub(super) fn of_file(file: &[u8]) -> Self {
        Self { image_sha256: sha256(file), ..Self::default() }
    }

    pub(super) fn note_kernel(&mut self, kernel: &[u8]) {
        self.kernel_sha256 = Some(sha256(kernel));
    }

    pub(super) fn note_system(&mut self, system: &System<'_>) {
        system.plan.name().clone_into(&mut self.system);
        self.subjects = system.subjects.iter().map(|s| s.name.to_owned()).collect();
        let pieces = system.subjects.iter().flat_map(|s| s.nested.pieces());
        self.subject_pages = pieces.map(|p| p.size / PAGE).sum();
        self.table_pages = system.tables.iter().count() as u64;
    }
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
