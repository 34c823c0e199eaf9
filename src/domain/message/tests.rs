//! Tests of the texts of mails: every kind, in each of its cases, in each language.

use super::*;
use crate::domain::account::mail_link::LinkKind;
use crate::domain::sale::plan::Catalog;
use crate::domain::sale::subscription::{Status, SubscriptionRow};
use crate::domain::time::Timestamp;
use crate::plans;

const NOW: i64 = 1_795_186_800;

fn now() -> Timestamp {
    Timestamp::saturating(NOW)
}

fn catalog() -> Catalog {
    plans::load(None).unwrap()
}

fn templates() -> Templates {
    Templates::new([]).unwrap_or_else(|invalid| panic!("{invalid:?}"))
}

const LICENSE: &str = "a.b.c";

fn facts(kind: Kind) -> Facts<'static> {
    let has_license = matches!(kind.license(), LicenseUse::Attached | LicenseUse::IfItWorks);
    Facts {
        kind,
        language: Language::English,
        product: "acme-app",
        name: Some("Ada"),
        plan: Some("Professional"),
        quantity: None,
        addons: Vec::new(),
        ends: Some(Timestamp::saturating(1_796_396_400)),
        updates_until: None,
        paid_months: None,
        offline_until: None,
        token: has_license.then_some(LICENSE),
        keys: None,
        status: None,
        payment: None,
        subscription: SubscriptionFacts::default(),
        links: Links::to_pages("https://licenses.acme.example", true),
    }
}

#[test]
fn every_mail_renders_in_each_case_and_language() {
    let (templates, catalog) = (templates(), catalog());
    assert_eq!(templates.check(&catalog, now()), []);
    for language in Language::ALL {
        for (kind, case) in Kind::all_cases() {
            let letter = templates.preview((kind, case), language, &catalog, now()).unwrap();
            let what = format!("{language} {kind} {case}: {}", letter.text);
            assert!(letter.subject.contains("acme-app"), "{what}");
            assert!(!letter.subject.contains(['{', '\n']), "{what}");
            let hello = if language == Language::English { "Hello" } else { "Guten Tag" };
            let name = if case == Case::Unverified { "" } else { " Ada Lovelace" };
            assert!(letter.text.starts_with(&format!("{hello}{name},\n\n")), "{what}");
            assert!(letter.html.contains(&format!("<p>{hello}{name},</p>")), "{what}");
            assert!(!letter.text.contains("\n\n\n") && !letter.text.contains("\n\n,"), "{what}");
            for text in [&letter.text, &letter.html] {
                assert!(!text.contains("none") && !text.contains("{{"), "{what}");
                assert!(!text.contains("  \n") && !text.contains("undefined"), "{what}");
            }
            assert!(letter.html.contains(&format!("<html lang=\"{language}\">")), "{what}");
        }
    }
}

#[test]
fn the_two_parts_of_a_mail_have_the_same_links_and_facts() {
    let (templates, catalog) = (templates(), catalog());
    for language in Language::ALL {
        for (kind, case) in Kind::all_cases() {
            let letter = templates.preview((kind, case), language, &catalog, now()).unwrap();
            let html = &letter.html;
            let urls = letter.text.split_whitespace().filter(|word| word.starts_with("https://"));
            for url in urls {
                assert!(html.contains(&format!("href=\"{url}\"")), "{kind} {case}: {url}\n{html}");
            }
            let links = letter.text.matches("https://").count();
            assert_eq!(html.matches("href=\"https://").count(), links, "{kind} {case}");
            if let Some(license) = &letter.license {
                assert!(letter.text.contains(license) && html.contains(license), "{kind} {case}");
            }
        }
    }
}

