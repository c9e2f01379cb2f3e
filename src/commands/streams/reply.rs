//! Ids and entries as replies.

use shm::pack::Item;

use crate::proto::reply::{Reply, Sink};
use crate::values::stream::Id;
use crate::values::stream::node::Entry;

/// An id as a bulk string.
pub fn id<S: Sink + ?Sized>(reply: &mut Reply<'_, S>, id: Id) {
    // Twice the longest number, and a dash.
    let mut text = [0; 41];
    let (mut ms, mut seq) = (itoa::Buffer::new(), itoa::Buffer::new());
    let (ms, seq) = (ms.format(id.ms).as_bytes(), seq.format(id.seq).as_bytes());
    let len = ms.len() + 1 + seq.len();
    text[..ms.len()].copy_from_slice(ms);
    text[ms.len()] = b'-';
    text[ms.len() + 1..len].copy_from_slice(seq);
    reply.bulk(&text[..len]);
}

/// An entry: its id, and its fields and values.
pub fn entry<S: Sink + ?Sized>(reply: &mut Reply<'_, S>, entry: &Entry<'_>) {
    reply.array(2);
    id(reply, entry.id);
    reply.array(entry.fields * 2);
    for (field, value) in entry.pairs() {
        item(reply, field);
        item(reply, value);
    }
}

/// An entry that is not there any more.
pub fn gone<S: Sink + ?Sized>(reply: &mut Reply<'_, S>, id: Id) {
    reply.array(2);
    self::id(reply, id);
    reply.null_array();
}

fn item<S: Sink + ?Sized>(reply: &mut Reply<'_, S>, item: Item<'_>) {
    match item {
        Item::Int(number) => reply.bulk_integer(number),
        Item::Bytes(bytes) => reply.bulk(bytes),
    }
}
