//! A name server of one small zone: tells the addresses of its hosts, and that there are no others (RFC 1035, 4.1).

#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use unikernel::{Error, System};

unikernel::unikernel!(main);

async fn main(system: System) -> Result<(), Error> {
    let mut socket = system.network().bind_udp(PORT)?;
    let mut buffer = [0; LONGEST];
    loop {
        if let Ok((length, sender)) = socket.receive(&mut buffer).await
            && let Some(answer) = buffer.get(..length).and_then(answer)
        {
            // Who does not hear it asks again.
            let _ = socket.send(&answer, sender).await;
        }
    }
}

/// What the zone says of a name.
enum Record {
    Ipv4(Ipv4Addr),
    Ipv6(Ipv6Addr),
    /// It is another name of this one.
    Alias(&'static str),
}

/// The answer to a message with one question; `None` if it is none.
fn answer(message: &[u8]) -> Option<Vec<u8>> {
    let (header, rest) = message.split_first_chunk::<HEADER>()?;
    let end = rest.iter().position(|byte| *byte == 0)? + 1;
    let (name, kind) = (rest.get(..end)?, rest.get(end..end + 2)?);
    let question = rest.get(..end + 4)?;
    let is_known = ZONE.iter().any(|(host, _)| wire_name(host) == name);
    let mut records = Vec::new();
    add_records(&mut records, name, u16::from_be_bytes(kind.try_into().ok()?));
    let flags = RESPONSE | if is_known { 0 } else { NO_SUCH_NAME };
    let counts = [1, records.len() as u16, 0, 0].map(u16::to_be_bytes);
    let head = [header.get(..2)?, &flags.to_be_bytes(), counts.as_flattened(), question].concat();
    Some([head, records.concat()].concat())
}

/// Adds what there is of this kind about a name, and about the one that it is an alias of.
fn add_records(records: &mut Vec<Vec<u8>>, name: &[u8], kind: u16) {
    for (_, record) in ZONE.iter().filter(|(host, _)| wire_name(host) == name) {
        let (own_kind, data) = match record {
            Record::Ipv4(address) => (1, address.octets().to_vec()),
            Record::Ipv6(address) => (28, address.octets().to_vec()),
            Record::Alias(of) => (5, wire_name(of)),
        };
        let is_alias = matches!(record, Record::Alias(_));
        if own_kind == kind || is_alias {
            let length = (data.len() as u16).to_be_bytes();
            let fixed = [own_kind, INTERNET, 0, SECONDS].map(u16::to_be_bytes);
            records.push([name, fixed.as_flattened(), &length, &data].concat());
        }
        if is_alias {
            add_records(records, &data, kind);
        }
    }
}

/// A name as labels, each behind its length.
fn wire_name(name: &str) -> Vec<u8> {
    let mut labels: Vec<u8> =
        name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
    labels.push(0);
    labels
}

static ZONE: [(&str, Record); 3] = [
    ("server.test", Record::Ipv4(Ipv4Addr::new(192, 168, 254, 10))),
    ("six.test", Record::Ipv6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x10))),
    ("alias.test", Record::Alias("server.test")),
];

const PORT: u16 = 53;
/// Bytes of the longest message over UDP.
const LONGEST: usize = 512;
const HEADER: usize = 12;
/// An answer, by somebody who knows.
const RESPONSE: u16 = 0x8400;
const NO_SUCH_NAME: u16 = 3;
const INTERNET: u16 = 1;
/// How long an answer may be kept.
const SECONDS: u16 = 60;
