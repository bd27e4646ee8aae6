//! The command line.

use std::ffi::CStr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::exit::Exit;

/// Builds systems in which every part runs walled off from every other, checks them, and runs or boots them.
#[derive(Debug, Parser)]
// The last of several values counts, so that a script can add to a line that it was given.
#[command(name = "palisade", version, max_term_width = 100, args_override_self = true)]
#[command(after_help = GENERAL_EXAMPLE)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
    /// How to speak.
    #[command(flatten)]
    pub(crate) speech: Speech,
}

/// How the command speaks.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Speech {
    /// Say nothing but the log, the result asked for, and errors
    #[arg(long, short, global = true, help_heading = GENERAL, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more: the kernel's messages, figures, steps
    #[arg(long, short, global = true, help_heading = GENERAL)]
    pub(crate) verbose: bool,
    /// When to use colours; NO_COLOR is respected
    #[arg(long, global = true, help_heading = GENERAL, value_name = "WHEN", default_value = "auto", value_enum)]
    pub(crate) color: ColorChoice,
    /// Give everything as JSON, one object a line
    #[arg(long, global = true, help_heading = GENERAL)]
    pub(crate) json: bool,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a system on this computer, without an emulator, and show its log
    #[command(after_help = RUN_EXAMPLE, after_long_help = run_long_help())]
    Run(Run),
    /// Be the network process of `run`, which starts it
    #[command(name = "network-process", hide = true)]
    NetworkProcess,
    /// Build an image, boot it in an emulator, show its log
    #[command(after_help = BOOT_EXAMPLE, after_long_help = boot_long_help())]
    Boot(Boot),
    /// Make a directory with a description and a site, or with a unikernel of one's own
    #[command(after_help = NEW_EXAMPLE)]
    New(New),
    /// Check a description against every rule, and build nothing
    #[command(after_help = CHECK_EXAMPLE)]
    Check(Check),
    /// Build the image: NAME.elf, NAME.iso and NAME.map.txt
    #[command(after_help = BUILD_EXAMPLE)]
    Build(Build),
    /// Prove the isolation of a finished image from its bytes alone
    #[command(after_help = VERIFY_EXAMPLE)]
    Verify(Verify),
    /// Show what a unikernel is made for and what it needs
    #[command(after_help = INSPECT_EXAMPLE)]
    Inspect(Inspect),
    /// Have to do with machine files
    #[command(subcommand, after_help = MACHINE_EXAMPLE)]
    Machine(Machine),
    /// Measure the kernel from inside an emulated machine
    #[command(after_help = MEASURE_EXAMPLE)]
    Measure {
        /// What to measure
        #[command(subcommand)]
        what: Measure,
    },
    /// List the rules of `check` and `verify`
    #[command(after_help = RULES_EXAMPLE)]
    Rules,
    /// Write the completions for a shell to standard output
    #[command(after_help = COMPLETIONS_EXAMPLE)]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Arguments of `boot`.
#[derive(Debug, Args)]
pub(crate) struct Boot {
    /// What to boot.
    #[command(flatten)]
    pub(crate) system: SystemSource,
    /// Emulator to boot it in [default: what the machine's description names first]
    #[arg(long, value_name = "EMULATOR", value_enum)]
    pub(crate) on: Option<On>,
    /// CPUs of the emulated machine [default: as many as the machine's description says]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(crate) smp: Option<u16>,
    /// Memory of the machine, such as "1 GiB" [default: as much as the machine's description says]
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// The emulator's program [default: qemu-system-x86_64 or bochs in PATH]
    #[arg(long, value_name = "PATH")]
    pub(crate) emulator: Option<PathBuf>,
    /// Who executes the guest's instructions
    #[arg(long, value_name = "WHO", default_value = "software", value_enum)]
    pub(crate) accelerator: Accelerator,
    /// Let the machine boot again where the guest resets it, in place of ending
    #[arg(long)]
    pub(crate) reboot: bool,
    /// What is around it.
    #[command(flatten)]
    pub(crate) surroundings: Surroundings,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The description of the system (TOML) [default: the example site]
    #[arg(value_name = "DESCRIPTION", conflicts_with_all = ["unikernel", "site"])]
    pub(crate) description: Option<PathBuf>,
    /// What takes its place, or changes it.
    #[command(flatten)]
    pub(crate) undescribed: Undescribed,
    /// What is around it.
    #[command(flatten)]
    pub(crate) surroundings: Surroundings,
    /// Stop this subject before its first instruction until gdb is attached, at each of its starts
    #[arg(long, value_name = "SUBJECT")]
    pub(crate) gdb: Option<String>,
    /// Show events and what passes through channels, a line each, on standard error (objects on standard output with --json);
    /// everything is slower then
    ///
    /// `trace SECONDS KIND FROM > TO NAME: WHAT`, with the seconds since the start. Kinds: `event`, what raising it does;
    /// `frame`, its bytes, protocols, addresses and ports; `data`, elements of another channel; `unseen`, frames that were
    /// overwritten before they could be shown. Events take the way by this command then, which passes them on: each costs two
    /// switches between processes more, and its time is that of passing it on. Channels are looked at with every event and
    /// every 10 ms; a frame's time is that of the look. An event that is raised again before it is passed on makes one line;
    /// lines that are not taken in time are lost, and counted. What a unikernel tells itself, and its sleeping, are not shown.
    #[arg(long)]
    pub(crate) trace: bool,
    /// When the directory of a site changes, pack it again and start its unikernel anew
    #[arg(long)]
    pub(crate) watch: bool,
}

