//! A network for tests: a namespace for each machine, joined by a switch whose wires can be cut, slow, lossy and narrow.
//!
//! The switch is this process: it reads each machine's frames from a TAP device and decides what becomes of them, so that
//! no part of it needs a kernel module (many kernels lack `netem`), and what it was asked to carry is known to the last
//! frame. Needs Linux, root and iproute2. Not here: what runs in the namespaces.

mod frame;
mod switch;

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub use frame::Packet;
use switch::Switch;

/// Where iproute2 may be: not every user's PATH has it.
const IP: [&str; 4] = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"];
/// Where named namespaces are.
const NAMESPACES: &str = "/run/netns";
/// Where iproute2 looks for files that a namespace has in place of those in `/etc`.
const OWN_FILES: &str = "/etc/netns";
/// How namespaces of tests begin; the process's id and a number follow.
const PREFIX: &str = "ctxtest-";
/// The first three bytes of every address.
const NET: [u8; 3] = [10, 99, 0];
/// Where the way to everywhere else would be. Nobody is there, but packets to it get as far as the switch.
const GATEWAY: u8 = 254;
/// Whom every machine asks for names, whatever the host does: on many that is a program on loopback, and the switch would see
/// nothing of it. Nobody answers.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(NET[0], NET[1], NET[2], GATEWAY);

static COUNT: AtomicU32 = AtomicU32::new(0);

/// What a wire from one machine to another does to frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    /// Nothing gets through.
    pub cut: bool,
    /// How many of a hundred frames are lost.
    pub loss: u8,
    /// How long a frame travels.
    pub delay: Duration,
    /// The most bytes of an IP packet that get through; larger ones vanish without a word.
    pub largest: usize,
    /// How many bytes pass in a second; frames wait, and are lost when too many do.
    pub rate: Option<u64>,
}

impl Default for Wire {
    fn default() -> Self {
        Self { cut: false, loss: 0, delay: Duration::ZERO, largest: 1_500, rate: None }
    }
}

/// A switch and what hangs on it. Namespaces are removed when it is dropped.
#[derive(Debug)]
pub struct Lan {
    switch: Switch,
    namespaces: Vec<String>,
}

/// A machine's place on the network: a namespace with one device, `eth0`, and a resolver of its own.
#[derive(Clone, Debug)]
pub struct Place {
    namespace: String,
    port: usize,
    address: Ipv4Addr,
}

impl Lan {
    /// Makes a switch; `None`, with a message, where namespaces or devices cannot be made.
    #[must_use]
    #[expect(clippy::print_stderr, reason = "a skipped test must say so where its output goes")]
    pub fn new(seed: u64) -> Option<Self> {
        let probe = name();
        sweep();
        let can = ip(&["netns", "add", &probe]).and_then(|()| ip(&["netns", "del", &probe]));
        let can = can.and_then(|()| fs::create_dir_all(OWN_FILES).map_err(|error| format!("{OWN_FILES}: {error}")));
        let can = can.and_then(|()| tap(&format!("ct{}", std::process::id())).map(drop));
        if let Err(reason) = can {
            eprintln!("SKIP: network namespaces are not available: {reason}");
            return None;
        }
        eprintln!("the switch loses frames by seed {seed}");
        Some(Self { switch: Switch::start(seed), namespaces: Vec::new() })
    }

