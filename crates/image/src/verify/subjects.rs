//! What a subject can reach, and the rules for its own and its nested tables.

use palisade_abi::plan::{self, Plan};

use super::file::Image;
use super::info::Info;
use super::rules::{
    Findings, GUEST_IDENTITY, GUEST_RIGHTS, GUEST_TABLES_HIDDEN, NESTED_EQUAL, SUBJECT_INFO_TRUE,
    TABLES_ARE_TREES, WX,
};
use super::space::{Access, Piece, Space};
use super::tables::{Format, TablePages, Tree};

/// A subject as its tables and its subject info describe it.
pub(super) struct Subject<'a> {
    pub(super) id: usize,
    pub(super) name: &'a str,
    pub(super) record: &'a plan::Subject,
    image: Image<'a>,
    /// Guest-physical to physical, from the AMD nested tables.
    pub(super) nested: Space,
    /// The same from the Intel ones.
    extended: Space,
    /// Virtual to guest-physical, from its own tables.
    own: Space,
    /// Virtual to physical: its own tables and the nested ones together.
    pub(super) reach: Space,
    /// Its own tables: guest-physical and physical addresses, in order.
    pub(super) own_tables: Vec<(u64, u64)>,
    pub(super) info: Option<Info>,
}

impl<'a> Subject<'a> {
    /// Reads all subjects of a plan.
    pub(super) fn read_all(
        image: Image<'a>,
        first_table: u64,
        plan: &'a Plan<'a>,
        tables: &mut TablePages,
        findings: &mut Findings,
    ) -> Vec<Self> {
        let mut subjects = Vec::new();
        for (id, record) in plan.subjects.iter().enumerate() {
            let name = plan.subject_name(id);
            let tree = |format, what: &str| Tree {
                image,
                first: first_table,
                format,
                owner: format!("{name}: {what}"),
                nested: None,
            };
            let nested = tree(Format::Npt, "AMD nested tables").walk(record.npt_root, tables, findings).space;
            let extended =
                tree(Format::Ept, "Intel nested tables").walk(record.ept_root, tables, findings).space;
            let own_tree = Tree { nested: Some(&nested), ..tree(Format::Guest, "own tables") };
            let mut own = own_tree.walk(record.guest_root, tables, findings);
            own.tables.sort_unstable();
            let info = Info::read(image, record.subject_info);
            if let Err(problem) = &info {
                findings.add(&SUBJECT_INFO_TRUE, || format!("{name}: {problem}"));
            }
            let Some(reach) = combine(&own.space, &nested) else {
                findings
                    .add(&TABLES_ARE_TREES, || format!("{name}: its memory has too many separate pieces"));
                continue;
            };
            subjects.push(Self {
                id,
                name,
                record,
                image,
                nested,
                extended,
                own: own.space,
                reach,
                own_tables: own.tables,
                info: info.ok(),
            });
        }
        subjects
    }

    /// `size` bytes of content of the image, as the subject sees them at an address.
    pub(super) fn content(&self, address: u64, size: u64) -> Option<&'a [u8]> {
        self.image.at(self.reach.translate_range(address, size)?, size)
    }

    /// Checks the subject's tables against each other.
    pub(super) fn check_tables(&self, findings: &mut Findings) {
        let name = self.name;
        if let Some(address) = self.nested.first_difference(&self.extended) {
            findings.add(&NESTED_EQUAL, || {
                format!("{name}: the AMD and the Intel nested tables differ from {address:#x} on")
            });
        }
        for piece in self.own.pieces() {
            let in_bounds = piece.address >= FIRST_ADDRESS && piece.end() <= LAST_ADDRESS;
            findings.require(piece.address == piece.phys && in_bounds, &GUEST_IDENTITY, || {
                format!("{name}: its own tables lead from {:#x} to {:#x}", piece.address, piece.phys)
            });
        }
        self.check_rights(findings);
        for space in [&self.own, &self.nested, &self.extended] {
            for piece in space.pieces() {
                findings.require(!(piece.access.write && piece.access.execute), &WX, || {
                    format!("{name}: memory at {:#x} is writable and executable", piece.address)
                });
            }
        }
        self.check_own_tables(findings);
    }

    fn check_rights(&self, findings: &mut Findings) {
        let name = self.name;
        let tables: Vec<u64> = self.own_tables.iter().map(|(address, _)| *address).collect();
        let expected = self.nested.without(&tables);
        findings.require(self.own.size() == self.reach.size(), &GUEST_RIGHTS, || {
            format!("{name}: its own tables map pages that the nested tables do not")
        });
        if let Some(address) = expected.first_difference(&self.reach) {
            let access = |space: &Space| space.at(address).map_or("not mapped", |p| p.access.name());
            findings.add(&GUEST_RIGHTS, || {
                format!(
                    "{name}: {address:#x} is {} in its own tables but {} in the nested ones",
                    access(&self.own),
                    access(&expected)
                )
            });
        }
    }

    fn check_own_tables(&self, findings: &mut Findings) {
        let name = self.name;
        for (address, phys) in &self.own_tables {
            let access = self.nested.at(*address).map(|p| p.access);
            findings.require(access == Some(Access::READ_WRITE), &GUEST_TABLES_HIDDEN, || {
                format!("{name}: its table at {address:#x} is not read-write in the nested tables")
            });
            let visible = self.reach.pieces().iter().find(|p| (p.phys..p.phys + p.size).contains(phys));
            if let Some(piece) = visible {
                let virt = piece.address + (phys - piece.phys);
                findings.add(&GUEST_TABLES_HIDDEN, || {
                    format!("{name}: its table at {address:#x} is mapped at the virtual address {virt:#x}")
                });
            }
        }
    }
}

/// Virtual to physical, with the rights of the subject's own tables. Pages that the nested tables do not map are left
/// out. `None` if there are too many pieces.
fn combine(own: &Space, nested: &Space) -> Option<Space> {
    let mut reach = Space::default();
    for piece in own.pieces() {
        let mut next = piece.phys;
        let end = piece.phys.saturating_add(piece.size);
        while next < end {
            let (phys, until) = nested.step(next);
            let until = until.min(end);
            if let Some(phys) = phys {
                let address = piece.address + (next - piece.phys);
                let part = Piece { address, phys, size: until - next, access: piece.access };
                reach.push(part).then_some(())?;
            }
            next = until;
        }
    }
    Some(reach)
}

/// Nothing of a subject lies below: so it can run as a process too, where these addresses are forbidden.
const FIRST_ADDRESS: u64 = 0x1_0000;
/// Above are addresses that the processor extends by their sign.
const LAST_ADDRESS: u64 = 1 << 47;
