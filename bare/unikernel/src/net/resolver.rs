//! Names.

use alloc::vec::Vec;
use core::fmt;
use core::future::poll_fn;
use core::net::IpAddr;
use core::task::Poll;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::dns::{self, GetQueryResultError, QueryHandle};
use smoltcp::wire::DnsQueryType;

use super::Network;
use crate::time::{Duration, with_timeout};

/// Why a name has no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResolveError {
    /// Neither the command line nor DHCP names a resolver.
    NoResolver,
    /// It is no name.
    NoName,
    /// The resolver knows no address.
    NoAddress,
    /// The resolver does not answer.
    NoAnswer,
}

pub(super) async fn resolve(network: &Network, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
    match ask(network, name, DnsQueryType::A).await {
        Err(ResolveError::NoAddress) => ask(network, name, DnsQueryType::Aaaa).await,
        answer => answer,
    }
}

async fn ask(network: &Network, name: &str, kind: DnsQueryType) -> Result<Vec<IpAddr>, ResolveError> {
    with_timeout(PATIENCE, answer(network, name, kind)).await.unwrap_or(Err(ResolveError::NoAnswer))
}

async fn answer(network: &Network, name: &str, kind: DnsQueryType) -> Result<Vec<IpAddr>, ResolveError> {
    let mut question = Question::start(network, name, kind)?;
    poll_fn(|context| {
        let stack = &mut *network.stack();
        let socket = stack.sockets.get_mut::<dns::Socket<'_>>(question.resolver);
        let Some(query) = question.query else { return Poll::Ready(Err(ResolveError::NoAddress)) };
        match socket.get_query_result(query) {
            Err(GetQueryResultError::Pending) => {
                socket.register_query_waker(query, context.waker());
                Poll::Pending
            }
            answer => {
                question.query = None;
                let addresses = answer.map_err(|_| ResolveError::NoAddress);
                Poll::Ready(addresses.map(|all| all.into_iter().map(IpAddr::from).collect()))
            }
        }
    })
    .await
}

/// A question that has not been answered, and is taken back if nobody waits for the answer any more.
struct Question<'a> {
    network: &'a Network,
    resolver: SocketHandle,
    query: Option<QueryHandle>,
}

impl<'a> Question<'a> {
    fn start(network: &'a Network, name: &str, kind: DnsQueryType) -> Result<Self, ResolveError> {
        let stack = &mut *network.stack();
        let resolver = stack.resolver().ok_or(ResolveError::NoResolver)?;
        let socket = stack.sockets.get_mut::<dns::Socket<'_>>(resolver);
        let query = socket.start_query(stack.interface.context(), name, kind);
        let query = Some(query.map_err(|_| ResolveError::NoName)?);
        stack.touch();
        Ok(Self { network, resolver, query })
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        if let Some(query) = self.query {
            self.network.stack().sockets.get_mut::<dns::Socket<'_>>(self.resolver).cancel_query(query);
        }
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoResolver => "no resolver is known",
            Self::NoName => "not a name",
            Self::NoAddress => "the resolver knows no address",
            Self::NoAnswer => "the resolver does not answer",
        })
    }
}

impl core::error::Error for ResolveError {}

/// The stack asks four times meanwhile: at once, and after one, three and seven seconds.
const PATIENCE: Duration = Duration::from_secs(10);
