//! The account at Stripe, as it is configured. Talking to it is done by [`crate::stripe`].

use std::fmt;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use crate::settings::Section;

/// Secrets of one webhook endpoint at once: two while it is rolled, and room to spare.
const MAX_WEBHOOK_SECRETS: usize = 8;

/// Whether real money moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StripeMode {
    /// It does not.
    Test,
    /// It does.
    Live,
}

impl StripeMode {
    /// What a key says of itself: `sk_test_…`, `sk_live_…`, and the same with `rk_` for a
    /// restricted one.
    fn of_key(key: &str) -> Option<Self> {
        let kind = key.strip_prefix("sk_").or_else(|| key.strip_prefix("rk_"))?;
        let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
        match kind.split_once('_').filter(|(_, rest)| visible && !rest.is_empty())?.0 {
            "test" => Some(Self::Test),
            "live" => Some(Self::Live),
            _ => None,
        }
    }
}

impl fmt::Display for StripeMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Test => "test",
            Self::Live => "live",
        })
    }
}

impl FromStr for StripeMode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "test" => Ok(Self::Test),
            "live" => Ok(Self::Live),
            _ => Err("use \"test\" or \"live\""),
        }
    }
}

/// When a customer gets a counterpart at Stripe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CreateCustomer {
    /// With the first checkout.
    #[default]
    Checkout,
    /// Soon after the sign-up, which does not wait for it.
    Signup,
}

impl FromStr for CreateCustomer {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "checkout" => Ok(Self::Checkout),
            "signup" => Ok(Self::Signup),
            _ => Err("use \"checkout\" or \"signup\""),
        }
    }
}

/// The account at Stripe.
#[derive(Clone, Debug)]
pub struct StripeConfig {
    /// The API key, `sk_test_…` or `sk_live_…`. A secret.
    pub secret_key: SecretString,
    /// Whether real money moves. Default what the key says; if it is set, the key must agree.
    pub mode: StripeMode,
    /// The secrets of the webhook endpoint, `whsec_…`, several while one is rolled. Secrets.
    pub webhook_secrets: Vec<SecretString>,
    /// Where the API is, without `/v1/`. Default Stripe itself.
    pub api_url: Option<Url>,
    /// When a customer gets a counterpart at Stripe. Default `checkout`.
    pub create_customer: CreateCustomer,
}

impl StripeConfig {
    pub(super) fn read(mut section: Section) -> Option<Self> {
        let key = section.secret("secret_key");
        let wanted = section.parsed::<StripeMode>("mode");
        let webhook_secrets = webhook_secrets(&mut section);
        let api_url = api_url(&mut section);
        let create_customer = section.parsed("create_customer").unwrap_or_default();
        section.finish();
        let Some(secret_key) = key else {
            if !webhook_secrets.is_empty() {
                section
                    .problem("secret_key", "it is missing; webhooks alone cannot be followed up");
            }
            return None;
        };
        let Some(mode) = StripeMode::of_key(secret_key.expose_secret()) else {
            let advice = "use an API key of Stripe's: sk_test_…, sk_live_…, rk_test_… or rk_live_…";
            section.problem("secret_key", advice);
            return None;
        };
        if let Some(wanted) = wanted.filter(|wanted| *wanted != mode) {
            let problem =
                format!("`mode` is {wanted}, and this is a {mode} key; change one of them");
            section.problem("secret_key", problem);
        }
        Some(Self { secret_key, mode, webhook_secrets, api_url, create_customer })
    }
}

fn webhook_secrets(section: &mut Section) -> Vec<SecretString> {
    let Some(text) = section.secret("webhook_secret") else { return Vec::new() };
    // A comma between them, or a line each.
    let parts = text.expose_secret().trim().split([',', '\n']).map(str::trim);
    let secrets: Vec<SecretString> = parts.map(SecretString::from).collect();
    let plain = |secret: &str| secret.bytes().all(|byte| byte.is_ascii_graphic());
    if secrets.iter().any(|secret| matches!(secret.expose_secret(), "" | "whsec_")) {
        section
            .problem("webhook_secret", "one of the secrets is empty; remove the comma beside it");
    } else if secrets.iter().any(|secret| !plain(secret.expose_secret())) {
        section.problem(
            "webhook_secret",
            "use whsec_…, several with a comma and nothing else between",
        );
    }
    if secrets.len() > MAX_WEBHOOK_SECRETS {
        let problem = format!("these are more than {MAX_WEBHOOK_SECRETS}; remove old ones");
        section.problem("webhook_secret", problem);
    }
    secrets
}

/// Anything else than TLS would send the key in the open, unless it stays on this machine.
fn api_url(section: &mut Section) -> Option<Url> {
    let text = section.text("api_url")?;
    let local = |url: &Url| match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let url = Url::parse(&text).ok().filter(|url| {
        let safe = url.scheme() == "https" || (url.scheme() == "http" && local(url));
        safe && url.host().is_some() && url.query().is_none() && url.fragment().is_none()
    });
    if url.is_none() {
        section.problem("api_url", "use an https:// URL, or http:// on this machine");
    }
    url
}
