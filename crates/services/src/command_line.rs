//! The command line of a unikernel: options for the bindings first, the rest for the application.

/// How much the bindings say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Nothing.
    Quiet,
    /// Errors.
    Error,
    /// Errors and warnings.
    Warn,
    /// What happens at start and end, too: the default.
    Info,
    /// Everything.
    Debug,
}

impl Verbosity {
    /// Whether start and end are announced.
    #[must_use]
    pub fn shows_boot(self) -> bool {
        self >= Self::Info
    }
}

/// Takes the leading options for the bindings off a command line. A command line that is not UTF-8 is cut before the
/// first byte that is wrong.
#[must_use]
pub fn split(command_line: &[u8]) -> (Verbosity, &str) {
    let mut rest = match core::str::from_utf8(command_line) {
        Ok(text) => text,
        Err(error) => command_line
            .get(..error.valid_up_to())
            .and_then(|valid| core::str::from_utf8(valid).ok())
            .unwrap_or(""),
    };
    let mut verbosity = Verbosity::Info;
    loop {
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        verbosity = match word.strip_prefix("--solo5:") {
            Some("quiet") => Verbosity::Quiet,
            Some("error") => Verbosity::Error,
            Some("warn") => Verbosity::Warn,
            Some("info") => Verbosity::Info,
            Some("debug") => Verbosity::Debug,
            _ => return (verbosity, rest),
        };
        rest = after.trim_start_matches(' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_options_are_consumed() {
        assert_eq!(split(b"--solo5:quiet  Hi! x"), (Verbosity::Quiet, "Hi! x"));
        assert_eq!(split(b"--solo5:quiet --solo5:debug"), (Verbosity::Debug, ""));
        assert_eq!(split(b""), (Verbosity::Info, ""));
    }

    #[test]
    fn everything_else_belongs_to_the_application() {
        assert_eq!(split(b"Hi! --solo5:quiet"), (Verbosity::Info, "Hi! --solo5:quiet"));
        assert_eq!(split(b"--solo5:loud x"), (Verbosity::Info, "--solo5:loud x"));
        assert_eq!(split(b" --solo5:quiet"), (Verbosity::Info, " --solo5:quiet"));
    }

    #[test]
    fn bytes_that_are_no_text_end_it() {
        assert_eq!(split(b"abc\xff def"), (Verbosity::Info, "abc"));
    }
}
