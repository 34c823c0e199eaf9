//! The values of single settings: parsed from text, each with advice for a wrong one. The settings
//! themselves are in [`super::Config`].

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use licentia_verify::Algorithm;
use tracing_subscriber::EnvFilter;

/// An address and a port to listen on.
pub struct Listen(pub SocketAddr);

impl FromStr for Listen {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let advice = "use an address and a port, like \"127.0.0.1:3100\" or \"[::]:3100\"";
        text.parse().map(Self).map_err(|_| advice)
    }
}

/// The name of a signature algorithm.
pub struct AlgorithmName(pub Algorithm);

impl FromStr for AlgorithmName {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        Algorithm::from_name(text).map(Self).ok_or("use \"EdDSA\" or \"Ed25519\"")
    }
}

/// How the server writes its lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// Each line is a JSON object.
    Json,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("use \"text\" or \"json\""),
        }
    }
}

/// A log filter, checked and as written.
pub struct LogFilter(pub String);

impl FromStr for LogFilter {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let filter = EnvFilter::try_new(text).map(|_| Self(text.to_owned()));
        filter.map_err(
            |_| "use a level like \"info\" or \"debug\", or filters like \"licentia=debug\"",
        )
    }
}

/// A proxy or a network of proxies.
pub struct Proxy(pub IpNet);

impl FromStr for Proxy {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network
            .map(Self)
            .map_err(|_| "use an address or a network, like \"10.0.0.7\" or \"10.0.0.0/8\"")
    }
}
