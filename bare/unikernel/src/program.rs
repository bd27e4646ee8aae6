//! From the first instruction to the exit status: preparation, and the loop in which everything runs.

use alloc::rc::Rc;
use core::cell::Cell;
use core::future::Future;

use palisade_unikernel_core::arguments::{Arguments, Description, Help, LOGS, Refusal, STANDARD};
use solo5::StartInfo;

use crate::net::Network;
use crate::platform::{self, Tasks};
use crate::{Error, System, logger, random, time};

/// Runs a unikernel until its `main` ends, and returns its exit status: 0; 1 after an error; 64 if the command line is
/// wrong.
pub fn run<M, F>(start: &StartInfo, own: &'static [Description], main: M) -> i32
where
    M: FnOnce(System) -> F,
    F: Future<Output = Result<(), Error>> + 'static,
{
    if let Some(memory) = start.heap() {
        platform::start_heap(memory);
    }
    let tables = [own, &STANDARD];
    let arguments = match Arguments::parse(start.command_line, &tables) {
        Ok(arguments) => arguments,
        Err(Refusal::Help) => {
            solo5::print!("Arguments:\n{}", Help(&tables));
            return SUCCESS;
        }
        Err(refusal) => {
            solo5::println!("[error] arguments: {refusal}");
            return WRONG_USAGE;
        }
    };
    logger::start(arguments.value(&LOGS));
    random::start();
    match prepare(arguments).and_then(|(system, tasks)| serve(system, &tasks, main)) {
        Ok(()) => SUCCESS,
        Err(error) => {
            log::error!(target: "unikernel", "{error}");
            FAILURE
        }
    }
}

fn prepare(arguments: Arguments) -> Result<(System, Tasks), Error> {
    let tasks = Tasks::new();
    let network = Network::start(&arguments)?;
    Ok((System::new(arguments, network, tasks.clone()), tasks))
}

/// The loop. Each turn takes in the frames that are there and sends what tasks have written, then runs the tasks that can
/// run. It sleeps when none could: then nothing was written either, and no timer was set since it asked for the next one.
fn serve<M, F>(system: System, tasks: &Tasks, main: M) -> Result<(), Error>
where
    M: FnOnce(System) -> F,
    F: Future<Output = Result<(), Error>> + 'static,
{
    let network: Network = system.network().clone();
    let result = Rc::new(Cell::new(None));
    let ended = result.clone();
    let main = main(system);
    tasks.spawn(async move { ended.set(Some(main.await)) });
    loop {
        network.turn();
        let next_timer = time::expire();
        let ran = tasks.run();
        if let Some(result) = result.take() {
            network.turn();
            return result;
        }
        if !ran {
            network.sleep(next_timer);
        }
    }
}

const SUCCESS: i32 = 0;
const FAILURE: i32 = 1;
/// `EX_USAGE` of BSD's sysexits.h.
const WRONG_USAGE: i32 = 64;
