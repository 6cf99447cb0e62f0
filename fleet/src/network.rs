//! Which addresses a machine can be reached at, and what kind of network it is on. From what its interfaces say.

use std::net::{IpAddr, Ipv4Addr};

/// Names of interfaces behind which there is only this machine: bridges of containers and virtual machines.
const INNER: &[&str] = &["docker", "br-", "veth", "virbr", "vboxnet", "vmnet", "bridge", "cni", "podman"];

/// Returns whether an address is of the range that Tailscale gives to its machines.
#[must_use]
pub fn is_tailnet(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[0] == 100 && (64..128).contains(&ip.octets()[1]),
        IpAddr::V6(ip) => ip.segments()[..3] == [0xfd7a, 0x115c, 0xa1e0],
    }
}

/// Returns whether an address is one that the personal hotspot of a phone gives out, 172.20.10.0/28.
#[must_use]
pub fn is_hotspot(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.octets()[..3] == [172, 20, 10] && ip.octets()[3] < 16)
}

/// Returns the addresses that others can use, best first: the tailnet, a private network, the rest.
///
/// IPv6 addresses other than a tailnet's are left out: machines change them by the day, and a record that follows them
/// would change as often.
#[must_use]
pub fn addresses<'a>(interfaces: impl IntoIterator<Item = (&'a str, IpAddr)>) -> Vec<IpAddr> {
    let outer = interfaces.into_iter().filter(|(name, _)| !INNER.iter().any(|inner| name.starts_with(inner)));
    let mut found: Vec<IpAddr> = outer.map(|(_, ip)| ip).filter(|ip| is_useful(*ip)).collect();
    found.sort_by_key(|ip| (rank(*ip), *ip));
    found.dedup();
    found
}

fn is_useful(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(),
        IpAddr::V6(_) => is_tailnet(ip),
    }
}

fn rank(ip: IpAddr) -> u8 {
    match ip {
        ip if is_tailnet(ip) && ip.is_ipv4() => 0,
        ip if is_tailnet(ip) => 1,
        IpAddr::V4(ip) if Ipv4Addr::is_private(&ip) => 2,
        _ => 3,
    }
}

/// What kind of network a machine is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The hotspot of a phone.
    Hotspot,
    /// A network like that of an office or a home.
    Lan,
    /// None.
    Offline,
}

impl Network {
    /// Returns the kind of network that these addresses are of.
    #[must_use]
    pub fn of(addresses: &[IpAddr]) -> Self {
        if addresses.iter().any(|ip| is_hotspot(*ip)) {
            Self::Hotspot
        } else if addresses.iter().any(|ip| is_useful(*ip) && !is_tailnet(*ip)) {
            Self::Lan
        } else {
            Self::Offline
        }
    }

    /// Returns the word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hotspot => "hotspot",
            Self::Lan => "lan",
            Self::Offline => "offline",
        }
    }
}

/// Returns the name under which a machine is found on the local network.
#[must_use]
pub fn local_name(hostname: &str) -> String {
    let first = hostname.split('.').next().unwrap_or(hostname);
    format!("{first}.local")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_tailnet_comes_first_and_what_only_this_machine_sees_is_left_out() {
        let interfaces = [
            ("lo", ip("127.0.0.1")),
            ("eth0", ip("203.0.113.7")),
            ("docker0", ip("172.17.0.1")),
            ("wlan0", ip("192.168.1.20")),
            ("wlan0", ip("2001:db8::1")),
            ("tailscale0", ip("fd7a:115c:a1e0::5")),
            ("tailscale0", ip("100.101.102.103")),
            ("en5", ip("169.254.1.1")),
        ];
        let texts: Vec<String> = addresses(interfaces).iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["100.101.102.103", "fd7a:115c:a1e0::5", "192.168.1.20", "203.0.113.7"]);
    }

    #[test]
    fn a_hotspot_is_known_by_its_sixteen_addresses() {
        assert!(is_hotspot(ip("172.20.10.0")) && is_hotspot(ip("172.20.10.15")));
        assert!(!is_hotspot(ip("172.20.10.16")) && !is_hotspot(ip("172.20.11.3")));
        assert_eq!(Network::of(&[ip("100.64.0.1"), ip("172.20.10.3")]), Network::Hotspot);
        assert_eq!(Network::of(&[ip("192.168.1.2")]), Network::Lan);
        assert_eq!(Network::of(&[ip("100.64.0.1"), ip("127.0.0.1")]), Network::Offline);
    }

    #[test]
    fn the_local_name_is_the_first_part_of_the_host_name() {
        assert_eq!(
            (local_name("mac"), local_name("mac.lan"), local_name("mac.local")),
            ("mac.local".into(), "mac.local".into(), "mac.local".into())
        );
    }
}
