//! The programs that the command carries inside itself, put there by its build script.

use std::sync::Arc;

use palisade_policy::Library;

/// The kernel, with its ELF headers.
pub(crate) static KERNEL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernel"));

/// What every process of a unikernel begins with when a system runs on this computer.
pub(crate) static LAUNCHER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/launcher"));

/// The programs that descriptions and every system use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Embedded;

impl Library for Embedded {
    fn program(&self, name: &str) -> Option<Arc<[u8]>> {
        let found = SERVICES.iter().chain(&UNIKERNELS).find(|(known, _)| *known == name);
        found.map(|(_, bytes)| Arc::from(*bytes))
    }

    fn unikernels(&self) -> Vec<String> {
        UNIKERNELS.iter().map(|(name, _)| (*name).to_owned()).collect()
    }
}

/// The system's own subjects, and what starts all of them.
static SERVICES: [(&str, &[u8]); 5] = [
    ("init", include_bytes!(concat!(env!("OUT_DIR"), "/init"))),
    ("time", include_bytes!(concat!(env!("OUT_DIR"), "/time"))),
    ("log", include_bytes!(concat!(env!("OUT_DIR"), "/log"))),
    ("supervisor", include_bytes!(concat!(env!("OUT_DIR"), "/supervisor"))),
    ("nic", include_bytes!(concat!(env!("OUT_DIR"), "/nic"))),
];

/// What a description may name.
static UNIKERNELS: [(&str, &[u8]); 3] = [
    ("hello", include_bytes!(concat!(env!("OUT_DIR"), "/hello"))),
    ("probe", include_bytes!(concat!(env!("OUT_DIR"), "/probe"))),
    ("website", include_bytes!(concat!(env!("OUT_DIR"), "/website"))),
];
