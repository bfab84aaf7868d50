//! Where a registry is: the address that belongs to an image reference's domain.

use std::net::IpAddr;

/// The registry that `docker.io` stands for.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// A registry's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Host with port, as in the URL.
    pub host: String,
    /// Whether it is this very machine: then it is asked without TLS and without a proxy.
    pub is_loopback: bool,
}

impl Endpoint {
    /// The registry of an image reference's domain.
    pub fn of(domain: &str) -> Self {
        if domain == "docker.io" {
            return Self { host: DOCKER_HUB.to_owned(), is_loopback: false };
        }
        Self { host: domain.to_owned(), is_loopback: is_loopback(domain) }
    }

    /// The root of its API, without a slash at the end.
    pub fn url(&self) -> String {
        let scheme = if self.is_loopback { "http" } else { "https" };
        format!("{scheme}://{}", self.host)
    }
}

fn is_loopback(domain: &str) -> bool {
    let host = match domain.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => domain.split(':').next().unwrap_or_default(),
    };
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_goes_without_tls() {
        for (domain, url) in [
            ("docker.io", "https://registry-1.docker.io"),
            ("ghcr.io", "https://ghcr.io"),
            ("localhost:5000", "http://localhost:5000"),
            ("localhost", "http://localhost"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000"),
            ("127.9.9.9", "http://127.9.9.9"),
            ("[::1]:5000", "http://[::1]:5000"),
            ("10.0.0.1:5000", "https://10.0.0.1:5000"),
            ("localhost.example.com", "https://localhost.example.com"),
        ] {
            assert_eq!(Endpoint::of(domain).url(), url);
        }
    }
}
