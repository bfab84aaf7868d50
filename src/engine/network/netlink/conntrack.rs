//! The kernel's memory of flows (ctnetlink), as far as published UDP ports need it.

use std::collections::BTreeSet;
use std::io;

use super::message::{Message, attributes};
use super::socket::Socket;

const SUBSYSTEM: u16 = 1;
const GET: u16 = 1;
const DELETE: u16 = 2;
const FAMILY_IP: u8 = 2;
const UDP: u8 = 17;

// Attributes (linux/netfilter/nfnetlink_conntrack.h).
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const PROTOCOL_NUMBER: u16 = 1;
const PROTOCOL_DESTINATION_PORT: u16 = 3;
const NESTED: u16 = 1 << 15;

/// Forgets all IPv4 UDP flows whose first packet went to one of `ports`, in the calling thread's network namespace.
pub fn forget_udp_flows(ports: &BTreeSet<u16>) -> io::Result<()> {
    let mut socket = Socket::netfilter()?;
    let mut doomed = Vec::new();
    socket.dump(message(GET), |_, body| {
        let original = attributes(body.get(4..).unwrap_or_default()).find(|(kind, _)| *kind == TUPLE_ORIGINAL);
        if let Some((_, tuple)) = original
            && udp_port(tuple).is_some_and(|port| ports.contains(&port))
        {
            let mut delete = message(DELETE);
            delete.attribute(TUPLE_ORIGINAL | NESTED, tuple);
            doomed.push(delete);
        }
    })?;
    for delete in doomed {
        match socket.acknowledged(vec![delete]) {
            // It ended by itself meanwhile.
            Err(refusal) if refusal.error.raw_os_error() != Some(libc::ENOENT) => return Err(refusal.error),
            _ => {}
        }
    }
    Ok(())
}

fn message(kind: u16) -> Message {
    Message::new(SUBSYSTEM << 8 | kind, 0, &[FAMILY_IP, 0, 0, 0])
}

/// The destination port of a tuple, if it is one of UDP.
fn udp_port(tuple: &[u8]) -> Option<u16> {
    let (_, protocol) = attributes(tuple).find(|(kind, _)| *kind == TUPLE_PROTOCOL)?;
    let value = |wanted| attributes(protocol).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    if value(PROTOCOL_NUMBER)?.first() != Some(&UDP) {
        return None;
    }
    value(PROTOCOL_DESTINATION_PORT)?.try_into().ok().map(u16::from_be_bytes)
}
