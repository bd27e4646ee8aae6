//! New processes: in namespaces of their own, with exactly the descriptors that they are given.
//!
//! Between `clone3` and the program's first instruction a process shares all memory contents of this one but runs alone: it
//! may use nothing that another thread could have held locked. So the child below makes system calls with arguments that
//! were prepared before, and nothing else.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use palisade_abi::launch::{FAILED, Word, stage};
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_send_signal, waitid};
use zerocopy::IntoBytes;

use crate::capabilities;

/// What a new process executes, and with what.
pub(crate) struct Program<'a> {
    /// The program.
    pub(crate) executable: BorrowedFd<'a>,
    /// Its arguments, its own name first.
    pub(crate) arguments: &'a [CString],
    /// Its descriptors, from 0 on. It has no others.
    pub(crate) descriptors: &'a [BorrowedFd<'a>],
    /// Which of them takes a [`Word`] if the program cannot be executed.
    pub(crate) start: u32,
    /// Whether it takes signals; otherwise all are blocked.
    pub(crate) signals: bool,
    /// Namespaces of its own: `CLONE_NEW...`.
    pub(crate) namespaces: u64,
}

/// A child. When this is gone, so is the process.
#[derive(Debug)]
pub(crate) struct Process {
    number: i32,
    handle: OwnedFd,
    reaped: bool,
}

impl Process {
    /// Starts a process.
    pub(crate) fn start(program: &Program<'_>) -> io::Result<Self> {
        let arguments: Vec<_> =
            program.arguments.iter().map(|argument| argument.as_ptr()).chain([ptr::null()]).collect();
        let child = Child {
            executable: program.executable.as_raw_fd(),
            arguments: &arguments,
            descriptors: program.descriptors,
            start: program.start,
            unblocked: program.signals,
        };
        if child.descriptors.len() >= MOST_DESCRIPTORS {
            return Err(io::ErrorKind::ArgumentListTooLong.into());
        }
        clone(program.namespaces, || child.execute())
    }

    /// Whether a process can be made in these namespaces. One is made, and ends at once.
    pub(crate) fn try_namespaces(namespaces: u64) -> io::Result<()> {
        let mut process = clone(namespaces, || exit(0))?;
        process.wait(WaitIdOptions::EXITED).map(drop)
    }

    /// Its number.
    pub(crate) fn number(&self) -> i32 {
        self.number
    }

    /// Kills it.
    pub(crate) fn kill(&self) {
        // It fails if it is dead, which is as good.
        let _ = pidfd_send_signal(&self.handle, Signal::KILL);
    }

    /// How it has ended; `None` if it has not.
    pub(crate) fn status(&mut self) -> io::Result<Option<WaitIdStatus>> {
        self.wait(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    fn wait(&mut self, options: WaitIdOptions) -> io::Result<Option<WaitIdStatus>> {
        loop {
            match waitid(WaitId::PidFd(self.handle.as_fd()), options) {
                Ok(status) => {
                    self.reaped = status.is_some();
                    return Ok(status);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Becomes readable when the process has ended.
impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
            // Nothing is left to be done if it fails.
            let _ = self.wait(WaitIdOptions::EXITED);
        }
    }
}

/// The descriptors from `first` on with which this process was started, without gaps; `None` if there are none. Only the first
/// call gets them.
pub(crate) fn inherited(first: u32) -> Option<impl Iterator<Item = OwnedFd>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let is_open = |number: &i32| {
        // SAFETY: numbers only.
        unsafe { libc::fcntl(*number, libc::F_GETFD) >= 0 }
    };
    if TAKEN.swap(true, Ordering::Relaxed) || !is_open(&first.cast_signed()) {
        return None;
    }
    // SAFETY: the process was made to own these descriptors, nothing in it knows of them yet, and nobody gets them twice.
    let own = |number| unsafe { OwnedFd::from_raw_fd(number) };
    let numbers: Vec<_> = (first.cast_signed()..).take_while(is_open).collect();
    Some(numbers.into_iter().map(own))
}

/// Has this process die with the one that made it. A parent that is dead already has closed its ends of pipes.
pub(crate) fn die_with_parent() {
    // SAFETY: numbers only.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Has nobody look into this process. If it fails, its memory goes nowhere: a limit of 0 keeps Linux from writing it into a file,
/// but not from handing it to a program that collects such (core(5)).
pub(crate) fn hide_memory() {
    // SAFETY: numbers only.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
}

/// Makes a process that does `act`, with all signals blocked and without the host's handlers: those would tell the host, with
/// which it shares descriptors. In namespaces of users it is nobody.
fn clone(namespaces: u64, act: impl FnOnce()) -> io::Result<Process> {
    let mut handle: libc::c_int = -1;
    // SAFETY: the structure consists of numbers.
    let mut arguments: libc::clone_args = unsafe { mem::zeroed() };
    arguments.flags = namespaces | libc::CLONE_PIDFD as u64 | CLONE_CLEAR_SIGHAND;
    arguments.pidfd = (&raw mut handle) as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    let blocked = Blocked::all();
    // SAFETY: without CLONE_VM the child has a copy of this process's memory and stack, as after `fork`. It does nothing
    // but `act`, which makes system calls only.
    let number =
        unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, mem::size_of::<libc::clone_args>()) };
    let error = io::Error::last_os_error();
    if number == 0 {
        act();
        exit(FAILED);
    }
    drop(blocked);
    let number = i32::try_from(number).ok().filter(|number| *number > 0).ok_or(error)?;
    // SAFETY: the call succeeded, so it stored a new descriptor.
    let handle = unsafe { OwnedFd::from_raw_fd(handle) };
    Ok(Process { number, handle, reaped: false })
}

/// All signals of this thread blocked, so that no handler of the host's runs in a child.
struct Blocked {
    before: libc::sigset_t,
}

impl Blocked {
    fn all() -> Self {
        // SAFETY: both sets live until the calls return, and are written before they are read. Blocking all signals
        // cannot fail.
        unsafe {
            let mut all = mem::zeroed();
            let mut before = mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
            Self { before }
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set was filled in by `all`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut()) };
    }
}

/// Everything that the child needs.
struct Child<'a> {
    executable: i32,
    arguments: &'a [*const libc::c_char],
    descriptors: &'a [BorrowedFd<'a>],
    start: u32,
    unblocked: bool,
}

