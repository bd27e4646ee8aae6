//! Network devices: Ethernet frames in two channels, one for each direction.
//!
//! The device `x` has the channels `x|in` and `x|out`. At their other ends is the system's switch, or another unikernel.
//!
//! Nobody waits actively. A writer raises the event `x|out_ready` after it wrote, and the kernel wakes the other end, which
//! looks at its channels before it sleeps. No frame is overlooked: if it was written before the look, the look finds it;
//! if later, the event follows later too, and the kernel remembers it until the sleep, which then returns at once.

use core::num::NonZeroU64;
use core::sync::atomic::{AtomicU64, Ordering};

use palisade_abi::frame_channel::{Announcement, FrameReader, FrameWriter, Overruns};
use palisade_abi::network_element::MAX_FRAME;
use palisade_abi::status::LOST_FRAMES;
use palisade_abi::subject_info::{MAX_NAME, MemoryKind, SubjectInfo};
use palisade_abi::volatile::Shared;
use palisade_services::station::derived_address;
use palisade_services::text::Text;

use crate::arch::{self, Global};
use crate::event::Event;
use crate::{NoSuchDevice, clock, sleep, status};

pub use palisade_abi::frame_channel::{Losses, TooLong};

/// Opens the network device with this name in the manifest.
///
/// The switch at the other end says which MAC address to use; that is waited for, 300 ms at most. A device without such an
/// address gets one that depends on nothing but the names of subject and device.
///
/// # Errors
///
/// The system connects no such device, or it was opened before.
pub fn acquire(name: &str) -> Result<Network, NoSuchDevice> {
    open(name).ok_or(NoSuchDevice)
}

/// Sleeps until one of these devices has a frame, an event arrives, or [`clock::monotonic`] reaches `deadline`. Returns at
/// once if there is something to read already.
///
/// What was written to the devices is announced first.
pub fn wait_until<'n>(networks: impl IntoIterator<Item = &'n mut Network>, deadline: u64) {
    let mut ready = false;
    for network in networks {
        network.flush();
        ready |= network.is_ready();
    }
    if !ready {
        sleep::wait_until(deadline);
    }
}

/// A network device.
#[derive(Debug)]
pub struct Network {
    input: FrameReader<Shared<'static>>,
    output: FrameWriter<Shared<'static>>,
    address: [u8; 6],
    /// What is known of the reader of `output`.
    overruns: Overruns,
    ready: Option<Event>,
    /// At the other end is a switch, which wants to know what was read.
    acknowledges: bool,
    /// Frames written since the last flush.
    unflushed: u64,
}

impl Network {
    /// The MAC address to use, in wire order.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        self.address
    }

    /// Most bytes of a frame's payload; a frame has 14 more for its header.
    #[must_use]
    pub fn mtu(&self) -> usize {
        MAX_FRAME - ETHERNET_HEADER
    }

    /// Copies the next frame into `buffer` and returns its length; `None` if there is none now. A frame that is longer than
    /// the buffer is dropped.
    pub fn read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let before = self.losses().total();
        let length = self.input.read(buffer);
        // On a slow machine the switch comes after this program.
        self.acknowledges = self.acknowledges || is_switch(&self.input);
        if self.acknowledges {
            self.output.acknowledge(self.input.taken());
        }
        let lost = self.losses().total().saturating_sub(before);
        if lost != 0 {
            let all = LOST.load(Ordering::Relaxed).saturating_add(lost);
            LOST.store(all, Ordering::Relaxed);
            status::set_counter(LOST_FRAMES, all);
        }
        length
    }

    /// Whether there is a frame to read, or something else to find out by reading.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.input.is_ready()
    }

    /// Writes a frame. It never waits for the other end: a reader that is too slow loses frames.
    ///
    /// The other end is told with the next [`Network::flush`], when the program sleeps, yields or ends, or after 16 frames
    /// (or a quarter of a smaller channel); then it also gets a chance to run, and so does everybody else.
    ///
    /// # Errors
    ///
    /// The frame is longer than [`Network::mtu`] and its header allow.
    pub fn write(&mut self, frame: &[u8]) -> Result<(), TooLong> {
        if let Some(announcement) = self.input.announcement() {
            self.overruns = if announcement.recovers { Overruns::Recovered } else { Overruns::Fatal };
        }
        self.output.write(frame, self.overruns)?;
        if let Some(ready) = self.ready {
            ready.postpone();
        }
        self.unflushed += 1;
        if self.unflushed >= BURST.min(self.output.elements() / 4) {
            self.flush();
            sleep::yield_now();
        }
        Ok(())
    }

    /// Tells the other end about the frames written so far.
    pub fn flush(&mut self) {
        self.unflushed = 0;
        if let Some(ready) = self.ready {
            ready.raise_if_postponed();
        }
    }

    /// Frames that were sent to this device and lost.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.input.losses()
    }
}

