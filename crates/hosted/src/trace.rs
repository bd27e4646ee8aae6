//! Watching events and channels. Events are seen on their way through the host; channels are read as by one more reader, of
//! whom their writers know nothing.

mod frame;

use std::time::Duration;

use palisade_abi::channel::{ELEMENT_SIZE, EPOCH, Element, INACTIVE, PROTOCOL, WRITTEN};
use palisade_abi::frame_channel::FrameReader;
use palisade_abi::network_element::{MAX_FRAME, NetworkElement};
use palisade_abi::volatile::{Memory, Shared};
use palisade_policy::plan::{Plan, SubjectKind};

use crate::memory::SharedMemory;
use crate::wiring::{Relay, Request, Target};
use crate::{Effect, Trace, Traffic};

/// Watches a system.
pub(crate) struct Watch<'a, 'p> {
    plan: &'p Plan,
    channels: Vec<Channel<'a, 'p>>,
}

/// A channel between two processes, and what was seen of it.
struct Channel<'a, 'p> {
    from: &'p str,
    to: &'p str,
    name: &'p str,
    memory: Shared<'a>,
    frames: FrameReader<Shared<'a>>,
    /// The epoch that was looked at last, and how many of its elements were told of.
    told: (u64, u64),
}

impl<'a, 'p> Watch<'a, 'p> {
    /// Watches the channels of this system that processes write and read. Those of the log are left out: their lines are shown.
    pub(crate) fn new(plan: &'p Plan, memory: &'a SharedMemory) -> Self {
        let process = |id: u16| {
            let subject = plan.subjects.get(usize::from(id))?;
            let is_one = matches!(subject.kind, SubjectKind::Unikernel | SubjectKind::Nic);
            is_one.then_some(subject.name.as_str())
        };
        let channels = plan.channels.iter().filter_map(|channel| {
            let memory = memory.part(channel.phys, channel.size)?;
            Some(Channel {
                from: process(channel.writer.0)?,
                to: process(channel.reader.0)?,
                name: &channel.name,
                memory,
                frames: FrameReader::new(memory),
                told: (INACTIVE, 0),
            })
        });
        Self { plan, channels: channels.collect() }
    }

    /// Tells what was written to channels since the last time, up to a bound. Returns whether there may be more.
    pub(crate) fn sweep(&mut self, at: Duration, tell: &mut dyn FnMut(Trace<'p>)) -> bool {
        let mut more = false;
        for channel in &mut self.channels {
            more |= channel.sweep(at, tell);
        }
        more
    }

    /// What there is to tell of an event; `None` if the plan has none like this.
    pub(crate) fn event(&self, relay: &Relay, times: u64, at: Duration) -> Option<Trace<'p>> {
        let raiser = self.plan.subjects.get(usize::from(relay.raiser))?;
        let event = raiser.source_events.iter().find(|event| event.number == relay.number)?;
        let target = event.target.and_then(|(target, _)| self.plan.subjects.get(usize::from(target)));
        let effect = match relay.target() {
            Target::Nowhere => Effect::Nothing,
            Target::Subject(_) | Target::Log | Target::Network => Effect::Wakes,
            Target::Host(Request::Reset(_)) => Effect::Restarts,
            Target::Host(Request::PowerOff) => Effect::PowersOff,
            Target::Host(Request::ResetMachine) => Effect::Resets,
            Target::Host(Request::Panic(_)) => Effect::Panics,
        };
        let to = &target.unwrap_or(raiser).name;
        Some(Trace {
            at,
            from: &raiser.name,
            to,
            name: &event.name,
            traffic: Traffic::Event { effect, times },
        })
    }
}

