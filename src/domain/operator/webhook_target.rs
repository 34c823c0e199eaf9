//! The targets of outgoing webhooks: which URLs and addresses may be called. Without this check,
//! an admin key could reach services that only this server can reach, such as a cloud's metadata
//! service. Names are resolved in [`crate::outgoing`], which checks each address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use url::{Host, Url};

/// The longest URL, in bytes.
pub const MAX_URL_BYTES: usize = 2000;

/// The ports of mail servers, which accept mails in the text of other protocols.
const MAIL_PORTS: [u16; 3] = [25, 465, 587];

/// The targets that are allowed: the setting `webhooks.allow_private`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Targets {
    /// `https` URLs at public addresses.
    Public,
    /// All addresses, also by `http`.
    Any,
}

/// The reason why a target is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedTarget {
    /// It is not a URL, or too long.
    #[error("use a complete URL of at most {MAX_URL_BYTES} bytes, like https://acme.example/hooks")]
    NotAUrl,
    /// It is not encrypted.
    #[error("use an https:// URL (http:// needs the setting `webhooks.allow_private`)")]
    NotHttps,
    /// It has a user name or a password. The log and other operators would see them.
    #[error("remove the user name and the password; the signature authenticates the sender")]
    HasUser,
    /// It is the port of a mail server.
    #[error("use another port; this one belongs to a mail server")]
    MailPort,
    /// The address is not public.
    #[error(
        "this host has no public address: loopback, private, link-local and similar addresses need \
         the setting `webhooks.allow_private`"
    )]
    NotPublic,
}

/// A URL that may be called. A host name is not resolved yet.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(Url);

impl WebhookUrl {
    /// Returns the URL in this text.
    ///
    /// # Errors
    /// The reason why it may not be called.
    pub fn parse(text: &str, targets: Targets) -> Result<Self, RefusedTarget> {
        if text.len() > MAX_URL_BYTES {
            return Err(RefusedTarget::NotAUrl);
        }
        let mut url = Url::parse(text).map_err(|_| RefusedTarget::NotAUrl)?;
        match (url.scheme(), targets) {
            ("https", _) | ("http", Targets::Any) => {}
            ("http", Targets::Public) => return Err(RefusedTarget::NotHttps),
            _ => return Err(RefusedTarget::NotAUrl),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(RefusedTarget::HasUser);
        }
        if url.port().is_some_and(|port| MAIL_PORTS.contains(&port)) {
            return Err(RefusedTarget::MailPort);
        }
        let is_allowed = match url.host().ok_or(RefusedTarget::NotAUrl)? {
            Host::Domain(name) => !is_local_name(name),
            Host::Ipv4(address) => is_public(address.into()),
            Host::Ipv6(address) => is_public(address.into()),
        };
        if targets == Targets::Public && !is_allowed {
            return Err(RefusedTarget::NotPublic);
        }
        url.set_fragment(None);
        // Percent-encoding makes a URL longer.
        if url.as_str().len() > MAX_URL_BYTES {
            return Err(RefusedTarget::NotAUrl);
        }
        Ok(Self(url))
    }

    /// Returns the URL as text. The path may be a secret of the receiver.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns scheme, host and port, for the audit log.
    #[must_use]
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// Returns the host name; `None` if the host is an address, which was checked.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.domain()
    }
}

/// Returns whether a name means this machine by definition (RFC 6761, section 6.3).
fn is_local_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

/// The networks that are not public (IANA's registries of special-purpose addresses, RFC 6890).
const SPECIAL_V4: [Ipv4Net; 15] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
];

/// The only network of public unicast addresses (RFC 4291, section 2.4).
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0], 3);

/// The parts of it that are not public: protocols such as Teredo, documentation, and 6to4, which
/// contains IPv4 addresses.
const SPECIAL_V6: [Ipv6Net; 4] =
    [v6([0x2001, 0], 23), v6([0x2001, 0xdb8], 32), v6([0x2002, 0], 16), v6([0x3fff, 0], 20)];

/// The network in which NAT64 translates IPv4 addresses (RFC 6052, section 2.1).
const NAT64: Ipv6Net = v6([0x64, 0xff9b], 96);

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6([a, b]: [u16; 2], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), prefix)
}

/// Returns whether an address is one of the public internet. An IPv4 address that is mapped into
/// IPv6, or translated by NAT64, counts as itself.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !SPECIAL_V4.iter().any(|network| network.contains(&address)),
        IpAddr::V6(address) => {
            if let Some(mapped) = address.to_ipv4_mapped() {
                return is_public(mapped.into());
            }
            if NAT64.contains(&address) {
                let [.., a, b, c, d] = address.octets();
                return is_public(Ipv4Addr::new(a, b, c, d).into());
            }
            let is_special = SPECIAL_V6.iter().any(|network| network.contains(&address));
            GLOBAL_V6.contains(&address) && !is_special
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for public in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111"]
            .into_iter()
            .chain(["::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "192.0.1.1", "198.20.0.1"])
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::8.8.8.8",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }

    #[test]
    fn a_url_is_refused_in_every_spelling_of_a_private_address() {
        let public = |text: &str| WebhookUrl::parse(text, Targets::Public).map(|url| url.0);
        for good in
            ["https://acme.example/hooks?key=1", "https://8.8.8.8:8443/", "https://ä.example"]
        {
            assert!(public(good).is_ok(), "{good}");
        }
        for private in [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://127.0.0.1./",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:7f00:1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[fd00::1]/",
            "https://169.254.169.254/latest/meta-data",
            "https://localhost/",
            "https://LOCALHOST./",
            "https://hooks.localhost/",
            "https://１２７.0.0.1/",
        ] {
            assert_eq!(public(private), Err(RefusedTarget::NotPublic), "{private}");
            assert!(WebhookUrl::parse(private, Targets::Any).is_ok(), "{private}");
        }
    }

    #[test]
    fn a_url_of_another_kind_is_refused_with_the_reason() {
        use RefusedTarget::{HasUser, MailPort, NotAUrl, NotHttps};
        let long = format!("https://acme.example/{}", "a".repeat(MAX_URL_BYTES));
        let grows = format!("https://acme.example/{}", "ä".repeat(900));
        for (text, why) in [
            ("", NotAUrl),
            ("acme.example/hooks", NotAUrl),
            ("https://", NotAUrl),
            ("ftp://acme.example/", NotAUrl),
            ("javascript:alert(1)", NotAUrl),
            ("file:///etc/passwd", NotAUrl),
            (&long, NotAUrl),
            (&grows, NotAUrl),
            ("https://ada:secret@acme.example/", HasUser),
            ("https://ada@acme.example/", HasUser),
            ("https://acme.example:25/", MailPort),
            ("https://acme.example:587/", MailPort),
        ] {
            for targets in [Targets::Public, Targets::Any] {
                assert_eq!(WebhookUrl::parse(text, targets).err(), Some(why), "{text}");
            }
        }
        let plain = "http://acme.example/";
        assert_eq!(WebhookUrl::parse(plain, Targets::Public).err(), Some(NotHttps));
        assert!(WebhookUrl::parse(plain, Targets::Any).is_ok());
    }
}
