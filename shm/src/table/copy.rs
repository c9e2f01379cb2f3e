//! Copying a table, segment by segment.

use super::change::{Image, each_entry, new_segment};
use super::scan::walk;
use super::*;
use crate::error::OutOfMemory;
use crate::tx::Tx;

/// Makes a table that is like another one, with an entry of its own for each entry of that: the one
/// that `each` gives, whose key is the same. Gives the record, which the caller puts where it belongs.
///
/// The segments are made as a whole, so the log holds what the allocator needs, not the table.
pub fn copy(
    tx: &mut Tx<'_>,
    table: Off<Table>,
    mut each: impl FnMut(&mut Tx<'_>, Off<u8>) -> Result<Off<u8>, OutOfMemory>,
) -> Result<Table, OutOfMemory> {
    let record = tx.read(table);
    if record.directory.get().is_null() {
        return Ok(Table::EMPTY);
    }
    let depth = record.depth.get().to_native();
    let directory = tx.alloc(8 << depth)?;
    let mut segments = Vec::new();
    walk(tx, table, |index, segment| {
        segments.push((index, segment));
        Some(tx.get(segment).depth.to_native())
    });
    for (index, segment) in segments {
        let header = tx.read(segment);
        let of_segment = header.depth.to_native();
        let mut entries = Vec::new();
        each_entry(tx, segment, |bucket, slot, home, content| {
            entries.push((bucket, slot, home, content));
        });
        let mut image = Image::EMPTY;
        for (bucket, slot, home, content) in entries {
            let entry = each(tx, content.entry)?;
            image.place_as_before(bucket, slot, home, SlotContent { entry, ..content });
        }
        let copied = new_segment(tx, &image, of_segment, header.hint.get())?;
        for i in index..index + (1 << (depth - of_segment)) {
            tx.init(&directory, i * 8, copied);
        }
    }
    Ok(Table { directory: Slot::new(directory.off().cast()), ..record })
}
