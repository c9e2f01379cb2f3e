//! Reading the entries of a range, in either direction.

use std::cmp::Ordering;

use shm::tree::{self, Cursor};
use shm::{Off, View, field};

use super::node::{Entry, Node, NodeView};
use super::{Id, Stream, counts};

/// How a node compares with an id of the same milliseconds.
pub(super) fn compare_node(view: &View, node: Off<u8>, id: Id) -> Ordering {
    let master: Id = view.get(node.cast::<Node>()).master.into();
    master.seq.cmp(&id.seq)
}

/// The node in which an entry of that id would stand: the last one that begins no later.
pub(super) fn node_of(view: &View, stream: Off<Stream>, id: Id) -> Option<Cursor> {
    let nodes = field!(stream, Stream.nodes);
    let mut at = tree::upper_bound(view, nodes, id.ms, |view, node| compare_node(view, node, id));
    at.retreat(view).then_some(at)
}

/// The entries of a range.
#[derive(Clone)]
pub struct Entries<'a> {
    view: &'a View,
    /// The node that comes next, or the one of `last`.
    at: Option<Cursor>,
    /// The entry that was looked at last; `None` before a node's first one.
    last: Option<Entry<'a>>,
    start: Id,
    end: Id,
    backward: bool,
}

/// Entries with ids from `start` to `end`, both included, in order.
pub fn forward(view: &View, stream: Off<Stream>, start: Id, end: Id) -> Entries<'_> {
    let first = || tree::select(view, field!(stream, Stream.nodes), 0);
    let at = Some(node_of(view, stream, start).unwrap_or_else(first));
    Entries { view, at, last: None, start, end, backward: false }
}

/// The same, the last one first.
pub fn backward(view: &View, stream: Off<Stream>, start: Id, end: Id) -> Entries<'_> {
    let at = node_of(view, stream, end);
    Entries { view, at, last: None, start, end, backward: true }
}

impl<'a> Entries<'a> {
    /// The entry after the last one, within the range or not, deleted or not.
    fn step(&mut self) -> Option<Entry<'a>> {
        let at = self.at.as_mut()?;
        if let Some(last) = &self.last {
            let next = if self.backward { last.previous() } else { last.next() };
            if next.is_some() {
                self.last = next;
                return next;
            }
            if !self.backward {
                at.advance(self.view);
            } else if !at.retreat(self.view) {
                return None;
            }
        }
        let (_, node) = at.pair(self.view)?;
        let node = NodeView::new(self.view, node.cast());
        self.last = if self.backward { node.last() } else { node.first() };
        self.last
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;
    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let entry = self.step()?;
            // One that was deleted may have a greater id than those behind it, if the last id was set
            // back since.
            if entry.deleted {
                continue;
            }
            let beyond = if self.backward { entry.id < self.start } else { entry.id > self.end };
            if beyond {
                self.at = None;
                return None;
            }
            if (self.start..=self.end).contains(&entry.id) {
                return Some(entry);
            }
        }
    }
}

/// Number of entries with ids from `start` to `end`, but not more than `limit`. Nodes that lie within
/// as a whole are not opened.
pub fn count(view: &View, stream: Off<Stream>, start: Id, end: Id, limit: u64) -> u64 {
    let last = counts(view, stream).last;
    let mut found = 0;
    let nodes = field!(stream, Stream.nodes);
    let mut at = node_of(view, stream, start).unwrap_or_else(|| tree::select(view, nodes, 0));
    while let Some((_, node)) = at.pair(view).filter(|_| found < limit) {
        let record = view.get(node.cast::<Node>());
        let from: Id = record.master.into();
        if from > end {
            break;
        }
        at.advance(view);
        let next = at.pair(view).map(|(_, node)| Id::from(view.get(node.cast::<Node>()).master));
        let whole = from >= start && next.map_or(last <= end, |next| next <= end);
        found += match whole {
            true => u64::from(record.fill.get().live.to_native()),
            false => count_in(&NodeView::new(view, node.cast()), start, end, limit - found),
        };
    }
    found.min(limit)
}

fn count_in(node: &NodeView<'_>, start: Id, end: Id, limit: u64) -> u64 {
    let mut found = 0;
    let mut next = node.first();
    while let Some(entry) = next.filter(|entry| entry.deleted || entry.id <= end) {
        found += u64::from(entry.id >= start && !entry.deleted);
        next = if found < limit { entry.next() } else { None };
    }
    found
}

/// The entry of that id, if it is there.
pub fn find(view: &View, stream: Off<Stream>, id: Id) -> Option<Entry<'_>> {
    forward(view, stream, id, id).next()
}

/// The first entry.
pub fn first(view: &View, stream: Off<Stream>) -> Option<Entry<'_>> {
    forward(view, stream, Id::MIN, Id::MAX).next()
}

/// The last entry.
pub fn last(view: &View, stream: Off<Stream>) -> Option<Entry<'_>> {
    backward(view, stream, Id::MIN, Id::MAX).next()
}
