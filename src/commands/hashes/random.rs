//! Some of a hash's fields: chosen at random, or the next ones of an iteration.

use super::reply_item;
use crate::commands::arguments::Sample;
use crate::commands::scan::{ElementScan, reply_cursor};
use crate::commands::spec::{CommandSpec, acl, at, cmd, flag, key};
use crate::executor::{Cx, Outcome};
use crate::keyspace::{EntryView, Found, Type};
use crate::proto::reply::Protocol;
use crate::values::hash::{Hash, Pair};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("hrandfield", -2, hrandfield)
        .flags(flag::READONLY)
        .acl(acl::HASH)
        .keys(&[at(1).flags(key::RO | key::ACCESS)])
        .tips(&["nondeterministic_output"]),
    cmd("hscan", -3, hscan)
        .flags(flag::READONLY)
        .acl(acl::HASH)
        .keys(&[at(1).flags(key::RO | key::ACCESS)])
        .tips(&["nondeterministic_output"]),
];

/// `HRANDFIELD key [count [WITHVALUES]]`: get one or multiple random fields from a hash.
fn hrandfield(cx: &mut Cx<'_>) -> Outcome {
    if cx.args.len() == 2 {
        return one_field(cx);
    }
    let Sample { count, repeats, with_more } = Sample::parse(cx, Some("WITHVALUES"))?;
    let found = cx.read_as(cx.arg(1), Type::Hash)?.filter(|_| count != 0);
    let Some(found) = found else {
        cx.reply.array(0);
        return Ok(());
    };
    if repeats {
        fields_with_repetition(cx, &found, count as usize, with_more)
    } else {
        different_fields(cx, &found, count as usize, with_more)
    }
}

fn one_field(cx: &mut Cx<'_>) -> Outcome {
    let Some(found) = cx.read_as(cx.arg(1), Type::Hash)? else {
        cx.reply.null();
        return Ok(());
    };
    let hash = Hash::of(&EntryView::new(&cx.tx, found.entry));
    match hash.random(|| cx.state.random()) {
        Some((field, _)) => reply_item(&mut cx.reply, field),
        None => cx.reply.null(),
    }
    Ok(())
}

/// Begins the reply: in RESP3 pairs are arrays of their own.
fn begin(cx: &mut Cx<'_>, count: usize, with_values: bool) {
    let flat = with_values && cx.protocol() == Protocol::Resp2;
    cx.reply.array(if flat { count * 2 } else { count });
}

/// Replies with a field, and with its value if that is wanted.
fn reply_pair(cx: &mut PairReply<'_, '_>, (field, value): Pair<'_>) {
    if cx.with_values && cx.reply.protocol() == Protocol::Resp3 {
        cx.reply.array(2);
    }
    reply_item(cx.reply, field);
    if cx.with_values {
        reply_item(cx.reply, value);
    }
}

/// Where pairs are written, beside the transaction that they are read from.
struct PairReply<'r, 'a> {
    reply: &'r mut crate::proto::reply::Reply<'a, crate::executor::Output>,
    with_values: bool,
}

fn different_fields(cx: &mut Cx<'_>, found: &Found, count: usize, with_values: bool) -> Outcome {
    let len = Hash::of(&EntryView::new(&cx.tx, found.entry)).len();
    begin(cx, count.min(len), with_values);
    let hash = Hash::of(&EntryView::new(&cx.tx, found.entry));
    let mut to = PairReply { reply: &mut cx.reply, with_values };
    if count >= len {
        hash.each(|field, value| reply_pair(&mut to, (field, value)));
    } else {
        let chosen = hash.sample(count, || cx.state.random());
        chosen.into_iter().for_each(|pair| reply_pair(&mut to, pair));
    }
    Ok(())
}

fn fields_with_repetition(
    cx: &mut Cx<'_>,
    found: &Found,
    count: usize,
    with_values: bool,
) -> Outcome {
    /// Pairs between two looks at whether the reply still makes sense.
    const AT_ONCE: usize = 1024;
    begin(cx, count, with_values);
    let mut left = count;
    while left > 0 && !cx.reply_is_lost() {
        let hash = Hash::of(&EntryView::new(&cx.tx, found.entry));
        let mut to = PairReply { reply: &mut cx.reply, with_values };
        let part = left.min(AT_ONCE);
        hash.draw(part, || cx.state.random(), |pair| reply_pair(&mut to, pair));
        left -= part;
    }
    Ok(())
}

/// `HSCAN key cursor [MATCH pattern] [COUNT count]`: incrementally iterate hash fields and
/// associated values.
fn hscan(cx: &mut Cx<'_>) -> Outcome {
    let Some(scan) = ElementScan::parse(cx, Type::Hash)? else { return Ok(()) };
    let hash = Hash::of(&EntryView::new(&cx.tx, scan.found.entry));
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    let mut digits = itoa::Buffer::new();
    let cursor = hash.scan(scan.cursor, scan.options.count, |field, value| {
        let field = field.text(&mut digits);
        if scan.options.pattern.matches(field) {
            bytes.extend_from_slice(field);
            ends.push(bytes.len());
            bytes.extend_from_slice(value.text(&mut itoa::Buffer::new()));
            ends.push(bytes.len());
        }
    });
    reply_cursor(cx, cursor);
    cx.reply.array(ends.len());
    let mut start = 0;
    for end in ends {
        cx.reply.bulk(&bytes[start..end]);
        start = end;
    }
    Ok(())
}
