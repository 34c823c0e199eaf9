//! How a connection ends: with a response to a head that could not be read, and so that the client
//! can read what was written, even while it is still sending.

use std::time::Duration;

use poem::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::connection::Connection;
use crate::error::Error;

/// The longest time for a client to stop sending after its response was written. A socket that is
/// closed with unread bytes is reset, and the client loses the response.
const LINGER: Duration = Duration::from_secs(1);

/// The most bytes that are read and dropped in this time.
const MAX_LINGER_BYTES: usize = 64 * 1024 * 1024;

/// Bytes that are read at once and dropped.
const SCRAP_BYTES: usize = 8 * 1024;

/// Returns what to answer to a request of which hyper could not read the head, if there is anybody
/// to answer.
///
/// `withheld` says that hyper's own response was withheld. If it was not, although the head is
/// malformed, it went out with the response to a pipelined request, and a second one would be
/// mistaken for the response to another request.
pub fn refusal(
    error: &hyper::Error,
    connection: &Connection,
    withheld: bool,
    limits: &HeadLimits,
) -> Option<Error> {
    if error.is_parse_too_large() && withheld {
        Some(Error::HeadTooLarge { limit: limits.bytes })
    } else if error.is_parse_version_h2() || (error.is_parse() && withheld) {
        let reason = "its first line and headers cannot be read as HTTP/1.1";
        Some(Error::InvalidRequest(format!("the request is malformed: {reason} ({error})")))
    } else if error.is_timeout() && connection.has_partial_head() {
        Some(Error::RequestTimeout(limits.time))
    } else {
        None
    }
}

/// The limits of the head of a request.
pub struct HeadLimits {
    /// The largest head, in bytes.
    pub bytes: usize,
    /// The longest time that it may take.
    pub time: Duration,
}

/// Writes a response in place of hyper's own, if there is one. Then ends the stream, and reads what
/// the client still sends, for a bounded time.
pub async fn close(mut stream: TcpStream, response: Option<Response>) {
    let farewell = async {
        if let Some(response) = response {
            stream.write_all(&serialize(response).await).await?;
        }
        stream.shutdown().await?;
        let (mut scrap, mut dropped) = (vec![0; SCRAP_BYTES], 0);
        while dropped < MAX_LINGER_BYTES {
            match stream.read(&mut scrap).await? {
                0 => break,
                bytes => dropped += bytes,
            }
        }
        Ok::<_, std::io::Error>(())
    };
    // Late or gone, the client has had its time.
    let _ = tokio::time::timeout(LINGER, farewell).await;
}

/// Returns a response as it goes over the wire (RFC 9112), the last one on its connection.
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
