//! What a port serves.

use crate::request::{Body, Method, Request, Target, Version};
use crate::response::{Connection, Text, Writer};
use crate::{MAX_BODY, Redirect, Response, Site, Status};

/// What a port serves.
#[derive(Debug, Clone, Copy)]
pub enum Service<'s> {
    /// A site.
    Site(Site<'s>),
    /// The way to the port where the site is.
    Redirect(Redirect),
}

/// A request on its way to an answer.
#[derive(Debug)]
pub(crate) struct Context<'r, 'a> {
    pub request: &'r Request<'r>,
    /// The path and the query that are asked for.
    pub path: &'r str,
    pub query: Option<&'r str>,
    /// What to say about the connection.
    pub connection: Connection,
    /// Seconds since 1970-01-01 00:00 UTC.
    pub now: u64,
    /// Where the response is written.
    pub text: &'a mut Text,
}

impl<'a> Context<'_, 'a> {
    /// Begins a response.
    pub(crate) fn begin(self, status: Status) -> Writer<'a> {
        Writer::begin(self.text, status, self.connection, self.now)
    }

    /// Responds with nothing but a status.
    pub(crate) fn refuse(self, status: Status) -> Response<'a> {
        let with_body = self.with_body();
        self.begin(status).explanation(with_body)
    }

    /// Whether the response has its body with it.
    pub(crate) fn with_body(&self) -> bool {
        self.request.method != Method::Head
    }
}

impl<'s> Service<'s> {
    /// Answers a request.
    pub(crate) fn answer<'a>(&self, request: &Request<'_>, now: u64, text: &'a mut Text) -> Response<'a>
    where
        's: 'a,
    {
        let (path, query) = match request.target {
            Target::Resource { path, query } => (path, query),
            Target::Server | Target::Tunnel => ("", None),
        };
        let context = Context { request, path, query, connection: connection(request), now, text };
        match (request.method, request.body) {
            (Method::Unknown, _) => context.refuse(Status::NotImplemented),
            (Method::Known, _) => {
                let mut writer = context.begin(Status::MethodNotAllowed);
                writer.field("Allow", ALLOW);
                writer.explanation(true)
            }
            (Method::Options, _) => {
                let mut writer = context.begin(Status::NoContent);
                writer.field("Allow", ALLOW);
                writer.end()
            }
            (Method::Get | Method::Head, Body::Chunked) => context.refuse(Status::LengthRequired),
            (Method::Get | Method::Head, Body::Length(length)) if length > MAX_BODY => {
                context.refuse(Status::ContentTooLarge)
            }
            (Method::Get | Method::Head, Body::Length(_)) => match self {
                Self::Site(site) => site.answer(context),
                Self::Redirect(redirect) => redirect.answer(context),
            },
        }
    }
}

/// Whether the connection can be used again: only if it is known where the next request begins.
fn connection(request: &Request<'_>) -> Connection {
    let skippable = match request.body {
        // The client decides whether to send its body when it has seen the response: it cannot be told apart from the next
        // request.
        Body::Length(length) => length == 0 || length <= MAX_BODY && !request.expects_continue,
        Body::Chunked => false,
    };
    match (request.keep_alive && skippable && request.method != Method::Unknown, request.version) {
        (false, _) => Connection::Close,
        (true, Version::Http10) => Connection::KeepAlive,
        (true, Version::Http11) => Connection::Stay,
    }
}

const ALLOW: &str = "GET, HEAD, OPTIONS";
