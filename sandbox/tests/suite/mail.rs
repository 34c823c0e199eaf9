//! The mail inbox, over plain SMTP.

use licentia_sandbox::{MAX_MAIL_BYTES, MailFault, Sandbox, Times};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::harness::Stripe;

struct Smtp(BufReader<TcpStream>);

impl Smtp {
    async fn connect(sandbox: &Sandbox) -> Self {
        let url = sandbox.smtp_url();
        let stream = TcpStream::connect(url.trim_start_matches("smtp://")).await.unwrap();
        let mut smtp = Self(BufReader::new(stream));
        assert!(smtp.reply().await.starts_with("220 "));
        smtp
    }

    /// Returns the last line of the reply; empty if the connection was closed.
    async fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).await.unwrap();
            if line.as_bytes().get(3) != Some(&b'-') {
                return line.trim_end().to_owned();
            }
        }
    }

    async fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    async fn say(&mut self, line: &str) -> String {
        self.send(&format!("{line}\r\n")).await;
        self.reply().await
    }

    async fn mail(&mut self, content: &str) -> String {
        self.say("MAIL FROM:<licenses@example.com>").await;
        self.say("RCPT TO:<ada@example.com>").await;
        let go = self.say("DATA").await;
        if !go.starts_with("354") {
            return go;
        }
        self.say(&format!("{content}\r\n.")).await
    }
}

#[tokio::test]
async fn a_mail_is_received_and_parsed() {
    let stripe = Stripe::start().await;
    let mut smtp = Smtp::connect(&stripe.sandbox).await;
    assert!(smtp.say("EHLO client").await.starts_with("250 SIZE"));
    assert!(smtp.say("NOOP").await.starts_with("250"));
    assert!(smtp.say("DATA").await.starts_with("503"));
    let content = "Subject: Your license\r\nMessage-ID: <1@example.com>\r\n\r\nHello\r\n..dot";
    assert_eq!(smtp.mail(content).await, "250 OK");
    assert_eq!(smtp.mail("Subject: Again\r\n\r\nHi").await, "250 OK");
    assert!(smtp.say("QUIT").await.starts_with("221"));
    let mails = stripe.sandbox.mails_arrived(2).await;
    assert_eq!(mails[0].to, ["ada@example.com"]);
    assert_eq!(mails[0].subject(), "Your license");
    assert_eq!(mails[0].header("message-id"), "<1@example.com>");
    assert_eq!(mails[0].text.as_deref(), Some("Hello\n.dot\n"));
}

#[tokio::test]
async fn mails_are_refused_temporarily_and_permanently() {
    let stripe = Stripe::start().await;
    for (fault, code) in [(MailFault::RefuseForNow, "451"), (MailFault::RefuseForGood, "550")] {
        stripe.sandbox.faults().mail(fault, Times::Next(1));
        let mut smtp = Smtp::connect(&stripe.sandbox).await;
        smtp.say("EHLO client").await;
        smtp.say("MAIL FROM:<>").await;
        let refusal = smtp.say("RCPT TO:<ada@example.com>").await;
        assert!(refusal.starts_with(code) && refusal.contains("<ada@example.com>"), "{refusal}");
        assert_eq!(smtp.say("RSET").await, "250 OK");
        assert_eq!(smtp.mail("Subject: x\r\n\r\n").await, "250 OK");
    }
    assert_eq!(stripe.sandbox.mails().len(), 2);
}

#[tokio::test]
async fn a_connection_closes_before_or_after_the_mail_is_stored() {
    let stripe = Stripe::start().await;
    for (fault, kept) in [(MailFault::Drop, 0), (MailFault::AcceptThenDrop, 1)] {
        stripe.sandbox.faults().mail(fault, Times::Next(1));
        let mut smtp = Smtp::connect(&stripe.sandbox).await;
        assert_eq!(smtp.mail("Subject: x\r\n\r\n").await, "");
        assert_eq!(stripe.sandbox.mails().len(), kept);
    }
}

#[tokio::test]
async fn a_mail_is_stored_without_a_response() {
    let stripe = Stripe::start().await;
    stripe.sandbox.faults().mail(MailFault::HangAfterData, Times::Next(1));
    let mut smtp = Smtp::connect(&stripe.sandbox).await;
    smtp.say("MAIL FROM:<licenses@example.com>").await;
    smtp.say("RCPT TO:<ada@example.com>").await;
    smtp.say("DATA").await;
    smtp.send("Subject: x\r\n\r\n.\r\nNOOP\r\n").await;
    assert_eq!(stripe.sandbox.mails_arrived(1).await.len(), 1);
    smtp.0.get_mut().shutdown().await.unwrap();
    assert_eq!(smtp.reply().await, "");
}

#[tokio::test]
async fn a_mail_that_is_too_large_is_refused_when_announced_and_when_sent() {
    let stripe = Stripe::start().await;
    let mut smtp = Smtp::connect(&stripe.sandbox).await;
    let announced = format!("MAIL FROM:<a@example.com> SIZE={}", MAX_MAIL_BYTES + 1);
    assert!(smtp.say(&announced).await.starts_with("552"));
    let line = "x".repeat(998) + "\r\n";
    let content = format!("Subject: x\r\n\r\n{}", line.repeat(MAX_MAIL_BYTES / 1000 + 1));
    assert!(smtp.mail(&content).await.starts_with("552"));
    assert_eq!(smtp.say("NOOP").await, "250 OK");
    assert_eq!(stripe.sandbox.mails().len(), 0);
}
