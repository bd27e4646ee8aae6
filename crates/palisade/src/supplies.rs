//! What the command brings along for a system: the programs inside itself, and certificates for development.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use palisade_policy::{Certificate, Library};
use palisade_trust::{Authority, AuthorityError, Directory};

use crate::embedded::Embedded;

/// The supplies of one system. Who plans it again gets the same certificates.
#[derive(Debug, Default)]
pub(crate) struct Supplies {
    used: Mutex<Used>,
}

/// What was made for the system.
#[derive(Debug, Default)]
struct Used {
    authority: Option<UsedAuthority>,
    /// By the names that they are for.
    certificates: BTreeMap<Vec<String>, Certificate>,
}

/// The authority that a certificate was taken from.
#[derive(Debug, Clone)]
pub(crate) struct UsedAuthority {
    /// The file with its certificate.
    pub(crate) path: PathBuf,
    /// SHA-256 of the certificate, as browsers show it.
    pub(crate) fingerprint: String,
    /// Whether nobody can trust it yet.
    pub(crate) is_new: bool,
}

impl Supplies {
    /// The development authority, if a certificate was taken from it.
    pub(crate) fn authority(&self) -> Option<UsedAuthority> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).authority.clone()
    }

    fn issue(&self, names: &[String]) -> Result<Certificate, AuthorityError> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(certificate) = used.certificates.get(names) {
            return Ok(certificate.clone());
        }
        let now = SystemTime::now();
        let authority = Authority::open(Directory::of_user()?, now)?;
        let issued = authority.issue(names, now)?;
        let certificate = Certificate { certificate: issued.certificate, key: issued.key };
        used.certificates.insert(names.to_vec(), certificate.clone());
        let used = used.authority.get_or_insert_with(|| UsedAuthority {
            path: authority.certificate_path(),
            fingerprint: authority.fingerprint(),
            is_new: false,
        });
        used.is_new |= authority.is_new();
        Ok(certificate)
    }
}

impl Library for Supplies {
    fn program(&self, name: &str) -> Option<Arc<[u8]>> {
        Embedded.program(name)
    }

    fn unikernels(&self) -> Vec<String> {
        Embedded.unikernels()
    }

    fn development_certificate(&self, names: &[String]) -> Result<Certificate, String> {
        self.issue(names).map_err(|error| format!("{error}; {}", error.help()))
    }
}
