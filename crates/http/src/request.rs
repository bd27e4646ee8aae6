//! A request head and what it means.

use core::str;

use crate::target::Authority;
use crate::{MAX_FIELDS, Status};

/// A request whose head was read and checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// What to do.
    pub method: Method,
    /// The method as it was sent.
    pub method_text: &'a str,
    /// The target as it was sent: visible ASCII.
    pub target_text: &'a str,
    /// What the target refers to.
    pub target: Target<'a>,
    /// The version of the protocol.
    pub version: Version,
    /// The host that is asked, if one is named.
    pub host: Option<Authority<'a>>,
    /// The body that follows.
    pub body: Body,
    /// Whether the client waits for a word before it sends its body.
    pub expects_continue: bool,
    /// Whether the client wants to use the connection again.
    pub keep_alive: bool,
    /// The lines of the fields.
    fields: &'a [u8],
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the RFC")]
pub enum Method {
    Get,
    Head,
    Options,
    /// A method of RFC 9110 or RFC 5789 that a static site has no use for.
    Known,
    /// Anything else.
    Unknown,
}

/// What a target refers to (RFC 9112, section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// A path and perhaps a query, as they were sent.
    Resource {
        /// The path, which begins with a slash.
        path: &'a str,
        /// What follows the question mark, if there is one.
        query: Option<&'a str>,
    },
    /// `*`: the server as a whole.
    Server,
    /// A host to connect to.
    Tunnel,
}

/// The versions that are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are those of the RFC")]
pub enum Version {
    Http10,
    Http11,
}

/// The body that follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// This many bytes; zero means none.
    Length(u64),
    /// A body in chunks.
    Chunked,
}

impl<'a> Request<'a> {
    /// Reads a whole head, with the empty line at its end.
    ///
    /// # Errors
    /// The status of the answer. The connection cannot be used any more then, since nobody knows where the next request
    /// begins.
    pub fn parse(head: &'a [u8]) -> Result<Self, Status> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut parsed = httparse::Request::new(&mut headers);
        let head = head.strip_prefix(b"\r\n").unwrap_or(head);
        let line = lines(head).next().ok_or(Status::BadRequest)?;
        check_version(line)?;
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            Err(httparse::Error::TooManyHeaders) => return Err(Status::HeaderFieldsTooLarge),
            _ => return Err(Status::BadRequest),
        }
        let (Some(method_text), Some(target_text)) = (parsed.method, parsed.path) else {
            return Err(Status::BadRequest);
        };
        let version = if parsed.version == Some(0) { Version::Http10 } else { Version::Http11 };
        let fields = head.get(line.len() + "\r\n".len()..).unwrap_or_default();
        let method = Method::parse(method_text);
        let (target, authority) = parse_target(method_text, target_text)?;
        let host = host(fields, version)?;
        let mut request = Self {
            method,
            method_text,
            target_text,
            target,
            version,
            host: authority.or(host),
            body: body(fields, version)?,
            expects_continue: false,
            keep_alive: false,
            fields,
        };
        request.keep_alive = request.wants_to_stay();
        request.expects_continue = request.parse_expectation()?;
        Ok(request)
    }

    /// The values of all fields with this name, which is in lower case, in their order.
    pub fn fields(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        fields(self.fields, name)
    }

    /// The value of the only field with this name, as text. None if there is none, are several, or it is not ASCII.
    #[must_use]
    pub fn field(&self, name: &'static str) -> Option<&'a str> {
        let mut values = self.fields(name);
        let only = values.next()?;
        if values.next().is_some() || !only.is_ascii() { None } else { str::from_utf8(only).ok() }
    }

    fn wants_to_stay(&self) -> bool {
        let mut options = self.fields("connection").flat_map(members);
        match self.version {
            Version::Http11 => !options.any(|option| option.eq_ignore_ascii_case(b"close")),
            Version::Http10 => {
                let (mut stay, mut close) = (false, false);
                for option in options {
                    stay |= option.eq_ignore_ascii_case(b"keep-alive");
                    close |= option.eq_ignore_ascii_case(b"close");
                }
                stay && !close
            }
        }
    }

    fn parse_expectation(&self) -> Result<bool, Status> {
        if self.version == Version::Http10 {
            return Ok(false);
        }
        let mut expected = false;
        for expectation in self.fields("expect").flat_map(members) {
            if !expectation.eq_ignore_ascii_case(b"100-continue") {
                return Err(Status::ExpectationFailed);
            }
            expected = true;
        }
        Ok(expected)
    }
}

impl Method {
    fn parse(text: &str) -> Self {
        match text {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "OPTIONS" => Self::Options,
            "POST" | "PUT" | "DELETE" | "CONNECT" | "TRACE" | "PATCH" => Self::Known,
            _ => Self::Unknown,
        }
    }
}

/// The members of a comma-separated list, without blanks around them. Empty ones are left out (RFC 9110, section 5.6.1).
pub(crate) fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// Whether the version at the end of a request line is one that is spoken.
fn check_version(line: &[u8]) -> Result<(), Status> {
    let version = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    match version {
        b"HTTP/1.0" | b"HTTP/1.1" => Ok(()),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(Status::VersionNotSupported),
        _ => Err(Status::BadRequest),
    }
}

