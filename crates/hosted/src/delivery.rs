//! What happens, on its way to whoever takes it. The run does not wait for him: what he does not take in time waits here up to a
//! bound, and is lost beyond it. Each subject has room of its own for its lines, so whoever says much loses nobody's but his own.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use palisade_services::log::write_line;
use rustix::event::{EventfdFlags, eventfd};

use crate::journal::Lines;
use crate::{Figures, Happening, Next, Sink, Trace};

/// A queue with two ends, each in a thread of its own.
pub(crate) struct Delivery<'p> {
    queue: Mutex<Queue<'p>>,
    changed: Condvar,
    /// Becomes readable when whoever takes it wants no more, or cannot.
    enough: OwnedFd,
}

#[derive(Default)]
struct Queue<'p> {
    told: VecDeque<Told<'p>>,
    /// How many bytes of lines wait under each name.
    lines: HashMap<Vec<u8>, usize>,
    traces: usize,
    /// Processes that began, and remarks.
    news: usize,
    lost: Lost,
    closed: bool,
    /// Whether nobody takes anything any more.
    taken: bool,
}

/// What there was no room for.
#[derive(Debug, Clone, Copy, Default)]
struct Lost {
    lines: u64,
    traces: u64,
    news: u64,
}

/// A happening that lasts.
enum Told<'p> {
    Output(Vec<u8>),
    Started { subject: u16, generation: u64, process: i32 },
    Figures(Vec<Figures>),
    Trace(Trace<'p>),
    Remark(String),
}

impl<'p> Delivery<'p> {
    pub(crate) fn new() -> io::Result<Self> {
        let enough = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { queue: Mutex::default(), changed: Condvar::new(), enough })
    }

    /// Tells lines of the log, each ended by LF. Whose name has no room for one loses it.
    pub(crate) fn output(&self, lines: &[u8]) {
        self.lock().add_lines(lines);
        self.changed.notify_one();
    }

    /// Tells that a process begins.
    pub(crate) fn started(&self, subject: u16, generation: u64, process: i32) {
        self.add_news(Told::Started { subject, generation, process });
    }

    /// Tells something about this computer.
    pub(crate) fn remark(&self, text: String) {
        self.add_news(Told::Remark(text));
    }

    /// Tells how the subjects are. Who has not taken the figures before gets these in their place.
    pub(crate) fn figures(&self, figures: Vec<Figures>) {
        let mut queue = self.lock();
        let waiting = queue.told.iter_mut().find(|told| matches!(told, Told::Figures(_)));
        match waiting {
            Some(waiting) => *waiting = Told::Figures(figures),
            None => queue.add(Told::Figures(figures)),
        }
        self.changed.notify_one();
    }

    /// Tells what was seen of events and channels.
    pub(crate) fn trace(&self, trace: Trace<'p>) {
        let mut queue = self.lock();
        if queue.traces < MOST_TRACES {
            queue.traces += 1;
            queue.add(Told::Trace(trace));
        } else {
            queue.lost.traces += 1;
        }
        self.changed.notify_one();
    }

    /// Becomes readable when nobody wants any more.
    pub(crate) fn enough(&self) -> BorrowedFd<'_> {
        self.enough.as_fd()
    }

    /// Gives everything to `sink`, until there will be no more.
    pub(crate) fn deliver(&self, sink: &mut Sink<'_>) -> io::Result<()> {
        // In case that `sink` panics or fails.
        let _end = Ending { delivery: self, whose: Whose::Taker };
        while let Some((batch, lost)) = self.take() {
            let last = lost.told();
            for happening in batch.iter().chain(&last).map(Told::happening) {
                if sink(happening)? == Next::End {
                    self.ask_to_end();
                }
            }
        }
        Ok(())
    }

    /// Waits until everything was taken after the end, or will never be, for this long at most. Tells whether it is so.
    pub(crate) fn is_taken_within(&self, patience: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), patience, |queue| !queue.taken);
        waited.unwrap_or_else(PoisonError::into_inner).0.taken
    }

    /// What says at its end that there will be no more.
    pub(crate) fn opened(&self) -> Ending<'_, 'p> {
        Ending { delivery: self, whose: Whose::Run }
    }

    /// Waits for something. `None` if nothing will come any more.
    fn take(&self) -> Option<(VecDeque<Told<'p>>, Lost)> {
        let mut queue = self.lock();
        while queue.told.is_empty() && !queue.closed {
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let closed = queue.closed;
        let Queue { told, lost, .. } = mem::replace(&mut *queue, Queue { closed, ..Queue::default() });
        (!told.is_empty()).then_some((told, lost))
    }

    fn add_news(&self, told: Told<'p>) {
        let mut queue = self.lock();
        if queue.news < MOST_NEWS {
            queue.news += 1;
            queue.add(told);
        } else {
            queue.lost.news += 1;
        }
        self.changed.notify_one();
    }

    fn ask_to_end(&self) {
        // It fails if the counter is full, and the descriptor is readable then.
        let _ = rustix::io::write(&self.enough, &1_u64.to_ne_bytes());
    }

    fn lock(&self) -> MutexGuard<'_, Queue<'p>> {
        // Nobody panics while he holds it.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'p> Queue<'p> {
    /// Adds the lines for which there is room, and counts the others as lost.
    fn add_lines(&mut self, lines: &[u8]) {
        let mut kept = Vec::new();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            // The log puts the name first, and no name has a bracket.
            let name = line.split(|byte| *byte == b']').next().unwrap_or_default();
            let used = match self.lines.get_mut(name) {
                Some(used) => used,
                None => self.lines.entry(name.to_vec()).or_default(),
            };
            if *used + line.len() <= ROOM {
                *used += line.len();
                kept.extend_from_slice(line);
            } else {
                self.lost.lines += 1;
            }
        }
        if !kept.is_empty() {
            self.add(Told::Output(kept));
        }
    }

    fn add(&mut self, told: Told<'p>) {
        // Nobody takes it any more.
        if !self.closed {
            self.told.push_back(told);
        }
    }
}

