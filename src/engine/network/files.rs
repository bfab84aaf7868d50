//! What a container reads in /etc/hosts, /etc/hostname and /etc/resolv.conf. Pure, but for [`HostResolver::read`].

use std::fmt::Write;
use std::fs;
use std::net::IpAddr;

use crate::engine::EngineError;

/// The address of the resolver that answers names on user networks.
pub const EMBEDDED_RESOLVER: &str = "127.0.0.11";

/// Who is asked where the host names only itself, as in Docker (`libnetwork/internal/resolvconf`).
const FALLBACK: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

/// What a resolv.conf says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostResolver {
    /// Whom to ask.
    pub nameservers: Vec<IpAddr>,
    /// Domains to try.
    pub search: Vec<String>,
    /// Options like `ndots:2`.
    pub options: Vec<String>,
}

impl HostResolver {
    /// Reads the text of a resolv.conf; what it doesn't know, it passes over.
    pub fn parse(text: &str) -> Self {
        let mut it = Self::default();
        for line in text.lines() {
            let mut words = line.split(['#', ';']).next().unwrap_or_default().split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().map(|word| word.split('%').next().unwrap_or(word));
                    it.nameservers.extend(address.and_then(|word| word.parse::<IpAddr>().ok()));
                }
                Some("search" | "domain") => it.search = words.map(str::to_owned).collect(),
                Some("options") => it.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        it
    }

    /// The host's resolver. Where systemd-resolved stands in for the real servers, theirs are read, since a container's
    /// loopback is not the host's.
    pub fn read() -> Self {
        let read = |path| fs::read_to_string(path).map(|text| Self::parse(&text)).unwrap_or_default();
        let host = read("/etc/resolv.conf");
        let stub = [IpAddr::from([127, 0, 0, 53])];
        if host.nameservers == stub {
            let real = read("/run/systemd/resolve/resolv.conf");
            if !real.nameservers.is_empty() {
                return real;
            }
        }
        host
    }
}

/// `HostConfig.Dns`, `DnsSearch` and `DnsOptions`: each, where not empty, takes the place of the host's.
#[derive(Debug, Clone, Copy, Default)]
pub struct DnsSettings<'a> {
    /// Whom to ask.
    pub servers: &'a [String],
    /// Domains to try; a single `.` means none.
    pub search: &'a [String],
    /// Options.
    pub options: &'a [String],
}

/// Who answers a container's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResolverKind {
    /// The host's own servers, as the host sees them (network mode host).
    Host,
    /// The host's servers that a container can reach (default bridge, none).
    Reachable,
    /// The shim's resolver at [`EMBEDDED_RESOLVER`] (user networks).
    Embedded,
}

/// The servers that a container's questions end at: those of `settings`, or else the host's.
pub fn upstreams(kind: ResolverKind, host: &HostResolver, settings: DnsSettings<'_>) -> Vec<IpAddr> {
    if !settings.servers.is_empty() {
        return settings.servers.iter().filter_map(|server| server.parse().ok()).collect();
    }
    let servers: Vec<IpAddr> = match kind {
        // The shim asks from the host's namespace, where the host's loopback is its own.
        ResolverKind::Host | ResolverKind::Embedded => host.nameservers.clone(),
        ResolverKind::Reachable => host.nameservers.iter().filter(|server| !server.is_loopback()).copied().collect(),
    };
    if servers.is_empty() && kind != ResolverKind::Host {
        return FALLBACK.iter().filter_map(|server| server.parse().ok()).collect();
    }
    servers
}

/// The text of /etc/resolv.conf.
pub fn resolv_conf(kind: ResolverKind, host: &HostResolver, settings: DnsSettings<'_>) -> String {
    let servers: Vec<String> = match kind {
        ResolverKind::Embedded => vec![EMBEDDED_RESOLVER.to_owned()],
        _ => upstreams(kind, host, settings).iter().map(IpAddr::to_string).collect(),
    };
    let search = if settings.search.is_empty() { &host.search } else { settings.search };
    let mut options = if settings.options.is_empty() { host.options.clone() } else { settings.options.to_vec() };
    if kind == ResolverKind::Embedded && !options.iter().any(|option| option.starts_with("ndots:")) {
        // As Docker: names without a dot are asked as they are first, since they are the members' names.
        options.push("ndots:0".to_owned());
    }
    let mut text = String::from("# Made by boxyard; container settings (--dns, --dns-search, --dns-option) go here.\n");
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !search.is_empty() && search != ["."] {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    if !options.is_empty() {
        let _ = writeln!(text, "options {}", options.join(" "));
    }
    text
}

/// The text of /etc/hostname.
pub fn hostname(hostname: &str) -> String {
    format!("{hostname}\n")
}

/// What /etc/hosts is made from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hosts<'a> {
    /// The container's host name.
    pub hostname: &'a str,
    /// Its domain name, or empty.
    pub domainname: &'a str,
    /// Its own addresses; none on host and none.
    pub addresses: &'a [IpAddr],
    /// `HostConfig.ExtraHosts`: `name:address` or `name=address`; the address may be `host-gateway`.
    pub extra_hosts: &'a [String],
    /// What `host-gateway` stands for: the default bridge's address.
    pub host_gateway: Option<IpAddr>,
    /// Other containers known by `--link` on the default bridge: address and names.
    pub links: &'a [(IpAddr, Vec<String>)],
}

