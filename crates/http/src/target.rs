//! Paths and hosts.

use core::fmt;
use core::net::Ipv6Addr;

/// A host and perhaps a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority<'a> {
    /// A name or an address; one of IPv6 with its brackets.
    pub host: &'a str,
    /// The port, if one is named.
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads `host`, `host:port`, `[address]` or `[address]:port`.
    ///
    /// Of what RFC 3986 allows in a host only letters, digits, `-`, `.` and `_` are accepted: nothing that has a meaning
    /// elsewhere in an address or a header field.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let end =
            if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
        let (host, rest) = text.split_at_checked(end)?;
        let valid = match host.strip_prefix('[') {
            Some(address) => address.strip_suffix(']')?.parse::<Ipv6Addr>().is_ok(),
            None => (1..=MAX_HOST).contains(&host.len()) && host.bytes().all(is_name),
        };
        let port = match rest.strip_prefix(':') {
            // RFC 3986, section 3.2.3: the port may be empty.
            Some("") => None,
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(port.parse().ok()?),
            Some(_) => return None,
            None if rest.is_empty() => None,
            None => return None,
        };
        valid.then_some(Self { host, port })
    }

    /// Whether the host is this machine or an address: browsers share what they remember of `localhost` between everything
    /// that a developer runs, and nothing is remembered of addresses.
    #[must_use]
    pub fn is_local_or_address(&self) -> bool {
        let local = self.host.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost"));
        // Only addresses end with a number (URL standard, "ends in a number").
        let number =
            self.host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
        local || number || self.host.starts_with('[')
    }
}

/// Why a path names nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathError {
    /// It is not the path of any server: a broken escape, a control character, a backslash, or a way out of the root.
    Bad,
    /// It could be one, but of no file.
    NoFile,
    /// It does not fit into the buffer.
    TooLong,
}

/// Decodes a path and resolves what is relative in it: `.`, `..` and empty segments.
///
/// The result is absolute, is UTF-8, and ends with a slash if it names a directory as such. It is written to `buffer`, which
/// needs as many bytes as the path has.
///
/// # Errors
/// See [`PathError`].
pub fn normalise<'b>(path: &str, buffer: &'b mut [u8]) -> Result<&'b str, PathError> {
    let mut end = 0;
    let segments = path.strip_prefix('/').ok_or(PathError::Bad)?;
    push(buffer, &mut end, b'/')?;
    let mut rest = segments.split('/').peekable();
    while let Some(segment) = rest.next() {
        let start = end;
        decode(segment, buffer, &mut end)?;
        let is_last = rest.peek().is_none();
        match buffer.get(start..end).unwrap_or_default() {
            b"" => {}
            b"." => end = start,
            b".." => end = parent(buffer, start).ok_or(PathError::Bad)?,
            _ if is_last => {}
            _ => push(buffer, &mut end, b'/')?,
        }
    }
    core::str::from_utf8(buffer.get(..end).unwrap_or_default()).map_err(|_| PathError::Bad)
}

/// A path as it stands in an address: what is neither unreserved nor a slash is escaped (RFC 3986, section 2.1).
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            match byte {
                b'/' | b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                    fmt::Write::write_char(f, char::from(byte))?;
                }
                _ => write!(f, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}

fn decode(segment: &str, buffer: &mut [u8], end: &mut usize) -> Result<(), PathError> {
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' {
            let digits = [bytes.next(), bytes.next()].map(|digit| digit.and_then(hex_digit));
            let [Some(high), Some(low)] = digits else { return Err(PathError::Bad) };
            match high << 4 | low {
                // A name with a slash in it: no file has one.
                b'/' => return Err(PathError::NoFile),
                byte => byte,
            }
        } else {
            byte
        };
        if byte.is_ascii_control() || byte == b'\\' {
            return Err(PathError::Bad);
        }
        push(buffer, end, byte)?;
    }
    Ok(())
}

/// Where the directory around one that ends at `end`, with its slash, ends. The root has none.
fn parent(buffer: &[u8], end: usize) -> Option<usize> {
    let above = buffer.get(..end)?.strip_suffix(b"/")?;
    above.iter().rposition(|byte| *byte == b'/').map(|slash| slash + 1)
}

