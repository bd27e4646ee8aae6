//! `[processor]`: which of the features that the kernel needs the machine's CPUs have.

use palisade_abi::needs::Feature;

use crate::document::Fields;
use crate::problem::Collector;
use crate::source::Located;

/// The features that the file says something about, and whether the CPUs have them. About the others nothing is known.
pub(super) fn read(fields: &Fields<'_>, problems: &Collector) -> Vec<(Feature, Located<bool>)> {
    let Some((key, node)) = fields.entry("processor") else { return Vec::new() };
    let Some(table) = Fields::of(node, &key.place, "processor", problems) else { return Vec::new() };
    let known = Feature::ALL.into_iter().filter_map(|feature| Some((feature, table.boolean(feature.key())?)));
    let known = known.collect();
    table.finish();
    known
}