/// What a system has around it while it runs.
#[derive(Debug, Args)]
pub(crate) struct Surroundings {
    /// End the system after this many seconds
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) limit: Option<Duration>,
    /// Publish a port: localhost:HOST leads to port GUEST of the unikernel; replaces the description's; can be repeated
    #[arg(long, value_name = "[ADDRESS:]HOST:GUEST[/udp]", conflicts_with = "tap")]
    pub(crate) publish: Vec<String>,
    /// Connect the system's network to this tap device, in place of one that is played for it
    #[arg(long, value_name = "NAME")]
    pub(crate) tap: Option<String>,
    /// Also write serial.out, kernel.out, one log per subject and result.json into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}

/// What a system is made from.
#[derive(Debug, Args)]
pub(crate) struct SystemSource {
    /// The description of the system (TOML)
    #[arg(value_name = "DESCRIPTION", required_unless_present_any = ["unikernel", "site"])]
    #[arg(conflicts_with_all = ["unikernel", "site"])]
    pub(crate) description: Option<PathBuf>,
    /// What else it can be made from.
    #[command(flatten)]
    pub(crate) undescribed: Undescribed,
}

/// What takes the place of a description, or changes it.
#[derive(Debug, Args)]
pub(crate) struct Undescribed {
    /// Take a unikernel in place of a description: a file for Solo5's target muen, the directory of a crate that makes one, or
    /// `hello`
    #[arg(long, value_name = "PATH", conflicts_with = "site")]
    pub(crate) unikernel: Option<PathBuf>,
    /// Serve the files of this directory, in place of a description, with the built-in unikernel `website`
    #[arg(long, value_name = "DIR")]
    pub(crate) site: Option<PathBuf>,
    /// Certificate of that site and those of its authorities (PEM) [default: one for development]
    #[arg(long, value_name = "FILE", requires_all = ["site", "key"])]
    #[arg(conflicts_with_all = ["description", "unikernel"])]
    pub(crate) cert: Option<PathBuf>,
    /// Private key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Command line of that unikernel; for a site, in place of the usual one
    #[arg(long, value_name = "ARGUMENTS", conflicts_with = "description", allow_hyphen_values = true)]
    pub(crate) bootparams: Option<String>,
    /// Override a value of the description, such as hello.ram="64 MiB"; can be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// An emulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum On {
    /// QEMU, an AMD machine with a network.
    Qemu,
    /// Bochs, an Intel machine without.
    Bochs,
}

/// Who executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Accelerator {
    /// The emulator's software CPU.
    Software,
    /// KVM, where it gives its guests SVM with nested paging.
    Kvm,
}

/// Arguments of `new`.
#[derive(Debug, Args)]
pub(crate) struct New {
    /// The directory; its last part becomes the name of the system
    #[arg(value_name = "NAME")]
    pub(crate) path: PathBuf,
    /// Make the crate of a Rust unikernel on the library OS, in place of a website
    #[arg(long)]
    pub(crate) unikernel: bool,
    /// Palisade's repository, for the library OS [default: the one that this command was built in]
    #[arg(long, value_name = "DIR", requires = "unikernel")]
    pub(crate) sources: Option<PathBuf>,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// What to check.
    #[command(flatten)]
    pub(crate) system: SystemSource,
}

