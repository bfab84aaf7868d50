//! The one thread that changes the host's links and our nft table, in the order in which it was asked to.
//!
//! The room decides under its lock and submits the work before it lets go, so the kernel sees changes in the order of the
//! decisions, and no lock is held while the kernel works.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;

use tokio::sync::oneshot;

use super::endpoint::MacAddr;
use super::error::NetworkError;
use super::netlink::{self, BridgePort, LinkPeer, RouteSocket, VethPair};
use super::nft::{Batch, NftSocket};
use super::sandbox;

/// What a host with Docker, ufw or the like on it has to hear.
pub const FORWARD_DROP: &str = "the host's firewall drops forwarded packets: containers on bridges reach nothing outside and \
    published ports are reached only from this host, until it accepts packets from and to them";

type Job = Box<dyn FnOnce(&mut Host) + Send>;

/// Submits work to the thread.
#[derive(Debug)]
pub struct Kernel {
    jobs: mpsc::Sender<Job>,
}

impl Kernel {
    /// Starts the thread in the caller's network namespace. It ends when this handle is dropped.
    pub fn start() -> Result<Self, NetworkError> {
        let mut host = Host::open()?;
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name("boxyard-network".to_owned())
            .spawn(move || queue.into_iter().for_each(|job| job(&mut host)))
            .map_err(NetworkError::kernel("start thread", "boxyard-network"))?;
        Ok(Self { jobs })
    }

    /// Puts `work` in the queue, now; the future only waits for its outcome. Dropping the future does not stop the work.
    pub fn submit<T, W>(
        &self,
        step: &'static str,
        work: W,
    ) -> impl Future<Output = Result<T, NetworkError>> + Send + use<T, W>
    where
        T: Send + 'static,
        W: FnOnce(&mut Host) -> Result<T, NetworkError> + Send + 'static,
    {
        let (answer, outcome) = oneshot::channel();
        // A send that fails drops the job and with it `answer`, which the future reports.
        let _ = self.jobs.send(Box::new(move |host| {
            let _ = answer.send(work(host));
        }));
        async move { outcome.await.unwrap_or(Err(NetworkError::Worker { step })) }
    }
}

/// The sockets of the host's network namespace.
#[derive(Debug)]
pub struct Host {
    route: RouteSocket,
    nft: NftSocket,
}

/// A bridge to be made.
#[derive(Debug, Clone)]
pub struct BridgePlan {
    /// Its name.
    pub link: String,
    /// Its address.
    pub gateway: Ipv4Addr,
    /// Its subnet's prefix length.
    pub prefix: u8,
    /// Its MTU, where not the default.
    pub mtu: Option<u32>,
    /// Whether packets of its members go anywhere else.
    pub routed: bool,
}

/// A container's link to be made.
#[derive(Debug)]
pub struct LinkPlan {
    /// The bridge it goes into.
    pub bridge: String,
    /// The name of the host's end.
    pub host_link: String,
    /// The name of the container's end.
    pub interface: String,
    /// The container's namespace.
    pub netns: Arc<OwnedFd>,
    /// The container's end's link-layer address.
    pub mac: MacAddr,
    /// The container's end's address.
    pub ip: Ipv4Addr,
    /// The subnet's prefix length.
    pub prefix: u8,
    /// Where the default route goes, if anywhere.
    pub gateway: Option<Ipv4Addr>,
    /// The MTU, where not the default.
    pub mtu: Option<u32>,
    /// How the bridge treats the host's end.
    pub port: BridgePort,
}

impl Host {
    fn open() -> Result<Self, NetworkError> {
        Ok(Self {
            route: RouteSocket::open().map_err(NetworkError::kernel("open netlink socket", "route"))?,
            nft: NftSocket::open().map_err(NetworkError::kernel("open netlink socket", "netfilter"))?,
        })
    }

    /// The links of the host.
    pub fn links(&mut self) -> &mut RouteSocket {
        &mut self.route
    }

    /// Carries out all of `batch`, or nothing.
    pub fn commit(&mut self, batch: &Batch) -> Result<(), NetworkError> {
        if batch.commands.is_empty() {
            return Ok(());
        }
        self.nft.commit(batch).map_err(NetworkError::kernel("change nft table", batch.table.as_str()))
    }

    /// The host's own chains that drop what is forwarded; ours can't overrule them.
    pub fn forward_drops(&mut self) -> Vec<String> {
        self.nft.forward_drops().unwrap_or_default()
    }

    /// Forgets the flows to these UDP ports of the host. A flow that began before its port was published, or was
    /// published by another container, would else go on to where it went first for as long as its packets come.
    pub fn forget_flows(&mut self, udp_ports: &BTreeSet<u16>) {
        if !udp_ports.is_empty()
            && let Err(error) = netlink::forget_udp_flows(udp_ports)
        {
            tracing::warn!(%error, "flows to re-published UDP ports may go astray for a while");
        }
    }

