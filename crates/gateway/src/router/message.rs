//! Messages of the domain name system (RFC 1035, 4), as far as a forwarder has to understand them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::wire::{DnsFlags, DnsOpcode, DnsPacket, DnsQueryType, DnsQuestion, DnsRecord, DnsRecordData};

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// What the one who asks calls it.
    pub id: u16,
    /// The name in lower case, without a dot at the end.
    pub name: String,
    /// What is asked about it.
    pub about: About,
    /// The question as it stands in the message.
    question: Vec<u8>,
    wants_recursion: bool,
}

/// What a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Its IPv4 addresses.
    Ipv4,
    /// Its IPv6 addresses.
    Ipv6,
    /// Something else.
    Other,
}

/// An address in an answer, and for how many seconds it is right.
pub type Told = (IpAddr, u32);

/// Why there is no answer (RFC 1035, 4.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Whoever could answer does not.
    Server = 2,
    /// The question is not answered here.
    Refused = 5,
}

impl Query {
    /// The question in a message; `None` if it is not exactly one, asked in the usual way.
    #[must_use]
    pub fn read(message: &[u8]) -> Option<Self> {
        let packet = DnsPacket::new_checked(message).ok()?;
        let flags = packet.flags();
        let usual = packet.opcode() == DnsOpcode::Query && !flags.contains(DnsFlags::RESPONSE);
        if !usual || packet.question_count() != 1 {
            return None;
        }
        let (rest, question) = DnsQuestion::parse(packet.payload()).ok()?;
        let raw = packet.payload().get(..packet.payload().len().checked_sub(rest.len())?)?;
        let about = match question.type_ {
            DnsQueryType::A => About::Ipv4,
            DnsQueryType::Aaaa => About::Ipv6,
            _ => About::Other,
        };
        Some(Self {
            id: packet.transaction_id(),
            name: name(&packet, question.name)?,
            about,
            question: raw.to_vec(),
            wants_recursion: flags.contains(DnsFlags::RECURSION_DESIRED),
        })
    }

    /// The answer that there is none.
    #[must_use]
    pub fn failed(&self, failure: Failure) -> Vec<u8> {
        self.answer(failure as u16, 0)
    }

    /// The answer that consists of this address; without one, that the name has none.
    #[must_use]
    pub fn answered(&self, address: Option<IpAddr>) -> Vec<u8> {
        let mut message = self.answer(0, u16::from(address.is_some()));
        let (kind, octets): (u16, &[u8]) = match &address {
            None => return message,
            Some(IpAddr::V4(address)) => (1, &address.octets()),
            Some(IpAddr::V6(address)) => (28, &address.octets()),
        };
        // The name is that of the question, right behind the header (RFC 1035, 4.1.4).
        message.extend([0xc0, 12]);
        message.extend(kind.to_be_bytes());
        message.extend(CLASS_INTERNET.to_be_bytes());
        message.extend(OWN_LIFE.to_be_bytes());
        message.extend((octets.len() as u16).to_be_bytes());
        message.extend(octets);
        message
    }

    /// The addresses in a message, if it is an answer to this question, asked as number `id`.
    #[must_use]
    pub fn told(&self, id: u16, message: &[u8]) -> Option<Vec<Told>> {
        let packet = DnsPacket::new_checked(message).ok()?;
        if packet.transaction_id() != id || !packet.flags().contains(DnsFlags::RESPONSE) {
            return None;
        }
        let (mut rest, question) = DnsQuestion::parse(packet.payload()).ok()?;
        if packet.question_count() != 1 || name(&packet, question.name)? != self.name {
            return None;
        }
        let mut told = Vec::new();
        for _ in 0..packet.answer_record_count() {
            // What follows a record that is not understood is not looked at.
            let Ok((behind, record)) = DnsRecord::parse(rest) else { break };
            rest = behind;
            match record.data {
                DnsRecordData::A(address) => told.push((Ipv4Addr::into(address), record.ttl)),
                DnsRecordData::Aaaa(address) => told.push((Ipv6Addr::into(address), record.ttl)),
                _ => {}
            }
        }
        Some(told)
    }

    /// Header and question of an answer.
    fn answer(&self, code: u16, answers: u16) -> Vec<u8> {
        let recursion = if self.wants_recursion { DnsFlags::RECURSION_DESIRED } else { DnsFlags::empty() };
        let flags = DnsFlags::RESPONSE | DnsFlags::RECURSION_AVAILABLE | recursion;
        let header = [self.id, flags.bits() | code, 1, answers, 0, 0];
        header.into_iter().flat_map(u16::to_be_bytes).chain(self.question.iter().copied()).collect()
    }
}

/// A name as text, in lower case; `None` if it is none of a host.
fn name(packet: &DnsPacket<&[u8]>, bytes: &[u8]) -> Option<String> {
    let mut text = String::new();
    for label in packet.parse_name(bytes) {
        let label = label.ok()?;
        let is_plain = label.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'.');
        if !is_plain || text.len() + label.len() > LONGEST_NAME {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
    }
    (!text.is_empty()).then_some(text)
}

/// RFC 1035, 3.2.4.
const CLASS_INTERNET: u16 = 1;
/// For how many seconds our own answers are right.
const OWN_LIFE: u32 = 60;
/// RFC 1035, 2.3.4.
const LONGEST_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_and_answered() {
        let message = question(7, "Git.Example.org", 1);
        let query = Query::read(&message).unwrap();
        assert_eq!((query.id, query.name.as_str(), query.about), (7, "git.example.org", About::Ipv4));
        let address: IpAddr = Ipv4Addr::new(192, 0, 2, 1).into();
        let answer = query.answered(Some(address));
        assert_eq!(query.told(7, &answer), Some(vec![(address, OWN_LIFE)]));
        assert_eq!(query.told(8, &answer), None, "another question");
        assert_eq!(Query::read(&question(7, "other.example.org", 1)).unwrap().told(7, &answer), None);
        assert_eq!(query.told(7, &query.failed(Failure::Refused)), Some(vec![]));
        assert_eq!(query.failed(Failure::Refused)[3] & 15, 5);
        let ipv6: IpAddr = "2001:db8::1".parse().unwrap();
        let query = Query::read(&question(9, "a.example", 28)).unwrap();
        assert_eq!(query.about, About::Ipv6);
        assert_eq!(query.told(9, &query.answered(Some(ipv6))), Some(vec![(ipv6, OWN_LIFE)]));
    }

    #[test]
    fn what_is_no_single_question_is_refused() {
        let good = question(7, "a.example", 1);
        assert!(Query::read(&good).is_some());
        for (at, value) in [(2, 0x80), (2, 0x28), (5, 0), (5, 2)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(Query::read(&bad), None, "{at}");
        }
        for length in 0..good.len() {
            assert_eq!(Query::read(&good[..length]), None);
        }
    }

    /// A message that asks.
    pub(crate) fn question(id: u16, name: &str, kind: u16) -> Vec<u8> {
        let header = [id, 0x0100, 1, 0, 0, 0];
        let mut message: Vec<u8> = header.into_iter().flat_map(u16::to_be_bytes).collect();
        for label in name.split('.') {
            message.push(label.len() as u8);
            message.extend(label.bytes());
        }
        message.push(0);
        message.extend([kind, CLASS_INTERNET].into_iter().flat_map(u16::to_be_bytes));
        message
    }
}