/// Arguments of `build`.
#[derive(Debug, Args)]
pub(crate) struct Build {
    /// What to build.
    #[command(flatten)]
    pub(crate) system: SystemSource,
    /// The directory for the results; it is made if need be
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    pub(crate) output: PathBuf,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The image: NAME.elf
    #[arg(value_name = "IMAGE")]
    pub(crate) image: PathBuf,
}

/// What can be measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Measure {
    /// When frames begin and end on each CPU, against the plan, and what exits and events cost
    #[command(after_help = MEASURE_EXAMPLE)]
    Schedule(MeasureSchedule),
}

/// Arguments of `measure schedule`.
#[derive(Debug, Args)]
pub(crate) struct MeasureSchedule {
    /// Emulator to measure in
    #[arg(long, value_name = "EMULATOR", value_enum, default_value_t = On::Qemu)]
    pub(crate) on: On,
    /// CPUs of the emulated machine
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(crate) smp: u16,
    /// Count instructions in place of time: the same figures each time, for one CPU
    #[arg(long)]
    pub(crate) deterministic: bool,
    /// Minor frames to watch on each CPU
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) frames: u32,
    /// End the measurement after this many seconds
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) limit: Option<Duration>,
}

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The unikernel
    #[arg(value_name = "UNIKERNEL")]
    pub(crate) unikernel: PathBuf,
}

/// What can be done about machine files.
#[derive(Debug, Subcommand)]
pub(crate) enum Machine {
    /// Describe this computer, which runs Linux, as a machine file on standard output; as root, or much cannot be read
    #[command(after_help = MACHINE_EXAMPLE)]
    Describe(Describe),
}

/// Arguments of `machine describe`.
#[derive(Debug, Args)]
pub(crate) struct Describe {
    /// A recorded tree with `sys` and `proc` in it, in place of this computer
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    pub(crate) root: PathBuf,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|_| "not a number of seconds, such as 30 or 1.5")?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Err(_) if seconds > 0.0 => Err("must be less: leave --for out for a run without end".into()),
        _ => Err("must be more than 0 seconds".into()),
    }
}

fn run_long_help() -> String {
    format!("{RUN_EXAMPLE}\n\n{}", Exit::TABLE)
}

fn boot_long_help() -> String {
    format!("{BOOT_EXAMPLE}\n\n{}", Exit::TABLE)
}

/// The verb of the network process.
pub(crate) const NETWORK_PROCESS: &CStr = c"network-process";
const GENERAL: &str = "General options";
const GENERAL_EXAMPLE: &str = "\
Examples:
  palisade run
  palisade boot --unikernel hello --bootparams 'Hi!'";
const RUN_EXAMPLE: &str = "\
Examples:
  palisade run
  palisade run systems/two-sites.toml
  palisade run --site ./public --publish 0.0.0.0:443:443 --cert fullchain.pem --key key.pem
  palisade run --unikernel hello --bootparams 'Hi!'
  palisade run --unikernel bare/apps/echo --publish 7007:7
  palisade run --site ./public --watch
  palisade run systems/website.toml --gdb website
  palisade run systems/website.toml --trace 2>&1 | grep ' frame '";
const BOOT_EXAMPLE: &str = "\
Examples:
  palisade boot systems/hello.toml
  palisade boot --unikernel hello --bootparams 'Hi!' --for 30
  palisade boot systems/hello.toml --on bochs
  palisade boot systems/hello.toml --set hello.bootparams='Good day' --output out/
  palisade boot systems/website.toml
  palisade boot --site ./public
  palisade boot --site ./public --publish 0.0.0.0:443:443 --cert fullchain.pem --key key.pem
  palisade boot --unikernel https.muen --publish 4433:4433 --bootparams '--ipv4=10.0.0.2/24 --ipv4-gateway=10.0.0.1'";
const NEW_EXAMPLE: &str = "\
Examples:
  palisade new blog
  palisade new my-service --unikernel";
const CHECK_EXAMPLE: &str = "\
Examples:
  palisade check systems/hello.toml
  palisade check --site ./public";
const BUILD_EXAMPLE: &str = "\
Examples:
  palisade build systems/hello.toml --output out/
  palisade build --site ./public --output out/";
