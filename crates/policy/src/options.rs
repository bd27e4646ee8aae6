//! What the command says about a system beyond its description, and the programs it carries.

use std::sync::Arc;

use crate::machine::Emulator;
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
    /// Where the system is to run: decides for which machine it is, if its description does not.
    pub emulator: Option<Emulator>,
    /// What happens when every unikernel has ended.
    pub on_end: Option<EndAction>,
    /// Ports of this computer to publish in place of those in the description: `4433:443`. They lead to the only unikernel
    /// that has a network device.
    pub publish: Vec<String>,
    /// Files of a site that changed later than this, in seconds since 1970, count as changed at this time:
    /// `SOURCE_DATE_EPOCH`.
    pub newest: Option<u64>,
}

/// A certificate and its private key, each a PEM text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate, and those it depends on but the root.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

/// What the command brings along: the programs that it carries inside itself, and certificates.
pub trait Library {
    /// The ELF file of a program: `time`, `log`, `supervisor`, `nic`, `init`, or a built-in unikernel such as `hello`.
    fn program(&self, name: &str) -> Option<Arc<[u8]>>;

    /// The unikernels among them, which descriptions may name.
    fn unikernels(&self) -> Vec<String>;

    /// A certificate for development, for a site that comes without one.
    ///
    /// `names` are the names and addresses under which the site is visited: `localhost`, `127.0.0.1`.
    ///
    /// # Errors
    /// Why there is none.
    fn development_certificate(&self, names: &[String]) -> Result<Certificate, String> {
        Err(format!("nobody makes certificates for {} here", names.join(", ")))
    }
}