fn push(buffer: &mut [u8], end: &mut usize, byte: u8) -> Result<(), PathError> {
    *buffer.get_mut(*end).ok_or(PathError::TooLong)? = byte;
    *end += 1;
    Ok(())
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// Length in bytes that a name may have (RFC 1035, section 2.3.4).
const MAX_HOST: usize = 255;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_decoded_and_resolved() {
        for (path, expected) in [
            ("/", Ok("/")),
            ("/a", Ok("/a")),
            ("/a/", Ok("/a/")),
            ("/a/b.html", Ok("/a/b.html")),
            ("/a%20b/%C3%BC", Ok("/a b/ü")),
            ("//a///b//", Ok("/a/b/")),
            ("/./a/./b/.", Ok("/a/b/")),
            ("/a/../b", Ok("/b")),
            ("/a/b/..", Ok("/a/")),
            ("/a/..", Ok("/")),
            ("/%2e%2E/a", Err(PathError::Bad)),
            ("/a/%2e%2e/%2e%2e/b", Err(PathError::Bad)),
            ("/..", Err(PathError::Bad)),
            ("/../../etc/passwd", Err(PathError::Bad)),
            ("//..//a", Err(PathError::Bad)),
            ("/...", Ok("/...")),
            ("/a%2fb", Err(PathError::NoFile)),
            ("/..%2f..%2fetc", Err(PathError::NoFile)),
            ("/a%5cb", Err(PathError::Bad)),
            ("/a\\b", Err(PathError::Bad)),
            ("/%00", Err(PathError::Bad)),
            ("/a%0d%0ab", Err(PathError::Bad)),
            ("/%7f", Err(PathError::Bad)),
            ("/%", Err(PathError::Bad)),
            ("/%4", Err(PathError::Bad)),
            ("/%zz", Err(PathError::Bad)),
            ("/%+1", Err(PathError::Bad)),
            ("/%ff", Err(PathError::Bad)),
            ("/a+b", Ok("/a+b")),
            ("/%25%32%65", Ok("/%2e")),
            ("a", Err(PathError::Bad)),
            ("", Err(PathError::Bad)),
        ] {
            let mut buffer = [0; 64];
            assert_eq!(normalise(path, &mut buffer), expected, "{path}");
        }
        assert_eq!(normalise("/abc", &mut [0; 3]), Err(PathError::TooLong));
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        for (text, host, port) in [
            ("example.org", "example.org", None),
            ("example.org:8080", "example.org", Some(8080)),
            ("example.org:", "example.org", None),
            ("127.0.0.1:80", "127.0.0.1", Some(80)),
            ("[::1]", "[::1]", None),
            ("[fe80::1]:443", "[fe80::1]", Some(443)),
        ] {
            assert_eq!(Authority::parse(text), Some(Authority { host, port }), "{text}");
        }
        for wrong in [
            "", ":80", "a b", "a/b", "a@b", "a:b", "a:+1", "a:65536", "a:80:80", "[::1", "[x]", "[::1]x",
            "a,b", "ü",
        ] {
            assert_eq!(Authority::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn local_names_and_addresses_are_recognised() {
        for (host, expected) in [
            ("localhost", true),
            ("a.LOCALHOST:1", true),
            ("127.0.0.1", true),
            ("[::1]:8", true),
            ("example.org", false),
            ("localhost.org", false),
            ("1.example", false),
        ] {
            assert_eq!(Authority::parse(host).unwrap().is_local_or_address(), expected, "{host}");
        }
    }

    proptest! {
        #[test]
        fn a_path_never_leaves_the_root_and_is_normal(path in "/([./%a2eEfF5cC]|%2e|%2f|\\.\\.){0,40}") {
            let mut buffer = vec![0; path.len()];
            if let Ok(normal) = normalise(&path, &mut buffer) {
                prop_assert!(normal.starts_with('/') && !normal.contains("//"));
                prop_assert!(normal.split('/').all(|segment| segment != ".." && segment != "."));
                let escaped = Escaped(normal).to_string();
                let mut again = vec![0; escaped.len()];
                prop_assert_eq!(normalise(&escaped, &mut again), Ok(normal));
            }
        }

        #[test]
        fn escaping_is_undone_by_decoding(path in "(/[^/\\x00-\\x1f\\x7f\\\\]{1,6}){1,4}") {
            let dots = path.split('/').any(|segment| segment == "." || segment == "..");
            let escaped = Escaped(&path).to_string();
            prop_assert!(escaped.bytes().all(|byte| byte.is_ascii_graphic()));
            let mut buffer = vec![0; escaped.len()];
            prop_assert!(dots || normalise(&escaped, &mut buffer) == Ok(path.as_str()));
        }
    }
}