/// A mail has the link to what it asks for.
#[test]
fn each_mail_has_the_links_that_it_needs() {
    let (templates, catalog) = (templates(), catalog());
    use Kind::{
        Bought, Cancellation, Granted, LicenseEnded, PasswordChanged, PaymentPending,
        PaymentProblem, PurchaseWaiting, Receipt, Renewal, Reset, Trial, TrialEnded, TrialEnding,
        Upgrade, Verify,
    };
    for (kind, path) in [
        (Trial, "/account/verify#token=llnk_"),
        (Trial, "/account#plans"),
        (Verify, "/account/verify#token=llnk_"),
        (Reset, "/account/reset#token=llnk_"),
        (PasswordChanged, "/account\n"),
        (Granted, "/account/portal?token=llnk_"),
        (Bought, "/account/portal?token=llnk_"),
        (Bought, "/account/reset#token=llnk_"),
        (PurchaseWaiting, "/account/reset#token=llnk_"),
        (Upgrade, "/account/portal?token=llnk_"),
        (Renewal, "/account/portal?token=llnk_"),
        (PaymentPending, "/account/portal?token=llnk_"),
        (PaymentPending, "https://invoice.stripe.com/"),
        (PaymentProblem, "/account/portal?token=llnk_"),
        (PaymentProblem, "https://invoice.stripe.com/"),
        (Cancellation, "/account/portal?token=llnk_"),
        (Receipt, "https://invoice.stripe.com/"),
        (TrialEnding, "/account#plans"),
        (TrialEnded, "/account#plans"),
        (LicenseEnded, "/account#plans"),
    ] {
        for language in Language::ALL {
            let sample = (kind, kind.usual_case());
            let letter = templates.preview(sample, language, &catalog, now()).unwrap();
            assert!(letter.text.contains(path), "{kind}: {path}\n{}", letter.text);
        }
    }
}

#[test]
fn a_mail_contains_the_license_and_its_end() {
    let templates = templates();
    let letter = templates.write(&Facts { name: None, ..facts(Kind::Trial) }).unwrap();
    assert_eq!(letter.subject, "Your trial of acme-app");
    assert!(letter.text.starts_with("Hello,\n\nThank you for trying acme-app."));
    for text in [&letter.text, &letter.html] {
        assert!(text.contains("4 December 2026, 15:00"), "{text}");
        assert!(text.contains("a.b.c"), "{text}");
    }
    assert_eq!(letter.license.as_deref(), Some(LICENSE));
    let forever = templates.write(&Facts { ends: None, ..facts(Kind::Granted) }).unwrap();
    assert!(forever.text.contains("Does not expire"), "{}", forever.text);
}

#[test]
fn a_cancellation_beside_a_perpetual_license_announces_no_end() {
    let templates = templates();
    for (language, keeps, until) in [
        (Language::English, "You keep your license: it does not expire.", "until the date below"),
        (Language::German, "Ihre Lizenz behalten Sie: Sie läuft nicht ab.", "bis zum unten"),
    ] {
        let facts = Facts { language, ..facts(Kind::Cancellation) };
        let ending = templates.write(&facts).unwrap();
        let forever = templates.write(&Facts { ends: None, ..facts }).unwrap();
        for (ending, forever) in [(ending.text, forever.text), (ending.html, forever.html)] {
            assert!(ending.contains(until) && !ending.contains(keeps), "{ending}");
            assert!(forever.contains(keeps) && !forever.contains(until), "{forever}");
        }
    }
}

#[test]
fn a_mail_about_a_perpetual_license_says_only_of_a_subscription_that_has_ended_that_it_ended() {
    let templates = templates();
    for (language, has_ended) in
        [(Language::English, "has ended"), (Language::German, "ist beendet")]
    {
        for kind in [Kind::PerpetualAgain, Kind::Fallback] {
            for is_live in [true, false] {
                let subscription = SubscriptionFacts { is_live, ..SubscriptionFacts::default() };
                let facts = Facts { language, subscription, ends: None, ..facts(kind) };
                let letter = templates.write(&facts).unwrap();
                for text in [letter.text, letter.html] {
                    assert_eq!(text.contains(has_ended), !is_live, "{kind} {is_live}: {text}");
                    assert!(text.contains("acme-app"), "{text}");
                }
            }
        }
    }
}

