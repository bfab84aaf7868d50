//! Stories with real packets, each in network namespaces of its own: "the host", "the outside" beyond it, and containers.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bollard_stubs::models as docker;
use nix::sched::{CloneFlags, unshare};

use super::netlink::{LinkPeer, RouteSocket, VethPair};
use super::nft::{Batch, Command, NftSocket};
use super::{Endpoint, EndpointRequest, MacAddr, Networks, PortRequest, sandbox};
use crate::engine::events::Events;
use crate::engine::instance::Instance;
use crate::engine::store::StateRoot;

const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Refusals by a drop rule show only as silence; a local connection takes well under a millisecond.
const SILENCE: Duration = Duration::from_millis(400);

/// A host of its own, with an engine's networks on it and a neighbour outside.
struct World {
    networks: Option<Networks>,
    root: Option<Arc<StateRoot>>,
    instance: Instance,
    outside: OwnedFd,
    runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

/// Runs a story on a thread of its own in a fresh network namespace, which plays the host.
fn story(tell: impl FnOnce(&mut World) + Send + 'static) {
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let mut world = World::new();
        tell(&mut world);
        world.leaves_nothing_behind();
    });
    thread.join().unwrap();
}

impl World {
    fn new() -> Self {
        let outside = sandbox::create().unwrap();
        let mut route = RouteSocket::open().unwrap();
        route.set_up(1).unwrap();
        let peer = LinkPeer { name: "eth0", mac: MacAddr::for_ip(OUTSIDE), netns: outside.as_fd() };
        route.create_veth(&VethPair { name: "uplink", bridge: 0, mtu: None, peer }).unwrap();
        let index = route.index("uplink").unwrap();
        route.add_address(index, HOST, 24).unwrap();
        sandbox::within(outside.as_fd(), || {
            let mut route = RouteSocket::open()?;
            let index = route.index("eth0")?;
            route.add_address(index, OUTSIDE, 24)?;
            route.set_up(index)?;
            // The outside knows the way to the containers' addresses; that it may not take it is what we test.
            route.add_default_route(index, HOST)
        })
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let instance = Instance::new(&folder.path().join("root"), &folder.path().join("run"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut world = Self { networks: None, root: None, instance, outside, runtime, _folder: folder };
        world.start_engine(Vec::new());
        world
    }

    fn start_engine(&mut self, live: Vec<Endpoint>) {
        let root = Arc::new(StateRoot::open(self.instance.root()).unwrap());
        let events = Arc::new(Events::default());
        let opened = self.runtime.block_on(Networks::open(Arc::clone(&root), self.instance.clone(), events)).unwrap();
        self.runtime.block_on(opened.adopt(live)).unwrap();
        self.networks = Some(opened);
        self.root = Some(root);
    }

    /// The engine is gone at once, without a goodbye.
    fn kill_engine(&mut self) {
        self.networks = None;
        self.root = None;
    }

    fn networks(&self) -> &Networks {
        self.networks.as_ref().unwrap()
    }

    fn network(&self, name: &str, internal: bool) {
        let request =
            docker::NetworkCreateRequest { name: name.to_owned(), internal: Some(internal), ..Default::default() };
        self.runtime.block_on(self.networks().create(request)).unwrap();
    }

    fn container(&self, name: &str, network: &str, ports: &[(&str, u16)]) -> Container {
        self.try_container(name, network, ports).unwrap()
    }

    fn try_container(&self, name: &str, network: &str, ports: &[(&str, u16)]) -> Result<Container, String> {
        let ports: Vec<_> = ports.iter().map(|(ip, port)| (*ip, "80/tcp", *port)).collect();
        self.container_with(name, network, &ports)
    }

    fn container_with(&self, name: &str, network: &str, ports: &[(&str, &str, u16)]) -> Result<Container, String> {
        let netns = self.runtime.block_on(self.networks().new_sandbox()).unwrap();
        let ports = ports.iter().map(|(ip, inside, port)| PortRequest {
            container: inside.parse().unwrap(),
            host_ip: ip.parse().unwrap(),
            host_ports: *port..=*port,
        });
        let request = EndpointRequest {
            network: network.to_owned(),
            container_id: format!("{name:0<64}"),
            container_name: name.to_owned(),
            ports: ports.collect(),
            ..Default::default()
        };
        self.runtime
            .block_on(self.networks().connect(netns.as_fd(), request))
            .map(|endpoint| Container { netns, endpoint })
            .map_err(|error| error.to_string())
    }

    fn disconnect(&self, container: &Container) {
        self.runtime.block_on(self.networks().disconnect(&container.endpoint)).unwrap();
    }

    fn has_table(&self) -> bool {
        // Removing it is refused where there is none; the second command makes sure that nothing is removed.
        let table = self.instance.nft_table();
        let probe = Batch { table, commands: vec![Command::DeleteTable, Command::DeleteTable] };
        let error = NftSocket::open().unwrap().commit(&probe).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        let table = self.instance.nft_table();
        NftSocket::open().unwrap().commit(&Batch { table, commands: vec![Command::DeleteTable] }).is_ok()
    }

    fn links(&self) -> Vec<String> {
        let mut names = RouteSocket::open().unwrap().link_names().unwrap();
        names.retain(|name| name != "lo" && name != "uplink" && !name.starts_with("ifb"));
        names
    }

    fn leaves_nothing_behind(&self) {
        let live: Vec<String> = self.networks().all_endpoints().iter().map(|it| it.host_link.clone()).collect();
        assert_eq!(live, Vec::<String>::new(), "the story ends with all containers disconnected");
        self.runtime.block_on(self.networks().close());
        assert_eq!(self.links(), Vec::<String>::new());
        assert!(!self.has_table());
    }
}

struct Container {
    netns: OwnedFd,
    endpoint: Endpoint,
}

impl Container {
    fn ip(&self) -> Ipv4Addr {
        self.endpoint.address.as_ref().unwrap().ip
    }
}

/// Starts a server that tells each caller by which address it sees them.
fn serve(netns: Option<BorrowedFd<'_>>, at: (Ipv4Addr, u16)) {
    let listener = within(netns, || TcpListener::bind(at)).unwrap();
    thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            let _ = write!(stream, "{}", peer.ip());
        }
    });
}

