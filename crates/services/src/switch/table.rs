//! Who has which address, and so which frame goes where.
//!
//! A port has one address at a time. It begins with the one that it is assigned, which no other port can take; the first
//! frame of each epoch of its channel settles the address, and until the next epoch no other is accepted from it. So a
//! unikernel that chooses its own address can do so at each start, and none can speak for another, or for a station that
//! was lately heard on the wire.

use palisade_abi::network_element::MAX_FRAME;
use palisade_abi::nic_config::MAX_PORTS;

use super::address::{Address, Ends, HEADER};
use super::losses::Loss;

/// The addresses of all ports.
#[derive(Debug)]
pub struct Table {
    stations: [Station; MAX_PORTS],
    ports: usize,
    outside: Outside,
}

/// Where a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destinations {
    /// The ports, a bit each.
    pub ports: u32,
    /// Whether it goes to the wire.
    pub wire: bool,
}

impl Table {
    /// A table of this many ports, none with an address; [`MAX_PORTS`] at most.
    #[must_use]
    pub fn new(ports: usize) -> Self {
        let nobody = Station { address: None, settled: false };
        Self { stations: [nobody; MAX_PORTS], ports: ports.min(MAX_PORTS), outside: Outside::new() }
    }

    /// Reserves an address for a port until it chooses another. Returns whether the port now has it: an address that
    /// another port has, or that is none of a station, is not given away.
    pub fn assign(&mut self, port: usize, address: Address) -> bool {
        if !address.is_station() || self.owner(address).is_some() {
            return false;
        }
        let Some(station) = self.station(port) else { return false };
        *station = Station { address: Some(address), settled: false };
        true
    }

    /// The port begins anew: its next frame may have another source address. Until then it keeps the one it has.
    pub fn restarted(&mut self, port: usize) {
        if let Some(station) = self.station(port) {
            station.settled = false;
        }
    }

    /// The address of a port, assigned or chosen.
    #[must_use]
    pub fn address(&self, port: usize) -> Option<Address> {
        self.stations().get(port)?.address
    }

    /// Judges a frame that a port sends.
    ///
    /// # Errors
    ///
    /// Why it is dropped.
    pub fn from_port(&mut self, port: usize, frame: &[u8]) -> Result<Destinations, Loss> {
        let ends = judge(frame)?;
        self.settle(port, ends.source)?;
        let others = self.all() & !bit(port);
        if ends.destination.is_group() {
            return Ok(Destinations { ports: others, wire: true });
        }
        match self.owner(ends.destination) {
            Some(owner) if owner == port => Err(Loss::ToItself),
            Some(owner) => Ok(Destinations { ports: bit(owner), wire: false }),
            None => Ok(Destinations { ports: self.unsettled() & others, wire: true }),
        }
    }

    /// Judges a frame that arrived from the wire.
    ///
    /// # Errors
    ///
    /// Why it is dropped.
    pub fn from_wire(&mut self, frame: &[u8]) -> Result<Destinations, Loss> {
        let ends = judge(frame)?;
        if self.owner(ends.source).is_some() {
            return Err(Loss::OwnSource);
        }
        self.outside.heard(ends.source);
        let ports = match self.owner(ends.destination) {
            _ if ends.destination.is_group() => self.all(),
            Some(owner) => bit(owner),
            None => self.unsettled(),
        };
        Ok(Destinations { ports, wire: false })
    }

    /// Takes `source` as the port's address for the rest of the epoch, or refuses it.
    fn settle(&mut self, port: usize, source: Address) -> Result<(), Loss> {
        if self.owner(source).is_some_and(|owner| owner != port) {
            return Err(Loss::TakenSource);
        }
        let outside = self.outside.knows(source);
        let station = self.station(port).ok_or(Loss::ForeignSource)?;
        if station.address != Some(source) {
            if station.settled {
                return Err(Loss::ForeignSource);
            }
            if outside {
                return Err(Loss::TakenSource);
            }
        }
        *station = Station { address: Some(source), settled: true };
        Ok(())
    }

    fn owner(&self, address: Address) -> Option<usize> {
        self.stations().iter().position(|station| station.address == Some(address))
    }

    fn all(&self) -> u32 {
        self.select(|_| true)
    }

    /// Ports whose address can still be any. A settled one never sees what is for an address that nobody here has.
    fn unsettled(&self) -> u32 {
        self.select(|station| !station.settled)
    }

    fn select(&self, wanted: impl Fn(&Station) -> bool) -> u32 {
        let chosen = self.stations().iter().enumerate().filter(|(_, station)| wanted(station));
        chosen.fold(0, |mask, (port, _)| mask | bit(port))
    }

