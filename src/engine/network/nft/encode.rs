//! A [`Batch`] as netlink messages (linux/netfilter/nf_tables.h), and the socket that carries it.
//!
//! Registers: a key's parts are loaded one behind the other from the first 32-bit register on, each padded to four
//! bytes, which is how sets compare concatenations; a map's value comes back into the same place.

use std::io;

use super::table::{Batch, Chain, Command, Element, Field, Hook, Key, Set, Statement, Verdict};
use crate::engine::network::netlink::{Message, Socket, attributes};
use crate::engine::network::ports::Protocol;

const SUBSYSTEM: u16 = 10;
const FAMILY_IP: u8 = 2;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

// The first 32-bit register, NFT_REG32_00, and the one of verdicts.
const REGISTER: u32 = 8;
const VERDICT_REGISTER: u32 = 0;

// Message types (enum nf_tables_msg_types).
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const NEW_SET: u16 = 9;
const NEW_ELEMENTS: u16 = 12;
const DELETE_ELEMENTS: u16 = 14;

// How many elements go into one message: an attribute holds at most 64 KiB.
const ELEMENTS_A_MESSAGE: usize = 400;

/// A socket that carries batches to the kernel, in the network namespace it was opened in.
#[derive(Debug)]
pub struct NftSocket(Socket);

impl NftSocket {
    /// Opens one in the calling thread's network namespace.
    pub fn open() -> io::Result<Self> {
        Socket::netfilter().map(Self)
    }

    /// Carries out all of `batch`, or nothing.
    ///
    /// # Errors
    /// The kernel's answer to the command it refused first.
    pub fn commit(&mut self, batch: &Batch) -> io::Result<()> {
        let mut messages = vec![bracket(BATCH_BEGIN)];
        for (number, command) in batch.commands.iter().enumerate() {
            encode(&batch.table, command, number, &mut messages);
        }
        let last = messages.len() - 1;
        if let Some(message) = messages.last_mut() {
            message.flag(libc::NLM_F_ACK);
        }
        messages.push(bracket(BATCH_END));
        self.0.transaction(messages, last).map_err(|refusal| {
            // Counted from the bracket that opens the batch.
            tracing::debug!(table = batch.table, message = refusal.index, error = %refusal.error, "nft batch refused");
            refusal.error
        })
    }
}

impl NftSocket {
    /// The chains that drop what is forwarded over IPv4 unless another rule of theirs accepts it, as `table chain`.
    pub fn forward_drops(&mut self) -> io::Result<Vec<String>> {
        const GET_CHAIN: u16 = 4;
        const FORWARD: u32 = 2;
        const DROP: u32 = 0;
        const FAMILY_INET: u8 = 1;
        let mut found = Vec::new();
        // Of all families: those that see IPv4 are picked from the answer.
        let request = Message::new(SUBSYSTEM << 8 | GET_CHAIN, 0, &[0, 0, 0, 0]);
        self.0.dump(request, |_, body| {
            let sees_ip = body.first().is_some_and(|family| matches!(*family, FAMILY_IP | FAMILY_INET));
            let value = |kind| find(body.get(4..).unwrap_or_default(), kind);
            let hook = value(4).and_then(|hook| find(hook, 1)).and_then(number_of);
            if sees_ip && hook == Some(FORWARD) && value(5).and_then(number_of) == Some(DROP) {
                found.push(format!("{} {}", text_of(value(1)), text_of(value(3))));
            }
        })?;
        Ok(found)
    }
}

