//! Namespaces: what of the computer a process does not even see.

use std::io;

use crate::spawn::Process;

/// Which namespaces processes get of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Namespaces {
    flags: u64,
}

impl Namespaces {
    /// Finds out what this computer allows: all of them, those that do not take a namespace of users, or none. What is
    /// missing is said in a sentence.
    pub(crate) fn find() -> io::Result<(Self, Option<String>)> {
        let Err(refusal) = Process::try_namespaces(ALL) else { return Ok((Self { flags: ALL }, None)) };
        let without_users = ALL & !USERS;
        let (flags, missing) = match Process::try_namespaces(without_users) {
            Ok(()) => (without_users, "users"),
            Err(_) => {
                Process::try_namespaces(0)?;
                (0, "users, networks, files, processes, messages and names")
            }
        };
        let reason = match refusal.raw_os_error() {
            // What Linux says where a limit is 0 or reached (user_namespaces(7)).
            Some(libc::ENOSPC) => "this computer's limit does not allow more".to_owned(),
            _ => refusal.to_string(),
        };
        let remark = format!(
            "processes have no namespaces of their own for {missing} ({reason}); system calls are filtered all the same"
        );
        Ok((Self { flags }, Some(remark)))
    }

    /// Those of a subject.
    pub(crate) fn of_subject(self) -> u64 {
        self.flags
    }

    /// Those of the network process, which is there for the computer's own network.
    pub(crate) fn of_network(self) -> u64 {
        self.flags & !(libc::CLONE_NEWNET as u64)
    }
}

const USERS: u64 = libc::CLONE_NEWUSER as u64;
const ALL: u64 = USERS
    | (libc::CLONE_NEWNET | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS)
        as u64;
