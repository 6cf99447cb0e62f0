//! What an Ethernet frame says about itself: who to, who from, what kind of packet. Not here: what becomes of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The length of an Ethernet header; frames of TAP devices have no more around the packet.
pub(super) const HEADER: usize = 14;

pub(super) type Mac = [u8; 6];

/// A kind of packet: every packet from one address to one port of another is the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Packet {
    /// The sender.
    pub from: IpAddr,
    /// The receiver; for ARP, whose address was asked for.
    pub to: IpAddr,
    /// The IP protocol: 6 TCP, 17 UDP, 58 ICMPv6; 0 for ARP.
    pub protocol: u8,
    /// The receiver's port, for TCP and UDP.
    pub port: u16,
}

/// Returns the receiver and the sender.
pub(super) fn macs(frame: &[u8]) -> Option<(Mac, Mac)> {
    Some((bytes(frame, 0)?, bytes(frame, 6)?))
}

/// Whether all machines get it.
pub(super) fn is_for_many(mac: Mac) -> bool {
    mac[0] & 1 == 1
}

/// Returns what kind of packet it carries.
pub(super) fn packet(frame: &[u8]) -> Option<Packet> {
    let port = |protocol: u8, at: usize| match protocol {
        6 | 17 => bytes(frame, at + 2).map(u16::from_be_bytes),
        _ => Some(0),
    };
    match bytes(frame, 12)? {
        [0x08, 0x00] => {
            let protocol = *frame.get(HEADER + 9)?;
            let header = usize::from(frame.get(HEADER)? & 15) * 4;
            let (from, to): ([u8; 4], [u8; 4]) = (bytes(frame, HEADER + 12)?, bytes(frame, HEADER + 16)?);
            let (from, to) = (Ipv4Addr::from(from).into(), Ipv4Addr::from(to).into());
            Some(Packet { from, to, protocol, port: port(protocol, HEADER + header)? })
        }
        [0x86, 0xdd] => {
            let protocol = *frame.get(HEADER + 6)?;
            let (from, to): ([u8; 16], [u8; 16]) = (bytes(frame, HEADER + 8)?, bytes(frame, HEADER + 24)?);
            let (from, to) = (Ipv6Addr::from(from).into(), Ipv6Addr::from(to).into());
            Some(Packet { from, to, protocol, port: port(protocol, HEADER + 40)? })
        }
        [0x08, 0x06] => {
            let (from, to): ([u8; 4], [u8; 4]) = (bytes(frame, HEADER + 14)?, bytes(frame, HEADER + 24)?);
            Some(Packet { from: Ipv4Addr::from(from).into(), to: Ipv4Addr::from(to).into(), protocol: 0, port: 0 })
        }
        _ => None,
    }
}

fn bytes<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..at + N)?.try_into().ok()
}
