//! Ranges of bytes (RFC 9110, section 14).

use core::ops::Range;

use crate::MAX_RANGES;

/// What a field `Range` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack for a moment, and nothing here allocates"
)]
pub enum Ranges {
    /// Everything: the field says nothing that has to be followed.
    All,
    /// Some parts.
    Some(Parts),
    /// Nothing that could be given: all ranges lie behind the end, they overlap, or they are too many.
    Refused,
}

/// At least one and at most [`MAX_RANGES`] ranges that do not overlap, in the order of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    parts: [(usize, usize); MAX_RANGES],
    count: usize,
}

impl Parts {
    /// The ranges.
    pub fn iter(&self) -> impl Iterator<Item = Range<usize>> + Clone {
        self.parts.iter().take(self.count).map(|(start, end)| *start..*end)
    }

    /// Number of ranges.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Takes a range, if there is room and it overlaps with none.
    fn push(&mut self, range: Range<usize>) -> Option<()> {
        if self.iter().any(|other| range.start < other.end && other.start < range.end) {
            return None;
        }
        *self.parts.get_mut(self.count)? = (range.start, range.end);
        self.count += 1;
        Some(())
    }
}

/// Reads the value of a field `Range` for a content of so many bytes.
///
/// A unit other than bytes, or a value with an error in it, means everything. Ranges that begin behind the end are left out.
/// An answer is never much longer than the content, because overlaps are refused.
#[must_use]
pub fn parse(value: &str, length: usize) -> Ranges {
    let Some((unit, list)) = value.split_once('=') else { return Ranges::All };
    // No range of nothing can be named in an answer.
    if !unit.eq_ignore_ascii_case("bytes") || length == 0 {
        return Ranges::All;
    }
    let mut parts = Parts { parts: [(0, 0); MAX_RANGES], count: 0 };
    let (mut seen, mut refused) = (0_usize, false);
    for spec in list.split(',').map(|spec| spec.trim_matches([' ', '\t'])).filter(|spec| !spec.is_empty()) {
        let Some(range) = resolve(spec, length) else { return Ranges::All };
        seen += 1;
        refused |= seen > MAX_RANGES || !range.is_empty() && parts.push(range).is_none();
    }
    match (seen, refused || parts.count == 0) {
        (0, _) => Ranges::All,
        (_, true) => Ranges::Refused,
        (_, false) => Ranges::Some(parts),
    }
}

/// The range that a specification means, empty if it is behind the end. None if there is an error in it.
fn resolve(spec: &str, length: usize) -> Option<Range<usize>> {
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let suffix = number(last)?;
        return Some(length.saturating_sub(suffix)..length);
    }
    let first = number(first)?;
    let end =
        if last.is_empty() { length } else { number(last).filter(|last| *last >= first)?.saturating_add(1) };
    Some(first.min(length)..end.min(length))
}

/// A number; one that is too large for the machine is larger than every content.
fn number(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(value: &str, length: usize) -> Vec<(usize, usize)> {
        match parse(value, length) {
            Ranges::Some(parts) => parts.iter().map(|range| (range.start, range.end)).collect(),
            other => panic!("{value} is {other:?}"),
        }
    }

    #[test]
    fn ranges_are_what_they_say() {
        assert_eq!(parts("bytes=0-0", 10), [(0, 1)]);
        assert_eq!(parts("bytes=0-499", 10_000), [(0, 500)]);
        assert_eq!(parts("Bytes=9500-", 10_000), [(9500, 10_000)]);
        assert_eq!(parts("bytes=-500", 10_000), [(9500, 10_000)]);
        assert_eq!(parts("bytes=-500", 100), [(0, 100)]);
        assert_eq!(parts("bytes=5-99999999999999999999999", 10), [(5, 10)]);
        assert_eq!(parts("bytes= 0-0 , -1 ,", 10), [(0, 1), (9, 10)]);
        assert_eq!(parts("bytes=8-9,0-1", 10), [(8, 10), (0, 2)]);
        assert_eq!(parts("bytes=0-1,100-200", 10), [(0, 2)]);
    }

    #[test]
    fn what_cannot_be_understood_is_everything() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "lines=0-1",
            "bytes=a-b",
            "bytes=1-0",
            "bytes=-",
            "bytes=+1-2",
            "bytes=0-1-2",
            "bytes=0-1,x",
            "bytes=0x1-2",
            "bytes 0-1",
        ] {
            assert_eq!(parse(value, 10), Ranges::All, "{value}");
        }
        assert_eq!(parse("bytes=0-0", 0), Ranges::All);
    }

    #[test]
    fn what_cannot_be_given_is_refused() {
        for value in
            ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999999-", "bytes=20-30,40-50"]
        {
            assert_eq!(parse(value, 10), Ranges::Refused, "{value}");
        }
    }

    #[test]
    fn overlaps_and_crowds_are_refused() {
        for value in ["bytes=0-1,1-2", "bytes=0-,0-", "bytes=5-6,0-9", "bytes=-2,-1"] {
            assert_eq!(parse(value, 10), Ranges::Refused, "{value}");
        }
        let many = |count: usize| {
            let list: Vec<String> = (0..count).map(|n| format!("{}-{}", 2 * n, 2 * n)).collect();
            parse(&format!("bytes={}", list.join(",")), 1000)
        };
        assert!(matches!(many(MAX_RANGES), Ranges::Some(_)));
        assert_eq!(many(MAX_RANGES + 1), Ranges::Refused);
    }

    proptest! {
        #[test]
        fn no_answer_is_longer_than_the_content(value in "bytes=([0-9]{0,3}-[0-9]{0,3},?){0,20}", length in 0_usize..1000) {
            if let Ranges::Some(parts) = parse(&value, length) {
                prop_assert!(parts.iter().all(|range| !range.is_empty() && range.end <= length));
                prop_assert!(parts.iter().map(|range| range.len()).sum::<usize>() <= length);
                prop_assert!((1..=MAX_RANGES).contains(&parts.count()));
            }
        }

        #[test]
        fn no_value_is_too_strange(value in any::<String>(), length in any::<usize>()) {
            let _ = parse(&value, length);
            let _ = parse(&format!("bytes={value}"), length);
        }
    }
}
