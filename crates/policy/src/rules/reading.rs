//! Rules that reading keeps: what is broken here never becomes a [`crate::System`].

use super::{Check, Rule};

/// The text is TOML.
pub(crate) static SYNTAX: Rule = Rule {
    id: "syntax",
    specification: "A description and a machine file are valid TOML.",
    check: Check::Reading,
};

/// No key is unknown.
pub(crate) static UNKNOWN_KEY: Rule = Rule {
    id: "unknown-key",
    specification: "Every key of a description, of a machine file and of an override is known.",
    check: Check::Reading,
};

/// No key is missing.
pub(crate) static MISSING_KEY: Rule =
    Rule { id: "missing-key", specification: "Keys that have no default are given.", check: Check::Reading };

/// Values have their types.
pub(crate) static TYPE: Rule =
    Rule { id: "value-type", specification: "Every value has the type of its key.", check: Check::Reading };

/// Values are in range.
pub(crate) static VALUE: Rule = Rule {
    id: "value-range",
    specification: "Every value is one that its key can have; sizes and durations carry a unit.",
    check: Check::Reading,
};

/// Files can be read.
pub(crate) static FILE: Rule = Rule {
    id: "file-readable",
    specification: "Every file that is named exists and can be read.",
    check: Check::Reading,
};
