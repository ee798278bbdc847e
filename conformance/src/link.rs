//! A network link with delay, loss and reordering, like tc-netem(8) but without the need for its kernel module.
//!
//! The link is a TUN device (Documentation/networking/tuntap.rst of the kernel) and a thread that relays its packets,
//! in a network namespace that exists as long as the test. The thread swaps the two addresses of each packet: what is
//! sent to [`FAR`] arrives at [`NEAR`], as if from `FAR`. So both ends of a connection to `FAR` are in the namespace,
//! and each segment crosses the link. IP and TCP checksums are sums, which a swap does not change.

use crate::notice::note;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::ioctl::{self, Opcode, Setter, opcode};
use rustix::thread::UnshareFlags;
use std::collections::VecDeque;
use std::ffi::c_int;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// The local address of both ends, in a range for benchmarks (RFC 2544).
pub const NEAR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The remote address of both ends: connect to it to cross the link.
pub const FAR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

const DEVICE: &str = "link0";
const MTU: usize = 1500;
/// How long the relay thread sleeps at most, and so how soon it ends.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The faults of a link.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// The delay of each packet.
    pub delay: Duration,
    /// The share of packets that are dropped, from 0 to 1.
    pub loss: f64,
    /// The share of packets that skip the delay, and so are reordered, from 0 to 1.
    pub overtaking: f64,
}

/// The controls of a link.
#[derive(Debug, Default)]
pub struct Link {
    dark: AtomicBool,
    stop: AtomicBool,
    delivered: AtomicU64,
    dropped: AtomicU64,
    reordered: AtomicU64,
}

impl Link {
    /// Drops all packets while `dark`. Neither end is notified.
    pub fn set_dark(&self, dark: bool) {
        self.dark.store(dark, Relaxed);
    }

    /// Packets delivered, dropped, and reordered.
    pub fn packets(&self) -> [u64; 3] {
        [&self.delivered, &self.dropped, &self.reordered].map(|count| count.load(Relaxed))
    }
}

/// Stops the relay thread, also if the test panics.
struct StopOnDrop<'a>(&'a Link);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Relaxed);
    }
}

/// Runs `test`, and all processes that it starts, in a network namespace with a link. That needs root, `/dev/net/tun`
/// and ip(8); without them it prints a notice and skips the test.
///
/// # Panics
/// If `test` does.
pub fn with_link(faults: Faults, test: impl FnOnce(&Link) + Send) {
    let link = &Link::default();
    let run = || {
        let tun = match open() {
            Ok(tun) => tun,
            Err(error) => return note(&format!("skipped: cannot create a link: {error}")),
        };
        thread::scope(|scope| {
            let _stop = StopOnDrop(link);
            scope.spawn(|| relay(&tun, faults, link));
            test(link);
        });
    };
    // On a thread of its own: the namespace belongs to that thread and those that it starts.
    thread::scope(|scope| match scope.spawn(run).join() {
        Ok(()) => {}
        Err(panic) => std::panic::resume_unwind(panic),
    });
}

/// Moves this thread to a new network namespace, and opens a link there.
fn open() -> io::Result<OwnedFd> {
    // SAFETY: only this thread moves, and nothing that it owns depends on its previous network namespace.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?;
    let tun =
        rustix::fs::open("/dev/net/tun", OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    attach(&tun)?;
    ip(&["link", "set", "lo", "up"])?;
    ip(&["address", "add", &format!("{NEAR}/24"), "dev", DEVICE])?;
    // The queue is long enough that only the link drops packets.
    ip(&["link", "set", DEVICE, "up", "mtu", &MTU.to_string(), "txqueuelen", "20000"])?;
    Ok(tun)
}

/// Creates the device (linux/if_tun.h, `struct ifreq` of netdevice(7)).
fn attach(tun: &OwnedFd) -> io::Result<()> {
    const TUNSETIFF: Opcode = opcode::write::<c_int>(b'T', 202);
    const IFF_TUN: u16 = 1;
    const IFF_NO_PI: u16 = 0x1000;
    #[repr(C)]
    struct Ifreq {
        name: [u8; 16],
        flags: u16,
        unused: [u8; 22],
    }
    let mut request = Ifreq { name: [0; 16], flags: IFF_TUN | IFF_NO_PI, unused: [0; 22] };
    request.name[..DEVICE.len()].copy_from_slice(DEVICE.as_bytes());
    // SAFETY: TUNSETIFF reads a `struct ifreq`, whose size this one has, and keeps no pointer to it.
    unsafe { ioctl::ioctl(tun, Setter::<TUNSETIFF, Ifreq>::new(request)) }?;
    Ok(())
}

fn ip(arguments: &[&str]) -> io::Result<()> {
    let output = Command::new("ip").args(arguments).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_string())),
    }
}

