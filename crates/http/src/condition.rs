//! Conditional requests (RFC 9110, section 13).

use crate::date;
use crate::request::Request;

/// What identifies a content, for comparison with what a client has.
#[derive(Debug, Clone, Copy)]
pub struct Validators<'a> {
    /// The strong entity tag, with its quotation marks.
    pub etag: &'a str,
    /// When it was last changed, in seconds since 1970-01-01 00:00 UTC.
    pub modified: u64,
}

/// What the conditions of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Do what is asked.
    Proceed,
    /// The client has the content already.
    NotModified,
    /// The client wants it only if it were another one.
    Failed,
}

/// Evaluates the conditions, in the order of RFC 9110, section 13.2.2.
#[must_use]
pub fn evaluate(request: &Request<'_>, content: &Validators<'_>, now: u64) -> Outcome {
    let date = |name| request.field(name).and_then(|value| date::parse(value, now));
    if has(request, "if-match") {
        if !lists(request, "if-match", |tag| tag.matches_strongly(content.etag)) {
            return Outcome::Failed;
        }
    } else if date("if-unmodified-since").is_some_and(|since| content.modified > since) {
        return Outcome::Failed;
    }
    if has(request, "if-none-match") {
        if lists(request, "if-none-match", |tag| tag.opaque == content.etag.as_bytes()) {
            return Outcome::NotModified;
        }
    } else if date("if-modified-since").is_some_and(|since| content.modified <= since) {
        return Outcome::NotModified;
    }
    Outcome::Proceed
}

/// Whether a range of the content completes what the client has (`If-Range`).
#[must_use]
pub fn range_applies(request: &Request<'_>, content: &Validators<'_>, now: u64) -> bool {
    if !has(request, "if-range") {
        return true;
    }
    let Some(value) = request.field("if-range") else { return false };
    if let (Some(tag), b"") = Tag::read(value.as_bytes()).unwrap_or((None, b"")) {
        return tag.matches_strongly(content.etag);
    }
    // A date is a strong validator only if the content cannot have changed again within its second: 8.8.2.2.
    date::parse(value, now) == Some(content.modified) && content.modified.saturating_add(1) < now
}

/// An entity tag in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tag<'a> {
    weak: bool,
    /// With its quotation marks.
    opaque: &'a [u8],
}

impl<'a> Tag<'a> {
    fn matches_strongly(&self, etag: &str) -> bool {
        !self.weak && self.opaque == etag.as_bytes()
    }

    /// Reads a tag from the front of a list: the tag, unless it is an asterisk, and what follows.
    fn read(text: &'a [u8]) -> Option<(Option<Self>, &'a [u8])> {
        if let Some(rest) = text.strip_prefix(b"*") {
            return Some((None, rest));
        }
        let (weak, text) = text.strip_prefix(b"W/").map_or((false, text), |text| (true, text));
        let inside = text.strip_prefix(b"\"")?;
        let end = inside.iter().position(|byte| *byte == b'"')?;
        let (opaque, rest) = text.split_at_checked(end + 2)?;
        let valid = inside.get(..end)?.iter().all(|byte| matches!(byte, 0x21..=0x7e | 0x80..));
        valid.then_some((Some(Self { weak, opaque }), rest))
    }
}

fn has(request: &Request<'_>, name: &'static str) -> bool {
    request.fields(name).next().is_some()
}

/// Whether the lists in all fields of this name have a tag like that. An asterisk is every tag. What follows an error in a
/// list is not looked at.
fn lists(request: &Request<'_>, name: &'static str, wanted: impl Fn(&Tag<'_>) -> bool) -> bool {
    request.fields(name).any(|mut rest| {
        loop {
            rest = skip(rest);
            let Some((tag, after)) = Tag::read(rest) else { return false };
            if tag.is_none_or(|tag| wanted(&tag)) {
                return true;
            }
            rest = after;
        }
    })
}

/// The rest of a list without separators before its next member.
fn skip(list: &[u8]) -> &[u8] {
    let start = list.iter().position(|byte| !matches!(byte, b',' | b' ' | b'\t'));
    start.and_then(|start| list.get(start..)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Failed, NotModified, Proceed};

    const NOW: u64 = 800_000_000;
    const CONTENT: Validators<'_> = Validators { etag: "\"abc\"", modified: 784_111_777 };

    fn with<R>(fields: &str, check: impl Fn(&Request<'_>) -> R) -> R {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        check(&Request::parse(head.as_bytes()).unwrap())
    }

    #[test]
    fn conditions_come_to_what_the_rfc_says() {
        for (fields, expected) in [
            ("", Proceed),
            ("If-None-Match: \"abc\"\r\n", NotModified),
            ("If-None-Match: W/\"abc\"\r\n", NotModified),
            ("If-None-Match: \"x\", W/\"y\" ,\"abc\"\r\n", NotModified),
            ("If-None-Match: \"x,\\\", \"abc\"\r\n", NotModified),
            ("If-None-Match: \"x\"\r\nIf-None-Match: \"abc\"\r\n", NotModified),
            ("If-None-Match: *\r\n", NotModified),
            ("If-None-Match: \"abd\"\r\n", Proceed),
            ("If-None-Match: abc\r\n", Proceed),
            ("If-None-Match: \"abc\r\n", Proceed),
            ("If-None-Match:\r\n", Proceed),
            ("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", NotModified),
            ("If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT\r\n", NotModified),
            ("If-Modified-Since: Sun Nov  6 08:49:38 1994\r\n", NotModified),
            ("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n", Proceed),
            ("If-Modified-Since: yesterday\r\n", Proceed),
            ("If-None-Match: \"x\"\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", Proceed),
            ("If-Match: \"abc\"\r\n", Proceed),
            ("If-Match: *\r\n", Proceed),
            ("If-Match: W/\"abc\"\r\n", Failed),
            ("If-Match: \"x\"\r\n", Failed),
            ("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", Proceed),
            ("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n", Failed),
            ("If-Match: \"abc\"\r\nIf-None-Match: \"abc\"\r\n", NotModified),
        ] {
            assert_eq!(with(fields, |request| evaluate(request, &CONTENT, NOW)), expected, "{fields}");
        }
    }

    #[test]
    fn a_range_applies_to_the_content_that_the_client_has() {
        for (fields, expected) in [
            ("", true),
            ("If-Range: \"abc\"\r\n", true),
            ("If-Range: W/\"abc\"\r\n", false),
            ("If-Range: \"x\"\r\n", false),
            ("If-Range: \"abc\" \"abc\"\r\n", false),
            ("If-Range: *\r\n", false),
            ("If-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n", true),
            ("If-Range: Sun, 06 Nov 1994 08:49:38 GMT\r\n", false),
            ("If-Range: \"abc\"\r\nIf-Range: \"abc\"\r\n", false),
        ] {
            assert_eq!(with(fields, |request| range_applies(request, &CONTENT, NOW)), expected, "{fields}");
        }
        let fresh = |request: &Request<'_>| range_applies(request, &CONTENT, CONTENT.modified + 1);
        assert!(!with("If-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n", fresh));
    }
}
