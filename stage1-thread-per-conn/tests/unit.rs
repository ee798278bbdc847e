//! Unit tests of `threads.rs`.

#[path = "../src/threads.rs"]
mod threads;

use std::fs;
use std::sync::Barrier;
use std::thread;
use threads::{MAPS_PER_THREAD, MAPS_RESERVE, bound, threads_on_the_machine};

#[test]
fn a_thread_takes_no_more_maps_than_assumed() {
    const THREADS: usize = 200;
    let maps = || fs::read_to_string("/proc/self/maps").unwrap().lines().count() as u64;
    let (before, all_run, measured) = (maps(), Barrier::new(THREADS + 1), Barrier::new(THREADS + 1));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let run = || {
                all_run.wait();
                measured.wait();
            };
            thread::Builder::new().stack_size(64 * 1024).spawn_scoped(scope, run).unwrap();
        }
        all_run.wait();
        let taken = maps() - before;
        measured.wait();
        assert!(
            taken <= MAPS_PER_THREAD * THREADS as u64 + MAPS_RESERVE,
            "{taken} maps for {THREADS} threads"
        );
        assert!(
            taken > (MAPS_PER_THREAD - 2) * THREADS as u64,
            "{taken} maps for {THREADS} threads: MAPS_PER_THREAD is too high"
        );
    });
}

#[test]
fn this_machine_has_a_limit_and_threads() {
    let bound = bound();
    assert!(bound.connections > 0 && bound.connections < 10_000_000, "{bound:?}");
    assert!(threads_on_the_machine() > 0);
}
