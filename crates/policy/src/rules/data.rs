//! Rules for the files that subjects read as memory regions.

use palisade_abi::layout::{DATA, DATA_END, PAGE, page_align_up};

use super::{Check, Rule};
use crate::allocate::next_address;
use crate::problem::{Collector, Problem};
use crate::system::System;
use crate::units;

pub(crate) static SIZE: Rule = Rule {
    id: "data-size",
    specification: "A data region has at least one byte, and all of a subject's fit the 2 GiB that are there for them.",
    check: Check::System(check_sizes),
};

pub(crate) static CERTIFICATE: Rule = Rule {
    id: "site-certificate",
    specification: "A certificate and its key are given together; a site without them gets them for development, unless `--https=0` has it served without TLS.",
    check: Check::Reading,
};

pub(crate) static INDEX: Rule = Rule {
    id: "site-index",
    specification: "A site has a page at its root, index.html (a warning).",
    check: Check::System(warn_of_missing_index),
};

fn check_sizes(system: &System, problems: &Collector) {
    for subject in &system.subjects {
        let mut end = DATA;
        for region in &subject.data {
            let size = region.contents.len() as u64;
            end = next_address(end, size) + page_align_up(size) + PAGE;
            if end > DATA_END {
                problems.add(
                    Problem::error(&SIZE, format!("the data of `{}` are too large", subject.name.value))
                        .at(&region.name.place, "does not fit behind the others")
                        .help(format!("a subject has room for {}", units::size(DATA_END - DATA))),
                );
                break;
            }
        }
    }
}

fn warn_of_missing_index(system: &System, problems: &Collector) {
    let regions = system.subjects.iter().flat_map(|subject| &subject.data);
    for region in regions.filter(|region| region.site.as_ref().is_some_and(|site| !site.index)) {
        problems.add(
            Problem::warning(&INDEX, "the site has no page at its root")
                .at(&region.name.place, "has no index.html")
                .help("visitors who ask for the site without a path are told that there is nothing"),
        );
    }
}
