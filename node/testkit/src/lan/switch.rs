//! The switch: one thread that reads frames from all ports, learns who is where, and lets each wire do what it does.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Wire;
use super::frame::{self, HEADER, Mac, Packet};

/// How long the thread waits for frames before it looks at what else there is.
const LOOK: Duration = Duration::from_millis(5);
/// How long frames wait at most for a slow wire: what a home router holds.
const BUFFER: Duration = Duration::from_millis(200);
/// The most frames on their way; what comes on top is lost.
const ON_THE_WAY: usize = 65_536;
/// The most kinds of packets that are remembered.
const SEEN: usize = 4_096;
/// How many frames are taken from one port before the next has its turn.
const TURN: usize = 64;

#[derive(Debug, Default)]
struct State {
    ports: Vec<Arc<File>>,
    wires: BTreeMap<(usize, usize), Wire>,
    /// Each kind of packet, and how many there were.
    seen: BTreeMap<Packet, u64>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    carried: AtomicU64,
    stop: AtomicBool,
}

/// A running switch.
#[derive(Debug)]
pub(super) struct Switch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Switch {
    pub(super) fn start(seed: u64) -> Self {
        let shared = Arc::new(Shared::default());
        let running = Running {
            shared: Arc::clone(&shared),
            places: HashMap::new(),
            on_the_way: BinaryHeap::new(),
            free: BTreeMap::new(),
            random: seed,
            count: 0,
        };
        Self { shared, thread: Some(std::thread::spawn(move || running.run())) }
    }

    /// Plugs a device in; returns its port.
    pub(super) fn add(&self, device: File) -> usize {
        self.with(|state| {
            state.ports.push(Arc::new(device));
            state.ports.len() - 1
        })
    }

    pub(super) fn wire(&self, one: usize, other: usize, wire: Wire) {
        self.with(|state| {
            state.wires.insert((one, other), wire);
            state.wires.insert((other, one), wire);
        });
    }

    pub(super) fn seen(&self) -> Vec<Packet> {
        self.with(|state| state.seen.keys().cloned().collect())
    }

    pub(super) fn count(&self, wanted: impl Fn(&Packet) -> bool) -> u64 {
        self.with(|state| state.seen.iter().filter(|(packet, _)| wanted(packet)).map(|(_, count)| count).sum())
    }

    pub(super) fn carried(&self) -> u64 {
        self.shared.carried.load(Ordering::Relaxed)
    }

    pub(super) fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A switch that failed has failed its test already.
            let _ = thread.join();
        }
    }

    fn with<T>(&self, use_: impl FnOnce(&mut State) -> T) -> T {
        use_(&mut self.shared.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A frame that arrives at a port at a time; `number` keeps the order of those that arrive together.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Parcel {
    due: Instant,
    number: u64,
    port: usize,
    frame: Vec<u8>,
}

struct Running {
    shared: Arc<Shared>,
    places: HashMap<Mac, usize>,
    on_the_way: BinaryHeap<Reverse<Parcel>>,
    /// When each slow wire has sent what waits for it.
    free: BTreeMap<(usize, usize), Instant>,
    random: u64,
    count: u64,
}

impl Running {
    fn run(mut self) {
        let mut buffer = vec![0; 65_536];
        while !self.shared.stop.load(Ordering::Relaxed) {
            let ports = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).ports.clone();
            self.wait(&ports);
            for (from, port) in ports.iter().enumerate() {
                for _ in 0..TURN {
                    // Nothing there, or a device that is down.
                    let Ok(length) = (&**port).read(&mut buffer) else { break };
                    self.take(from, &buffer[..length], ports.len());
                }
            }
            let now = Instant::now();
            while self.on_the_way.peek().is_some_and(|Reverse(parcel)| parcel.due <= now) {
                if let Some(Reverse(parcel)) = self.on_the_way.pop() {
                    self.shared.carried.fetch_add(parcel.frame.len() as u64, Ordering::Relaxed);
                    // A device that is down takes nothing.
                    let _ = (&*ports[parcel.port]).write(&parcel.frame);
                }
            }
        }
    }

    fn wait(&self, ports: &[Arc<File>]) {
        let next = self.on_the_way.peek().map(|Reverse(parcel)| parcel.due.saturating_duration_since(Instant::now()));
        let wait = next.unwrap_or(LOOK).min(LOOK);
        let timeout = Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().into() };
        let mut fds: Vec<PollFd<'_>> = ports.iter().map(|port| PollFd::new(&**port, PollFlags::IN)).collect();
        if !poll(&mut fds, Some(&timeout))
            .is_ok_and(|ready| ready == 0 || fds.iter().any(|fd| fd.revents() == PollFlags::IN))
        {
            // A device that is down is always ready, with an error: do not spin on it.
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    fn take(&mut self, from: usize, frame: &[u8], ports: usize) {
        let Some((to, sender)) = frame::macs(frame) else { return };
        self.places.insert(sender, from);
        let known = if frame::is_for_many(to) { None } else { self.places.get(&to).copied() };
        let receivers: Vec<usize> = match known {
            Some(port) => vec![port],
            None => (0..ports).filter(|port| *port != from).collect(),
        };
        let wires: Vec<(usize, Wire)> = {
            let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(packet) = frame::packet(frame)
                && (state.seen.len() < SEEN || state.seen.contains_key(&packet))
            {
                *state.seen.entry(packet).or_default() += 1;
            }
            let wire = |port: usize| (port, state.wires.get(&(from, port)).copied().unwrap_or_default());
            receivers.into_iter().map(wire).collect()
        };
        for (port, wire) in wires {
            self.send(from, port, wire, frame);
        }
    }

    fn send(&mut self, from: usize, port: usize, wire: Wire, frame: &[u8]) {
        let lost = self.number() % 100 < u64::from(wire.loss);
        if wire.cut || lost || frame.len() > wire.largest + HEADER || self.on_the_way.len() >= ON_THE_WAY {
            return;
        }
        let now = Instant::now();
        let mut start = now;
        if let Some(rate) = wire.rate {
            let free = self.free.entry((from, port)).or_insert(now);
            start = now.max(*free);
            if start - now > BUFFER {
                return;
            }
            start += Duration::from_secs_f64(frame.len() as f64 / rate as f64);
            *free = start;
        }
        self.count += 1;
        let parcel = Parcel { due: start + wire.delay, number: self.count, port, frame: frame.to_vec() };
        self.on_the_way.push(Reverse(parcel));
    }

    /// SplitMix64: enough to lose frames by.
    fn number(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