#[test]
fn a_subscription_beside_a_perpetual_license_is_charged_unless_it_ends_or_pauses() {
    let row = |status: &str, cancel_at| SubscriptionRow {
        customer_id: "cust_00000000000000000000000000000001".parse().unwrap(),
        stripe_subscription_id: "sub_1".parse().unwrap(),
        plan: None,
        status: Status::from_name(status),
        items: None,
        currency: None,
        current_period_end: None,
        cancel_at,
        trial_end: Some(now()),
        pending_until: None,
        created_at: now(),
        updated_at: now(),
    };
    for (status, has_method, is_live, is_charged, from) in [
        ("active", false, true, true, None),
        ("past_due", true, true, true, None),
        ("trialing", true, true, true, Some(now())),
        ("trialing", false, true, false, None),
        ("paused", true, true, false, None),
        ("unpaid", true, true, false, None),
        ("canceled", true, false, false, None),
        ("incomplete", true, false, false, None),
    ] {
        let found = SubscriptionFacts::beside_perpetual(&row(status, None), has_method);
        let expected = SubscriptionFacts {
            is_live,
            is_still_charged: is_charged,
            charged_from: from,
            ..SubscriptionFacts::default()
        };
        assert_eq!(found, expected, "{status} {has_method}");
        let ending = SubscriptionFacts::beside_perpetual(&row(status, Some(now())), has_method);
        let expected = SubscriptionFacts { is_live, ..SubscriptionFacts::default() };
        assert_eq!(ending, expected, "{status} {has_method}");
    }
}

#[test]
fn a_mail_says_until_when_the_file_works_offline_if_that_is_earlier() {
    let templates = templates();
    let offline_until = Some(Timestamp::saturating(1_796_310_000));
    for (language, sentence) in [
        (Language::English, "this file works until 3 December 2026, 15:00 UTC"),
        (Language::German, "funktioniert diese Datei bis zum 3. Dezember 2026, 15:00 Uhr (UTC)"),
    ] {
        let facts = Facts { language, ..facts(Kind::Renewal) };
        let earlier = templates.write(&Facts { offline_until, ..facts.clone() }).unwrap();
        assert!(earlier.text.contains(sentence), "{}", earlier.text);
        let html = earlier.html.replace("<strong>", "").replace("</strong>", "");
        assert!(html.contains(sentence), "{html}");
        let whole = templates.write(&facts).unwrap();
        assert!(!whole.text.contains("3 December") && !whole.text.contains("3. Dezember"));
    }
}

#[test]
fn a_receipt_has_the_amount_and_the_invoice_in_the_form_of_the_language() {
    let templates = templates();
    for (language, amount) in
        [(Language::English, "1,234.50 EUR"), (Language::German, "1.234,50 EUR")]
    {
        let invoice_url = Some("https://invoice.stripe.com/i/1");
        let payment = Some(Payment { amount: 123_450, currency: "eur", invoice_url });
        for kind in [Kind::Receipt, Kind::Renewal, Kind::Upgrade, Kind::Granted] {
            let letter = templates.write(&Facts { language, payment, ..facts(kind) }).unwrap();
            let html = &letter.html;
            for text in [&letter.text, html] {
                assert!(text.contains(amount), "{kind}: {text}");
                assert!(text.contains("https://invoice.stripe.com/i/1"), "{kind}: {text}");
            }
        }
    }
}

#[test]
fn a_mail_whose_license_ended_before_it_was_sent_says_that_it_ended() {
    let ended = |kind: Kind| kind.after_the_end();
    for kind in Kind::ALL.into_iter().filter(|kind| kind.license() == LicenseUse::Attached) {
        let expected = if kind == Kind::Trial { Kind::TrialEnded } else { Kind::LicenseEnded };
        assert_eq!(ended(kind), expected, "{kind}");
    }
    assert_eq!(ended(Kind::Cancellation), Kind::LicenseEnded);
    assert_eq!(ended(Kind::PaymentProblem), Kind::PaymentProblem);
    let letter = templates().write(&facts(Kind::LicenseEnded)).unwrap();
    assert_eq!(letter.subject, "Your license for acme-app has ended");
    assert!(!letter.text.contains("Valid") && !letter.text.contains("license.jwt"));
    assert_eq!(letter.license, None);
}

