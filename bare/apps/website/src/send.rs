//! Sending a response.

use palisade_http::Response;
use unikernel::io::Write;

/// Sends a response. What is small is gathered: a page and its head then are one record of TLS, and one segment.
pub(crate) async fn response<S: Write>(stream: &mut S, response: &Response<'_>) -> Result<(), S::Error> {
    let mut gathered = [0; GATHERED];
    let mut used = 0;
    for mut piece in core::iter::once(response.head()).chain(response.body()) {
        while !piece.is_empty() {
            if used == 0 && piece.len() >= GATHERED {
                stream.write_all(piece).await?;
                break;
            }
            let room = gathered.get_mut(used..).unwrap_or_default();
            let (now, later) = piece.split_at_checked(room.len()).unwrap_or((piece, &[]));
            room.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
            used += now.len();
            piece = later;
            if used == GATHERED {
                stream.write_all(&gathered).await?;
                used = 0;
            }
        }
    }
    stream.write_all(gathered.get(..used).unwrap_or_default()).await?;
    stream.flush().await
}

/// Bytes that are gathered.
const GATHERED: usize = 4096;