fn parse_target<'a>(method: &str, text: &'a str) -> Result<(Target<'a>, Option<Authority<'a>>), Status> {
    // A fragment is never sent; what a client means by it cannot be known.
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(Status::BadRequest);
    }
    if method == "CONNECT" {
        let authority = Authority::parse(text).filter(|authority| authority.port.is_some());
        return authority.map(|authority| (Target::Tunnel, Some(authority))).ok_or(Status::BadRequest);
    }
    if text == "*" {
        return if method == "OPTIONS" { Ok((Target::Server, None)) } else { Err(Status::BadRequest) };
    }
    let (authority, resource) = match absolute(text) {
        Some((authority, resource)) => {
            (Some(Authority::parse(authority).ok_or(Status::BadRequest)?), resource)
        }
        None => (None, text),
    };
    let (path, query) = match resource.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (resource, None),
    };
    match (path, authority) {
        // RFC 9110, section 4.2.3: no path is the path "/".
        ("", Some(_)) => Ok((Target::Resource { path: "/", query }, authority)),
        (path, _) if path.starts_with('/') => Ok((Target::Resource { path, query }, authority)),
        _ => Err(Status::BadRequest),
    }
}

/// The authority and the rest of a target in absolute form.
fn absolute(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return None;
    }
    rest.find(['/', '?']).map_or(Some((rest, "")), |end| rest.split_at_checked(end))
}

fn host(all: &[u8], version: Version) -> Result<Option<Authority<'_>>, Status> {
    let mut hosts = fields(all, "host");
    let Some(host) = hosts.next() else {
        return if version == Version::Http10 { Ok(None) } else { Err(Status::BadRequest) };
    };
    if hosts.next().is_some() {
        return Err(Status::BadRequest);
    }
    // An empty field is allowed where a target has no authority (RFC 9110, section 7.2).
    if host.is_empty() {
        return Ok(None);
    }
    let host = str::from_utf8(host).ok().and_then(Authority::parse);
    host.map(Some).ok_or(Status::BadRequest)
}

fn body(all: &[u8], version: Version) -> Result<Body, Status> {
    let (mut lengths, mut codings) = (fields(all, "content-length"), fields(all, "transfer-encoding"));
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(Body::Length(0)),
        (Some(length), None) if lengths.next().is_none() => parse_length(length).map(Body::Length),
        // RFC 9112, section 6.1: a transfer encoding of HTTP/1.0 means a faulty message, as does one beside a length.
        (None, Some(coding)) if version == Version::Http11 && codings.next().is_none() => {
            if coding.eq_ignore_ascii_case(b"chunked") {
                Ok(Body::Chunked)
            } else {
                Err(Status::NotImplemented)
            }
        }
        _ => Err(Status::BadRequest),
    }
}

fn parse_length(text: &[u8]) -> Result<u64, Status> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(text).ok().filter(|_| digits).ok_or(Status::BadRequest)?;
    text.parse().map_err(|_| Status::ContentTooLarge)
}

fn fields<'a>(lines_of_fields: &'a [u8], name: &'static str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    lines(lines_of_fields).filter_map(move |line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (found, value) = line.split_at_checked(colon)?;
        let value = value.strip_prefix(b":")?;
        found.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
    })
}

/// The lines of a head. Every line feed in it is preceded by a carriage return.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str) -> Result<Request<'_>, Status> {
        Request::parse(head.as_bytes())
    }

    #[test]
    fn a_request_means_what_its_head_says() {
        let head = "GET /a%20b?q=1 HTTP/1.1\r\nHost: example.org:8080\r\naccept: x\r\nACCEPT: y\r\n\r\n";
        let request = parse(head).unwrap();
        assert_eq!(request.method, Method::Get);
        assert_eq!(request.target, Target::Resource { path: "/a%20b", query: Some("q=1") });
        assert_eq!(request.host, Authority::parse("example.org:8080"));
        assert_eq!((request.version, request.body), (Version::Http11, Body::Length(0)));
        assert!(request.fields("accept").eq([b"x", b"y"]));
        assert_eq!((request.field("accept"), request.field("host")), (None, Some("example.org:8080")));
    }

    #[test]
    fn the_absolute_form_names_the_host() {
        for (target, path, query) in [
            ("http://example.org/a?b", "/a", Some("b")),
            ("HTTPS://example.org", "/", None),
            ("http://example.org?b", "/", Some("b")),
        ] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: other\r\n\r\n");
            let request = parse(&head).unwrap();
            assert_eq!(request.target, Target::Resource { path, query });
            assert_eq!(request.host, Authority::parse("example.org"));
        }
    }

    #[test]
    fn a_connection_stays_as_its_version_says() {
        for (version, connection, stays) in [
            ("1.1", "", true),
            ("1.1", "Connection: close\r\n", false),
            ("1.1", "Connection: TE, CLOSE\r\n", false),
            ("1.1", "Connection: keep-alive\r\n", true),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.0", "Connection: keep-alive, close\r\n", false),
        ] {
            let head = format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n");
            assert_eq!(parse(&head).unwrap().keep_alive, stays, "{head}");
        }
    }
}
