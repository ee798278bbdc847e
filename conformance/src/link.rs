//! A slow link that loses packets and has them overtake one another, as tc-netem(8) makes one, on a kernel that need
//! not have that.
//!
//! The link is a TUN device (Documentation/networking/tuntap.rst of the kernel) and a thread, in a network namespace
//! of its own, that ends with the test. Whatever is sent to [`FAR`] comes back from there to [`NEAR`] with its two
//! addresses exchanged: so both ends of a connection to `FAR` are in the namespace, and every segment of it crosses
//! the link. The checksums are sums, which an exchange leaves as they are.

use crate::inject::note;
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

/// The address of both ends, on the link and in their namespace.
pub const NEAR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// Where one end finds the other (RFC 2544 keeps these addresses for tests).
pub const FAR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

const DEVICE: &str = "link0";
const MTU: usize = 1500;
/// How long the thread may sleep while nothing is under way.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a link does to packets.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// How long a packet is under way.
    pub delay: Duration,
    /// The share of packets that are lost, from 0 to 1.
    pub loss: f64,
    /// The share of packets that are not delayed, and so overtake others.
    pub overtaking: f64,
}

/// A link, as its test sees it.
#[derive(Debug, Default)]
pub struct Link {
    dark: AtomicBool,
    over: AtomicBool,
    passed: AtomicU64,
    lost: AtomicU64,
    overtook: AtomicU64,
}

impl Link {
    /// Loses everything from now on, or no more than before. Neither end is told.
    pub fn set_dark(&self, dark: bool) {
        self.dark.store(dark, Relaxed);
    }

    /// Packets that got through, those that were lost, and those that overtook others.
    pub fn packets(&self) -> [u64; 3] {
        [&self.passed, &self.lost, &self.overtook].map(|count| count.load(Relaxed))
    }
}

/// Ends the link's thread, also where the test fails.
struct OverOnDrop<'a>(&'a Link);

impl Drop for OverOnDrop<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Relaxed);
    }
}

/// Runs a test, and all processes that it starts, in a network namespace with a link; elsewhere than on a machine that
/// lets it make one (it takes root, `/dev/net/tun` and ip(8)), it says so on standard error and does nothing.
///
/// # Panics
/// As the test does.
pub fn with_link(faults: Faults, test: impl FnOnce(&Link) + Send) {
    let link = &Link::default();
    let run = || {
        let tun = match open() {
            Ok(tun) => tun,
            Err(error) => return note(&format!("skipped: there is no link to be had: {error}")),
        };
        thread::scope(|scope| {
            let _over = OverOnDrop(link);
            scope.spawn(|| relay(&tun, faults, link));
            test(link);
        });
    };
    // The namespace is the thread's, and of those that it starts.
    thread::scope(|scope| match scope.spawn(run).join() {
        Ok(()) => {}
        Err(panic) => std::panic::resume_unwind(panic),
    });
}

/// Has this thread enter a new namespace, and opens a link there.
fn open() -> io::Result<OwnedFd> {
    // SAFETY: only this thread is moved, and no object of it depends on the network namespace it was in.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?;
    let tun =
        rustix::fs::open("/dev/net/tun", OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    attach(&tun)?;
    ip(&["link", "set", "lo", "up"])?;
    ip(&["address", "add", &format!("{NEAR}/24"), "dev", DEVICE])?;
    // A queue so long that packets are lost on the link alone.
    ip(&["link", "set", DEVICE, "up", "mtu", &MTU.to_string(), "txqueuelen", "20000"])?;
    Ok(tun)
}

/// Makes the device (linux/if_tun.h, `struct ifreq` of netdevice(7)).
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
    // SAFETY: TUNSETIFF reads an ifreq, of which this is as large a one, and keeps no pointer to it.
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

/// Takes packets from the device, and gives them back when they have crossed the link.
fn relay(tun: &OwnedFd, faults: Faults, link: &Link) {
    let mut under_way = VecDeque::<(Instant, Vec<u8>)>::new();
    let mut chance = Chance(1);
    let mut packet = [0; MTU];
    while !link.over.load(Relaxed) {
        let now = Instant::now();
        while under_way.front().is_some_and(|(due, _)| *due <= now) {
            let (_, packet) = under_way.pop_front().expect("there is a first");
            deliver(tun, &packet, link);
        }
        let next = under_way.front().map_or(LOOK_EVERY, |(due, _)| due.saturating_duration_since(now));
        let timeout = Timespec::try_from(next.min(LOOK_EVERY)).expect("a short time");
        // A signal, or a device that is gone, shows in the read.
        let _ = poll(&mut [PollFd::new(tun, PollFlags::IN)], Some(&timeout));
        while let Ok(len) = rustix::io::read(tun, &mut packet) {
            let Some(packet) = exchange_addresses(&mut packet[..len]) else { continue };
            if link.dark.load(Relaxed) || chance.of(faults.loss) {
                link.lost.fetch_add(1, Relaxed);
            } else if chance.of(faults.overtaking) {
                link.overtook.fetch_add(1, Relaxed);
                deliver(tun, packet, link);
            } else {
                under_way.push_back((Instant::now() + faults.delay, packet.to_vec()));
            }
        }
    }
}

fn deliver(tun: &OwnedFd, packet: &[u8], link: &Link) {
    // What the kernel does not take is lost, as on any link.
    let count = if rustix::io::write(tun, packet).is_ok() { &link.passed } else { &link.lost };
    count.fetch_add(1, Relaxed);
}

/// Exchanges source and destination of an IPv4 packet (RFC 791, section 3.1); there is no other that matters.
fn exchange_addresses(packet: &mut [u8]) -> Option<&[u8]> {
    let is_ipv4 = packet.first().is_some_and(|first| first >> 4 == 4);
    let (source, destination) = packet.get_mut(12..20)?.split_at_mut(4);
    source.swap_with_slice(destination);
    is_ipv4.then_some(packet)
}

/// Chance, the same in every run (splitmix64).
struct Chance(u64);

impl Chance {
    fn of(&mut self, share: f64) -> bool {
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
    fn chance_is_as_often_as_asked() {
        let mut chance = Chance(1);
        let hits = (0..100_000).filter(|_| chance.of(0.02)).count();
        assert!((1_800..2_200).contains(&hits), "{hits}");
        assert!(!chance.of(0.0) && chance.of(1.0));
    }

    #[test]
    fn octets_cross_the_link_and_take_their_time() {
        let faults = Faults { delay: Duration::from_millis(20), loss: 0.1, overtaking: 0.25 };
        with_link(faults, |link| {
            let listener = TcpListener::bind((NEAR, 0)).expect("bind");
            let start = Instant::now();
            let mut near =
                TcpStream::connect((FAR, listener.local_addr().expect("address").port())).expect("connect");
            let (mut far, peer) = listener.accept().expect("accept");
            assert_eq!(peer.ip(), FAR);
            let sent: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
            let octets = sent.clone();
            let writer = thread::spawn(move || near.write_all(&octets));
            let mut got = vec![0; sent.len()];
            far.read_exact(&mut got).expect("read");
            writer.join().expect("no panic").expect("written");
            assert!(got == sent, "octets are others");
            let [passed, lost, overtook] = link.packets();
            assert!(
                passed > 70 && lost > 0 && overtook > 0,
                "{passed} passed, {lost} lost, {overtook} overtook"
            );
            assert!(start.elapsed() > faults.delay, "took {:?}", start.elapsed());
        });
    }
}