/// Reads packets from the device, and writes them back after the delay.
fn relay(tun: &OwnedFd, faults: Faults, link: &Link) {
    let mut in_flight = VecDeque::<(Instant, Vec<u8>)>::new();
    let mut random = Random(1);
    let mut packet = [0; MTU];
    while !link.stop.load(Relaxed) {
        let now = Instant::now();
        while in_flight.front().is_some_and(|(due, _)| *due <= now) {
            let (_, packet) = in_flight.pop_front().expect("a packet");
            deliver(tun, &packet, link);
        }
        let next = in_flight.front().map_or(POLL_INTERVAL, |(due, _)| due.saturating_duration_since(now));
        let timeout = Timespec::try_from(next.min(POLL_INTERVAL)).expect("a short time");
        // Errors of poll(2) also show in the read.
        let _ = poll(&mut [PollFd::new(tun, PollFlags::IN)], Some(&timeout));
        while let Ok(len) = rustix::io::read(tun, &mut packet) {
            let Some(packet) = swap_addresses(&mut packet[..len]) else { continue };
            if link.dark.load(Relaxed) || random.hits(faults.loss) {
                link.dropped.fetch_add(1, Relaxed);
            } else if random.hits(faults.overtaking) {
                link.reordered.fetch_add(1, Relaxed);
                deliver(tun, packet, link);
            } else {
                in_flight.push_back((Instant::now() + faults.delay, packet.to_vec()));
            }
        }
    }
}

fn deliver(tun: &OwnedFd, packet: &[u8], link: &Link) {
    // A packet that the kernel does not accept counts as dropped.
    let count = if rustix::io::write(tun, packet).is_ok() { &link.delivered } else { &link.dropped };
    count.fetch_add(1, Relaxed);
}

/// Swaps source and destination of an IPv4 packet (RFC 791, section 3.1). `None` for any other packet.
fn swap_addresses(packet: &mut [u8]) -> Option<&[u8]> {
    let is_ipv4 = packet.first().is_some_and(|first| first >> 4 == 4);
    let (source, destination) = packet.get_mut(12..20)?.split_at_mut(4);
    source.swap_with_slice(destination);
    is_ipv4.then_some(packet)
}

/// A pseudo-random generator with a fixed sequence (splitmix64).
struct Random(u64);

impl Random {
    /// True with this probability.
    fn hits(&mut self, share: f64) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) >> 11) as f64 / (1_u64 << 53) as f64 <= share && share > 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn hits_have_the_requested_probability() {
        let mut random = Random(1);
        let hits = (0..100_000).filter(|_| random.hits(0.02)).count();
        assert!((1_800..2_200).contains(&hits), "{hits}");
        assert!(!random.hits(0.0) && random.hits(1.0));
    }

    #[test]
    fn bytes_cross_the_link_with_its_delay() {
        let faults = Faults { delay: Duration::from_millis(20), loss: 0.1, overtaking: 0.25 };
        with_link(faults, |link| {
            let listener = TcpListener::bind((NEAR, 0)).expect("bind");
            let start = Instant::now();
            let mut near =
                TcpStream::connect((FAR, listener.local_addr().expect("address").port())).expect("connect");
            let (mut far, peer) = listener.accept().expect("accept");
            assert_eq!(peer.ip(), FAR);
            let sent: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
            let bytes = sent.clone();
            let writer = thread::spawn(move || near.write_all(&bytes));
            let mut got = vec![0; sent.len()];
            far.read_exact(&mut got).expect("read");
            writer.join().expect("no panic").expect("written");
            assert!(got == sent, "other bytes");
            let [delivered, dropped, reordered] = link.packets();
            assert!(
                delivered > 70 && dropped > 0 && reordered > 0,
                "{delivered} delivered, {dropped} dropped, {reordered} reordered"
            );
            assert!(start.elapsed() > faults.delay, "took {:?}", start.elapsed());
        });
    }
}
