//! The pages of the mail inbox: the list, and each mail as text, as HTML, raw, and with
//! attachments. The mails are in `mail`.

use askama::Template;

use super::page::{Page, html};
use crate::clock::readable;
use crate::mail::Mail;
use crate::world::World;

#[derive(Template)]
#[template(path = "mails.html")]
struct MailsPage<'a> {
    mails: Vec<MailRow<'a>>,
}

struct MailRow<'a> {
    number: usize,
    subject: &'a str,
    to: String,
    arrived: String,
}

#[derive(Template)]
#[template(path = "mail.html")]
struct MailPage<'a> {
    mail: &'a Mail,
}

/// Returns the list, or one mail in the form that the rest of the path names.
pub fn show(world: &World, rest: &[&str]) -> Page {
    let [number, form @ ..] = rest else { return list(world) };
    let place = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    let Some(mail) = place.and_then(|place| world.mails.get(place)) else { return Page::NotFound };
    match form {
        [] => html(&MailPage { mail }),
        ["html"] => mail.html.clone().map_or(Page::NotFound, Page::MailHtml),
        ["raw"] => Page::File {
            content_type: "message/rfc822".to_owned(),
            name: format!("mail-{number}.eml"),
            bytes: mail.raw.clone(),
        },
        ["attachment", place] => attachment(mail, place),
        _ => Page::NotFound,
    }
}

fn list(world: &World) -> Page {
    html(&MailsPage { mails: world.mails.iter().rev().map(row).collect() })
}

fn row(mail: &Mail) -> MailRow<'_> {
    MailRow {
        number: mail.number,
        subject: if mail.subject().is_empty() { "(no subject)" } else { mail.subject() },
        to: mail.to.join(", "),
        arrived: readable(mail.arrived),
    }
}

fn attachment(mail: &Mail, place: &str) -> Page {
    let place = place.parse::<usize>().ok();
    match place.and_then(|place| mail.attachments.get(place)) {
        Some(attachment) => Page::File {
            content_type: attachment.content_type.clone(),
            name: attachment.name.clone(),
            bytes: attachment.bytes.clone(),
        },
        None => Page::NotFound,
    }
}