fn find(list: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(list).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

fn number_of(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

fn text_of(value: Option<&[u8]>) -> String {
    String::from_utf8_lossy(value.unwrap_or_default()).trim_end_matches('\0').to_owned()
}

fn bracket(kind: u16) -> Message {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    Message::new(kind, 0, &[0, 0, high, low])
}

fn message(kind: u16, flags: i32) -> Message {
    Message::new(SUBSYSTEM << 8 | kind, flags, &[FAMILY_IP, 0, 0, 0])
}

fn encode(table: &str, command: &Command, number: usize, into: &mut Vec<Message>) {
    match command {
        Command::AddTable => {
            let mut it = message(NEW_TABLE, libc::NLM_F_CREATE);
            it.text(1, table).number(2, 0);
            into.push(it);
        }
        Command::CreateTable => {
            let mut it = message(NEW_TABLE, libc::NLM_F_CREATE | libc::NLM_F_EXCL);
            it.text(1, table).number(2, 0);
            into.push(it);
        }
        Command::DeleteTable => {
            let mut it = message(DELETE_TABLE, 0);
            it.text(1, table);
            into.push(it);
        }
        Command::AddSet(set) => into.push(add_set(table, set, number)),
        Command::AddElements(set, elements) => {
            for chunk in elements.chunks(ELEMENTS_A_MESSAGE) {
                into.push(self::elements(NEW_ELEMENTS, libc::NLM_F_CREATE, table, set, chunk));
            }
        }
        Command::DeleteElements(set, elements) => {
            for chunk in elements.chunks(ELEMENTS_A_MESSAGE) {
                into.push(self::elements(DELETE_ELEMENTS, 0, table, set, chunk));
            }
        }
        Command::AddChain(chain) => into.push(add_chain(table, chain)),
        Command::AddRule(chain, statements) => {
            let mut it = message(NEW_RULE, libc::NLM_F_CREATE | libc::NLM_F_APPEND);
            it.text(1, table).text(2, chain).nested(4, |list| {
                for part in statements {
                    statement(list, part);
                }
            });
            into.push(it);
        }
    }
}

fn add_set(table: &str, set: &Set, number: usize) -> Message {
    const MAP: u32 = 8;
    let mut it = message(NEW_SET, libc::NLM_F_CREATE);
    it.text(1, table).text(2, set.name).number(3, if set.value.is_empty() { 0 } else { MAP });
    it.number(4, kind(set.key)).number(5, length(set.key));
    if !set.value.is_empty() {
        it.number(6, kind(set.value)).number(7, length(set.value));
    }
    it.number(10, u32::try_from(number).unwrap_or(0) + 1);
    it
}

fn elements(kind: u16, flags: i32, table: &str, set: &str, elements: &[Element]) -> Message {
    let mut it = message(kind, flags);
    it.text(1, table).text(2, set).nested(3, |list| {
        for (key, value) in elements {
            list.nested(1, |element| {
                element.nested(1, |data| {
                    data.attribute(1, &bytes(key));
                });
                if !value.is_empty() {
                    element.nested(2, |data| {
                        data.attribute(1, &bytes(value));
                    });
                }
            });
        }
    });
    it
}

fn add_chain(table: &str, chain: &Chain) -> Message {
    const POLICY_ACCEPT: u32 = 1;
    let mut it = message(NEW_CHAIN, libc::NLM_F_CREATE);
    it.text(1, table).text(3, chain.name);
    if let Some((hook, priority)) = chain.hook {
        let (kind, number) = match hook {
            Hook::FilterPrerouting => ("filter", 0),
            Hook::FilterForward => ("filter", 2),
            Hook::FilterOutput => ("filter", 3),
            Hook::NatPrerouting => ("nat", 0),
            Hook::NatOutput => ("nat", 3),
            Hook::NatPostrouting => ("nat", 4),
        };
        it.nested(4, |place| {
            place.number(1, number).attribute(2, &priority.to_be_bytes());
        });
        it.number(5, POLICY_ACCEPT).text(7, kind);
    }
    it
}

/// The bytes a field takes in a register row.
fn padded(field: Field) -> u32 {
    match field {
        Field::Address | Field::Protocol | Field::Port => 4,
        Field::Link => 16,
    }
}

fn length(fields: &[Field]) -> u32 {
    match fields {
        // A key of one part is not padded.
        [Field::Protocol] => 1,
        [Field::Port] => 2,
        _ => fields.iter().copied().map(padded).sum(),
    }
}

/// What nft shows as the type: its own numbers (`enum datatypes`), six bits for each part.
fn kind(fields: &[Field]) -> u32 {
    fields.iter().fold(0, |kind, field| {
        kind << 6
            | match field {
                Field::Address => 7,
                Field::Protocol => 12,
                Field::Port => 13,
                Field::Link => 41,
            }
    })
}

fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

fn bytes(keys: &[Key]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for key in keys {
        match key {
            Key::Address(address) => bytes.extend(address.octets()),
            Key::Protocol(protocol) => bytes.extend([number(*protocol), 0, 0, 0]),
            Key::Port(port) => {
                bytes.extend(port.to_be_bytes());
                bytes.extend([0, 0]);
            }
            Key::Link(name) => bytes.extend(link_name(name)),
        }
    }
    bytes
}

fn link_name(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().take(15).zip(name.as_bytes()) {
        *to = *from;
    }
    bytes
}

// What `meta` loads (enum nft_meta_keys).
const IIFNAME: u32 = 6;
const OIFNAME: u32 = 7;
const L4PROTO: u32 = 16;
// Where `payload` loads from (enum nft_payload_bases).
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
// How `cmp` compares (enum nft_cmp_ops).
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;

/// Offsets of the ports in the transport header.
const SOURCE_PORT: u32 = 0;
const DESTINATION_PORT: u32 = 2;

/// Offsets of the addresses in the IPv4 header.
const SOURCE: u32 = 12;
const DESTINATION: u32 = 16;

fn statement(list: &mut Message, statement: &Statement) {
    match statement {
        Statement::FromLinkIn(set) => {
            meta(list, IIFNAME, REGISTER);
            lookup(list, set, None);
        }
        Statement::ToLinkIn(set) => {
            meta(list, OIFNAME, REGISTER);
            lookup(list, set, None);
        }
        Statement::LinksIn(set) => {
            meta(list, IIFNAME, REGISTER);
            meta(list, OIFNAME, REGISTER + 4);
            lookup(list, set, None);
        }
        Statement::ToLink(name) => {
            meta(list, OIFNAME, REGISTER);
            compare(list, EQUAL, &link_name(name));
        }
        Statement::NotToLink(name) => {
            meta(list, OIFNAME, REGISTER);
            compare(list, NOT_EQUAL, &link_name(name));
        }
        Statement::From(subnet) => in_subnet(list, SOURCE, subnet),
        Statement::To(subnet) => in_subnet(list, DESTINATION, subnet),
        Statement::ToThisHost => {
            const RESULT_ADDRTYPE: u32 = 3;
            const DADDR: u32 = 2;
            const LOCAL: u32 = 2;
            expression(list, "fib", |fib| {
                fib.number(1, REGISTER).number(2, RESULT_ADDRTYPE).number(3, DADDR);
            });
            compare(list, EQUAL, &LOCAL.to_ne_bytes());
        }
        Statement::Established => {
            const STATE: u32 = 0;
            const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
            conntrack_bit(list, STATE, ESTABLISHED_OR_RELATED);
        }
        Statement::Translated => {
            const STATUS: u32 = 2;
            const DST_NAT: u32 = 1 << 5;
            conntrack_bit(list, STATUS, DST_NAT);
        }
        Statement::Port(protocol, port) => has_port(list, *protocol, DESTINATION_PORT, *port),
        Statement::FromPort(protocol, port) => has_port(list, *protocol, SOURCE_PORT, *port),
        Statement::RewritePort(protocol, port) => rewrite_port(list, *protocol, DESTINATION_PORT, *port),
        Statement::RewriteFromPort(protocol, port) => rewrite_port(list, *protocol, SOURCE_PORT, *port),
        Statement::DnatByPort(map) => {
            meta(list, L4PROTO, REGISTER);
            payload(list, TRANSPORT_HEADER, DESTINATION_PORT, 2, REGISTER + 1);
            lookup(list, map, Some(REGISTER));
            dnat(list);
        }
        Statement::DnatByAddressAndPort(map) => {
            payload(list, NETWORK_HEADER, DESTINATION, 4, REGISTER);
            meta(list, L4PROTO, REGISTER + 1);
            payload(list, TRANSPORT_HEADER, DESTINATION_PORT, 2, REGISTER + 2);
            lookup(list, map, Some(REGISTER));
            dnat(list);
        }
        Statement::Masquerade => expression(list, "masq", |_| {}),
        Statement::Then(verdict) => then(list, *verdict),
    }
}

fn expression(list: &mut Message, name: &str, fill: impl FnOnce(&mut Message)) {
    list.nested(1, |expression| {
        expression.text(1, name).nested(2, fill);
    });
}

fn meta(list: &mut Message, key: u32, register: u32) {
    expression(list, "meta", |it| {
        it.number(1, register).number(2, key);
    });
}

fn payload(list: &mut Message, base: u32, offset: u32, length: u32, register: u32) {
    expression(list, "payload", |it| {
        it.number(1, register).number(2, base).number(3, offset).number(4, length);
    });
}

fn has_port(list: &mut Message, protocol: Protocol, offset: u32, port: u16) {
    meta(list, L4PROTO, REGISTER);
    compare(list, EQUAL, &[number(protocol)]);
    payload(list, TRANSPORT_HEADER, offset, 2, REGISTER);
    compare(list, EQUAL, &port.to_be_bytes());
}

/// Writes a port into the packet and corrects its checksum.
fn rewrite_port(list: &mut Message, protocol: Protocol, offset: u32, port: u16) {
    const INTERNET_CHECKSUM: u32 = 1;
    let checksum_offset = match protocol {
        Protocol::Udp => 6,
        Protocol::Tcp | Protocol::Sctp => 16,
    };
    immediate(list, REGISTER, &port.to_be_bytes());
    expression(list, "payload", |it| {
        it.number(5, REGISTER).number(2, TRANSPORT_HEADER).number(3, offset).number(4, 2);
        it.number(6, INTERNET_CHECKSUM).number(7, checksum_offset);
    });
}

fn compare(list: &mut Message, operation: u32, value: &[u8]) {
    expression(list, "cmp", |it| {
        it.number(1, REGISTER).number(2, operation).nested(3, |data| {
            data.attribute(1, value);
        });
    });
}

/// Keeps the bits of `mask` in the first register, `mask` being as long as what is in there.
fn keep_bits(list: &mut Message, mask: &[u8]) {
    expression(list, "bitwise", |it| {
        it.number(1, REGISTER).number(2, REGISTER).number(3, u32::try_from(mask.len()).unwrap_or(4));
        it.nested(4, |data| {
            data.attribute(1, mask);
        });
        it.nested(5, |data| {
            data.attribute(1, &vec![0; mask.len()]);
        });
    });
}

fn in_subnet(list: &mut Message, offset: u32, subnet: &crate::engine::network::ipam::Subnet) {
    payload(list, NETWORK_HEADER, offset, 4, REGISTER);
    keep_bits(list, &subnet.mask().octets());
    compare(list, EQUAL, &subnet.base().octets());
}

fn conntrack_bit(list: &mut Message, key: u32, bits: u32) {
    expression(list, "ct", |it| {
        it.number(1, REGISTER).number(2, key);
    });
    keep_bits(list, &bits.to_ne_bytes());
    compare(list, NOT_EQUAL, &0u32.to_ne_bytes());
}

fn lookup(list: &mut Message, set: &str, into: Option<u32>) {
    expression(list, "lookup", |it| {
        it.text(1, set).number(2, REGISTER);
        if let Some(register) = into {
            it.number(3, register);
        }
    });
}

fn immediate(list: &mut Message, register: u32, value: &[u8]) {
    expression(list, "immediate", |it| {
        it.number(1, register).nested(2, |data| {
            data.attribute(1, value);
        });
    });
}

/// Translates the destination to the address in the first register and the port in the second.
fn dnat(list: &mut Message) {
    const DNAT: u32 = 1;
    expression(list, "nat", |it| {
        it.number(1, DNAT).number(2, FAMILY_IP.into()).number(3, REGISTER).number(5, REGISTER + 1);
    });
}

fn then(list: &mut Message, verdict: Verdict) {
    const JUMP: i32 = -3;
    let (code, chain) = match verdict {
        Verdict::Accept => (1, None),
        Verdict::Drop => (0, None),
        Verdict::Jump(chain) => (JUMP, Some(chain)),
    };
    expression(list, "immediate", |it| {
        it.number(1, VERDICT_REGISTER).nested(2, |data| {
            data.nested(2, |verdict| {
                verdict.attribute(1, &code.to_be_bytes());
                if let Some(chain) = chain {
                    verdict.text(2, chain);
                }
            });
        });
    });
}

#[cfg(test)]
mod tests {
    use nix::sched::{CloneFlags, unshare};

    use super::*;

    #[test]
    fn a_firewall_that_drops_what_is_forwarded_is_seen() {
        let seen = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let mut socket = NftSocket::open().unwrap();
            assert_eq!(socket.forward_drops().unwrap(), Vec::<String>::new());
            // As `iptables -P FORWARD DROP` leaves it.
            let mut table = message(NEW_TABLE, libc::NLM_F_CREATE);
            table.text(1, "filter").number(2, 0);
            let mut chain = message(NEW_CHAIN, libc::NLM_F_CREATE | libc::NLM_F_ACK);
            chain.text(1, "filter").text(3, "FORWARD").nested(4, |place| {
                place.number(1, 2).number(2, 0);
            });
            chain.number(5, 0).text(7, "filter");
            let batch = vec![bracket(BATCH_BEGIN), table, chain, bracket(BATCH_END)];
            socket.0.transaction(batch, 2).unwrap();
            socket.forward_drops().unwrap()
        });
        assert_eq!(seen.join().unwrap(), ["filter FORWARD"]);
    }
}