impl Child<'_> {
    fn execute(&self) -> ! {
        let start = self.descriptors.get(self.start as usize).map_or(-1, AsRawFd::as_raw_fd);
        if self.restrict().is_none() {
            give_up(start);
        }
        let executable = self.arrange(start).unwrap_or_else(|start| give_up(start));
        let environment = [ptr::null::<libc::c_char>()];
        // SAFETY: the strings and both lists, which end with null, live until the program takes the place of this one.
        unsafe {
            libc::execveat(
                executable,
                c"".as_ptr(),
                self.arguments.as_ptr().cast(),
                environment.as_ptr().cast(),
                libc::AT_EMPTY_PATH,
            )
        };
        give_up(self.start.cast_signed())
    }

    /// Dies with the host, has and gains no rights, leaves no memory in files, and has no terminal: what is typed there is
    /// for the host.
    fn restrict(&self) -> Option<()> {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: numbers, and a structure that lives until the call returns.
        let done = unsafe {
            libc::setsid();
            if self.unblocked {
                let mut nothing = mem::zeroed();
                libc::sigemptyset(&raw mut nothing);
                libc::pthread_sigmask(libc::SIG_SETMASK, &raw const nothing, ptr::null_mut());
            }
            [
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL),
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
                libc::setrlimit(libc::RLIMIT_CORE, &raw const none),
            ]
        };
        (done == [0; 3] && capabilities::give_up()).then_some(())
    }

    /// Gives the descriptors their numbers and closes all others. The program's own is the first behind them. If it fails, the
    /// descriptor that takes the reason is returned, which is `start` as long as none has its number.
    fn arrange(&self, start: i32) -> Result<i32, i32> {
        let mut moved = [-1; MOST_DESCRIPTORS];
        let sources = self.descriptors.iter().map(AsRawFd::as_raw_fd).chain([self.executable]);
        let count = self.descriptors.len() + 1;
        // First to where they are in nobody's way.
        for (to, from) in moved.iter_mut().zip(sources) {
            // SAFETY: numbers only.
            *to = unsafe { libc::fcntl(from, libc::F_DUPFD_CLOEXEC, MOST_DESCRIPTORS as libc::c_int) };
            if *to < 0 {
                return Err(start);
            }
        }
        let given = self.start.cast_signed();
        for (to, from) in (0..).zip(moved.iter().take(count)) {
            let flags = if to as usize + 1 == count { libc::O_CLOEXEC } else { 0 };
            // SAFETY: numbers only. Whatever had the number is closed: nobody in this process uses it any more.
            if unsafe { libc::dup3(*from, to, flags) } < 0 {
                return Err(if to > given { given } else { start });
            }
        }
        // SAFETY: numbers only.
        let closed = unsafe { libc::syscall(libc::SYS_close_range, count, libc::c_uint::MAX, 0) };
        if closed == 0 { Ok(count as i32 - 1) } else { Err(given) }
    }
}

/// Says why the program cannot be executed, and ends.
fn give_up(start: i32) -> ! {
    let error = io::Error::last_os_error().raw_os_error().unwrap_or_default();
    let word = Word { stage: stage::EXECUTE, region: 0, error: error.cast_unsigned() };
    let bytes = word.as_bytes();
    // SAFETY: the bytes live until the call returns.
    unsafe { libc::write(start, bytes.as_ptr().cast(), bytes.len()) };
    exit(FAILED)
}

fn exit(status: i32) -> ! {
    // SAFETY: ends the process without running anything that belongs to the host.
    unsafe { libc::_exit(status) }
}

/// linux/sched.h (Linux 5.5): no signal has a handler in the child. The constant in `libc` is too narrow for it.
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;

/// Most descriptors of a process, that of its program included.
pub(crate) const MOST_DESCRIPTORS: usize = 192;
