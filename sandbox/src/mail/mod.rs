//! Mails as they arrived, and what a mail program would make of them.

mod mime;

use mime::Part;

/// A mail that arrived.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Counts the mails from one.
    pub number: usize,
    /// When it arrived, in epoch seconds of the sandbox.
    pub arrived: i64,
    /// The envelope's sender.
    pub from: String,
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// The headers, in order, decoded.
    pub headers: Vec<(String, String)>,
    /// The plain text.
    pub text: Option<String>,
    /// The HTML.
    pub html: Option<String>,
    /// What is attached.
    pub attachments: Vec<Attachment>,
    /// The whole mail as it came.
    pub raw: Vec<u8>,
}

/// A file in a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its name.
    pub name: String,
    /// Its content type, without parameters.
    pub content_type: String,
    /// Its bytes, decoded.
    pub bytes: Vec<u8>,
}

impl Mail {
    /// A mail from what was sent.
    #[must_use]
    pub fn received(
        number: usize,
        arrived: i64,
        from: String,
        to: Vec<String>,
        raw: Vec<u8>,
    ) -> Self {
        let part = Part::parse(&raw);
        let headers = part.headers.clone();
        let mut mail = Self {
            number,
            arrived,
            from,
            to,
            headers,
            text: None,
            html: None,
            attachments: Vec::new(),
            raw: Vec::new(),
        };
        mail.take(part);
        mail.raw = raw;
        mail
    }

    /// A header, decoded; empty if it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        mime::header(&self.headers, name)
    }

    /// The subject.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.header("Subject")
    }

    fn take(&mut self, part: Part) {
        if !part.parts.is_empty() {
            part.parts.into_iter().for_each(|part| self.take(part));
            return;
        }
        match (part.file_name(), part.content_type.as_str()) {
            (Some(name), _) => {
                let (content_type, bytes) = (part.content_type, part.content);
                self.attachments.push(Attachment { name, content_type, bytes });
            }
            (None, "text/html") => self.html = Some(part.text()),
            (None, _) => self.text = Some(part.text()),
        }
    }
}
