//! Starts tasks at the very moment at which others end, and looks whether each one runs.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Poll, Waker};

use unikernel::{Error, System};

unikernel::unikernel!(main, arguments = []);

async fn main(system: System) -> Result<(), Error> {
    for number in 0..TASKS {
        let seen = Rc::new(Seen::default());
        system.spawn(end_awake(seen.clone()));
        gone(&seen).await;
        if !seen.ran.get() {
            return Err(Error::other(format_args!("task {number} never ran")));
        }
    }
    Ok(())
}

/// What is seen of a task, by itself and by `main`.
#[derive(Default)]
struct Seen {
    ran: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

/// Is woken once more in its last turn, as the task of a connection is by the socket that it closes. It wakes `main` after
/// that, which so has its turn before the executor has noticed that there is nothing left to be woken.
async fn end_awake(seen: Rc<Seen>) {
    poll_fn(|context| {
        context.waker().wake_by_ref();
        Poll::Ready(())
    })
    .await;
    seen.ran.set(true);
    if let Some(waiting) = seen.waiting.take() {
        waiting.wake();
    }
}

/// Waits until a task is gone, whether it ran or not.
async fn gone(seen: &Rc<Seen>) {
    poll_fn(|context| {
        seen.waiting.replace(Some(context.waker().clone()));
        if Rc::strong_count(seen) == 1 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

const TASKS: usize = 100;
