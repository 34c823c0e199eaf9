//! The settings under `stripe`. The calls to Stripe are in [`crate::stripe`].

use std::fmt;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use crate::settings::Section;

/// The maximum number of secrets of one webhook endpoint. While a secret is rolled, there are two.
const MAX_WEBHOOK_SECRETS: usize = 8;

/// The mode of the Stripe account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StripeMode {
    /// Test mode: no real money.
    Test,
    /// Live mode: real money.
    Live,
}

impl StripeMode {
    /// Returns the mode in a key's prefix: `sk_test_`, `sk_live_`, or `rk_…` for a restricted key.
    fn of_key(key: &str) -> Option<Self> {
        let kind = key.strip_prefix("sk_").or_else(|| key.strip_prefix("rk_"))?;
        let is_visible = key.bytes().all(|byte| byte.is_ascii_graphic());
        match kind.split_once('_').filter(|(_, rest)| is_visible && !rest.is_empty())?.0 {
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

/// When the Stripe customer is created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CreateCustomer {
    /// At the first checkout.
    #[default]
    Checkout,
    /// In the background after sign-up.
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

/// The settings of the Stripe account.
#[derive(Clone, Debug)]
pub struct StripeConfig {
    /// The API key, `sk_test_…` or `sk_live_…`. A secret.
    pub secret_key: SecretString,
    /// The mode. Default the key's mode; if it is set, the key must have the same mode.
    pub mode: StripeMode,
    /// The secrets of the webhook endpoint, `whsec_…`; several while one is rolled. Secrets.
    pub webhook_secrets: Vec<SecretString>,
    /// The base URL of the API, without `/v1/`. Default Stripe's.
    pub api_url: Option<Url>,
    /// When the Stripe customer is created. Default `checkout`.
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
                let problem = "it is missing; events cannot be processed without it";
                section.problem("secret_key", problem);
            }
            return None;
        };
        let Some(mode) = StripeMode::of_key(secret_key.expose_secret()) else {
            let advice = "use a Stripe API key: sk_test_…, sk_live_…, rk_test_… or rk_live_…";
            section.problem("secret_key", advice);
            return None;
        };
        if let Some(wanted) = wanted.filter(|wanted| *wanted != mode) {
            let problem =
                format!("`mode` is {wanted}, but this is a {mode} key; change one of them");
            section.problem("secret_key", problem);
        }
        Some(Self { secret_key, mode, webhook_secrets, api_url, create_customer })
    }
}

fn webhook_secrets(section: &mut Section) -> Vec<SecretString> {
    let Some(text) = section.secret("webhook_secret") else { return Vec::new() };
    // Separated by commas or line ends.
    let parts = text.expose_secret().trim().split([',', '\n']).map(str::trim);
    let secrets: Vec<SecretString> = parts.map(SecretString::from).collect();
    let is_plain = |secret: &str| secret.bytes().all(|byte| byte.is_ascii_graphic());
    if secrets.iter().any(|secret| matches!(secret.expose_secret(), "" | "whsec_")) {
        section
            .problem("webhook_secret", "one of the secrets is empty; remove the comma next to it");
    } else if secrets.iter().any(|secret| !is_plain(secret.expose_secret())) {
        section.problem("webhook_secret", "use whsec_…, or several of them separated by commas");
    }
    if secrets.len() > MAX_WEBHOOK_SECRETS {
        let problem = format!("there are more than {MAX_WEBHOOK_SECRETS}; remove old ones");
        section.problem("webhook_secret", problem);
    }
    secrets
}

/// Returns the API's URL. It must use TLS, which protects the key, unless it is on this machine.
fn api_url(section: &mut Section) -> Option<Url> {
    let text = section.text("api_url")?;
    let is_local = |url: &Url| match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let url = Url::parse(&text).ok().filter(|url| {
        let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_local(url));
        is_safe && url.host().is_some() && url.query().is_none() && url.fragment().is_none()
    });
    if url.is_none() {
        section.problem("api_url", "use an https:// URL, or an http:// URL on this machine");
    }
    url
}