/// Calls a server; the answer is the address by which it sees the caller.
fn call(netns: Option<BorrowedFd<'_>>, at: (Ipv4Addr, u16)) -> io::Result<IpAddr> {
    call_for(netns, at, Duration::from_secs(30))
}

/// Whether nobody answers there.
fn is_unreachable(netns: Option<BorrowedFd<'_>>, at: (Ipv4Addr, u16)) -> bool {
    call_for(netns, at, SILENCE).is_err()
}

fn call_for(netns: Option<BorrowedFd<'_>>, at: (Ipv4Addr, u16), patience: Duration) -> io::Result<IpAddr> {
    let mut stream = within(netns, || TcpStream::connect_timeout(&SocketAddr::from(at), patience))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    answer.parse().map_err(|_| io::Error::other(answer))
}

fn within<T: Send>(netns: Option<BorrowedFd<'_>>, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    match netns {
        Some(netns) => sandbox::within(netns, work),
        None => work(),
    }
}

#[test]
fn containers_leave_with_the_hosts_address() {
    story(|world| {
        let web = world.container("web", "bridge", &[]);
        serve(Some(world.outside.as_fd()), (OUTSIDE, 9));
        assert_eq!(call(Some(web.netns.as_fd()), (OUTSIDE, 9)).unwrap(), HOST);
        world.disconnect(&web);
    });
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    story(|world| {
        let web = world.container("web", "bridge", &[("0.0.0.0", 8080)]);
        let other = world.container("other", "bridge", &[]);
        world.network("far", false);
        let far = world.container("far", "far", &[]);
        serve(Some(web.netns.as_fd()), (Ipv4Addr::UNSPECIFIED, 80));

        assert_eq!(call(Some(world.outside.as_fd()), (HOST, 8080)).unwrap(), OUTSIDE, "from outside");
        call(None, (HOST, 8080)).expect("from the host by its address");
        call(None, (LOCALHOST, 8080)).expect("from the host by 127.0.0.1");
        call(Some(other.netns.as_fd()), (HOST, 8080)).expect("from a neighbour");
        call(Some(far.netns.as_fd()), (HOST, 8080)).expect("from another network");
        call(Some(web.netns.as_fd()), (HOST, 8080)).expect("from the container itself");

        world.disconnect(&web);
        assert!(is_unreachable(None, (LOCALHOST, 8080)), "a container that is gone publishes nothing");
        world.disconnect(&other);
        world.disconnect(&far);
    });
}

/// Sends a datagram and returns the answer, from the same port each time.
fn ask(socket: &UdpSocket, at: (Ipv4Addr, u16), tries: usize) -> Option<String> {
    (0..tries).find_map(|_| {
        socket.send_to(b"?", at).unwrap();
        let mut answer = [0; 16];
        let (length, _) = socket.recv_from(&mut answer).ok()?;
        Some(String::from_utf8_lossy(&answer[..length]).into_owned())
    })
}

