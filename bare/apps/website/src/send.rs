//! Sending a response.

use palisade_http::Response;
use unikernel::io::Write;
use unikernel::time::{Duration, with_timeout};

/// The client does not take in what it gets, or has gone.
pub(crate) struct NotSent;

/// Sends a response. What is small is gathered: a page and its head then are one record of TLS, and one segment.
///
/// Each part must go within `patience`: who asks for a large file and then takes in nothing of it is not waited for.
pub(crate) async fn response<S: Write>(
    stream: &mut S,
    response: &Response<'_>,
    patience: Duration,
) -> Result<(), NotSent> {
    let mut gathered = [0; GATHERED];
    let mut used = 0;
    for mut piece in core::iter::once(response.head()).chain(response.body()) {
        while !piece.is_empty() {
            if used == 0 && piece.len() >= GATHERED {
                send(stream, piece, patience).await?;
                break;
            }
            let room = gathered.get_mut(used..).unwrap_or_default();
            let (now, later) = piece.split_at_checked(room.len()).unwrap_or((piece, &[]));
            room.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
            used += now.len();
            piece = later;
            if used == GATHERED {
                send(stream, &gathered, patience).await?;
                used = 0;
            }
        }
    }
    send(stream, gathered.get(..used).unwrap_or_default(), patience).await?;
    stream.flush().await.map_err(|_| NotSent)
}

async fn send<S: Write>(stream: &mut S, bytes: &[u8], patience: Duration) -> Result<(), NotSent> {
    for part in bytes.chunks(PART) {
        match with_timeout(patience, stream.write_all(part)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Err(NotSent),
        }
    }
    Ok(())
}

/// Bytes that are gathered.
const GATHERED: usize = 4096;
/// Bytes that are sent at once: a record of TLS.
const PART: usize = 16 << 10;