    /// Adds a machine. Its address is 10.99.0.1 for the first, and so on.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn place(&mut self) -> Place {
        let namespace = name();
        must(&["netns", "add", &namespace]);
        self.namespaces.push(namespace.clone());
        let files = Path::new(OWN_FILES).join(&namespace);
        fs::create_dir_all(&files).expect("a directory beside the namespace can be made");
        fs::write(files.join("resolv.conf"), format!("nameserver {RESOLVER}\n")).expect("own directory");
        let number = u8::try_from(self.namespaces.len()).expect("a test has few machines");
        let device = format!("ct{}-{number}", std::process::id());
        let file = tap(&device).expect("a device can be made");
        must(&["link", "set", &device, "netns", &namespace, "name", "eth0"]);
        let port = self.switch.add(file);
        let place = Place { namespace, port, address: Ipv4Addr::new(NET[0], NET[1], NET[2], number) };
        place.ip(&["link", "set", "lo", "up"]);
        place.ip(&["address", "add", &format!("{}/24", place.address), "dev", "eth0"]);
        place.up();
        place
    }

    /// Sets what the wires between two machines do, both ways.
    pub fn wire(&self, one: &Place, other: &Place, wire: Wire) {
        self.switch.wire(one.port, other.port, wire);
    }

    /// Sets what all wires of a machine do, both ways.
    pub fn wires(&self, place: &Place, wire: Wire) {
        (0..self.namespaces.len()).filter(|port| *port != place.port).for_each(|port| {
            self.switch.wire(place.port, port, wire);
        });
    }

    /// Returns each kind of packet that any machine has tried to send, whether it got through or not.
    #[must_use]
    pub fn seen(&self) -> Vec<Packet> {
        self.switch.seen()
    }

    /// Returns how many packets of some kinds were tried, whether they got through or not.
    #[must_use]
    pub fn count(&self, wanted: impl Fn(&Packet) -> bool) -> u64 {
        self.switch.count(wanted)
    }

    /// Returns how many bytes the switch has carried.
    #[must_use]
    pub fn carried(&self) -> u64 {
        self.switch.carried()
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        self.switch.stop();
        self.namespaces.iter().for_each(|namespace| remove(namespace));
    }
}

impl Place {
    /// Returns the address that it was given last.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Returns a command that runs a program in the namespace.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(tool().unwrap_or("ip"));
        command.args(["netns", "exec", &self.namespace]).arg(program);
        command
    }

    /// Gives the machine an address of a tailnet as well, over the same wires: 100.64.0.1 for 10.99.0.1, and so on. Returns it.
    ///
    /// # Panics
    /// When the system refuses.
    #[must_use]
    pub fn enter_tailnet(&self) -> Ipv4Addr {
        let address = Ipv4Addr::new(100, 64, 0, self.address.octets()[3]);
        self.ip(&["address", "add", &format!("{address}/10"), "dev", "eth0"]);
        address
    }

    /// Pulls the plug: the device goes down, as the machine notices.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn down(&self) {
        self.ip(&["link", "set", "eth0", "down"]);
    }

    /// Pulls the plug and forgets the address, as a machine that has not come to any network yet.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn leave(&self) {
        self.ip(&["address", "flush", "dev", "eth0", "scope", "global"]);
        self.down();
    }

    /// Puts the plug back, with the route to everywhere else.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn up(&self) {
        let gateway = Ipv4Addr::new(NET[0], NET[1], NET[2], GATEWAY).to_string();
        self.ip(&["link", "set", "eth0", "up"]);
        self.ip(&["neigh", "replace", &gateway, "lladdr", "02:00:00:00:00:fe", "dev", "eth0"]);
        self.ip(&["route", "replace", "default", "via", &gateway]);
    }

    /// Moves the machine to another address.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn move_to(&mut self, last: u8) {
        self.ip(&["address", "flush", "dev", "eth0", "scope", "global"]);
        self.address = Ipv4Addr::new(NET[0], NET[1], NET[2], last);
        self.ip(&["address", "add", &format!("{}/24", self.address), "dev", "eth0"]);
        self.up();
    }

    /// Lets nothing out to another machine, as a firewall on this one does; what that machine sends still comes in. The
    /// network's other addresses of this machine (IPv6) are taken away, since they would go around it.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn wall(&self, other: &Self) {
        self.ip(&["-6", "address", "flush", "dev", "eth0"]);
        self.ip(&["route", "add", "blackhole", &other.address.to_string()]);
    }

    /// Takes that away again; the other addresses stay away.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn unwall(&self, other: &Self) {
        self.ip(&["route", "del", "blackhole", &other.address.to_string()]);
    }

    /// Sets the size of the largest packet that the device takes.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn mtu(&self, bytes: usize) {
        self.ip(&["link", "set", "eth0", "mtu", &bytes.to_string()]);
    }

    fn ip(&self, arguments: &[&str]) {
        must(&[&["-n", &self.namespace], arguments].concat());
    }
}

fn name() -> String {
    format!("{PREFIX}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Removes what a test left that was killed before it could.
fn sweep() {
    let entries = [NAMESPACES, OWN_FILES].into_iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten());
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            remove(&name);
        }
    }
}

