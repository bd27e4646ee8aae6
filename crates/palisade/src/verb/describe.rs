//! `palisade machine describe`: this computer as a machine file.

use palisade_describe::Lack;
use serde_json::json;

use crate::cli::Describe;
use crate::exit::Exit;
use crate::failure::{Failure, Message};
use crate::terminal::Terminal;

/// Writes a machine file to standard output, and what is left out of it to standard error.
pub(crate) fn describe(arguments: &Describe, terminal: &Terminal) -> Result<Exit, Failure> {
    let description = palisade_describe::describe(&arguments.root).map_err(|lacks| failure(&lacks))?;
    if terminal.json() {
        let object = json!({ "event": "machine", "file": description.text, "remarks": description.remarks });
        terminal.object(&object)?;
    } else {
        terminal.text(description.text.trim_end())?;
        for remark in description.remarks {
            let help = "a system can be built for the machine all the same".to_owned();
            terminal.warning(&Message::warning(remark, help))?;
        }
    }
    Ok(Exit::SUCCESS)
}

fn failure(lacks: &[Lack]) -> Failure {
    let lines: Vec<_> = lacks.iter().map(|lack| format!("{lack}: {}", lack.help())).collect();
    let message = "this computer does not show everything that a machine file needs";
    Failure::message(Exit::Host, message, Some(lines.join("\n")))
}
