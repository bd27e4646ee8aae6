//! From HTTP to HTTPS.

use core::fmt;

use crate::service::Context;
use crate::target::{PathError, normalise};
use crate::{Response, Status};

/// Sends visitors to the port where the site is served over TLS.
///
/// Between visitor and server ports may be mapped to others: `http://localhost:8080/` may be this server's port 80, and
/// `https://localhost:4433/` its port 443. A request tells the port under which this one is known outside (its `Host`), but
/// not that of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redirect {
    /// The port that this service listens on.
    pub http: u16,
    /// The port that serves TLS.
    pub https: u16,
    /// The port under which that one is known outside, for visitors who came through a mapping.
    pub https_outside: Option<u16>,
}

impl Redirect {
    /// The port to send a visitor to who asked for this one; None is the usual one.
    #[must_use]
    pub fn port(&self, asked: Option<u16>) -> u16 {
        match asked.unwrap_or(HTTP) {
            asked if asked == self.http => self.https,
            HTTP => self.https_outside.unwrap_or(HTTPS),
            _ => self.https_outside.unwrap_or(self.https),
        }
    }

    pub(crate) fn answer<'a>(&self, context: Context<'_, 'a>) -> Response<'a> {
        let (path, query) = (context.path, context.query);
        let bad = match normalise(path, context.text.scratch()) {
            Ok(_) | Err(PathError::NoFile) => false,
            Err(PathError::Bad | PathError::TooLong) => true,
        };
        let Some(host) = context.request.host.filter(|_| !bad) else {
            return context.refuse(Status::BadRequest);
        };
        let with_body = context.with_body();
        let mut writer = context.begin(Status::MovedPermanently);
        writer.field("Location", Location { host: host.host, port: self.port(host.port), path, query });
        // Browsers keep a permanent redirection for ever. At `localhost:8080` somebody else may answer tomorrow.
        writer.field("Cache-Control", "no-cache");
        writer.explanation(with_body)
    }
}

/// Where a visitor is sent.
struct Location<'a> {
    host: &'a str,
    port: u16,
    path: &'a str,
    query: Option<&'a str>,
}

impl fmt::Display for Location<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.host)?;
        if self.port != HTTPS {
            write!(f, ":{}", self.port)?;
        }
        f.write_str(self.path)?;
        self.query.map_or(Ok(()), |query| write!(f, "?{query}"))
    }
}

/// The usual port of HTTP.
const HTTP: u16 = 80;
/// The usual port of HTTPS.
const HTTPS: u16 = 443;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_the_one_that_the_visitor_can_reach() {
        let direct = Redirect { http: 80, https: 443, https_outside: None };
        assert_eq!((direct.port(None), direct.port(Some(80))), (443, 443));
        let elsewhere = Redirect { http: 8000, https: 8443, https_outside: None };
        assert_eq!(
            (elsewhere.port(Some(8000)), elsewhere.port(None), elsewhere.port(Some(9))),
            (8443, 443, 8443)
        );
        let mapped = Redirect { https_outside: Some(4433), ..direct };
        assert_eq!((mapped.port(Some(8080)), mapped.port(None)), (4433, 443));
    }
}
