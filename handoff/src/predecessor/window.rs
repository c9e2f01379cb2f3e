//! Which numbered messages the successor has not acknowledged yet.
//!
//! The kernel counts descriptors in flight against the user's limit (`ETOOMANYREFS`), and a
//! successor that stops receiving must not make the predecessor queue without end.

use std::collections::VecDeque;

use crate::fds::MAX_FDS_PER_MESSAGE;

/// Numbered messages that may be under way at once.
const MAX_MESSAGES: usize = 8;
/// Descriptors that may be under way at once, whatever the limits allow.
const MAX_IN_FLIGHT: usize = 4 * MAX_FDS_PER_MESSAGE;

#[derive(Debug)]
pub(super) struct Window {
    /// Number and items (descriptors, or notices of closing) of each message under way.
    unacknowledged: VecDeque<(u64, usize)>,
    items: usize,
    next_sequence: u64,
    max_items: usize,
    /// Whether the peer acknowledges.
    acknowledged: bool,
}

impl Window {
    /// A window for a process that may have `descriptor_limit` descriptors.
    pub(super) fn new(descriptor_limit: u64) -> Self {
        let quarter = usize::try_from(descriptor_limit / 4).unwrap_or(usize::MAX);
        Self {
            unacknowledged: VecDeque::new(),
            items: 0,
            next_sequence: 1,
            max_items: quarter.clamp(1, MAX_IN_FLIGHT),
            acknowledged: true,
        }
    }

    /// A window that never closes, for a peer that acknowledges nothing: the link itself bounds what
    /// can be under way.
    pub(super) fn open() -> Self {
        Self { acknowledged: false, ..Self::new(u64::MAX) }
    }

    /// How many items the next message may have, 0 if it has to wait.
    pub(super) fn room(&self) -> usize {
        if self.unacknowledged.len() >= MAX_MESSAGES {
            return 0;
        }
        self.max_items.saturating_sub(self.items).min(MAX_FDS_PER_MESSAGE)
    }

    /// The number of the next message. It is used up by [`sent`](Self::sent).
    pub(super) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    pub(super) fn sent(&mut self, items: usize) {
        if self.acknowledged {
            self.unacknowledged.push_back((self.next_sequence, items));
            self.items += items;
        }
        self.next_sequence += 1;
    }

    /// Everything up to `sequence` has arrived. Returns `false` if that cannot be.
    pub(super) fn acknowledge(&mut self, sequence: u64) -> bool {
        if sequence >= self.next_sequence {
            return false;
        }
        while let Some(&(number, items)) = self.unacknowledged.front() {
            if number > sequence {
                break;
            }
            self.unacknowledged.pop_front();
            self.items -= items;
        }
        true
    }

    /// Items under way.
    pub(super) fn items(&self) -> usize {
        self.items
    }

    /// Whether anything is under way, so that an acknowledgement will come.
    pub(super) fn is_empty(&self) -> bool {
        self.unacknowledged.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_FDS_PER_MESSAGE, MAX_IN_FLIGHT, MAX_MESSAGES, Window};

    #[test]
    fn it_closes_on_descriptors_and_opens_on_acknowledgement() {
        let mut window = Window::new(20_000);
        for _ in 0..MAX_IN_FLIGHT / MAX_FDS_PER_MESSAGE {
            assert_eq!(window.room(), MAX_FDS_PER_MESSAGE);
            window.sent(MAX_FDS_PER_MESSAGE);
        }
        assert_eq!(window.room(), 0);
        assert!(window.acknowledge(2));
        assert_eq!(window.items(), MAX_IN_FLIGHT - 2 * MAX_FDS_PER_MESSAGE);
        assert_eq!(window.room(), MAX_FDS_PER_MESSAGE);
    }

    #[test]
    fn it_closes_on_messages() {
        let mut window = Window::new(20_000);
        for _ in 0..MAX_MESSAGES {
            assert_ne!(window.room(), 0);
            window.sent(1);
        }
        assert_eq!(window.room(), 0);
        assert!(window.acknowledge(MAX_MESSAGES as u64));
        assert!(window.is_empty());
    }

    #[test]
    fn a_low_descriptor_limit_narrows_it_but_never_shuts_it() {
        assert_eq!(Window::new(64).room(), 16);
        assert_eq!(Window::new(0).room(), 1);
    }

    #[test]
    fn an_open_one_never_closes() {
        let mut window = Window::open();
        for _ in 0..10 * MAX_MESSAGES {
            assert_eq!(window.room(), MAX_FDS_PER_MESSAGE);
            window.sent(MAX_FDS_PER_MESSAGE);
        }
        assert!(window.is_empty());
    }

    #[test]
    fn what_was_never_sent_cannot_be_acknowledged() {
        let mut window = Window::new(1000);
        assert!(!window.acknowledge(1));
        window.sent(3);
        assert!(window.acknowledge(1));
        assert!(window.acknowledge(1), "an old number again is harmless");
        assert_eq!(window.items(), 0);
        assert!(!window.acknowledge(2));
    }
}
