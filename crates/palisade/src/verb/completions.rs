//! `palisade completions`: what a shell needs to complete the command line.

use clap::Command;
use clap_complete::Shell;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::Terminal;

/// Writes the completions of `command` for a shell.
pub(crate) fn completions(shell: Shell, command: &mut Command, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, command, "palisade", &mut script);
    terminal.text(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::SUCCESS)
}
