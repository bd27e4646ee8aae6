//! The command `palisade`.

use std::process::ExitCode;

fn main() -> ExitCode {
    palisade::run(std::env::args_os()).into()
}