#[test]
fn a_udp_port_goes_to_whoever_publishes_it_now() {
    story(|world| {
        let caller = within(Some(world.outside.as_fd()), || UdpSocket::bind((OUTSIDE, 4000))).unwrap();
        caller.set_read_timeout(Some(SILENCE)).unwrap();
        assert_eq!(ask(&caller, (HOST, 5353), 1), None, "nobody has it, but the kernel remembers the flow");
        for name in ["one", "two"] {
            let container = world.container_with(name, "bridge", &[("0.0.0.0", "53/udp", 5353)]).unwrap();
            let server = within(Some(container.netns.as_fd()), || UdpSocket::bind("0.0.0.0:53")).unwrap();
            let served = thread::spawn(move || {
                let (_, from) = server.recv_from(&mut [0; 16]).unwrap();
                server.send_to(name.as_bytes(), from).unwrap();
            });
            assert_eq!(ask(&caller, (HOST, 5353), 20).as_deref(), Some(name));
            served.join().unwrap();
            world.disconnect(&container);
        }
    });
}

#[test]
fn a_bridge_that_was_there_before_stays() {
    story(|world| {
        let mut route = RouteSocket::open().unwrap();
        route.create_bridge("mine", MacAddr([2, 0, 0, 0, 0, 1]), None).unwrap();
        let request = docker::NetworkCreateRequest {
            name: "shop".to_owned(),
            options: Some([("com.docker.network.bridge.name".to_owned(), "mine".to_owned())].into()),
            ..Default::default()
        };
        world.runtime.block_on(world.networks().create(request)).unwrap();
        let web = world.container("web", "shop", &[]);
        world.disconnect(&web);
        world.runtime.block_on(world.networks().remove("shop")).unwrap();
        assert_eq!(world.links(), ["mine"]);
        route.delete_link("mine").unwrap();
    });
}

#[test]
fn a_port_published_on_localhost_stays_there() {
    story(|world| {
        let web = world.container("web", "bridge", &[("127.0.0.1", 8080)]);
        serve(Some(web.netns.as_fd()), (Ipv4Addr::UNSPECIFIED, 80));
        call(None, (LOCALHOST, 8080)).unwrap();
        assert!(is_unreachable(Some(world.outside.as_fd()), (HOST, 8080)));
        world.disconnect(&web);
    });
}

#[test]
fn networks_are_apart_and_members_are_not() {
    story(|world| {
        world.network("a", false);
        world.network("b", false);
        let (one, two, three) =
            (world.container("one", "a", &[]), world.container("two", "a", &[]), world.container("three", "b", &[]));
        serve(Some(one.netns.as_fd()), (Ipv4Addr::UNSPECIFIED, 80));
        assert_eq!(call(Some(two.netns.as_fd()), (one.ip(), 80)).unwrap(), two.ip());
        assert!(is_unreachable(Some(three.netns.as_fd()), (one.ip(), 80)), "another network");
        assert!(is_unreachable(Some(world.outside.as_fd()), (one.ip(), 80)), "the outside, by the container's address");
        call(None, (one.ip(), 80)).expect("the host itself");
        for container in [&one, &two, &three] {
            world.disconnect(container);
        }
    });
}

#[test]
fn an_internal_network_is_cut_off() {
    story(|world| {
        world.network("inner", true);
        let (one, two) = (world.container("one", "inner", &[("0.0.0.0", 8080)]), world.container("two", "inner", &[]));
        assert_eq!(one.endpoint.ports, [], "nothing is published there");
        serve(Some(world.outside.as_fd()), (OUTSIDE, 9));
        serve(Some(one.netns.as_fd()), (Ipv4Addr::UNSPECIFIED, 80));
        call(Some(two.netns.as_fd()), (one.ip(), 80)).expect("members reach each other");
        assert!(is_unreachable(Some(one.netns.as_fd()), (OUTSIDE, 9)));
        // Not even one that makes its own route gets out.
        let gateway = one.ip().to_bits() & !0xff | 1;
        sandbox::within(one.netns.as_fd(), || {
            let mut route = RouteSocket::open()?;
            let index = route.index("eth0")?;
            route.add_default_route(index, Ipv4Addr::from_bits(gateway))
        })
        .unwrap();
        assert!(is_unreachable(Some(one.netns.as_fd()), (OUTSIDE, 9)));
        world.disconnect(&one);
        world.disconnect(&two);
    });
}

