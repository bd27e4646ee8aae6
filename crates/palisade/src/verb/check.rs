//! `palisade check`: the rules, and nothing else.

use serde_json::json;

use crate::cli::Check;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::system::{self, Purpose};
use crate::terminal::Terminal;

/// Checks a system against every rule.
pub(crate) fn check(arguments: &Check, terminal: &Terminal) -> Result<Exit, Failure> {
    let planned = system::plan(&arguments.system, Purpose::MACHINE, &[], terminal)?;
    let subjects: Vec<_> = planned.plan.subjects.iter().map(|subject| subject.name.as_str()).collect();
    if terminal.json() {
        terminal.object(&json!({
            "event": "checked",
            "system": planned.plan.name,
            "subjects": subjects,
        }))?;
    } else {
        let rules = palisade_policy::rules().len();
        terminal.remark(format_args!(
            "{}: {} subjects keep all {rules} rules",
            planned.plan.name,
            subjects.len()
        ));
    }
    Ok(Exit::SUCCESS)
}
