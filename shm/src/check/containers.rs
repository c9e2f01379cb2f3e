//! Marking the blocks of containers.

use super::Checker;
use crate::blob::{self, Blob};
use crate::deque::{self, Chunk, Deque};
use crate::off::Off;
use crate::pack;
use crate::table::{self, SegmentHeader, Table};

/// Marks the blocks of a table and gives every entry to `each`, which marks it in turn. A table that
/// is being drained passes as well.
pub fn mark_table(
    checker: &mut Checker<'_>,
    table: Off<Table>,
    what: &str,
    mut each: impl FnMut(&mut Checker<'_>, Off<u8>),
) {
    let view = checker.view();
    let record = view.read(table);
    let (len, depth) = (record.len.get().to_native(), record.depth.get().to_native());
    let directory = record.directory.get();
    if directory.is_null() {
        checker.compare(what, 0, len);
        return;
    }
    if depth > table::TAG_BITS {
        return checker.finding(format!("{what}: a directory of depth {depth}"));
    }
    let entries = 1u64 << depth;
    if !checker.mark(directory, entries * 8, what) {
        return;
    }
    let (mut index, mut count, mut deepest, mut drained) = (0, 0, 0, false);
    while index < entries {
        let segment = view.read(directory.nth(index));
        if segment.is_null() && (index == 0 || drained) {
            (index, drained) = (index + 1, true);
            continue;
        }
        if !checker.mark(segment, table::SEGMENT_BYTES, what) {
            index += 1;
            continue;
        }
        let of_segment = view.get(segment).depth.to_native();
        let run = match depth.checked_sub(of_segment).map(|levels| 1u64 << levels) {
            Some(run) if index % run == 0 => run,
            _ => {
                checker.finding(format!("{what}: segment {segment:?} has depth {of_segment}"));
                1
            }
        };
        if !view.array(directory.nth(index), run as usize).iter().all(|other| *other == segment) {
            checker.finding(format!("{what}: the directory's run of {segment:?} is broken"));
        }
        deepest += u64::from(of_segment == depth);
        let prefix = index >> (depth - of_segment.min(depth));
        check_segment(checker, segment, prefix, what);
        table::for_each_in(view, segment, |entry| {
            count += 1;
            each(checker, entry);
        });
        index += run;
    }
    checker.compare(&format!("{what}: entries"), count, len);
    if !drained {
        let noted = u64::from(record.deepest.get().to_native());
        checker.compare(&format!("{what}: deepest segments"), deepest, noted);
    }
}

fn check_segment(checker: &mut Checker<'_>, segment: Off<SegmentHeader>, prefix: u64, what: &str) {
    for problem in table::check_segment(checker.view(), segment, prefix) {
        checker.finding(format!("{what}: {problem}"));
    }
}

/// Marks the blocks of a blob.
pub fn mark_blob(checker: &mut Checker<'_>, at: Off<Blob>, what: &str) {
    let view = checker.view();
    let record = view.read(at);
    let (len, data) = (record.len.get().to_native(), record.data.get());
    let room = u64::from(record.room.get().to_native());
    if data.is_null() {
        checker.compare(&format!("{what}: bytes without memory"), 0, len + room);
    } else if room == 0 {
        checker.mark(data, len, what);
    } else if checker.mark(data, room * 8, what) {
        if len > room * blob::PART {
            checker.finding(format!("{what}: {len} bytes in {room} parts"));
        }
        for i in 0..room {
            let part = view.read(data.cast::<Off<u8>>().nth(i));
            if part.is_null() {
                continue;
            }
            checker.mark(part, blob::PART, what);
            if i * blob::PART >= len {
                checker.finding(format!("{what}: part {i} lies behind the {len} bytes"));
            }
        }
    }
}

/// Marks the chunks of a deque, and proves that they are linked both ways, that none is empty, that
/// their runs are canonical, and that all counts are right.
pub fn mark_deque(checker: &mut Checker<'_>, at: Off<Deque>, what: &str) {
    let record = checker.view().read(at);
    let (mut chunk, mut previous) = (record.head.get(), Off::NULL);
    let (mut items, mut chunks) = (0, 0);
    while !chunk.is_null() {
        if !checker.mark(chunk, size_of::<Chunk>() as u64, what) {
            return;
        }
        if checker.view().get(chunk).previous.get() != previous {
            checker.finding(format!("{what}: chunk {chunk:?} is not linked back to {previous:?}"));
        }
        items += check_chunk(checker, chunk, what);
        chunks += 1;
        (chunk, previous) = (checker.view().get(chunk).next.get(), chunk);
    }
    if record.tail.get() != previous {
        checker.finding(format!("{what}: the last chunk is {previous:?}, not the tail"));
    }
    checker.compare(&format!("{what}: items"), items, record.len.get().to_native());
    checker.compare(&format!("{what}: chunks"), chunks, record.chunks.get().to_native());
}

/// Looks at one chunk, whose block may be read; gives the number of its items.
fn check_chunk(checker: &mut Checker<'_>, chunk: Off<Chunk>, what: &str) -> u64 {
    let view = checker.view();
    let record = view.get(chunk);
    let bounds = record.bounds.get();
    let noted = u64::from(bounds.len.to_native());
    let block = crate::alloc::block_size(view, chunk.cast());
    checker.compare(&format!("{what}: bytes of {chunk:?}"), block, record.size.to_native().into());
    let (start, end) = (u64::from(bounds.start.to_native()), u64::from(bounds.end.to_native()));
    if start < size_of::<Chunk>() as u64 || start >= end || end > block {
        checker.finding(format!("{what}: the run of {chunk:?} is {start}..{end} of {block} bytes"));
        return noted;
    }
    match pack::validate(deque::run_of(view, chunk)) {
        Some(items) => checker.compare(&format!("{what}: items of {chunk:?}"), items as u64, noted),
        None => checker.finding(format!("{what}: {chunk:?} holds no canonical run")),
    }
    noted
}
