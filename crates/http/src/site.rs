//! Serves an archive.

use core::fmt::{self, Write};

use palisade_site::{Archive, ETag, Encoding, Entry, INDEX};

use crate::accept::AcceptEncoding;
use crate::condition::{self, Outcome, Validators};
use crate::date::HttpDate;
use crate::range::{self, Parts, Ranges};
use crate::request::Method;
use crate::response::Writer;
use crate::service::Context;
use crate::target::{Escaped, PathError, normalise};
use crate::{NO_CLOCK, Response, Status};

/// A site.
#[derive(Debug, Clone, Copy)]
pub struct Site<'s> {
    /// What is served.
    pub archive: Archive<'s>,
    /// Seconds for which browsers are told to use nothing but HTTPS; None where the site is not served over TLS.
    pub hsts: Option<u64>,
}

/// What a path leads to.
enum Found<'s> {
    File(Entry<'s>),
    /// The page of a directory that was asked for without its slash.
    Directory(Entry<'s>),
    Nothing,
}

/// A variant of a file.
struct Variant<'s> {
    entry: Entry<'s>,
    encoding: Encoding,
    content: &'s [u8],
    etag: ETag,
    /// When the file was changed; never later than now.
    modified: u64,
}

impl<'s> Site<'s> {
    pub(crate) fn answer<'a>(&self, context: Context<'_, 'a>) -> Response<'a>
    where
        's: 'a,
    {
        let found = match normalise(context.path, context.text.scratch()) {
            Ok(path) => self.find(path),
            Err(PathError::NoFile) => Found::Nothing,
            Err(PathError::Bad | PathError::TooLong) => return context.refuse(Status::BadRequest),
        };
        match found {
            Found::File(entry) => self.file(context, entry),
            Found::Directory(page) => self.directory(context, page),
            Found::Nothing => self.nothing(context),
        }
    }

    fn find(&self, path: &str) -> Found<'s> {
        if path.ends_with('/') {
            return self.archive.index_of(path).map_or(Found::Nothing, Found::File);
        }
        match (self.archive.lookup(path), self.archive.index_of(path)) {
            (Some(entry), _) => Found::File(entry),
            (None, Some(page)) => Found::Directory(page),
            (None, None) => Found::Nothing,
        }
    }

    fn file<'a>(&self, context: Context<'_, 'a>, entry: Entry<'s>) -> Response<'a>
    where
        's: 'a,
    {
        let Some(variant) = Variant::choose(&context, entry) else {
            return context.refuse(Status::NotAcceptable);
        };
        let validators = Validators { etag: variant.etag.as_str(), modified: variant.modified };
        match condition::evaluate(context.request, &validators, context.now) {
            Outcome::Proceed => {}
            Outcome::Failed => return context.refuse(Status::PreconditionFailed),
            Outcome::NotModified => {
                let mut writer = context.begin(Status::NotModified);
                variant.describe_state(&mut writer);
                return writer.end();
            }
        }
        let range = context.request.field("range").filter(|_| {
            // Other methods know no ranges (RFC 9110, section 14.2).
            let method = context.request.method == Method::Get;
            method && condition::range_applies(context.request, &validators, context.now)
        });
        match range.map_or(Ranges::All, |value| range::parse(value, variant.content.len())) {
            Ranges::All => self.whole(context, &variant),
            Ranges::Some(parts) => self.parts(context, &variant, &parts),
            Ranges::Refused => {
                let mut writer = context.begin(Status::RangeNotSatisfiable);
                writer.field("Content-Range", format_args!("bytes */{}", variant.content.len()));
                writer.explanation(true)
            }
        }
    }

    fn whole<'a>(&self, context: Context<'_, 'a>, variant: &Variant<'s>) -> Response<'a>
    where
        's: 'a,
    {
        let with_body = context.with_body();
        let mut writer = self.begin(context, Status::Ok, variant);
        writer.field("Content-Type", variant.entry.content_type());
        writer.content(variant.content, with_body)
    }

    fn parts<'a>(&self, context: Context<'_, 'a>, variant: &Variant<'s>, parts: &Parts) -> Response<'a>
    where
        's: 'a,
    {
        let (content, content_type) = (variant.content, variant.entry.content_type());
        let mut writer = self.begin(context, Status::PartialContent, variant);
        let range = |number: usize| parts.iter().nth(number).unwrap_or_default();
        let content_range = |f: &mut dyn Write, number: usize| {
            let range = range(number);
            write!(f, "bytes {}-{}/{}", range.start, range.end.saturating_sub(1), content.len())
        };
        if parts.count() == 1 {
            writer.field("Content-Type", content_type);
            writer.field("Content-Range", Formatted(|f: &mut dyn Write| content_range(f, 0)));
            return writer.content(content.get(range(0)).unwrap_or_default(), true);
        }
        // A content cannot contain its own digest, which is what separates its parts.
        let boundary = variant.etag.as_str().trim_matches('"');
        writer.field("Content-Type", format_args!("multipart/byteranges; boundary={boundary}"));
        let between = |f: &mut dyn Write, number: Option<usize>| match number {
            None => write!(f, "\r\n--{boundary}--\r\n"),
            Some(number) => {
                let start = if number == 0 { "" } else { "\r\n" };
                write!(f, "{start}--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: ")?;
                content_range(f, number)?;
                write!(f, "\r\n\r\n")
            }
        };
        writer.parts(parts.iter().map(|range| content.get(range).unwrap_or_default()), between)
    }

    fn directory<'a>(&self, context: Context<'_, 'a>, page: Entry<'s>) -> Response<'a> {
        let directory = page.path().strip_suffix(INDEX).unwrap_or("/");
        let (with_body, query) = (context.with_body(), context.query);
        let mut writer = context.begin(Status::MovedPermanently);
        let location = Formatted(|f: &mut dyn Write| {
            write!(f, "{}", Escaped(directory))?;
            query.map_or(Ok(()), |query| write!(f, "?{query}"))
        });
        writer.field("Location", location);
        // What is a directory today may be a file tomorrow.
        writer.field("Cache-Control", ASK);
        writer.explanation(with_body)
    }

    fn nothing<'a>(&self, context: Context<'_, 'a>) -> Response<'a>
    where
        's: 'a,
    {
        let page = self.archive.not_found().and_then(|page| Variant::choose(&context, page));
        let Some(page) = page else { return context.refuse(Status::NotFound) };
        let with_body = context.with_body();
        let hsts = self.hsts(&context);
        let mut writer = context.begin(Status::NotFound);
        writer.field("Content-Type", page.entry.content_type());
        page.describe_caching(&mut writer);
        page.describe_encoding(&mut writer);
        protect(&mut writer, hsts);
        writer.content(page.content, with_body)
    }

    /// Begins a response with what is said of a file.
    fn begin<'a>(&self, context: Context<'_, 'a>, status: Status, variant: &Variant<'s>) -> Writer<'a> {
        let hsts = self.hsts(&context);
        let mut writer = context.begin(status);
        variant.describe_state(&mut writer);
        variant.describe_encoding(&mut writer);
        writer.field("Accept-Ranges", "bytes");
        protect(&mut writer, hsts);
        writer
    }

    fn hsts(&self, context: &Context<'_, '_>) -> Option<u64> {
        let host = context.request.host?;
        self.hsts.filter(|_| !host.is_local_or_address())
    }
}