#[test]
fn the_hosts_loopback_is_not_for_containers() {
    story(|world| {
        let web = world.container("web", "bridge", &[("127.0.0.1", 8080)]);
        serve(None, (LOCALHOST, 7000));
        sandbox::within(web.netns.as_fd(), || {
            // As a hostile root in a container would: send 127.0.0.1 to the bridge.
            std::fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1")?;
            let mut route = RouteSocket::open()?;
            route.delete_link("none-such")?;
            Ok(())
        })
        .unwrap();
        let gateway = web.endpoint.address.as_ref().unwrap().gateway.unwrap();
        assert!(is_unreachable(Some(web.netns.as_fd()), (gateway, 7000)), "it listens on 127.0.0.1 only");
        world.disconnect(&web);
    });
}

#[test]
fn a_taken_port_is_refused_with_its_holder() {
    story(|world| {
        let web = world.container("web", "bridge", &[("0.0.0.0", 8080)]);
        let refusal = world.try_container("api", "bridge", &[("127.0.0.1", 8080)]).err().unwrap();
        assert!(refusal.starts_with("driver failed programming external connectivity on endpoint api ("), "{refusal}");
        assert!(
            refusal.ends_with("Bind for 127.0.0.1:8080 failed: port is already allocated (by container web)"),
            "{refusal}"
        );
        let _server = TcpListener::bind((LOCALHOST, 7000)).unwrap();
        let refusal = world.try_container("api", "bridge", &[("0.0.0.0", 7000)]).err().unwrap();
        assert!(refusal.contains(&format!("pid {} on the host)", std::process::id())), "{refusal}");
        world.disconnect(&web);
        let api = world.container("api", "bridge", &[("0.0.0.0", 8080)]);
        world.disconnect(&api);
    });
}

#[test]
fn containers_keep_everything_while_the_engine_is_dead() {
    story(|world| {
        let web = world.container("web", "bridge", &[("0.0.0.0", 8080)]);
        let gone = world.container("gone", "bridge", &[]);
        serve(Some(web.netns.as_fd()), (Ipv4Addr::UNSPECIFIED, 80));
        let before = world.links().len();

        world.kill_engine();
        call(None, (LOCALHOST, 8080)).expect("no engine runs");
        world.start_engine(vec![web.endpoint.clone()]);

        call(Some(world.outside.as_fd()), (HOST, 8080)).expect("the table is rebuilt");
        assert_eq!(world.links().len(), before - 1, "the link of a container that ended meanwhile is gone");
        let refusal = world.try_container("api", "bridge", &[("0.0.0.0", 8080)]).err().unwrap();
        assert!(refusal.contains("(by container web)"), "{refusal}");
        assert_ne!(world.container("new", "bridge", &[]).ip(), web.ip());
        drop(gone);
        for endpoint in world.networks().all_endpoints() {
            world.runtime.block_on(world.networks().disconnect(&endpoint)).unwrap();
        }
    });
}

#[test]
fn removal_is_refused_while_somebody_is_on_it() {
    story(|world| {
        world.network("shop", false);
        let web = world.container("web", "shop", &[]);
        let remove = |name: &str| world.runtime.block_on(world.networks().remove(name)).map_err(|it| it.to_string());
        let id = web.endpoint.network_id.clone();
        assert_eq!(
            remove("shop"),
            Err(format!("error while removing network: network shop id {id} has active endpoints"))
        );
        assert_eq!(remove("bridge"), Err("bridge is a pre-defined network and cannot be removed".to_owned()));
        let shown = world.networks().inspect("shop").unwrap().containers.unwrap();
        assert_eq!(shown[&web.endpoint.container_id].name.as_deref(), Some("web"));
        world.disconnect(&web);
        assert_eq!(world.links().len(), 1, "the bridge stays for the next one");
        assert_eq!(remove("shop"), Ok(()));
        assert_eq!(world.links(), Vec::<String>::new());
        assert_eq!(remove("shop"), Err("network shop not found".to_owned()));
    });
}

#[test]
fn names_of_members_are_written_for_each_other() {
    story(|world| {
        world.network("shop", false);
        let (web, db) = (world.container("web", "shop", &[]), world.container("db", "shop", &[]));
        let table = |container: &Container| -> super::dns::NameTable {
            let config = world.networks().dns_config(&container.endpoint.container_id, Vec::new());
            serde_json::from_slice(&std::fs::read(Path::new(&config.names_path)).unwrap()).unwrap()
        };
        assert_eq!(table(&web).names["db"], [db.ip()]);
        assert_eq!(table(&db).names["web"], [web.ip()]);
        world.runtime.block_on(world.networks().rename(&db.endpoint.container_id, "store")).unwrap();
        assert_eq!(table(&web).names["store"], [db.ip()]);
        world.disconnect(&db);
        assert!(!table(&web).names.contains_key("store"));
        world.disconnect(&web);
    });
}