#[test]
fn security_21_every_text_is_escaped_in_html() {
    let templates = templates();
    let typed = "<script>&\"'";
    for language in Language::ALL {
        for kind in Kind::ALL {
            let facts = Facts { language, product: typed, name: Some(typed), ..facts(kind) };
            let payment = Payment { amount: 1, currency: typed, invoice_url: Some(typed) };
            let facts = Facts { plan: Some(typed), payment: Some(payment), ..facts };
            let made = LinkKind::ALL.map(|kind| (kind, typed.to_owned())).to_vec();
            let links = Links { account: typed.into(), plans: Some(typed.into()), made };
            let letter = templates.write(&Facts { links, ..facts }).unwrap();
            assert!(letter.text.contains(typed), "{}", letter.text);
            assert!(!letter.html.contains("<script>"), "{}", letter.html);
            assert!(!letter.html.contains("&\"'"), "{}", letter.html);
        }
    }
}

fn overriding(name: &str, text: &str) -> Vec<InvalidTemplate> {
    match Templates::new([(name.to_owned(), text.to_owned())]) {
        Ok(templates) => templates.check(&catalog(), now()),
        Err(invalid) => invalid,
    }
}

#[test]
fn a_vendors_template_replaces_the_built_in_one_of_its_name() {
    let text = "Welcome to {{ product }}\n\nHi{% if name %} {{ name }}{% endif %}!\n\
                {% if links.verify %}{{ links.verify }}{% endif %}\n";
    assert_eq!(overriding("en/trial.txt", text), []);
    let own = Templates::new([("en/trial.txt".to_owned(), text.to_owned())]);
    let own = own.unwrap_or_else(|invalid| panic!("{invalid:?}"));
    let letter = own.write(&facts(Kind::Trial)).unwrap();
    assert_eq!((&*letter.subject, &*letter.text), ("Welcome to acme-app", "Hi Ada!\n"));
    assert!(letter.html.contains("Thank you for trying acme-app."));
    // A layout surrounds all mails.
    let layout = ("layout.html".to_owned(), "<b>Acme</b>{% block body %}{% endblock %}".to_owned());
    let own = Templates::new([layout]).unwrap_or_else(|invalid| panic!("{invalid:?}"));
    assert!(own.write(&facts(Kind::Renewal)).unwrap().html.starts_with("<b>Acme</b><p>Hello Ada"));
}

#[test]
fn a_broken_template_is_named_with_its_line_and_the_mistake() {
    for (name, text, line, problem) in [
        ("en/trial.txt", "Subject\n\n{% if name %}\nHello\n", 4, "syntax error"),
        ("en/trial.txt", "Subject\n\n{{ nmae }}\n", 3, "undefined"),
        ("de/renewal.html", "{% extends \"layuot.html\" %}", 1, "layuot.html"),
        ("en/license.txt", "\n{{ plan }}\n{{ license | uper }}\n", 3, "uper"),
        ("en/reset.txt", "Subject\n\nAsk us.\n", 1, "the mail needs the link {{ links.reset }}"),
        ("en/renewal.txt", "\n\nHello\n", 1, "the first line is the subject; it is empty"),
    ] {
        let invalid = overriding(name, text);
        let [first, ..] = &invalid[..] else { panic!("{name} is accepted: {text}") };
        assert_eq!((&*first.name, first.line), (name, Some(line)), "{first}");
        assert!(first.problem.contains(problem), "{first}");
        assert!(first.to_string().starts_with(&format!("{name}, line {line}: ")), "{first}");
    }
}
