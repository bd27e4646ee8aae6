//! What the command's exit status means. This is the only place that knows the numbers.

use std::process::ExitCode;

use palisade_machine::Signal;

/// How the command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All went well, or a unikernel's own status: 0 to [`Exit::LAST_STATUS`].
    Status(u8),
    /// The time given with `--for` ran out.
    TimeRanOut,
    /// A subject faulted, and nothing restarted it.
    SubjectFaulted,
    /// The kernel stopped, or the machine was reset without need.
    KernelStopped,
    /// The kernel refused the machine: a feature or memory is missing.
    KernelRefused,
    /// There is no usable emulator.
    EmulatorMissing,
    /// The input is wrong: command line, description, unikernel or image.
    Input,
    /// The host failed: the emulator broke off, a port is in use, or a file could not be written.
    Host,
    /// A unikernel ended with a status that does not fit: negative, or above [`Exit::LAST_STATUS`].
    OtherStatus,
    /// Asked to stop.
    Interrupted(Signal),
    /// Nobody reads the output any more.
    OutputClosed,
}

impl Exit {
    /// All went well.
    pub const SUCCESS: Self = Self::Status(0);
    /// The last status of a unikernel that is passed on as it is.
    pub const LAST_STATUS: u8 = 119;

    /// The exit that passes on a unikernel's status.
    #[must_use]
    pub fn of_status(status: i32) -> Self {
        u8::try_from(status).ok().filter(|s| *s <= Self::LAST_STATUS).map_or(Self::OtherStatus, Self::Status)
    }

    /// The number that the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Status(status) => status,
            Self::TimeRanOut => 120,
            Self::SubjectFaulted => 121,
            Self::KernelStopped => 122,
            Self::KernelRefused => 123,
            Self::EmulatorMissing => 124,
            Self::Input => 125,
            Self::Host => 126,
            Self::OtherStatus => 127,
            Self::Interrupted(signal) => SIGNALS + u8::try_from(signal.number()).unwrap_or_default(),
            Self::OutputClosed => SIGNALS + SIGPIPE,
        }
    }

    /// The table that the help of `boot` shows.
    pub const TABLE: &str = "\
Exit status:
  0-119  the unikernel's own; of several the first that is not 0, in the order of the description
  120    the time given with --for ran out
  121    a subject faulted and was not restarted
  122    the kernel stopped
  123    the kernel refused the machine: a CPU feature or memory is missing
  124    the emulator is missing or too old
  125    the input is wrong: command line, description, unikernel or image
  126    the emulator failed, a port is in use, or a file could not be written
  127    a unikernel ended with a status outside 0-119
  128+N  signal N asked to stop: 130 for Ctrl-C, 143 for SIGTERM";
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Shells report a death by a signal as this plus its number.
const SIGNALS: u8 = 128;
const SIGPIPE: u8 = 13;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statuses_of_unikernels_and_of_the_command_do_not_meet() {
        for status in -300..300 {
            let code = Exit::of_status(status).code();
            if (0..=119).contains(&status) {
                assert_eq!(i32::from(code), status);
            } else {
                assert_eq!(code, 127);
            }
        }
    }

    #[test]
    fn the_table_of_the_help_lists_every_number() {
        let exits = [
            Exit::TimeRanOut,
            Exit::SubjectFaulted,
            Exit::KernelStopped,
            Exit::KernelRefused,
            Exit::EmulatorMissing,
            Exit::Input,
            Exit::Host,
            Exit::OtherStatus,
            Exit::Interrupted(Signal::Interrupt),
            Exit::Interrupted(Signal::Terminate),
        ];
        for exit in exits {
            assert!(Exit::TABLE.contains(&exit.code().to_string()), "{exit:?}");
        }
    }
}
