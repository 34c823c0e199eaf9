//! HTTP as bytes: for requests that no library sends, and for deliberately slow clients.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::Client;

/// A request that gets a 200 at once.
pub const LIVE: &str = "GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

fn address(client: &Client) -> SocketAddr {
    client.base.strip_prefix("http://").unwrap().parse().unwrap()
}

/// Connects to a service.
pub async fn connect(client: &Client) -> TcpStream {
    TcpStream::connect(address(client)).await.unwrap()
}

/// Connects from another address of this machine, `127.0.0.PEER`.
pub async fn connect_from(client: &Client, peer: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    // A small buffer, so the server keeps the rest of a response that the client does not read.
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, peer], 0))).unwrap();
    socket.connect(address(client)).await.unwrap()
}

/// Reads until the server closes the connection.
pub async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// Sends bytes and reads until the server closes the connection.
pub async fn exchange(mut stream: TcpStream, request: impl AsRef<[u8]>) -> String {
    stream.write_all(request.as_ref()).await.unwrap();
    read_all(&mut stream).await
}

/// Returns the status and the code of a problem, the last response on its connection.
#[track_caller]
pub fn problem(answer: &str) -> (u16, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    let head = head.to_ascii_lowercase();
    assert!(head.contains("\r\ncontent-type: application/problem+json"), "{answer}");
    assert!(head.contains("\r\nconnection: close"), "{answer}");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let request_id = body["request_id"].as_str().unwrap();
    assert!(head.contains(&format!("\r\nx-request-id: {request_id}")), "{answer}");
    assert_eq!(body["status"], status, "{answer}");
    (status, body["code"].as_str().unwrap().to_owned())
}

/// Returns the connections that are open, the number that the server has closed, and the data that
/// it has sent on any of them.
pub fn closed(streams: Vec<TcpStream>) -> (Vec<TcpStream>, usize, String) {
    let (mut open, mut closed, mut said) = (Vec::new(), 0, String::new());
    for stream in streams {
        let stream = stream.into_std().unwrap();
        let mut bytes = [0; 16];
        match std::io::Read::read(&mut &stream, &mut bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                open.push(TcpStream::from_std(stream).unwrap());
            }
            Ok(0) | Err(_) => closed += 1,
            Ok(length) => said.push_str(&String::from_utf8_lossy(&bytes[..length])),
        }
    }
    (open, closed, said)
}

/// Waits until the server has closed so many of these connections without sending anything.
pub async fn must_close(mut streams: Vec<TcpStream>, wanted: usize) -> Vec<TcpStream> {
    let mut so_far = 0;
    let closing = async {
        while so_far < wanted {
            let (open, closed, said) = closed(std::mem::take(&mut streams));
            assert_eq!(said, "");
            (streams, so_far) = (open, so_far + closed);
            tokio::task::yield_now().await;
        }
    };
    let closing = tokio::time::timeout(std::time::Duration::from_secs(60), closing).await;
    assert!(closing.is_ok() && so_far == wanted, "{so_far} were closed, and not {wanted}");
    streams
}

/// Raises this process's limit of open files: both ends of 800 connections need one each.
pub fn allow_many_files() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
}
