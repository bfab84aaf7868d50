//! Who has which port of the host.
//!
//! A published port is claimed by really listening on it (and never accepting: the kernel's tables take its packets away
//! before they reach the socket), so that a clash with any program of the host shows at once, and programs that come later
//! are refused by the kernel. While no engine runs nobody holds the sockets; the tables still do the work.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::ports::{PortRequest, Protocol, PublishedPort};
use crate::engine::{EngineError, ErrorKind};

/// Opens a socket on a port of the host (0: the kernel chooses) and says which port it is.
pub type Listen<'a> = &'a dyn Fn(Protocol, Ipv4Addr, u16) -> io::Result<(u16, Option<OwnedFd>)>;

/// All claimed ports, by endpoint.
#[derive(Debug, Default)]
pub struct Claims {
    held: BTreeMap<String, Held>,
}

#[derive(Debug)]
struct Held {
    container: String,
    ports: Vec<(PublishedPort, Option<OwnedFd>)>,
}

impl Claims {
    /// Claims host ports for all of `requests`, or for none.
    ///
    /// # Errors
    /// In Docker's words, with the holder where it is known.
    pub fn claim(
        &mut self,
        endpoint: &str,
        container: &str,
        requests: &[PortRequest],
        listen: Listen<'_>,
    ) -> Result<Vec<PublishedPort>, EngineError> {
        let mut ports = Vec::new();
        for request in requests {
            let claimed = self.one(&ports, request, listen).map_err(|why| {
                let short = endpoint.get(..64).unwrap_or(endpoint);
                let text =
                    format!("driver failed programming external connectivity on endpoint {container} ({short}): {why}");
                EngineError::new(ErrorKind::System, text)
            })?;
            ports.push(claimed);
        }
        let published = ports.iter().map(|(port, _)| port.clone()).collect();
        if !ports.is_empty() {
            self.held.insert(endpoint.to_owned(), Held { container: container.to_owned(), ports });
        }
        Ok(published)
    }

    /// Takes note of ports that were claimed before this engine started. A socket that can't be had is done without.
    pub fn adopt(&mut self, endpoint: &str, container: &str, ports: &[PublishedPort], listen: Listen<'_>) {
        let ports: Vec<_> = ports
            .iter()
            .map(|port| {
                let socket = match port.host_ip {
                    IpAddr::V4(ip) => listen(port.container.protocol, ip, port.host_port).ok().and_then(|it| it.1),
                    IpAddr::V6(_) => None,
                };
                (port.clone(), socket)
            })
            .collect();
        if !ports.is_empty() {
            self.held.insert(endpoint.to_owned(), Held { container: container.to_owned(), ports });
        }
    }

    /// Gives the endpoint's ports back.
    pub fn release(&mut self, endpoint: &str) {
        self.held.remove(endpoint);
    }

    fn one(
        &self,
        fresh: &[(PublishedPort, Option<OwnedFd>)],
        request: &PortRequest,
        listen: Listen<'_>,
    ) -> Result<(PublishedPort, Option<OwnedFd>), String> {
        let IpAddr::V4(host_ip) = request.host_ip else {
            return Err(format!("cannot publish on {}: this engine's networks have IPv4 only", request.host_ip));
        };
        let mut last = String::new();
        for wanted in request.host_ports.clone() {
            if wanted != 0
                && let Some(holder) = self.holder(fresh, request.container.protocol, host_ip, wanted)
            {
                last = format!("Bind for {host_ip}:{wanted} failed: port is already allocated{holder}");
                continue;
            }
            match listen(request.container.protocol, host_ip, wanted) {
                Ok((host_port, socket)) => {
                    let port = PublishedPort { container: request.container, host_ip: host_ip.into(), host_port };
                    return Ok((port, socket));
                }
                Err(error) if error.raw_os_error() == Some(libc::EADDRINUSE) => {
                    let holder = super::listener::holder(request.container.protocol, wanted)
                        .map(|holder| format!(" (by {holder} on the host)"))
                        .unwrap_or_default();
                    last = format!("Bind for {host_ip}:{wanted} failed: port is already allocated{holder}");
                }
                Err(error) => {
                    let reason = rustix::io::Errno::from_io_error(&error)
                        .map_or_else(|| error.to_string(), |errno| io::Error::from(errno).to_string());
                    last = format!("Bind for {host_ip}:{wanted} failed: {reason}");
                }
            }
        }
        Err(last)
    }