/// The text of /etc/hosts.
///
/// # Errors
/// An extra host that is no `name:address`, in Docker's words.
pub fn hosts(input: &Hosts<'_>) -> Result<String, EngineError> {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n",
    );
    for extra in input.extra_hosts {
        let (name, address) = extra_host(extra)?;
        let address = if address == "host-gateway" {
            input.host_gateway.map(|address| address.to_string()).ok_or_else(|| {
                EngineError::invalid("unable to derive the IP value for host-gateway: there is no default bridge")
            })?
        } else {
            address.to_owned()
        };
        let _ = writeln!(text, "{address}\t{name}");
    }
    for (address, names) in input.links {
        let _ = writeln!(text, "{address}\t{}", names.join(" "));
    }
    let own = match input.domainname {
        "" => input.hostname.to_owned(),
        domain => format!("{}.{domain} {}", input.hostname, input.hostname),
    };
    for address in input.addresses {
        let _ = writeln!(text, "{address}\t{own}");
    }
    Ok(text)
}

/// The two halves of an extra host.
///
/// # Errors
/// Docker's words where it has no name, or an address that is none.
pub fn extra_host(extra: &str) -> Result<(&str, &str), EngineError> {
    let bad_format = || EngineError::invalid(format!("bad format for add-host: \"{extra}\""));
    let (name, address) = extra.split_once(['=', ':']).ok_or_else(bad_format)?;
    if name.is_empty() {
        return Err(bad_format());
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    if bare != "host-gateway" && bare.parse::<IpAddr>().is_err() {
        return Err(EngineError::invalid(format!("invalid IP address in add-host: \"{address}\"")));
    }
    Ok((name, bare))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> HostResolver {
        HostResolver::parse(
            "# comment\nnameserver 127.0.0.53\nnameserver 10.0.0.2 # first\nsearch lan corp\noptions edns0 trust-ad\n",
        )
    }

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).to_owned()).collect()
    }

    fn body(text: &str) -> Vec<&str> {
        text.lines().filter(|line| !line.starts_with('#')).collect()
    }

    #[test]
    fn the_default_bridge_gets_the_hosts_servers_without_its_loopback() {
        let text = resolv_conf(ResolverKind::Reachable, &host(), DnsSettings::default());
        assert_eq!(body(&text), ["nameserver 10.0.0.2", "search lan corp", "options edns0 trust-ad"]);

        let alone = HostResolver::parse("nameserver 127.0.0.1\n");
        let text = resolv_conf(ResolverKind::Reachable, &alone, DnsSettings::default());
        assert_eq!(body(&text), ["nameserver 8.8.8.8", "nameserver 8.8.4.4"]);
    }

    #[test]
    fn user_networks_ask_the_embedded_resolver() {
        let text = resolv_conf(ResolverKind::Embedded, &host(), DnsSettings::default());
        assert_eq!(body(&text), ["nameserver 127.0.0.11", "search lan corp", "options edns0 trust-ad ndots:0"]);
        assert_eq!(upstreams(ResolverKind::Embedded, &host(), DnsSettings::default()), host().nameservers);
    }

    #[test]
    fn the_containers_own_settings_come_first() {
        let (servers, search, options) = (words(&["1.1.1.1"]), words(&["."]), words(&["ndots:3"]));
        let settings = DnsSettings { servers: &servers, search: &search, options: &options };
        let text = resolv_conf(ResolverKind::Reachable, &host(), settings);
        assert_eq!(body(&text), ["nameserver 1.1.1.1", "options ndots:3"]);
        assert_eq!(upstreams(ResolverKind::Embedded, &host(), settings), ["1.1.1.1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn hosts_names_itself_and_the_extra_hosts() {
        let extra = words(&["db:10.1.2.3", "gate=host-gateway", "six:[::1]"]);
        let addresses = [IpAddr::from([172, 17, 0, 2])];
        let text = hosts(&Hosts {
            hostname: "web",
            domainname: "corp",
            addresses: &addresses,
            extra_hosts: &extra,
            host_gateway: Some([172, 17, 0, 1].into()),
            ..Default::default()
        })
        .unwrap();
        let ours: Vec<&str> = text.lines().skip(6).collect();
        assert_eq!(ours, ["10.1.2.3\tdb", "172.17.0.1\tgate", "::1\tsix", "172.17.0.2\tweb.corp web"]);
    }

    #[test]
    fn malformed_extra_hosts_are_told_in_dockers_words() {
        assert_eq!(extra_host("db").unwrap_err().to_string(), "bad format for add-host: \"db\"");
        assert_eq!(extra_host("db:here").unwrap_err().to_string(), "invalid IP address in add-host: \"here\"");
    }
}
