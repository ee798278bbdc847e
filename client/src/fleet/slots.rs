//! A shard's state per connection: 32 bytes in a dense table.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

/// State of a connection, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
#[repr(u8)]
pub(super) enum State {
    /// No connection: the slot is free.
    Free,
    /// connect(2) was called.
    Connecting,
    /// CONNECT was sent to a proxy.
    Tunnelling,
    /// The TLS handshake is in progress.
    Securing,
    /// The upgrade request was sent.
    Upgrading,
    /// The server has accepted the upgrade, and its greetings are awaited.
    Greeting,
    /// Open for messages.
    Open,
    /// A Close frame was sent.
    Closing,
}

impl State {
    /// Whether the connection is not open yet.
    #[inline]
    pub(super) fn is_opening(self) -> bool {
        (State::Connecting..State::Open).contains(&self)
    }
}

/// Flag in [`Slot::flags`]: the shard keeps a partial head or control frame.
pub(super) const INBOX: u8 = 1;
/// Flag: output is queued.
pub(super) const OUTBOX: u8 = 2;
/// Flag: the server's Close frame has arrived.
pub(super) const CLOSE_SEEN: u8 = 4;
/// Flag: it was unsolicited, and the connection is already counted as a failure.
pub(super) const UNASKED: u8 = 8;
/// Flag: the current reply has more fragments to come (RFC 6455, section 5.4).
pub(super) const FRAGMENTED: u8 = 16;
/// Flag: the current message is no reply.
pub(super) const PUSHED: u8 = 32;

/// One connection.
#[derive(Debug)]
pub(super) struct Slot {
    pub fd: Option<OwnedFd>,
    pub state: State,
    pub flags: u8,
    /// The number of the server's address, in what would be padding.
    pub address: u16,
    /// Messages sent in this phase; before the connection is open, greetings received.
    pub sent: u32,
    /// Echoes received. They arrive in order, so this is also the sequence number of the next one. Equals `sent` if no
    /// reply is awaited.
    pub echoed: u32,
    /// Payload bytes of the current message that have arrived, and match if it is an echo.
    pub verified: u32,
    /// Payload bytes left in the current frame.
    pub owed: u32,
    /// When the attempt began, or when the last message or the Close frame was sent. In a free slot: the index of the
    /// next free one.
    pub since_ns: u64,
}

/// A million connections are 32 MB.
const _: () = assert!(size_of::<Slot>() <= 32);

impl Slot {
    /// The socket.
    ///
    /// # Panics
    /// If the slot is free.
    #[inline]
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("a slot in use has a socket").as_fd()
    }

    #[inline]
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// The connections of a shard by index, from 0.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// The first free slot. Free slots form a linked list, so the free list takes no memory of its own.
    free: u32,
}

/// The end of the free list.
const NONE: u32 = u32::MAX;

impl Slots {
    pub(super) fn new() -> Slots {
        Slots { slots: Vec::new(), free: NONE }
    }

    /// Allocates `count` slots at once: a table that grows by doubling temporarily takes three times its size.
    pub(super) fn reserve(&mut self, count: usize) {
        self.slots.reserve_exact(count.saturating_sub(self.slots.len()));
    }

    /// The number of slots, including free ones.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether the slot has an open connection. `index` may exceed the table: connections may have been lost since the
    /// phase counted them.
    #[inline]
    pub(super) fn is_open(&self, index: u32) -> bool {
        (index as usize) < self.len() && self[index].state == State::Open
    }

    /// Inserts a connection attempt that began at `since_ns`, and returns its index.
    pub(super) fn insert(&mut self, fd: OwnedFd, since_ns: u64) -> u32 {
        let slot = Slot {
            fd: Some(fd),
            state: State::Connecting,
            flags: 0,
            address: 0,
            sent: 0,
            echoed: 0,
            verified: 0,
            owed: 0,
            since_ns,
        };
        if self.free == NONE {
            self.slots.push(slot);
            return self.slots.len() as u32 - 1;
        }
        let index = self.free;
        let free = std::mem::replace(&mut self.slots[index as usize], slot);
        self.free = free.since_ns as u32;
        index
    }

    /// Frees a slot and returns its socket.
    pub(super) fn remove(&mut self, index: u32) -> Option<OwnedFd> {
        let slot = &mut self.slots[index as usize];
        slot.state = State::Free;
        slot.flags = 0;
        slot.since_ns = self.free.into();
        self.free = index;
        slot.fd.take()
    }

    /// Moves slots from the end into free ones, so that those in use come first. Calls `moved` for each with its old and
    /// new index.
    pub(super) fn compact(&mut self, mut moved: impl FnMut(u32, u32, &Slot)) {
        if self.free == NONE {
            return;
        }
        self.free = NONE;
        let mut to = 0;
        loop {
            while self.slots.last().is_some_and(|slot| slot.state == State::Free) {
                self.slots.pop();
            }
            match self.slots[to..].iter().position(|slot| slot.state == State::Free) {
                Some(next) => to += next,
                None => return,
            }
            self.slots.swap_remove(to);
            moved(self.slots.len() as u32, to as u32, &self.slots[to]);
        }
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.iter_mut()
    }
}

impl std::ops::Index<u32> for Slots {
    type Output = Slot;

    #[inline]
    fn index(&self, index: u32) -> &Slot {
        &self.slots[index as usize]
    }
}

impl std::ops::IndexMut<u32> for Slots {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut Slot {
        &mut self.slots[index as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compacting_keeps_connections_and_reports_their_moves() {
        let mut slots = Slots::new();
        let open =
            |slots: &mut Slots, since| slots.insert(std::fs::File::open("/dev/null").unwrap().into(), since);
        for since in 0..10 {
            assert_eq!(u64::from(open(&mut slots, since)), since);
        }
        for index in [1, 9, 4, 8] {
            assert!(slots.remove(index).is_some());
        }
        let mut moves = Vec::new();
        slots.compact(|from, to, slot| moves.push((from, to, slot.since_ns)));
        assert_eq!(moves, [(7, 1, 7), (6, 4, 6)]);
        assert_eq!(slots.iter_mut().map(|slot| slot.since_ns).collect::<Vec<_>>(), [0, 7, 2, 3, 6, 5]);
        assert_eq!(open(&mut slots, 11), 6);
        slots.remove(2);
        assert_eq!(open(&mut slots, 12), 2, "a free slot is taken before the table grows");
    }
}
