//! Lists in nodes as Redis has them.
//!
//! How a list is divided depends in Redis on all that has happened to it. Here it is divided as if its
//! elements had been added one after the other at the end, so that lists of which that is true have
//! the same dump.

use shm::pack::{self, Item};

use crate::values::list::List;

/// Bytes that Redis takes an element to need beside its text.
const ELEMENT_EXTRA: usize = 8;
/// Most bytes of a node whose limit is a number of elements.
const SAFETY_LIMIT: usize = 8192;
/// Bytes of a listpack beside its items.
pub const FRAME: usize = 7;

/// One node.
#[derive(Debug, Default, Clone)]
pub struct Node {
    /// Its items, without what stands around them in a listpack.
    pub run: Vec<u8>,
    /// How many there are.
    pub count: usize,
}

impl Node {
    /// Whether an element with so many bytes of text may be added, by `list-max-listpack-size`.
    fn takes(&self, text: usize, fill: i32) -> bool {
        if self.count == 0 {
            return true;
        }
        let bytes = FRAME + self.run.len() + text + ELEMENT_EXTRA;
        match fill {
            ..0 => bytes <= 2048 << fill.unsigned_abs().min(5),
            _ => bytes <= SAFETY_LIMIT && self.count < fill.unsigned_abs() as usize,
        }
    }

    fn push(&mut self, item: Item<'_>) {
        pack::encode_item(&mut self.run, item);
        self.count += 1;
    }
}

/// Calls `each` with the nodes of a list; `fill` is `list-max-listpack-size`.
pub fn each(list: &List<'_>, fill: i32, mut each: impl FnMut(&Node)) {
    let mut node = Node::default();
    for item in list.items() {
        if !node.takes(item.text_len(), fill) {
            each(&node);
            node.run.clear();
            node.count = 0;
        }
        node.push(item);
    }
    if node.count > 0 {
        each(&node);
    }
}
