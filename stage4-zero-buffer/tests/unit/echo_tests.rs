use crate::echo::echo;
use common::echoed::{Count, Echoed};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local!(static ALLOCATIONS: Cell<usize> = const { Cell::new(0) });

/// Counts this thread's allocations.
struct Counting;

// SAFETY: every call is forwarded to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn an_echo_allocates_nothing() {
    // FIN, text | MASK, 5 | key | "Hello" (section 5.7), forty times.
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    let mut buffer = hello.repeat(40);
    let before = ALLOCATIONS.get();
    let mut done = Echoed::from(0);
    echo(&mut done, &mut buffer, 1 << 20);
    assert_eq!(ALLOCATIONS.get(), before);
    assert_eq!((done.consumed, done.count), (40 * 11, Count { messages: 40, bytes: 200 }));
    assert_eq!(buffer[done.answers], b"\x81\x05Hello".repeat(40), "contiguous, for one write");
}

#[test]
fn unanswered_frames_stay_unchanged() {
    // FIN, text | MASK, 1 | key | invalid UTF-8
    let bad = [0x81, 0x81, 1, 2, 3, 4, 0xfe];
    for behind in [&bad[..], &[0x81], &[0x01, 0x80, 0, 0, 0, 0], &[0x88, 0x80, 0, 0, 0, 0]] {
        let mut buffer = [&[0x89, 0x80, 0, 0, 0, 0], behind].concat();
        let mut done = Echoed::from(0);
        echo(&mut done, &mut buffer, 1 << 20);
        assert_eq!(buffer[done.answers], [0x8a, 0], "the Ping before it");
        assert_eq!(&buffer[done.consumed..], behind);
    }
}
