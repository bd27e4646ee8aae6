//! The choice of a variant (RFC 9110, section 12.5.3).

use palisade_site::Encoding;

use crate::request::members;

/// What a client says about encodings: a weight for each, in thousandths; zero means "not this one".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptEncoding {
    identity: Option<u16>,
    gzip: Option<u16>,
    brotli: Option<u16>,
    any: Option<u16>,
}

impl AcceptEncoding {
    /// Reads the values of all fields `Accept-Encoding`. Members that are not understood are passed over.
    ///
    /// Without such a field every encoding is acceptable, but the content as it is is expected.
    pub fn parse<'a>(values: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut accept = Self { identity: None, gzip: None, brotli: None, any: None };
        for (coding, weight) in values.flat_map(members).filter_map(weighted) {
            let known = [
                (&b"identity"[..], &mut accept.identity),
                (b"gzip", &mut accept.gzip),
                (b"br", &mut accept.brotli),
                (b"*", &mut accept.any),
            ];
            // RFC 9110, section 8.4.1.3: the old name is the same encoding.
            let coding = if coding.eq_ignore_ascii_case(b"x-gzip") { b"gzip" } else { coding };
            if let Some((_, place)) = known.into_iter().find(|(name, _)| coding.eq_ignore_ascii_case(name)) {
                *place = Some(weight);
            }
        }
        accept
    }

    /// The best of the encodings that are there: the one with the highest weight, and among equals the smallest, as
    /// Brotli, gzip, identity. None if the client refuses all of them.
    pub fn choose(&self, is_there: impl Fn(Encoding) -> bool) -> Option<Encoding> {
        let order = [Encoding::Identity, Encoding::Gzip, Encoding::Brotli];
        let offered = order.into_iter().filter(|encoding| is_there(*encoding));
        let acceptable = offered.filter_map(|encoding| Some((self.weight(encoding)?, encoding)));
        // Of several that are equal, the last is taken.
        acceptable.max_by_key(|(weight, _)| *weight).map(|(_, encoding)| encoding)
    }

    /// The weight plus one; what is acceptable only because nothing forbids it has zero.
    fn weight(&self, encoding: Encoding) -> Option<u16> {
        let named = match encoding {
            Encoding::Identity => self.identity,
            Encoding::Gzip => self.gzip,
            Encoding::Brotli => self.brotli,
        };
        match named.or(self.any) {
            Some(0) => None,
            Some(weight) => Some(weight + 1),
            None => (encoding == Encoding::Identity).then_some(0),
        }
    }
}

/// A coding and its weight. None if the member is not formed as it should.
fn weighted(member: &[u8]) -> Option<(&[u8], u16)> {
    let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let coding = parts.next()?;
    let weight = match parts.next() {
        None => 1000,
        Some([b'q' | b'Q', b'=', weight @ ..]) => thousandths(weight)?,
        Some(_) => return None,
    };
    parts.next().is_none().then_some((coding, weight))
}

/// A weight: `0` to `1` with at most three digits after the point.
fn thousandths(text: &[u8]) -> Option<u16> {
    let (whole, digits) = match text {
        [whole] => (whole, &[][..]),
        [whole, b'.', digits @ ..] if digits.len() <= 3 => (whole, digits),
        _ => return None,
    };
    let mut fraction = 0;
    for place in 0..3 {
        let digit = digits.get(place).unwrap_or(&b'0');
        fraction = fraction * 10 + u16::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    match (whole, fraction) {
        (b'0', fraction) => Some(fraction),
        (b'1', 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Encoding::{Brotli, Gzip, Identity};

    fn choice(values: &[&str], there: &[Encoding]) -> Option<Encoding> {
        let accept = AcceptEncoding::parse(values.iter().map(|value| value.as_bytes()));
        accept.choose(|encoding| there.contains(&encoding))
    }

    #[test]
    fn the_variant_is_the_one_the_client_likes_best() {
        for (value, expected) in [
            ("gzip, deflate, br, zstd", Some(Brotli)),
            ("gzip", Some(Gzip)),
            ("GZIP", Some(Gzip)),
            ("x-gzip", Some(Gzip)),
            ("gzip;q=0.5, br;q=0.4", Some(Gzip)),
            ("gzip; q=0.5 , br ;q=0.501", Some(Brotli)),
            ("gzip;q=0.5, identity", Some(Identity)),
            ("gzip;q=0.5, identity;q=0.5", Some(Gzip)),
            ("*", Some(Brotli)),
            ("*;q=0.1", Some(Brotli)),
            ("br;q=0, *", Some(Gzip)),
            ("gzip;q=0, br;q=0", Some(Identity)),
            ("deflate", Some(Identity)),
            ("", Some(Identity)),
            ("identity;q=0", None),
            ("*;q=0", None),
            ("identity;q=0, gzip;q=0.001", Some(Gzip)),
            ("*;q=0, identity;q=0.001", Some(Identity)),
            ("gzip;q=1.5, br;q=x", Some(Identity)),
            ("gzip;q=1.000, br;q=0.9999", Some(Gzip)),
            ("gzip;level=9", Some(Identity)),
            (",,gzip,,", Some(Gzip)),
        ] {
            assert_eq!(choice(&[value], &Encoding::ALL), expected, "{value}");
        }
        assert_eq!(choice(&[], &Encoding::ALL), Some(Identity));
        assert_eq!(choice(&["gzip", "br"], &Encoding::ALL), Some(Brotli));
    }

    #[test]
    fn only_what_is_there_is_chosen() {
        assert_eq!(choice(&["br, gzip;q=0.1"], &[Identity, Gzip]), Some(Gzip));
        assert_eq!(choice(&["br, gzip"], &[Identity]), Some(Identity));
        assert_eq!(choice(&["br, identity;q=0"], &[Identity]), None);
    }
}
