//! Connections by descriptor.

use std::os::fd::RawFd;

/// Room reserved at a time, in entries. It costs nothing until it is used, where a table that doubles leaves its former
/// selves behind in the heap.
const RESERVED: usize = 1 << 15;

/// A table of what belongs to each descriptor. The kernel gives the lowest free number (open(2)), so the table of a thread
/// with descriptors of its own stays dense, and a descriptor is as good an index as any.
#[derive(Debug)]
pub struct FdTable<T> {
    entries: Vec<Option<T>>,
    len: usize,
}

impl<T> Default for FdTable<T> {
    fn default() -> Self {
        FdTable { entries: Vec::new(), len: 0 }
    }
}

impl<T> FdTable<T> {
    /// Adds an entry, in place of one that had this descriptor before.
    pub fn insert(&mut self, fd: RawFd, entry: T) {
        let index = fd as usize;
        if index >= self.entries.capacity() {
            self.entries.reserve(RESERVED.max(index + 1 - self.entries.len()));
        }
        if index >= self.entries.len() {
            self.entries.resize_with(index + 1, || None);
        }
        if self.entries[index].replace(entry).is_none() {
            self.len += 1;
        }
    }

    /// Takes an entry out.
    pub fn remove(&mut self, fd: RawFd) -> Option<T> {
        let entry = self.entries.get_mut(fd as usize)?.take();
        self.len -= usize::from(entry.is_some());
        entry
    }

    /// `None` for a descriptor that is not in the table, such as one whose event was taken before it was closed.
    #[inline]
    pub fn get_mut(&mut self, fd: RawFd) -> Option<&mut T> {
        self.entries.get_mut(fd as usize)?.as_mut()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The descriptors in the table.
    pub fn fds(&self) -> Vec<RawFd> {
        (0..).zip(&self.entries).filter(|(_, entry)| entry.is_some()).map(|(fd, _)| fd).collect()
    }

    /// All descriptors in the table, and some that are not, are below this.
    pub fn end(&self) -> RawFd {
        self.entries.len() as RawFd
    }

    /// Frees the table's memory once it is empty.
    pub fn trim(&mut self) {
        if self.is_empty() {
            self.entries = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_put_in() {
        let mut table = FdTable::default();
        table.insert(7, "seven");
        table.insert(3, "three");
        table.insert(7, "another");
        let found = [7, 5, 99].map(|fd| table.get_mut(fd).copied());
        assert_eq!(found, [Some("another"), None, None]);
        assert_eq!(table.fds(), [3, 7]);
        assert_eq!((table.remove(7), table.remove(7), table.remove(99)), (Some("another"), None, None));
        assert!(!table.is_empty());
        assert_eq!((table.end(), table.remove(3)), (8, Some("three")));
        assert!(table.is_empty());
    }

    #[test]
    fn an_empty_table_is_freed() {
        let mut table = FdTable::default();
        table.insert(40_000, ());
        table.trim();
        assert_eq!(table.end(), 40_001, "it is not empty");
        table.remove(40_000);
        table.trim();
        assert_eq!((table.end(), table.entries.capacity()), (0, 0));
    }
}
