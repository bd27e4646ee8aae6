//! The tasks of the program, and who has to run.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::future::Future;
use core::pin::Pin;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use embassy_executor::raw::{AvailableTask, Executor, TaskStorage};

/// The program's tasks.
///
/// Each runs in a slot. Slots live for ever, because wakers may outlive a task; a slot whose task has ended serves the
/// next one, so there are never more than there were tasks in two turns.
#[derive(Clone)]
pub(crate) struct Tasks {
    executor: &'static Executor,
    idle: Rc<RefCell<Vec<&'static Slot>>>,
}

type Slot = TaskStorage<Run>;
/// What a slot runs: a task, and behind it the slot's return.
type Run = Pin<Box<dyn Future<Output = ()>>>;

impl Tasks {
    pub(crate) fn new() -> Self {
        let executor = Box::leak(Box::new(Executor::new(ptr::null_mut())));
        Self { executor, idle: Rc::default() }
    }

    /// Starts a task. It runs for the first time when the current one waits.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let (slot, free) = self.claim();
        let idle = self.idle.clone();
        let run: Run = Box::pin(async move {
            task.await;
            // Nothing is spawned between here and the end of this future, which frees the slot.
            idle.borrow_mut().push(slot);
        });
        self.executor.spawner().spawn(free.initialize(|| run));
    }

    /// A slot for a task. Not each idle one can be had: if a task was woken again in its last turn, as closing its own
    /// connection does, its slot stays in the executor's queue until the next one.
    fn claim(&self) -> (&'static Slot, AvailableTask<Run>) {
        let mut idle = self.idle.borrow_mut();
        loop {
            let claimed = |(at, slot): (usize, &&'static Slot)| Some((at, AvailableTask::claim(slot)?));
            if let Some((at, free)) = idle.iter().enumerate().rev().find_map(claimed) {
                return (idle.swap_remove(at), free);
            }
            idle.push(Box::leak(Box::new(TaskStorage::new())));
        }
    }

    /// Runs the tasks that can run, each until it waits. Returns whether there was one.
    pub(crate) fn run(&self) -> bool {
        let pending = PENDING.swap(false, Ordering::Relaxed);
        if pending {
            // SAFETY: only the program's loop calls this, and it does not call itself: no task can reach `Tasks::run`.
            unsafe { self.executor.poll() };
        }
        pending
    }
}

/// Called by the executor when a task can run.
#[unsafe(no_mangle)]
extern "Rust" fn __pender(_context: *mut ()) {
    PENDING.store(true, Ordering::Relaxed);
}

/// Whether a task waits for its turn. There is one executor.
static PENDING: AtomicBool = AtomicBool::new(false);