/// Removes a namespace and its files. What is gone already is as good as removed: another test may have been quicker.
fn remove(namespace: &str) {
    let _ = ip(&["netns", "del", namespace]);
    let _ = fs::remove_dir_all(Path::new(OWN_FILES).join(namespace));
}

#[cfg(target_os = "linux")]
fn tap(name: &str) -> Result<File, String> {
    use std::os::fd::AsFd as _;

    use tun_rs::{DeviceBuilder, Layer};

    let made = DeviceBuilder::new().name(name).layer(Layer::L2).build_sync();
    let device = made.map_err(|error| format!("no TAP device: {error}"))?;
    device.set_nonblocking(true).map_err(|error| error.to_string())?;
    let file = device.as_fd().try_clone_to_owned().map_err(|error| error.to_string())?;
    Ok(File::from(file))
}

#[cfg(not(target_os = "linux"))]
fn tap(_: &str) -> Result<File, String> {
    Err("only Linux has them".to_owned())
}

fn tool() -> Option<&'static str> {
    IP.into_iter().find(|path| Path::new(path).exists())
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let tool = tool().ok_or("iproute2 is not installed")?;
    let output = Command::new(tool).args(arguments).stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

#[track_caller]
fn must(arguments: &[&str]) {
    if let Err(reason) = ip(arguments) {
        panic!("{reason}");
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, UdpSocket};

    use super::*;
    use crate::wait_until;

    fn pings(from: &Place, to: Ipv4Addr) -> bool {
        // A datagram to a closed port is answered with an error, which ends the reading before its time is over.
        let script = format!("exec 3<>/dev/udp/{to}/9; echo x >&3; read -t 1 -u 3 x; [ $? -le 128 ]");
        let mut command = from.command(Path::new("/bin/bash"));
        command.args(["-c", &script]).stderr(Stdio::null());
        command.status().expect("a shell starts").success()
    }

    #[test]
    fn a_wall_lets_nothing_out_and_everything_in() {
        let Some(mut lan) = Lan::new(2) else { return };
        let (walled, other) = (lan.place(), lan.place());
        let went = |from: &Place| {
            let from = IpAddr::V4(from.address());
            lan.seen().iter().any(|packet| packet.from == from && packet.protocol == 17 && packet.port == 9)
        };
        wait_until(Duration::from_secs(20), "the wire carries", || pings(&other, walled.address()));
        walled.wall(&other);
        assert!(!pings(&other, walled.address()) && went(&other), "the answer does not get out");
        pings(&walled, other.address());
        assert!(!went(&walled));
        walled.unwall(&other);
        wait_until(Duration::from_secs(20), "it carries again", || pings(&walled, other.address()) && went(&walled));
    }

    #[test]
    fn a_wire_carries_until_it_is_cut_and_the_switch_knows_what_was_tried() {
        let Some(mut lan) = Lan::new(1) else { return };
        let (one, two) = (lan.place(), lan.place());
        wait_until(Duration::from_secs(20), "the wire carries", || pings(&one, two.address()));
        // Whomever the host asks for names.
        let resolver = one.command(Path::new("/bin/cat")).arg("/etc/resolv.conf").output().expect("cat starts");
        assert_eq!(String::from_utf8_lossy(&resolver.stdout), format!("nameserver {RESOLVER}\n"));
        let tried = |packet: &Packet| packet.to == IpAddr::V4(two.address()) && packet.port == 9;
        assert!(lan.seen().iter().any(tried), "{:?}", lan.seen());
        lan.wire(&one, &two, Wire { cut: true, ..Wire::default() });
        assert!(!pings(&one, two.address()));
        lan.wire(&one, &two, Wire::default());
        wait_until(Duration::from_secs(20), "it carries again", || pings(&one, two.address()));
        let namespaces = lan.namespaces.clone();
        drop(lan);
        let left = |folder: &str| namespaces.iter().any(|name| Path::new(folder).join(name).exists());
        assert!(!left(NAMESPACES) && !left(OWN_FILES));
        // The machine's own network is untouched.
        assert!(UdpSocket::bind("127.0.0.1:0").is_ok());
    }
}
