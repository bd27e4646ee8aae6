//! What the command says about a system beyond its description, and the programs it carries.

use std::sync::Arc;

use crate::system::EndAction;

/// What the command line changes in a description.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Keys and values: `("hello.ram", "64 MiB")` for a subject's key, `("on_end", "stay")` for the system's.
    pub overrides: Vec<(String, String)>,
    /// Installed memory of the machine in bytes.
    pub memory: Option<u64>,
    /// Number of CPUs of the machine.
    pub cpus: Option<u16>,
    /// What happens when every unikernel has ended.
    pub on_end: Option<EndAction>,
}

/// The programs that the command carries inside itself.
pub trait Library {
    /// The ELF file of a program: `time`, `log`, `supervisor`, `init`, or a built-in unikernel such as `hello`.
    fn program(&self, name: &str) -> Option<Arc<[u8]>>;

    /// The unikernels among them, which descriptions may name.
    fn unikernels(&self) -> Vec<String>;
}