impl Lost {
    /// What there is to say of it.
    fn told(self) -> Vec<Told<'static>> {
        let mut told = Vec::new();
        if self.lines != 0 {
            let mut lines = Lines::default();
            let text = format!("{} lines lost: the output was not taken in time", self.lines);
            write_line(&mut lines, LOG, text.as_bytes());
            told.push(Told::Output(lines.0));
        }
        if self.traces != 0 {
            told.push(Told::Remark(format!(
                "{} lines of the trace are lost: it was not taken in time",
                self.traces
            )));
        }
        if self.news != 0 {
            told.push(Told::Remark(format!(
                "{} starts and remarks are lost: they were not taken in time",
                self.news
            )));
        }
        told
    }
}

impl Told<'_> {
    fn happening(&self) -> Happening<'_> {
        match self {
            Self::Output(bytes) => Happening::Output(bytes),
            Self::Started { subject, generation, process } => {
                Happening::Started { subject: *subject, generation: *generation, process: *process }
            }
            Self::Figures(figures) => Happening::Figures(figures),
            Self::Trace(trace) => Happening::Trace(trace),
            Self::Remark(text) => Happening::Remark(text),
        }
    }
}

/// The end of one of both sides, when this is gone.
pub(crate) struct Ending<'d, 'p> {
    delivery: &'d Delivery<'p>,
    whose: Whose,
}

enum Whose {
    Run,
    Taker,
}

impl Drop for Ending<'_, '_> {
    fn drop(&mut self) {
        let mut queue = self.delivery.lock();
        queue.closed = true;
        if let Whose::Taker = self.whose {
            queue.taken = true;
            self.delivery.ask_to_end();
        }
        self.delivery.changed.notify_one();
    }
}