    fn stations(&self) -> &[Station] {
        self.stations.get(..self.ports).unwrap_or(&self.stations)
    }

    fn station(&mut self, port: usize) -> Option<&mut Station> {
        self.stations.get_mut(..self.ports)?.get_mut(port)
    }
}

impl Destinations {
    /// Whether the frame goes to this port.
    #[must_use]
    pub fn has_port(self, port: usize) -> bool {
        self.ports & bit(port) != 0
    }
}

#[derive(Debug, Clone, Copy)]
struct Station {
    address: Option<Address>,
    /// A frame with this source address was accepted in this epoch.
    settled: bool,
}

/// Stations that were lately heard on the wire. Of those whose addresses have the same hash it knows the last.
#[derive(Debug)]
struct Outside([Address; OUTSIDE]);

impl Outside {
    const fn new() -> Self {
        Self([Address([0; 6]); OUTSIDE])
    }

    fn heard(&mut self, address: Address) {
        if let Some(slot) = self.0.get_mut(Self::slot(address)) {
            *slot = address;
        }
    }

    fn knows(&self, address: Address) -> bool {
        self.0.get(Self::slot(address)) == Some(&address)
    }

    fn slot(address: Address) -> usize {
        usize::from(address.0.into_iter().fold(0, |sum: u8, byte| sum.rotate_left(3) ^ byte)) % OUTSIDE
    }
}

/// What holds for frames from everywhere.
fn judge(frame: &[u8]) -> Result<Ends, Loss> {
    if !(HEADER..=MAX_FRAME).contains(&frame.len()) {
        return Err(Loss::Length);
    }
    let ends = Ends::of(frame).ok_or(Loss::Length)?;
    if !ends.source.is_station() {
        return Err(Loss::NoSource);
    }
    if ends.destination.is_link_local() {
        return Err(Loss::LinkLocal);
    }
    Ok(ends)
}

fn bit(port: usize) -> u32 {
    1_u32.checked_shl(port as u32).unwrap_or(0)
}

/// Stations outside whose addresses are known.
const OUTSIDE: usize = 256;

const _: () = assert!(MAX_PORTS <= u32::BITS as usize);

#[cfg(test)]
mod tests {
    use super::*;

    const A: Address = Address([0x02, 0, 0, 0, 0, 0xa]);
    const B: Address = Address([0x02, 0, 0, 0, 0, 0xb]);
    const C: Address = Address([0x02, 0, 0, 0, 0, 0xc]);
    const GATEWAY: Address = Address([0x52, 0x55, 10, 0, 2, 2]);
    const BROADCAST: Address = Address([0xff; 6]);

    fn frame(destination: Address, source: Address) -> Vec<u8> {
        [&destination.0[..], &source.0, &[8, 0], &[0; 46]].concat()
    }

    /// Three ports, the first two settled as A and B.
    fn table() -> Table {
        let mut table = Table::new(3);
        assert!(table.from_port(0, &frame(BROADCAST, A)).is_ok());
        assert!(table.from_port(1, &frame(BROADCAST, B)).is_ok());
        table
    }

    fn to_ports(ports: u32) -> Result<Destinations, Loss> {
        Ok(Destinations { ports, wire: false })
    }

    #[test]
    fn a_frame_for_a_port_goes_to_that_port_only() {
        let mut table = table();
        assert_eq!(table.from_port(0, &frame(B, A)), to_ports(0b010));
        assert_eq!(table.from_wire(&frame(A, GATEWAY)), to_ports(0b001));
    }

    #[test]
    fn a_frame_for_somebody_outside_goes_to_the_wire_and_to_no_port_with_an_address() {
        let mut table = table();
        assert_eq!(table.from_port(0, &frame(GATEWAY, A)), Ok(Destinations { ports: 0b100, wire: true }));
        assert!(table.from_port(2, &frame(BROADCAST, C)).is_ok());
        assert_eq!(table.from_port(0, &frame(GATEWAY, A)), Ok(Destinations { ports: 0, wire: true }));
        assert_eq!(table.from_wire(&frame(GATEWAY, Address([6; 6]))), to_ports(0));
    }

    #[test]
    fn a_frame_for_all_goes_to_all_but_its_sender() {
        let mut table = table();
        let multicast = Address([0x33, 0x33, 0, 0, 0, 1]);
        for group in [BROADCAST, multicast] {
            assert_eq!(table.from_port(1, &frame(group, B)), Ok(Destinations { ports: 0b101, wire: true }));
            assert_eq!(table.from_wire(&frame(group, GATEWAY)), to_ports(0b111));
        }
    }