const VERIFY_EXAMPLE: &str = "\
Example:
  palisade build systems/hello.toml --output out/
  palisade verify out/hello.elf";
const INSPECT_EXAMPLE: &str = "\
Examples:
  palisade inspect hello
  palisade inspect hello --json";
const MACHINE_EXAMPLE: &str = "\
Examples:
  palisade machine describe > machines/mine.toml
  palisade check systems/hello.toml --set machine=../machines/mine.toml";
const MEASURE_EXAMPLE: &str = "\
Examples:
  palisade measure schedule --deterministic
  palisade measure schedule --smp 2 --frames 100
  palisade measure schedule --on bochs --smp 2";
const RULES_EXAMPLE: &str = "\
Example:
  palisade rules";
const COMPLETIONS_EXAMPLE: &str = "\
Example:
  palisade completions bash > ~/.local/share/bash-completion/completions/palisade";

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_example_of_the_help_is_a_valid_command_line() {
        let examples = [
            GENERAL_EXAMPLE,
            RUN_EXAMPLE,
            BOOT_EXAMPLE,
            NEW_EXAMPLE,
            CHECK_EXAMPLE,
            BUILD_EXAMPLE,
            VERIFY_EXAMPLE,
            INSPECT_EXAMPLE,
            MACHINE_EXAMPLE,
            RULES_EXAMPLE,
            COMPLETIONS_EXAMPLE,
        ];
        for line in examples.iter().flat_map(|text| text.lines().skip(1)) {
            let command = line.split(['>', '|']).next().unwrap_or_default();
            let command = command.strip_suffix(" 2").unwrap_or(command);
            let words = words(command);
            assert!(Cli::try_parse_from(&words).is_ok(), "{words:?}");
        }
    }

    #[test]
    fn arguments_that_exclude_each_other_or_lack_another_are_refused() {
        for line in [
            "palisade boot",
            "palisade boot a.toml --unikernel b.muen",
            "palisade boot a.toml --bootparams x",
            "palisade boot a.toml --site b",
            "palisade boot --unikernel a.muen --site b",
            "palisade boot a.toml --cert b --key c",
            "palisade boot --site a --cert b",
            "palisade boot --site a --key b",
            "palisade boot --site a --tap tap0 --publish 1:1",
            "palisade boot a.toml --for 0",
            "palisade boot a.toml --for -1",
            "palisade boot a.toml --for soon",
            "palisade boot a.toml --smp 0",
            "palisade run a.toml --site b",
            "palisade run a.toml --bootparams x",
            "palisade run --cert b --key c",
            "palisade run --tap tap0 --publish 1:1",
            "palisade new",
            "palisade new a --sources b",
            "palisade --quiet --verbose rules",
        ] {
            assert!(Cli::try_parse_from(words(line)).is_err(), "{line}");
        }
    }

    #[test]
    fn the_network_process_has_its_verb() {
        let name = NETWORK_PROCESS.to_str().expect("it is text");
        let cli = Cli::try_parse_from(["palisade", name]).expect("it is a verb");
        assert!(matches!(cli.verb, Verb::NetworkProcess));
    }

    #[test]
    fn command_lines_of_unikernels_may_begin_with_a_hyphen() {
        let words = ["palisade", "boot", "--unikernel", "x", "--bootparams", "--ipv4=10.0.0.2/24"];
        let Verb::Boot(boot) = Cli::try_parse_from(words).expect("valid").verb else {
            panic!("boot was asked")
        };
        assert_eq!(boot.system.undescribed.bootparams.as_deref(), Some("--ipv4=10.0.0.2/24"));
    }

    #[test]
    fn a_time_that_cannot_be_is_refused_with_what_is_wrong() {
        for (time, what) in
            [("0", "more than 0"), ("-1", "more than 0"), ("1e300", "less"), ("soon", "such as 30")]
        {
            let refused = Cli::try_parse_from(["palisade", "boot", "a.toml", "--for", time]);
            let said = refused.expect_err("refused").to_string();
            assert!(said.contains(what), "{said}");
        }
    }

    /// Splits at spaces outside of single quotes, as a shell does.
    fn words(command: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut quoted = false;
        for character in command.trim().chars() {
            match character {
                '\'' => quoted = !quoted,
                ' ' if !quoted => words.push(String::new()),
                c => words.last_mut().expect("there is one").push(c),
            }
        }
        words
    }
}
