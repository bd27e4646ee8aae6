//! What kind of content a file has.

/// What the name and the bytes of a file say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind {
    /// The value of the header field Content-Type.
    pub content_type: String,
    /// Whether compressing it is worth a try: it is not compressed in itself.
    pub compressible: bool,
}

impl Kind {
    pub(super) fn of(path: &str, content: &[u8]) -> Self {
        let guess = mime_guess::from_path(path).first();
        let essence = match guess.as_ref().map_or(UNKNOWN, |mime| mime.essence_str()) {
            // RFC 9239 made all other names of it obsolete.
            "application/javascript" => "text/javascript",
            essence => essence,
        };
        // Without a declaration browsers take text for Windows-1252. A text that is in another encoding may say so itself.
        let text = essence.starts_with("text/") && core::str::from_utf8(content).is_ok();
        let content_type = if text { format!("{essence}; charset=utf-8") } else { essence.to_owned() };
        Self { content_type, compressible: is_compressible(essence) }
    }
}

fn is_compressible(essence: &str) -> bool {
    let structured = ["+xml", "+json"].iter().any(|suffix| essence.ends_with(suffix));
    essence.starts_with("text/") || structured || COMPRESSIBLE.contains(&essence)
}

/// What a file is if its name says nothing.
const UNKNOWN: &str = "application/octet-stream";

/// Types that are neither text nor compressed in themselves.
const COMPRESSIBLE: [&str; 11] = [
    "application/json",
    "application/rtf",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/xml",
    "audio/x-wav",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/vnd.microsoft.icon",
    "image/x-icon",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_told_what_they_get() {
        for (path, content_type, compressible) in [
            ("/index.html", "text/html; charset=utf-8", true),
            ("/a/STYLE.CSS", "text/css; charset=utf-8", true),
            ("/script.js", "text/javascript; charset=utf-8", true),
            ("/module.mjs", "text/javascript; charset=utf-8", true),
            ("/robots.txt", "text/plain; charset=utf-8", true),
            ("/data.json", "application/json", true),
            ("/feed.xml", "text/xml; charset=utf-8", true),
            ("/site.webmanifest", "application/manifest+json", true),
            ("/logo.svg", "image/svg+xml", true),
            ("/favicon.ico", "image/x-icon", true),
            ("/photo.jpg", "image/jpeg", false),
            ("/photo.webp", "image/webp", false),
            ("/photo.avif", "image/avif", false),
            ("/picture.png", "image/png", false),
            ("/program.wasm", "application/wasm", true),
            ("/font.woff2", "font/woff2", false),
            ("/film.mp4", "video/mp4", false),
            ("/paper.pdf", "application/pdf", false),
            ("/all.tar.gz", "application/gzip", false),
            ("/unknown.xyzzy", "application/octet-stream", false),
            ("/LICENSE", "application/octet-stream", false),
        ] {
            let kind = Kind::of(path, b"x");
            assert_eq!(
                (kind.content_type.as_str(), kind.compressible),
                (content_type, compressible),
                "{path}"
            );
        }
    }

    #[test]
    fn text_that_is_not_utf_8_is_not_said_to_be() {
        assert_eq!(Kind::of("/old.html", b"gr\xfc\xdfe").content_type, "text/html");
    }
}