impl<'p> Channel<'_, 'p> {
    fn sweep(&mut self, at: Duration, tell: &mut dyn FnMut(Trace<'p>)) -> bool {
        let Self { from, to, name, .. } = *self;
        let mut tell = |traffic| tell(Trace { at, from, to, name, traffic });
        if self.memory.load(PROTOCOL) != Some(NetworkElement::PROTOCOL) {
            if let Some(elements) = self.count() {
                tell(elements);
            }
            return false;
        }
        let mut buffer = [0; MAX_FRAME];
        let mut seen = 0;
        while seen < MOST_FRAMES
            && let Some(length) = self.frames.read(&mut buffer)
        {
            seen += 1;
            *of_epoch(&mut self.told, self.frames.epoch()) += 1;
            let what = frame::describe(buffer.get(..length).unwrap_or_default());
            tell(Traffic::Frame { length, what });
        }
        let told = of_epoch(&mut self.told, self.frames.epoch());
        let frames = self.frames.taken().wrapping_sub(*told);
        if frames != 0 {
            *told = self.frames.taken();
            tell(Traffic::Unseen { frames });
        }
        seen == MOST_FRAMES
    }

    /// What was written in another protocol since the last time.
    fn count(&mut self) -> Option<Traffic> {
        let epoch = self.memory.load(EPOCH).filter(|epoch| *epoch != INACTIVE)?;
        let written = self.memory.load(WRITTEN)?;
        let told = of_epoch(&mut self.told, epoch);
        let count = written.wrapping_sub(*told);
        *told = written;
        (count != 0).then_some(Traffic::Elements { count, size: self.memory.load(ELEMENT_SIZE)? })
    }
}

/// How many elements of this epoch were told of.
fn of_epoch((known, told): &mut (u64, u64), epoch: u64) -> &mut u64 {
    if *known != epoch {
        (*known, *told) = (epoch, 0);
    }
    told
}

/// Frames of a channel after which the others have their turn.
const MOST_FRAMES: usize = 64;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::sync::atomic::AtomicU64;

    use palisade_abi::channel::Writer;
    use palisade_abi::frame_channel::{Announcement, FrameWriter, Overruns};
    use palisade_abi::log_element::LogElement;

    use super::*;

    #[test]
    fn every_frame_is_seen_once_and_those_that_were_overwritten_are_counted() {
        let words = words();
        let mut channel = channel(&words);
        assert_eq!(swept(&mut channel), []);
        let mut writer =
            FrameWriter::start(memory(&words), NonZeroU64::MIN, Announcement::default()).expect("it fits");
        (0..3).for_each(|_| writer.write(&[0xff; 60], Overruns::Recovered).expect("it fits"));
        let frame = Traffic::Frame { length: 60, what: "ethertype 0xffff".to_owned() };
        assert_eq!(swept(&mut channel), [frame.clone(), frame.clone(), frame.clone()]);
        assert_eq!(swept(&mut channel), []);
        (0..writer.elements() + 2)
            .for_each(|_| writer.write(&[0xff; 60], Overruns::Recovered).expect("it fits"));
        let seen = swept(&mut channel);
        let frames = seen.iter().filter(|traffic| **traffic == frame).count() as u64;
        assert_eq!(seen.last(), Some(&Traffic::Unseen { frames: writer.elements() + 2 - frames }));
    }

    #[test]
    fn elements_of_other_protocols_are_counted() {
        let words = words();
        let mut channel = channel(&words);
        let epoch = |number| NonZeroU64::new(number).expect("it is one");
        let mut writer = Writer::start(memory(&words), epoch(1)).expect("it fits");
        (0..3).for_each(|_| writer.write(&LogElement::EMPTY));
        assert_eq!(swept(&mut channel), [Traffic::Elements { count: 3, size: 64 }]);
        writer.write(&LogElement::EMPTY);
        assert_eq!(swept(&mut channel), [Traffic::Elements { count: 1, size: 64 }]);
        assert_eq!(swept(&mut channel), []);
        let mut writer = Writer::start(memory(&words), epoch(2)).expect("it fits");
        writer.write(&LogElement::EMPTY);
        assert_eq!(swept(&mut channel), [Traffic::Elements { count: 1, size: 64 }]);
    }

    fn words() -> Vec<AtomicU64> {
        (0..2048).map(|_| AtomicU64::new(0)).collect()
    }

    fn memory(words: &[AtomicU64]) -> Shared<'_> {
        Shared::from(words)
    }

    fn channel(words: &[AtomicU64]) -> Channel<'_, 'static> {
        let memory = memory(words);
        let frames = FrameReader::new(memory);
        Channel { from: "a", to: "b", name: "numbers", memory, frames, told: (INACTIVE, 0) }
    }

    fn swept(channel: &mut Channel<'_, '_>) -> Vec<Traffic> {
        let mut seen = Vec::new();
        channel.sweep(Duration::ZERO, &mut |trace| seen.push(trace.traffic));
        seen
    }
}
