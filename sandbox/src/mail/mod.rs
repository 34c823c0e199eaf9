//! Received mails, raw and parsed. They are received in `smtp`.

mod mime;

use mime::Part;

/// A received mail.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The number of the mail; the first one is 1.
    pub number: usize,
    /// The time of arrival, in epoch seconds of the sandbox.
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
    /// The attachments.
    pub attachments: Vec<Attachment>,
    /// The whole mail as received.
    pub raw: Vec<u8>,
}

/// A file in a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its name.
    pub name: String,
    /// Its content type in lower case, without parameters.
    pub content_type: String,
    /// Its decoded bytes.
    pub bytes: Vec<u8>,
}

impl Mail {
    /// Parses a mail.
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

    /// Returns a decoded header; empty if it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        mime::header(&self.headers, name)
    }

    /// Returns the subject.
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
