//! Addresses: subnets, which one a new network gets, and which address a new member gets. Pure.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An IPv4 network: its first address and prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet {
    base: Ipv4Addr,
    prefix: u8,
}

/// Where the subnets of networks come from that name none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// Docker's pools in Docker's order, then /24s out of 10/8 from the top.
    Docker,
    /// /24s out of 10/8 from the one of this number on, going round: engines on other roots of one host begin at
    /// different places, so that they don't meet even where neither has its links up yet.
    From(u16),
}

impl Subnet {
    /// The network of `prefix` bits around `address`; `None` where `prefix` is over 32.
    pub fn around(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        (prefix <= 32).then(|| Self { base: Ipv4Addr::from_bits(address.to_bits() & mask(prefix)), prefix })
    }

    /// Its first address, the one that names it.
    pub fn base(&self) -> Ipv4Addr {
        self.base
    }

    /// Its prefix length.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Its netmask.
    pub fn mask(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(mask(self.prefix))
    }

    /// Its last address, the broadcast address.
    pub fn last(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base.to_bits() | !mask(self.prefix))
    }

    /// Whether `address` is in it.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.base.to_bits()
    }

    /// Whether the two share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.base) || other.contains(self.base)
    }

    /// Whether `address` can be a member's or the gateway's: in it, and neither its first nor its last.
    pub fn has_host(&self, address: Ipv4Addr) -> bool {
        self.contains(address) && (self.prefix >= 31 || (address != self.base && address != self.last()))
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = String;

    /// Reads `a.b.c.d/n`. Bits beyond the prefix are refused, as Docker does.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refusal = || format!("invalid CIDR address: {text}");
        let (address, prefix) = text.split_once('/').ok_or_else(refusal)?;
        let address: Ipv4Addr = address.parse().map_err(|_| refusal())?;
        let prefix: u8 = prefix.parse().map_err(|_| refusal())?;
        let subnet = Self::around(address, prefix).ok_or_else(refusal)?;
        if subnet.base == address { Ok(subnet) } else { Err(format!("invalid subnet {text}: it should be {subnet}")) }
    }
}

impl Serialize for Subnet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Subnet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The first subnet from `home` that overlaps none of `taken` (other networks' subnets and what the host uses).
pub fn free_subnet(taken: &[Subnet], home: Home) -> Option<Subnet> {
    let is_free = |subnet: &Subnet| !taken.iter().any(|other| other.overlaps(subnet));
    let twenty_four = |number: u16| {
        let [second, third] = number.to_be_bytes();
        Subnet::around(Ipv4Addr::new(10, second, third, 0), 24)
    };
    match home {
        Home::Docker => {
            let sixteens = (17..=31).filter_map(|second| Subnet::around(Ipv4Addr::new(172, second, 0, 0), 16));
            let twenties = (0..=15).filter_map(|n| Subnet::around(Ipv4Addr::new(192, 168, n * 16, 0), 20));
            let beyond = (0..=u16::MAX).rev().filter_map(twenty_four);
            sixteens.chain(twenties).chain(beyond).find(is_free)
        }
        Home::From(start) => (0..=u16::MAX).map(|step| start.wrapping_add(step)).filter_map(twenty_four).find(is_free),
    }
}

/// The first address of `within` that can be a member's of `subnet` and that `is_taken` does not claim, starting behind
/// `after` and going round: addresses are not reused at once, so that late packets reach nobody new.
pub fn free_address(
    subnet: Subnet,
    within: Subnet,
    after: Option<Ipv4Addr>,
    is_taken: impl Fn(Ipv4Addr) -> bool,
) -> Option<Ipv4Addr> {
    let first = within.base().to_bits();
    let last = within.last().to_bits();
    let size = u64::from(last - first) + 1;
    let start = after.filter(|after| within.contains(*after)).map_or(0, |after| u64::from(after.to_bits() - first) + 1);
    (0..size)
        .map(|step| (start + step) % size)
        .filter_map(|offset| u32::try_from(offset).ok())
        .map(|offset| Ipv4Addr::from_bits(first + offset))
        .find(|address| subnet.has_host(*address) && !is_taken(*address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn subnets_know_their_ends() {
        let it = subnet("172.17.0.0/16");
        assert_eq!(it.last(), Ipv4Addr::new(172, 17, 255, 255));
        assert!(it.contains(Ipv4Addr::new(172, 17, 3, 4)));
        assert!(!it.has_host(it.base()) && !it.has_host(it.last()));
        assert!(subnet("0.0.0.0/0").overlaps(&it) && it.overlaps(&subnet("172.17.4.0/24")));
        assert!(!it.overlaps(&subnet("172.18.0.0/16")));
        assert_eq!("10.0.0.1/8".parse::<Subnet>().unwrap_err(), "invalid subnet 10.0.0.1/8: it should be 10.0.0.0/8");
        assert_eq!("10.0.0.0".parse::<Subnet>().unwrap_err(), "invalid CIDR address: 10.0.0.0");
    }

    #[test]
    fn a_new_network_avoids_what_the_host_uses() {
        assert_eq!(free_subnet(&[], Home::Docker), Some(subnet("172.17.0.0/16")));
        assert_eq!(
            free_subnet(&[subnet("172.17.0.0/16"), subnet("172.18.4.0/24")], Home::Docker),
            Some(subnet("172.19.0.0/16"))
        );
        assert_eq!(free_subnet(&[subnet("172.16.0.0/12")], Home::Docker), Some(subnet("192.168.0.0/20")));
        let all = [subnet("172.16.0.0/12"), subnet("192.168.0.0/16")];
        assert_eq!(free_subnet(&all, Home::Docker), Some(subnet("10.255.255.0/24")));
        assert_eq!(free_subnet(&[subnet("0.0.0.0/0")], Home::Docker), None);
        assert_eq!(free_subnet(&[subnet("10.255.255.0/24")], Home::From(65535)), Some(subnet("10.0.0.0/24")));
    }

    #[test]
    fn addresses_go_round() {
        let net = subnet("10.0.0.0/29");
        let at = |last| Ipv4Addr::new(10, 0, 0, last);
        assert_eq!(free_address(net, net, None, |ip| ip == at(1)), Some(at(2)));
        assert_eq!(free_address(net, net, Some(at(2)), |ip| ip == at(1)), Some(at(3)));
        assert_eq!(free_address(net, net, Some(at(6)), |ip| ip == at(1)), Some(at(2)));
        assert_eq!(free_address(net, subnet("10.0.0.4/31"), None, |_| false), Some(at(4)));
        assert_eq!(free_address(net, net, None, |_| true), None);
    }
}
