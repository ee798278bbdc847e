//! The reason for epoll: finding the one descriptor that is ready among many that are not, by select(2), poll(2) and
//! epoll_wait(2).
//!
//! `cargo bench -p common --bench readiness`
//!
//! select and poll are handed every descriptor at every call, and look at each. epoll keeps the set in the kernel, and
//! what becomes ready puts itself on a list.

use common::limits::raise_nofile;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, FdSetElement, PollFd, PollFlags, Timespec};
use rustix::event::{epoll, eventfd, fd_set_bound, fd_set_insert, fd_set_num_elements, poll, select};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Idle descriptors. A set of select's, as the C library has it, ends at descriptor 1,023 (`FD_SETSIZE`); the kernel
/// takes longer ones, and gets them here.
const IDLE: [usize; 7] = [10, 30, 100, 300, 1_000, 3_000, 10_000];

/// Descriptors of which only the last is readable.
fn descriptors(idle: usize) -> Vec<OwnedFd> {
    let count = |i| u32::from(i == idle);
    (0..=idle).map(|i| eventfd(count(i), EventfdFlags::NONBLOCK).expect("a descriptor")).collect()
}

fn readiness(criterion: &mut Criterion) {
    raise_nofile().expect("setrlimit");
    let mut group = criterion.benchmark_group("readiness");
    for idle in IDLE {
        let fds = descriptors(idle);
        group.bench_function(BenchmarkId::new("select", idle), |bencher| {
            let highest = fds.iter().map(AsRawFd::as_raw_fd).max().expect("at least one");
            bencher.iter(|| select_one(&fds, highest));
        });
        group.bench_function(BenchmarkId::new("poll", idle), |bencher| {
            let mut set: Vec<_> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
            bencher.iter(|| {
                assert_eq!(poll(&mut set, Some(&Timespec::default())).expect("poll"), 1);
                set.iter().position(|fd| !fd.revents().is_empty())
            });
        });
        group.bench_function(BenchmarkId::new("epoll", idle), |bencher| {
            let set = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
            for fd in &fds {
                let data = epoll::EventData::new_u64(fd.as_raw_fd() as u64);
                epoll::add(&set, fd, data, epoll::EventFlags::IN).expect("epoll_ctl");
            }
            let mut events = Vec::with_capacity(16);
            bencher.iter(|| {
                events.clear();
                let ready = epoll::wait(&set, spare_capacity(&mut events), Some(&Timespec::default()));
                assert_eq!(ready.expect("epoll_wait"), 1);
                events[0].data.u64()
            });
        });
    }
}

/// Builds the set, as select overwrites it at every call, and looks for the one that is left in it.
fn select_one(fds: &[OwnedFd], highest: RawFd) -> RawFd {
    let mut set = vec![FdSetElement::default(); fd_set_num_elements(fds.len(), highest + 1)];
    fds.iter().for_each(|fd| fd_set_insert(&mut set, fd.as_raw_fd()));
    // SAFETY: every descriptor in the set is open, and the set has room for the highest.
    let ready = unsafe { select(highest + 1, Some(&mut set), None, None, Some(&Timespec::default())) };
    assert_eq!(ready.expect("select"), 1);
    fd_set_bound(&set) - 1
}

criterion_group!(benches, readiness);
criterion_main!(benches);