    #[test]
    fn the_first_source_address_of_an_epoch_is_the_only_one() {
        let mut table = table();
        assert_eq!(table.from_port(0, &frame(GATEWAY, C)), Err(Loss::ForeignSource));
        table.restarted(0);
        assert!(table.from_port(0, &frame(GATEWAY, C)).is_ok());
        assert_eq!(table.from_port(0, &frame(GATEWAY, A)), Err(Loss::ForeignSource));
        assert_eq!(table.address(0), Some(C));
    }

    #[test]
    fn nobody_takes_the_address_of_another_port() {
        let mut table = table();
        assert_eq!(table.from_port(2, &frame(GATEWAY, B)), Err(Loss::TakenSource));
        table.restarted(1);
        assert_eq!(table.from_port(2, &frame(GATEWAY, B)), Err(Loss::TakenSource), "B may come back");
        assert_eq!(table.from_wire(&frame(B, GATEWAY)), to_ports(0b010), "and is still reached");
        assert!(table.from_port(2, &frame(GATEWAY, C)).is_ok());
    }

    #[test]
    fn nobody_takes_the_address_of_a_station_outside() {
        let mut table = table();
        assert_eq!(table.from_wire(&frame(A, GATEWAY)), to_ports(0b001));
        assert_eq!(table.from_port(2, &frame(BROADCAST, GATEWAY)), Err(Loss::TakenSource));
        table.restarted(0);
        assert_eq!(table.from_wire(&frame(BROADCAST, A)), Err(Loss::OwnSource));
        assert!(table.from_port(0, &frame(BROADCAST, A)).is_ok(), "nor does one outside take that of a port");
    }

    #[test]
    fn an_assigned_address_is_reserved_for_its_port() {
        let mut table = Table::new(2);
        assert!(table.assign(0, A));
        assert!(!table.assign(1, A) && !table.assign(1, BROADCAST) && !table.assign(2, B));
        assert_eq!(table.from_port(1, &frame(GATEWAY, A)), Err(Loss::TakenSource));
        assert!(table.from_port(0, &frame(GATEWAY, C)).is_ok(), "it may choose another");
        assert!(table.from_port(1, &frame(GATEWAY, A)).is_ok(), "which frees the assigned one");
    }

    #[test]
    fn a_source_address_that_no_station_can_have_is_refused_and_binds_nothing() {
        let mut table = Table::new(1);
        for source in [BROADCAST, Address([0; 6]), Address([1, 0, 0, 0, 0, 1])] {
            assert_eq!(table.from_port(0, &frame(GATEWAY, source)), Err(Loss::NoSource));
            assert_eq!(table.from_wire(&frame(BROADCAST, source)), Err(Loss::NoSource));
        }
        assert_eq!(table.address(0), None);
    }

    #[test]
    fn what_a_port_sent_does_not_come_back() {
        let mut table = table();
        assert_eq!(table.from_port(0, &frame(A, A)), Err(Loss::ToItself));
        assert_eq!(table.from_wire(&frame(BROADCAST, A)), Err(Loss::OwnSource));
    }

    #[test]
    fn frames_between_neighbours_of_a_link_stay_on_it() {
        let mut table = table();
        let pause = Address([0x01, 0x80, 0xc2, 0, 0, 1]);
        assert_eq!(table.from_port(0, &frame(pause, A)), Err(Loss::LinkLocal));
        assert_eq!(table.from_wire(&frame(pause, GATEWAY)), Err(Loss::LinkLocal));
    }

    #[test]
    fn frames_of_impossible_length_are_refused() {
        let mut table = table();
        let mut long = frame(B, A);
        long.resize(MAX_FRAME + 1, 0);
        for bytes in [&[][..], &frame(B, A)[..HEADER - 1], &long] {
            assert_eq!(table.from_port(0, bytes), Err(Loss::Length));
            assert_eq!(table.from_wire(bytes), Err(Loss::Length));
        }
        assert!(table.from_port(0, &frame(B, A)[..HEADER]).is_ok());
        assert!(table.from_port(0, &long[..MAX_FRAME]).is_ok());
    }

    #[test]
    fn the_last_port_counts_too() {
        let mut table = Table::new(MAX_PORTS);
        assert!(table.from_port(MAX_PORTS - 1, &frame(BROADCAST, A)).is_ok());
        assert_eq!(table.from_wire(&frame(A, GATEWAY)), to_ports(1 << 31));
        assert_eq!(table.from_port(MAX_PORTS, &frame(GATEWAY, B)), Err(Loss::ForeignSource));
    }
}
