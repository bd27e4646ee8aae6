//! The variants of a content, and their entity tags.

use core::fmt;

/// How a variant of a content is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// gzip (RFC 1952).
    Gzip,
    /// Brotli (RFC 7932).
    Brotli,
}

impl Encoding {
    /// All of them, in the order of [`Record::variants`](crate::layout::Record::variants).
    pub const ALL: [Self; 3] = [Self::Identity, Self::Gzip, Self::Brotli];

    /// The name that HTTP gives it.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Brotli => "br",
        }
    }
}

/// A strong entity tag: the first half of the SHA-256 of the content in hexadecimal, and the name of the encoding.
///
/// Variants differ in their bytes, so a strong tag must differ too (RFC 9110, section 8.8.3.3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ETag {
    bytes: [u8; LONGEST],
    length: usize,
}

impl ETag {
    /// The tag of the variant of a content with this SHA-256.
    pub(crate) fn new(digest: &[u8; 32], encoding: Encoding) -> Self {
        let hex = digest.iter().take(16).flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]);
        let suffix: &[u8] = match encoding {
            Encoding::Identity => b"",
            Encoding::Gzip => b"-gzip",
            Encoding::Brotli => b"-br",
        };
        let text = [b'"'].into_iter().chain(hex).chain(suffix.iter().copied()).chain([b'"']);
        let (mut bytes, mut length) = ([0; LONGEST], 0);
        for (to, from) in bytes.iter_mut().zip(text) {
            *to = from;
            length += 1;
        }
        Self { bytes, length }
    }

    /// The tag as it stands in a header field, with its quotation marks.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.bytes.get(..self.length).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}

/// Quotation marks, 16 bytes in hexadecimal, the longest suffix.
const LONGEST: usize = 2 + 32 + "-gzip".len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_have_different_tags_and_so_do_contents() {
        let mut digest = [0xa5; 32];
        digest[0] = 0x0f;
        let tags = Encoding::ALL.map(|encoding| ETag::new(&digest, encoding));
        assert_eq!(tags[0].as_str(), "\"0fa5a5a5a5a5a5a5a5a5a5a5a5a5a5a5\"");
        assert_eq!(tags[1].as_str(), "\"0fa5a5a5a5a5a5a5a5a5a5a5a5a5a5a5-gzip\"");
        assert_eq!(tags[2].as_str(), "\"0fa5a5a5a5a5a5a5a5a5a5a5a5a5a5a5-br\"");
        assert_ne!(ETag::new(&[1; 32], Encoding::Identity), ETag::new(&[2; 32], Encoding::Identity));
    }
}