fn open(name: &str) -> Option<Network> {
    let info = arch::subject_info()?;
    let (input, _) = channel(&info, name, "|in")?;
    let (output, writable) = channel(&info, name, "|out")?;
    let output_place = writable?;
    if OPEN.with(|open| take(open, output_place)) != Some(true) {
        return None;
    }
    let announcement = Announcement { address: None, recovers: true };
    let output = FrameWriter::start(output, NonZeroU64::new(arch::cycles())?, announcement)?;
    let mut input = FrameReader::new(input);
    if status::generation() > 1 {
        // What lies there was meant for an earlier life of the program.
        input.skip();
    }
    let ready = Event::named(Text::<MAX_NAME>::new().str(name).str("|out_ready").as_str());
    let assigned = assigned_address(&input);
    let acknowledges = assigned.is_some();
    let address = assigned.unwrap_or_else(|| derived_address(info.name(), name));
    Some(Network { input, output, address, overruns: Overruns::Fatal, ready, acknowledges, unflushed: 0 })
}

/// A channel of the device, and its address if the program may write it.
fn channel(info: &SubjectInfo<'_>, device: &str, end: &str) -> Option<(Shared<'static>, Option<u64>)> {
    let name = Text::<MAX_NAME>::new().str(device).str(end);
    let memory = info.memory(name.as_str()).filter(|memory| memory.kind == MemoryKind::Channel)?;
    Some((arch::shared_memory(name.as_str())?, Some(memory.address).filter(|_| memory.writable)))
}

/// Notes that the channel at `address` has its writer; `false` if it had one.
fn take(open: &mut [u64; MAX_DEVICES], address: u64) -> bool {
    match open.iter_mut().find(|slot| **slot == address || **slot == 0) {
        Some(slot) if *slot == 0 => {
            *slot = address;
            true
        }
        _ => false,
    }
}

/// Waits for the writer of `input` to say which address to use. A writer that knows how to say so, and does not, is another
/// unikernel.
fn assigned_address(input: &FrameReader<Shared<'_>>) -> Option<[u8; 6]> {
    let deadline = clock::monotonic().saturating_add(LONGEST_WAIT);
    loop {
        match input.announcement() {
            Some(Announcement { address: Some(address), .. }) => return Some(address),
            Some(Announcement { recovers: true, .. }) => return None,
            _ if clock::monotonic() >= deadline => return None,
            _ => sleep::wait_until(clock::monotonic().saturating_add(POLL).min(deadline)),
        }
    }
}

/// Whether a switch writes `input`: nobody else gives addresses.
fn is_switch(input: &FrameReader<Shared<'_>>) -> bool {
    input.announcement().is_some_and(|announcement| announcement.address.is_some())
}

/// Addresses of the channels that have their writer.
static OPEN: Global<[u64; MAX_DEVICES]> = Global::new([0; MAX_DEVICES]);
/// Frames that any device lost.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Most devices of a manifest.
const MAX_DEVICES: usize = 63;
const ETHERNET_HEADER: usize = 14;
/// Most frames that a program writes in one turn: enough to make the turn's costs small, and few enough that a program
/// which floods the network takes little more than its share of the time.
const BURST: u64 = 16;
/// How long an address is waited for, in nanoseconds, and how often it is looked for.
const LONGEST_WAIT: u64 = 300_000_000;
const POLL: u64 = 1_000_000;