impl<'s> Variant<'s> {
    /// The variant that the client likes best.
    fn choose(context: &Context<'_, '_>, entry: Entry<'s>) -> Option<Self> {
        let accept = AcceptEncoding::parse(context.request.fields("accept-encoding"));
        let encoding = accept.choose(|encoding| entry.content(encoding).is_some())?;
        let content = entry.content(encoding)?;
        // RFC 9110, section 8.8.2.1: no date that the clock of this machine has not reached yet.
        let reached = if context.now == NO_CLOCK { u64::MAX } else { context.now };
        let modified = entry.modified().min(reached);
        Some(Self { entry, encoding, content, etag: entry.etag(encoding), modified })
    }

    /// What identifies the content, and what to do with a copy of it.
    fn describe_state(&self, writer: &mut Writer<'_>) {
        writer.field("ETag", self.etag.as_str());
        writer.field("Last-Modified", HttpDate(self.modified));
        self.describe_caching(writer);
    }

    /// What to do with a copy, and whom it is for: those who accept the same encodings.
    fn describe_caching(&self, writer: &mut Writer<'_>) {
        writer.field("Cache-Control", ASK);
        let varies =
            [Encoding::Gzip, Encoding::Brotli].iter().any(|encoding| self.entry.content(*encoding).is_some());
        if varies {
            writer.field("Vary", "Accept-Encoding");
        }
    }

    fn describe_encoding(&self, writer: &mut Writer<'_>) {
        if self.encoding != Encoding::Identity {
            writer.field("Content-Encoding", self.encoding.token());
        }
    }
}

/// A closure that writes.
struct Formatted<F>(F);

impl<F: Fn(&mut dyn Write) -> fmt::Result> fmt::Display for Formatted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0(f)
    }
}

/// What every page should have: no guessing of types, no frames of other sites around it, no full addresses to others.
fn protect(writer: &mut Writer<'_>, hsts: Option<u64>) {
    writer.field("X-Content-Type-Options", "nosniff");
    writer.field("Content-Security-Policy", "frame-ancestors 'self'");
    writer.field("Referrer-Policy", "strict-origin-when-cross-origin");
    if let Some(seconds) = hsts {
        writer.field("Strict-Transport-Security", format_args!("max-age={seconds}"));
    }
}

/// For `Cache-Control`: a cache asks whether its copy is still good, which costs few bytes, and so a changed site is seen at
/// once.
const ASK: &str = "no-cache";
