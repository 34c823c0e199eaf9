//! The log on standard error, written by a separate thread. When standard error cannot be written
//! (full disk, closed or stuck pipe), log lines are lost, and nothing else is affected.

use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;
use crate::error::{Error, Result};
use crate::metrics::LOG_LINES_LOST;

/// The most lines that are queued; further lines are lost. 200 KB at about 200 bytes a line.
const MAX_WAITING: usize = 1024;

/// How long the process waits at its end for the last lines to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Keeps the log open. On drop, waits until the queued lines are written.
#[must_use]
pub struct Log(SyncSender<Message>);

enum Message {
    Line(Vec<u8>),
    /// Confirms that all lines before this one are written.
    Flush(SyncSender<()>),
}

impl Log {
    /// Logs events and panics from now on.
    ///
    /// # Errors
    /// [`Error::Internal`] when the thread cannot be started.
    pub fn start(filter: &str, format: LogFormat) -> Result<Self> {
        let (sender, waiting) = sync_channel(MAX_WAITING);
        let thread = std::thread::Builder::new().name("log".to_owned());
        thread
            .spawn(move || write_all(&waiting))
            .map_err(|error| Error::Internal(format!("no thread for the log: {error}")))?;
        let lines = sender.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(filter))
            .with_writer(move || Lines(lines.clone()))
            .with_ansi(io::stderr().is_terminal());
        match format {
            LogFormat::Text => subscriber.init(),
            LogFormat::Json => subscriber.json().flatten_event(true).with_span_list(false).init(),
        }
        // The default panic hook writes to standard error and would block on a stuck pipe.
        std::panic::set_hook(Box::new(log_panic));
        Ok(Self(sender))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let (done, written) = sync_channel(1);
        // A full queue means that standard error is stuck: do not wait for it.
        if self.0.try_send(Message::Flush(done)).is_ok() {
            let _ = written.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

/// Queues each event as one line. It never fails and never blocks.
struct Lines(SyncSender<Message>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.try_send(Message::Line(line.to_vec())).is_err() {
            count_lost();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(waiting: &Receiver<Message>) {
    let mut out = io::stderr();
    for message in waiting {
        match message {
            Message::Line(line) => {
                if out.write_all(&line).is_err() {
                    count_lost();
                }
            }
            Message::Flush(done) => drop(done.send(())),
        }
    }
}

fn count_lost() {
    LOG_LINES_LOST.inc();
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload_as_str().unwrap_or("no message");
    tracing::error!(place, message, "panicked");
}