    /// Says in words which of our containers has the port.
    fn holder(
        &self,
        fresh: &[(PublishedPort, Option<OwnedFd>)],
        protocol: Protocol,
        ip: Ipv4Addr,
        port: u16,
    ) -> Option<String> {
        let clashes = |(held, _): &(PublishedPort, Option<OwnedFd>)| {
            held.host_port == port
                && held.container.protocol == protocol
                && (held.host_ip == ip || held.host_ip.is_unspecified() || ip.is_unspecified())
        };
        let other = self.held.values().find(|held| held.ports.iter().any(clashes));
        match other {
            Some(other) => Some(format!(" (by container {})", other.container)),
            None => fresh.iter().any(clashes).then(String::new),
        }
    }
}

/// Listens on a port of the host without ever answering.
pub fn listen(protocol: Protocol, ip: Ipv4Addr, port: u16) -> io::Result<(u16, Option<OwnedFd>)> {
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
        // Few kernels have SCTP sockets, and the tables need none.
        Protocol::Sctp => return Ok((port, None)),
    };
    let socket = rustix::net::socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
    if protocol == Protocol::Tcp {
        // As servers do: connections that linger in TIME_WAIT are no clash.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    rustix::net::bind(&socket, &SocketAddrV4::new(ip, port))?;
    if protocol == Protocol::Tcp {
        rustix::net::listen(&socket, 1)?;
    }
    let name = SocketAddrV4::try_from(rustix::net::getsockname(&socket)?)?;
    Ok((name.port(), Some(socket)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(ip: &str, ports: std::ops::RangeInclusive<u16>) -> PortRequest {
        PortRequest { container: "80/tcp".parse().unwrap(), host_ip: ip.parse().unwrap(), host_ports: ports }
    }

    /// A host on which 8081 is taken, and whose kernel chooses 32768.
    fn host(_: Protocol, _: Ipv4Addr, port: u16) -> io::Result<(u16, Option<OwnedFd>)> {
        match port {
            8081 => Err(io::Error::from_raw_os_error(libc::EADDRINUSE)),
            0 => Ok((32768, None)),
            other => Ok((other, None)),
        }
    }

    #[test]
    fn a_clash_names_the_holder_and_claims_nothing() {
        let mut claims = Claims::default();
        claims.claim("e1", "web", &[request("0.0.0.0", 8080..=8080)], &host).unwrap();
        let requests = [request("0.0.0.0", 9000..=9000), request("127.0.0.1", 8080..=8080)];
        let refusal = claims.claim("e2", "api", &requests, &host).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "driver failed programming external connectivity on endpoint api (e2): \
             Bind for 127.0.0.1:8080 failed: port is already allocated (by container web)"
        );
        claims.claim("e3", "third", &[request("0.0.0.0", 9000..=9000)], &host).unwrap();

        claims.release("e1");
        claims.claim("e2", "api", &[request("127.0.0.1", 8080..=8080)], &host).unwrap();
    }

    #[test]
    fn ranges_and_free_ports_find_their_own() {
        let mut claims = Claims::default();
        let port = |claims: &mut Claims, name, range| {
            claims.claim(name, name, &[request("0.0.0.0", range)], &host).map(|ports| ports[0].host_port)
        };
        assert_eq!(port(&mut claims, "a", 8080..=8083).unwrap(), 8080);
        assert_eq!(port(&mut claims, "b", 8080..=8083).unwrap(), 8082);
        assert_eq!(port(&mut claims, "c", 0..=0).unwrap(), 32768);
        let refusal = port(&mut claims, "d", 8080..=8081).unwrap_err().to_string();
        assert!(refusal.contains("Bind for 0.0.0.0:8081 failed: port is already allocated"), "{refusal}");
    }

    #[test]
    fn the_host_itself_is_asked() {
        let (port, socket) = listen(Protocol::Tcp, Ipv4Addr::LOCALHOST, 0).unwrap();
        assert!(socket.is_some());
        let clash = listen(Protocol::Tcp, Ipv4Addr::LOCALHOST, port).unwrap_err();
        assert_eq!(clash.raw_os_error(), Some(libc::EADDRINUSE));
        assert!(super::super::listener::holder(Protocol::Tcp, port).unwrap().contains(&std::process::id().to_string()));
    }
}
