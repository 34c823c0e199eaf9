//! Closes connections: responds to a head that could not be parsed, and lets a client that is still
//! sending read its response.

use std::time::Duration;

use poem::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::connection::Connection;
use crate::error::Error;

/// The longest time for a client to stop sending after its response was written. A socket that is
/// closed with unread bytes is reset, and the client loses the response.
const LINGER: Duration = Duration::from_secs(1);

/// The maximum number of bytes that are read and discarded in this time.
const MAX_LINGER_BYTES: usize = 64 * 1024 * 1024;

/// The size of one read, in bytes.
const DISCARD_BYTES: usize = 8 * 1024;

/// Returns the error for a request whose head hyper could not read, or `None` if there is no
/// request to respond to.
///
/// `withheld` is whether hyper's own response was withheld. If it was not, it was sent after the
/// response to a pipelined request, and the client would assign a second response to another
/// request.
pub fn refusal(
    error: &hyper::Error,
    connection: &Connection,
    withheld: bool,
    limits: &HeadLimits,
) -> Option<Error> {
    if error.is_parse_too_large() && withheld {
        Some(Error::HeadTooLarge { limit: limits.bytes })
    } else if error.is_parse_version_h2() || (error.is_parse() && withheld) {
        let reason = "its request line and headers are not valid HTTP/1.1";
        Some(Error::InvalidRequest(format!("the request is malformed: {reason} ({error})")))
    } else if error.is_timeout() && connection.has_partial_head() {
        Some(Error::RequestTimeout(limits.time))
    } else {
        None
    }
}

/// The limits of a request head.
pub struct HeadLimits {
    /// The largest head, in bytes.
    pub bytes: usize,
    /// The longest time until it is complete.
    pub time: Duration,
}

/// Writes the response, if any. Then shuts down the sending side, and reads and discards what the
/// client still sends, for up to [`LINGER`].
pub async fn close(mut stream: TcpStream, response: Option<Response>) {
    let finish = async {
        if let Some(response) = response {
            stream.write_all(&serialize(response).await).await?;
        }
        stream.shutdown().await?;
        let (mut buffer, mut discarded) = (vec![0; DISCARD_BYTES], 0);
        while discarded < MAX_LINGER_BYTES {
            match stream.read(&mut buffer).await? {
                0 => break,
                bytes => discarded += bytes,
            }
        }
        Ok::<_, std::io::Error>(())
    };
    // An error or a timeout does not matter: the connection ends anyway.
    let _ = tokio::time::timeout(LINGER, finish).await;
}

/// Returns a response in HTTP/1.1 format (RFC 9112), with `connection: close`.
async fn serialize(mut response: Response) -> Vec<u8> {
    let body = response.take_body().into_bytes().await.unwrap_or_default();
    let mut wire = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        wire.extend_from_slice(name.as_str().as_bytes());
        wire.extend_from_slice(b": ");
        wire.extend_from_slice(value.as_bytes());
        wire.extend_from_slice(b"\r\n");
    }
    let end = format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    wire.extend_from_slice(end.as_bytes());
    wire.extend_from_slice(&body);
    wire
}
