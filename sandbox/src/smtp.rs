//! A small SMTP server on a loopback address that stores every mail in the inbox. Mails are parsed
//! in `mail`.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::connections::serve_each;
use crate::faults::MailFault;
use crate::mail::Mail;
use crate::shared::Shared;

/// The largest mail, in bytes.
pub const MAX_MAIL_BYTES: usize = 10 * 1024 * 1024;

/// The longest line, in bytes: far above the thousand of RFC 5321, and small enough for memory.
const MAX_LINE_BYTES: u64 = 64 * 1024;

/// Serves until this future is dropped, which closes the connections.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    serve_each(listener, |stream| {
        let mut connection = Connection::new(stream, Arc::clone(&shared));
        async move {
            let _ = connection.run().await; // A failed connection is the caller's concern.
        }
    })
    .await;
}

struct Connection {
    stream: BufReader<TcpStream>,
    shared: Arc<Shared>,
    from: Option<String>,
    to: Vec<String>,
    fault: Option<MailFault>,
}

/// The next step after a command.
enum AfterCommand {
    Continue,
    Close,
}

impl Connection {
    fn new(stream: TcpStream, shared: Arc<Shared>) -> Self {
        let stream = BufReader::new(stream);
        Self { stream, shared, from: None, to: Vec::new(), fault: None }
    }

    async fn run(&mut self) -> std::io::Result<()> {
        self.say("220 sandbox ESMTP").await?;
        while let Some(line) = self.line().await? {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if let AfterCommand::Close = self.command(&line).await? {
                break;
            }
        }
        Ok(())
    }

    async fn command(&mut self, line: &str) -> std::io::Result<AfterCommand> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => {
                self.forget();
                let size = format!(
                    "250-sandbox\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE {MAX_MAIL_BYTES}"
                );
                self.say(&size).await?;
            }
            "HELO" => {
                self.forget();
                self.say("250 sandbox").await?;
            }
            "MAIL" => self.mail(rest).await?,
            "RCPT" => self.recipient(rest).await?,
            "DATA" => return self.data().await,
            "RSET" => {
                self.forget();
                self.say("250 OK").await?;
            }
            "NOOP" => self.say("250 OK").await?,
            "QUIT" => {
                self.say("221 Bye").await?;
                return Ok(AfterCommand::Close);
            }
            _ => self.say("502 Command not implemented").await?,
        }
        Ok(AfterCommand::Continue)
    }

    async fn mail(&mut self, rest: &str) -> std::io::Result<()> {
        let size = rest.to_ascii_uppercase();
        let size = size.split_once("SIZE=").and_then(|(_, size)| {
            size.split(' ').next().and_then(|size| size.parse::<usize>().ok())
        });
        if size.is_some_and(|size| size > MAX_MAIL_BYTES) {
            return self.say("552 Message too large").await;
        }
        match address(rest) {
            Some(from) => {
                self.forget();
                self.from = Some(from);
                self.fault = self.shared.write(|world| world.faults.strike_mail());
                self.say("250 OK").await
            }
            None => self.say("501 Syntax: MAIL FROM:<address>").await,
        }
    }

    async fn recipient(&mut self, rest: &str) -> std::io::Result<()> {
        match (address(rest), self.fault) {
            _ if self.from.is_none() => self.say("503 MAIL first").await,
            // Both quote the recipient, as most mail servers do.
            (Some(to), Some(MailFault::RefuseForNow)) => {
                self.say(&format!("451 4.7.1 <{to}>: Recipient address rejected: Greylisted")).await
            }
            (Some(to), Some(MailFault::RefuseForGood)) => {
                self.say(&format!("550 5.1.1 <{to}>: Recipient address rejected: User unknown"))
                    .await
            }
            (Some(to), _) => {
                self.to.push(to);
                self.say("250 OK").await
            }
            (None, _) => self.say("501 Syntax: RCPT TO:<address>").await,
        }
    }

    async fn data(&mut self) -> std::io::Result<AfterCommand> {
        if self.to.is_empty() {
            self.say("503 RCPT first").await?;
            return Ok(AfterCommand::Continue);
        }
        if self.fault == Some(MailFault::Drop) {
            return Ok(AfterCommand::Close);
        }
        self.say("354 End data with <CR><LF>.<CR><LF>").await?;
        let Some(raw) = self.content().await? else { return Ok(AfterCommand::Close) };
        if raw.len() > MAX_MAIL_BYTES {
            self.forget();
            self.say("552 Message too large").await?;
            return Ok(AfterCommand::Continue);
        }
        let (from, to) = (self.from.take().unwrap_or_default(), std::mem::take(&mut self.to));
        self.shared.write(|world| {
            let (number, arrived) = (world.mails.len() + 1, world.now);
            world.mails.push(Mail::received(number, arrived, from, to, raw));
        });
        match self.fault.take() {
            Some(MailFault::HangAfterData) => {
                // No reply follows. The client closes the connection.
                tokio::io::copy(&mut self.stream, &mut tokio::io::sink()).await?;
                return Ok(AfterCommand::Close);
            }
            Some(MailFault::AcceptThenDrop) => return Ok(AfterCommand::Close),
            _ => self.say("250 OK").await?,
        }
        Ok(AfterCommand::Continue)
    }

    /// Returns the content up to the line with a single dot, without dot stuffing; none if the
    /// connection closes earlier. A content that is too large is read to its end, but not stored.
    async fn content(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut content = Vec::new();
        while let Some(line) = self.line().await? {
            if line == b".\r\n" || line == b".\n" {
                return Ok(Some(content));
            }
            if content.len() <= MAX_MAIL_BYTES {
                content.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            }
        }
        Ok(None)
    }

    async fn line(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let read = (&mut self.stream).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await?;
        Ok((read > 0).then_some(line))
    }

    async fn say(&mut self, line: &str) -> std::io::Result<()> {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).await
    }

    fn forget(&mut self) {
        self.from = None;
        self.to.clear();
        self.fault = None;
    }
}

/// Returns the text between the angle brackets. The sender may be empty.
fn address(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('<')?;
    rest.split_once('>').map(|(address, _)| address.to_owned())
}