    /// Makes a bridge, or completes one that is there.
    pub fn bring_up(&mut self, plan: &BridgePlan) -> Result<(), NetworkError> {
        let link = plan.link.as_str();
        let mac = MacAddr::for_ip(plan.gateway);
        self.route.create_bridge(link, mac, plan.mtu).map_err(NetworkError::kernel("create bridge", link))?;
        let index = self.route.index(link).map_err(NetworkError::kernel("find link", link))?;
        // Before the link has an address: containers have no IPv6 here, so the bridge shall have none that bypasses us.
        set_sysctl_if_there(format!("net/ipv6/conf/{link}/disable_ipv6"), "1")?;
        self.route
            .add_address(index, plan.gateway, plan.prefix)
            .map_err(NetworkError::kernel("add address to", link))?;
        if plan.routed {
            for chain in self.forward_drops() {
                tracing::warn!(bridge = link, chain, "{FORWARD_DROP}");
            }
            set_sysctl_if_there(format!("net/ipv4/conf/{link}/route_localnet"), "1")?;
            set_sysctl_if_there("net/ipv4/ip_forward".to_owned(), "1")?;
        }
        self.route.set_up(index).map_err(NetworkError::kernel("bring up", link))
    }

    /// Makes a container's link, in its bridge and in its namespace, with address and default route. All, or nothing.
    pub fn attach(&mut self, plan: &LinkPlan) -> Result<(), NetworkError> {
        let outcome = self.try_attach(plan);
        if outcome.is_err() {
            // What refused is what the caller reads; a link that stays is found by its name at the next start.
            let _ = self.route.delete_link(&plan.host_link);
        }
        outcome
    }

    /// Removes a link; that there is none is success.
    pub fn delete_link(&mut self, name: &str) -> Result<(), NetworkError> {
        // An endpoint on host or none has no link.
        if name.is_empty() {
            return Ok(());
        }
        self.route.delete_link(name).map_err(NetworkError::kernel("remove link", name))
    }

    /// Removes all links whose name `is_doomed`; goes on where one is refused, and then tells of the first refusal.
    pub fn remove_links(&mut self, is_doomed: impl Fn(&str) -> bool) -> Result<(), NetworkError> {
        let names = self.route.link_names().map_err(NetworkError::kernel("list links of", "the host"))?;
        let outcomes: Vec<_> = names.iter().filter(|name| is_doomed(name)).map(|name| self.delete_link(name)).collect();
        outcomes.into_iter().collect()
    }

    fn try_attach(&mut self, plan: &LinkPlan) -> Result<(), NetworkError> {
        let bridge =
            self.route.index(&plan.bridge).map_err(NetworkError::kernel("find bridge", plan.bridge.as_str()))?;
        let pair = VethPair {
            name: &plan.host_link,
            bridge,
            mtu: plan.mtu,
            peer: LinkPeer { name: &plan.interface, mac: plan.mac, netns: plan.netns.as_fd() },
        };
        self.route.create_veth(&pair).map_err(NetworkError::kernel("create link", plan.host_link.as_str()))?;
        if plan.port != BridgePort::default() {
            let index = self
                .route
                .index(&plan.host_link)
                .map_err(NetworkError::kernel("find link", plan.host_link.as_str()))?;
            self.route
                .set_bridge_port(index, plan.port)
                .map_err(NetworkError::kernel("set bridge port", plan.host_link.as_str()))?;
        }
        sandbox::within(plan.netns.as_fd(), || configure(plan))
            .map_err(NetworkError::kernel("configure", plan.interface.as_str()))
    }
}

/// What happens inside the container's namespace.
fn configure(plan: &LinkPlan) -> io::Result<()> {
    let interface = plan.interface.as_str();
    let mut route = RouteSocket::open()?;
    let index = route.index(interface)?;
    // An interface that comes and goes with `disable_ipv6` unset has link-local addresses and does not need them here.
    let ipv6 = PathBuf::from("/proc/sys/net/ipv6/conf").join(interface).join("disable_ipv6");
    if ipv6.exists() {
        // A /proc/sys that can't be written (an outer container) leaves it with a link-local address, which harms nobody.
        let _ = fs::write(&ipv6, "1");
    }
    // Coming up with its address, it tells its neighbours (gratuitous ARP): one of them may know another's link-layer
    // address by the same IP address.
    let _ = fs::write(PathBuf::from("/proc/sys/net/ipv4/conf").join(interface).join("arp_notify"), "1");
    route.add_address(index, plan.ip, plan.prefix)?;
    route.set_up(index)?;
    match plan.gateway {
        Some(gateway) => route.add_default_route(index, gateway),
        None => Ok(()),
    }
}

/// Takes the first free `ethN` of a namespace. Blocks.
pub fn free_interface(netns: BorrowedFd<'_>) -> Result<String, NetworkError> {
    let names = sandbox::within(netns, || RouteSocket::open()?.link_names())
        .map_err(NetworkError::kernel("list links of", "the container"))?;
    let free = (0..=names.len()).map(|number| format!("eth{number}")).find(|name| !names.contains(name));
    Ok(free.unwrap_or_else(|| "eth0".to_owned()))
}

/// Sets a value under /proc/sys where it isn't that already; a kernel without the setting is none the worse.
fn set_sysctl_if_there(name: String, value: &str) -> Result<(), NetworkError> {
    let path = PathBuf::from("/proc/sys").join(name);
    let Ok(now) = fs::read_to_string(&path) else { return Ok(()) };
    if now.trim() == value {
        return Ok(());
    }
    fs::write(&path, value).map_err(|source| NetworkError::File { action: "set", path, source })
}
