//! A child process that cannot outlive us.

use std::io;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{self, ChildStderr, Command, ExitStatus};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, getppid, kill_process_group, pidfd_open, set_parent_process_death_signal,
};

/// A child in a process group of its own. It is killed with its group when this is dropped, and by the operating system
/// when the thread that started it ends, in whatever way: so this does not move to another thread.
pub(crate) struct Child {
    process: process::Child,
    reaped: bool,
    same_thread: PhantomData<*const ()>,
}

impl Child {
    /// Starts `command`. It finds `inherited` open under the numbers they have here; they are closed here.
    pub(crate) fn start(mut command: Command, inherited: Vec<OwnedFd>) -> io::Result<Self> {
        command.process_group(0);
        before_exec(&mut command, inherited);
        let process = command.spawn()?;
        Ok(Self { process, reaped: false, same_thread: PhantomData })
    }

    /// A descriptor that becomes readable when the child has ended.
    pub(crate) fn end_signal(&self) -> io::Result<OwnedFd> {
        Ok(pidfd_open(Pid::from_child(&self.process), PidfdFlags::empty())?)
    }

    /// The other end of its standard error, if that is a pipe; the first time this is called.
    pub(crate) fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.process.stderr.take()
    }

    /// Ends it and whatever it started, if that did not happen by itself, and gives its exit status.
    pub(crate) fn end(&mut self) -> io::Result<ExitStatus> {
        if !self.reaped {
            // Before the wait, so that the number of the group is certainly still its own. This fails only if nobody is
            // left in the group, which is what is wanted.
            let _ = kill_process_group(Pid::from_child(&self.process), Signal::KILL);
            self.reaped = true;
        }
        self.process.wait()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // A process killed with SIGKILL can be waited for; there is nobody to tell if it could not.
        let _ = self.end();
    }
}

#[allow(unsafe_code)]
fn before_exec(command: &mut Command, inherited: Vec<OwnedFd>) {
    let parent = getpid();
    let prepare = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the line above took effect: then nobody would send that signal.
        if getppid() != Some(parent) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        inherited.iter().try_for_each(|fd| fcntl_setfd(fd, FdFlags::empty()).map_err(io::Error::from))
    };
    // SAFETY: between fork and exec only async-signal-safe things may happen. The closure makes plain system calls
    // (prctl, getppid, fcntl) through rustix, which calls the kernel directly; it takes no lock and no memory, and its
    // errors are plain numbers.
    unsafe { command.pre_exec(prepare) };
}
