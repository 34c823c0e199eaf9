//! A load generator within the process. Each connection sends a request, reads the whole response,
//! and sends the next. The benchmarks are in the other files.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Keeps `connections` busy for `duration`. Returns the CPU time per request, in microseconds.
pub async fn microseconds(
    address: &str,
    connections: usize,
    duration: Duration,
    request: impl Fn() -> String,
) -> f64 {
    let (begun, cpu) = (Instant::now(), crate::cpu_microseconds());
    let senders = (0..connections).map(|_| send(address, begun, duration, &request));
    let counts = futures_util::future::join_all(senders).await;
    (crate::cpu_microseconds() - cpu) / f64::from(counts.iter().sum::<u32>())
}

async fn send(
    address: &str,
    begun: Instant,
    duration: Duration,
    request: &impl Fn() -> String,
) -> u32 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut answer, mut count) = (Vec::with_capacity(8192), 0);
    while begun.elapsed() < duration {
        stream.write_all(request().as_bytes()).await.unwrap();
        answer.clear();
        while !is_whole(&answer) {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "the server hung up");
        }
        assert!(answer.starts_with(b"HTTP/1.1 20"), "{}", String::from_utf8_lossy(&answer));
        count += 1;
    }
    count
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let text = std::str::from_utf8(&answer[..head]).unwrap().to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    answer.len() == head + 4 + length.unwrap().parse::<usize>().unwrap()
}
