//! Log messages on the console: `[level] source: text`.

use core::cell::Cell;

use critical_section::Mutex;
use log::{Level, Log, Metadata, Record};
use palisade_unikernel_core::logs::Filter;

/// Shows messages as `filter` says, from now on.
pub(crate) fn start(filter: Filter) {
    critical_section::with(|section| LOGGER.filter.borrow(section).set(filter));
    log::set_max_level(filter.lowest());
    // It fails only if there is a logger already, which then is the program's own choice.
    let _ = log::set_logger(&LOGGER);
}

struct Logger {
    filter: Mutex<Cell<Filter>>,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let filter = critical_section::with(|section| self.filter.borrow(section).get());
        metadata.level() <= filter.level(metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            solo5::println!("[{}] {}: {}", name(record.level()), record.target(), record.args());
        }
    }

    fn flush(&self) {
        solo5::console::flush();
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

static LOGGER: Logger = Logger { filter: Mutex::new(Cell::new(Filter::INFO)) };
