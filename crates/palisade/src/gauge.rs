//! One line about a running system, for a terminal: what its unikernels have done, and what they use.

use std::fs;

use palisade_hosted::Figures;
use palisade_policy::Planned;

/// Makes the line.
pub(crate) struct Gauge<'a> {
    subjects: Vec<Subject<'a>>,
}

/// A unikernel, and whether it counts what the built-in website counts.
struct Subject<'a> {
    name: &'a str,
    is_website: bool,
}

impl<'a> Gauge<'a> {
    /// For this system.
    pub(crate) fn new(planned: &'a Planned) -> Self {
        let subject = |subject: &'a palisade_policy::Subject| Subject {
            name: &subject.name.value,
            is_website: subject.data.iter().any(|data| data.site.is_some()),
        };
        Self { subjects: planned.system.subjects.iter().map(subject).collect() }
    }

    /// The line.
    pub(crate) fn line(&self, figures: &[Figures]) -> String {
        let parts = figures.iter().filter_map(|figures| {
            let Subject { name, is_website } = self.subjects.get(usize::from(figures.subject))?;
            let [requests, connections, ..] = figures.counters;
            let work = if *is_website {
                format!("{requests} requests, {connections} connections, ")
            } else {
                String::new()
            };
            let memory = figures.process.and_then(memory);
            Some(match memory {
                Some(bytes) => format!("{name}: {work}{:.1} MiB", bytes as f64 / MIB),
                None => format!("{name}: {work}not running"),
            })
        });
        parts.collect::<Vec<_>>().join(" | ")
    }
}

/// The memory of a process that is really there (proc(5), `statm`), in bytes.
fn memory(process: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/statm")).ok()?;
    Some(text.split(' ').nth(1)?.parse::<u64>().ok()? * palisade_abi::layout::PAGE)
}

const MIB: f64 = (1 << 20) as f64;
