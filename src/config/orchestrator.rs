//! Recognizes the variables that orchestrators set for a service or container named `licentia` or
//! `licentia-…`. They have our prefix but are not settings.

/// The transports in the variables of Kubernetes and Docker.
const TRANSPORTS: [&str; 3] = ["tcp", "udp", "sctp"];

/// Returns whether an orchestrator sets this variable. `key` is its name in lower case, without
/// `LICENTIA_`.
///
/// Kubernetes:
/// <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>.
/// Docker: <https://docs.docker.com/engine/network/links/#environment-variables>.
pub fn sets(key: &str, value: &str) -> bool {
    let words: Vec<_> = key.split('_').collect();
    // The rest of a service's name comes first: `LICENTIA_POSTGRES_SERVICE_HOST`.
    (0..words.len()).any(|name| is_of_service(&words[name..], value))
        || is_of_container(&words, value)
}

fn is_of_service(words: &[&str], value: &str) -> bool {
    match *words {
        // `LICENTIA_PORT=tcp://10.0.0.1:3100`. A plain number is a misspelled `listen`.
        ["port"] => is_url(value),
        ["service", "host"] | ["service", "port"] => true,
        ["service", "port", ref name @ ..] => name.iter().all(|word| !word.is_empty()),
        ["port", number, transport, ref rest @ ..] => {
            let part = matches!(rest, [] | ["addr" | "port" | "proto"]);
            number.parse::<u16>().is_ok() && TRANSPORTS.contains(&transport) && part
        }
        _ => false,
    }
}

/// `LICENTIA_NAME=/web/licentia`, and the environment of a linked container.
fn is_of_container(words: &[&str], value: &str) -> bool {
    match *words {
        ["name"] => value.starts_with('/'),
        ["env", ..] => true,
        _ => false,
    }
}

fn is_url(value: &str) -> bool {
    let Some((transport, address)) = value.split_once("://") else { return false };
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    TRANSPORTS.contains(&transport) && port.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_of_kubernetes_and_docker_are_recognized() {
        for (key, value) in [
            ("service_host", "10.0.0.1"),
            ("service_port", "3100"),
            ("service_port_http", "3100"),
            ("service_port_http_metrics", "3100"),
            ("port", "tcp://10.0.0.1:3100"),
            ("port", "tcp://[fd00::1]:3100"),
            ("port_3100_tcp", "tcp://10.0.0.1:3100"),
            ("port_3100_tcp_addr", "10.0.0.1"),
            ("port_3100_tcp_port", "3100"),
            ("port_3100_tcp_proto", "tcp"),
            ("port_53_udp_proto", "udp"),
            ("postgres_service_host", "10.0.0.2"),
            ("postgres_service_port_metrics", "9187"),
            ("postgres_port", "tcp://10.0.0.2:5432"),
            ("stripe_mock_port_12111_tcp_addr", "10.0.0.3"),
            ("name", "/web/licentia"),
            ("env_licentia_listen", "0.0.0.0:3100"),
        ] {
            assert!(sets(key, value), "{key}={value}");
        }
    }

    #[test]
    fn a_misspelled_setting_is_not_recognized() {
        for (key, value) in [
            ("port", "3100"),
            ("port", "http://10.0.0.1:3100"),
            ("port", "tcp://10.0.0.1"),
            ("ports", "tcp://10.0.0.1:3100"),
            ("port_http_tcp", "tcp://10.0.0.1:3100"),
            ("port_3100", "3100"),
            ("port_3100_http", "3100"),
            ("port_3100_tcp_address", "10.0.0.1"),
            ("service", "licentia"),
            ("service_url", "http://10.0.0.1"),
            ("service_port_", "3100"),
            ("name", "licentia"),
            ("environment", "test"),
            ("listn", "127.0.0.1:3100"),
        ] {
            assert!(!sets(key, value), "{key}={value}");
        }
    }
}
