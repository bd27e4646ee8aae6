//! `palisade rules`: what is promised of every system.

use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::Terminal;

/// Lists the rules of `check`, then those of `verify`.
pub(crate) fn rules(terminal: &Terminal) -> Result<Exit, Failure> {
    let of_check = palisade_policy::rules().iter().map(|rule| ("check", rule.id, rule.specification));
    let of_verify = palisade_image::verify::RULES.iter().map(|rule| ("verify", rule.id, rule.specification));
    for (verb, id, specification) in of_check.chain(of_verify) {
        if terminal.json() {
            terminal.object(
                &json!({ "event": "rule", "verb": verb, "id": id, "specification": specification }),
            )?;
        } else {
            terminal.text(format_args!("{verb} {id}\n    {specification}"))?;
        }
    }
    Ok(Exit::SUCCESS)
}
