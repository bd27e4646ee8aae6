//! The switch's table, against a simpler model of what it promises.

use palisade_services::switch::{Address, Table};

/// No frame reaches a port that has another address, or leaves with an address that is not its sender's.
///
/// The bytes are frames, three each: where from, to whom, from whom.
pub fn switch(bytes: &[u8]) {
    let mut table = Table::new(PORTS);
    let mut own: [Option<Address>; PORTS] = [None; PORTS];
    for [place, destination, source] in bytes.as_chunks::<3>().0 {
        let (destination, source) = (address(*destination), address(*source));
        let frame = [&destination.0[..], &source.0, &[8, 0]].concat();
        let port = usize::from(*place) % (PORTS + 2);
        let judged = match own.get_mut(port) {
            None if port == PORTS => table.from_wire(&frame),
            None => {
                let restarted = usize::from(*place >> 4) % PORTS;
                table.restarted(restarted);
                own[restarted] = None;
                continue;
            }
            Some(own) => {
                let judged = table.from_port(port, &frame);
                if judged.is_ok() {
                    assert_eq!(*own.get_or_insert(source), source, "one address in an epoch");
                }
                judged
            }
        };
        let Ok(destinations) = judged else { continue };
        assert!(source.is_station() && !destination.is_link_local());
        assert!(!destinations.has_port(port), "nothing comes back");
        assert!(port < PORTS || !destinations.wire, "nothing goes back to the wire");
        for (number, address) in own.iter().enumerate() {
            let others = address.is_some_and(|address| address != destination) && !destination.is_group();
            assert!(!others || !destinations.has_port(number), "a frame for somebody else");
            assert!(number == port || *address != Some(source), "two with one address");
        }
    }
}

/// Few addresses, so that they meet: stations, groups, none, and one that stays on its link.
fn address(byte: u8) -> Address {
    match byte % 16 {
        0 => Address([0; 6]),
        1 => Address([0xff; 6]),
        2 => Address([1, 0x80, 0xc2, 0, 0, 1]),
        3 => Address([0x33, 0x33, 0, 0, 0, 1]),
        station => Address([2, 0, 0, 0, 0, station]),
    }
}

const PORTS: usize = 4;