/// Bytes of lines that wait at most under one name: several times what a log channel holds if nothing else is said.
const ROOM: usize = 1 << 20;
/// How many of the others wait at most.
const MOST_TRACES: usize = 1 << 14;
const MOST_NEWS: usize = 1 << 12;
/// Who says that lines are lost.
const LOG: &str = "log";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_takes_nothing_holds_nobody_up_and_learns_what_he_missed() {
        let delivery = Delivery::new().expect("there are descriptors");
        let line = [b"[flood] ".as_slice(), &[b'x'; 1014], b"\r\n"].concat();
        let fits = ROOM / line.len();
        (0..fits + 5).for_each(|_| delivery.output(&line));
        delivery
            .output(b"[supervisor] flood: exited with status 3\r\n[flood] more than this does not fit\r\n");
        drop(delivery.opened());
        let said = taken(&delivery);
        assert_eq!(said.lines().filter(|line| line.starts_with("[flood] xxx")).count(), fits);
        assert!(said.ends_with(
            "[supervisor] flood: exited with status 3\r\n[log] 6 lines lost: the output was not taken in time\r\n"
        ));
    }

    #[test]
    fn a_flood_takes_room_from_nobody_else() {
        let delivery = Delivery::new().expect("there are descriptors");
        let flood = b"[flood] \r\n".repeat(2 * ROOM / 10);
        let calm = b"[calm] first\r\n".as_slice();
        delivery.output(&[calm, &flood, b"[calm] last\r\n"].concat());
        delivery.output(b"[supervisor] calm: exited with status 0\r\n");
        drop(delivery.opened());
        let said = taken(&delivery);
        assert!(said.starts_with("[calm] first\r\n[flood] \r\n"));
        assert_eq!(said.matches("[flood] ").count(), ROOM / 10);
        let lost = 2 * ROOM / 10 - ROOM / 10;
        assert!(said.ends_with(&format!(
            "[flood] \r\n[calm] last\r\n[supervisor] calm: exited with status 0\r\n\
             [log] {lost} lines lost: the output was not taken in time\r\n"
        )));
    }

    #[test]
    fn what_was_taken_makes_room() {
        let delivery = Delivery::new().expect("there are descriptors");
        let much = b"[much] \r\n".repeat(ROOM / 9);
        for _ in 0..3 {
            delivery.output(&much);
            let (told, lost) = delivery.take().expect("there is something");
            assert_eq!((told.len(), lost.lines), (1, 0));
        }
    }

    #[test]
    fn even_the_supervisor_s_lines_have_a_bound() {
        let delivery = Delivery::new().expect("there are descriptors");
        let line = b"[supervisor] restless: restarting, generation 2\r\n";
        delivery.output(&line.repeat(10 * ROOM / line.len()));
        assert!(delivery.lock().lost.lines > 0);
        drop(delivery.opened());
        assert!(taken(&delivery).len() <= ROOM + 100);
    }

    #[test]
    fn starts_and_remarks_that_are_lost_are_counted() {
        let delivery = Delivery::new().expect("there are descriptors");
        (1..).take(MOST_NEWS + 3).for_each(|generation| delivery.started(1, generation, 100));
        drop(delivery.opened());
        let (mut started, mut remarks) = (0, Vec::new());
        let mut sink = |happening: Happening<'_>| {
            match happening {
                Happening::Started { .. } => started += 1,
                Happening::Remark(text) => remarks.push(text.to_owned()),
                other => panic!("{other:?}"),
            }
            Ok(Next::Continue)
        };
        delivery.deliver(&mut sink).expect("the sink does not fail");
        assert_eq!(started, MOST_NEWS);
        assert_eq!(remarks, ["3 starts and remarks are lost: they were not taken in time"]);
    }

    #[test]
    fn new_figures_take_the_place_of_those_that_nobody_has_taken() {
        let delivery = Delivery::new().expect("there are descriptors");
        let figures = |subject| vec![Figures { subject, process: None, counters: Default::default() }];
        delivery.figures(figures(1));
        delivery.figures(figures(2));
        drop(delivery.opened());
        let mut seen = Vec::new();
        let mut sink = |happening: Happening<'_>| {
            let Happening::Figures(figures) = happening else { panic!("{happening:?}") };
            seen.extend(figures.iter().map(|figures| figures.subject));
            Ok(Next::Continue)
        };
        delivery.deliver(&mut sink).expect("the sink does not fail");
        assert_eq!(seen, [2]);
    }

    #[test]
    fn whoever_fails_ends_the_run() {
        let delivery = Delivery::new().expect("there are descriptors");
        delivery.remark("something".to_owned());
        let mut sink = |_: Happening<'_>| Err(io::ErrorKind::BrokenPipe.into());
        assert!(delivery.deliver(&mut sink).is_err());
        assert!(rustix::io::read(delivery.enough(), &mut [0; 8]).is_ok());
        delivery.remark("nobody takes this".to_owned());
        assert!(delivery.lock().told.is_empty());
    }

    #[test]
    fn it_is_known_whether_everything_was_taken() {
        let delivery = Delivery::new().expect("there are descriptors");
        delivery.output(b"[hello] Hello, World\r\n");
        drop(delivery.opened());
        assert!(!delivery.is_taken_within(Duration::ZERO));
        taken(&delivery);
        assert!(delivery.is_taken_within(Duration::ZERO));
    }

    /// All output, after the run.
    fn taken(delivery: &Delivery<'_>) -> String {
        let mut said = Vec::new();
        let mut sink = |happening: Happening<'_>| {
            let Happening::Output(bytes) = happening else { panic!("{happening:?}") };
            said.extend_from_slice(bytes);
            Ok(Next::Continue)
        };
        delivery.deliver(&mut sink).expect("the sink does not fail");
        String::from_utf8(said).expect("it is text")
    }
}
