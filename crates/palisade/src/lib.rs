//! The command: what a user types becomes a call of one of the verbs, and its end becomes an exit status.

#![forbid(unsafe_code)]

mod ask;
mod certificates;
mod cli;
mod command_line;
mod crate_program;
mod embedded;
mod escape;
mod example;
pub mod exit;
mod failure;
mod gauge;
mod harmless;
mod journal;
mod network;
mod outcome;
mod output;
mod published;
mod readiness;
mod session;
mod supplies;
mod system;
mod terminal;
mod traffic;
mod verb;
mod watch;

use std::ffi::OsString;

use clap::{CommandFactory, Parser};

use crate::cli::{Cli, Machine, Verb};
use crate::exit::Exit;
use crate::terminal::Terminal;

/// Does what the command line `arguments` (the command's own name first) says, and tells how the process has to end.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(refusal) => return refused(&refusal),
    };
    let terminal = Terminal::new(cli.speech);
    let result = match cli.verb {
        Verb::Run(arguments) => verb::run(&arguments, &terminal),
        Verb::NetworkProcess => Ok(Exit::of_status(palisade_hosted::serve_network())),
        Verb::Boot(arguments) => verb::boot(&arguments, &terminal),
        Verb::New(arguments) => verb::new(&arguments, &terminal),
        Verb::Check(arguments) => verb::check(&arguments, &terminal),
        Verb::Build(arguments) => verb::build(&arguments, &terminal),
        Verb::Verify(arguments) => verb::verify(&arguments, &terminal),
        Verb::Inspect(arguments) => verb::inspect(&arguments, &terminal),
        Verb::Machine(Machine::Describe(arguments)) => verb::describe(&arguments, &terminal),
        Verb::Measure { what } => verb::measure(&what, &terminal),
        Verb::Rules => verb::rules(&terminal),
        Verb::Completions { shell } => verb::completions(shell, &mut Cli::command(), &terminal),
    };
    result.unwrap_or_else(|failure| {
        if failure.exit() != Exit::OutputClosed {
            terminal.failure(&failure);
        }
        failure.exit()
    })
}

/// Help and version were asked for, or the command line is wrong.
fn refused(refusal: &clap::Error) -> Exit {
    // If nobody reads it there is nobody left to tell.
    let _ = refusal.print();
    if refusal.use_stderr() { Exit::Input } else { Exit::SUCCESS }
}
