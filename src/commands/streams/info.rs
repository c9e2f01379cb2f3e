//! `XINFO`.

use shm::tree;
use shm::{Off, View};

use super::{quoting, reply, stream_of};
use crate::commands::errors::wrong_subcommand;
use crate::commands::help as texts;
use crate::executor::{Cx, Fail, Outcome, error};
use crate::proto::reply::{Reply, Sink};
use crate::values::stream::group::{self, Consumer, Group};
use crate::values::stream::node::Entry;
use crate::values::stream::{self, Id, Stream, entries, lag};

fn open_stream(cx: &mut Cx<'_>) -> Result<Off<Stream>, Fail> {
    let key = cx.read(cx.arg(2))?;
    stream_of(cx, &key)?.ok_or(error::NO_KEY)
}

/// `XINFO CONSUMERS key groupname`: list the consumers in a consumer group.
pub fn consumers(cx: &mut Cx<'_>) -> Outcome {
    let stream = open_stream(cx)?;
    let (view, now) = (&*cx.tx, cx.state.now_ms);
    let Some(group) = group::find(view, stream, cx.args.at(3)) else {
        let text = "NOGROUP No such consumer group '%s' for key name '%s'";
        return Err(quoting(text, &[cx.arg(3), cx.arg(2)]));
    };
    cx.reply.array(group::consumer_count(view, group) as usize);
    for consumer in group::consumers(view, group) {
        cx.reply.map(3);
        cx.reply.bulk(b"name");
        cx.reply.bulk(group::consumer_name(view, consumer));
        cx.reply.bulk(b"pending");
        cx.reply.integer(tree::len(view, group::pending_of(consumer)) as i64);
        cx.reply.bulk(b"idle");
        cx.reply.integer(now.wrapping_sub(group::seen(view, consumer)).max(0));
    }
    Ok(())
}

/// `XINFO GROUPS key`: list the consumer groups of a stream.
pub fn groups(cx: &mut Cx<'_>) -> Outcome {
    let stream = open_stream(cx)?;
    let view = &*cx.tx;
    cx.reply.array(group::count(view, stream) as usize);
    for group in group::all(view, stream) {
        cx.reply.map(6);
        cx.reply.bulk(b"name");
        cx.reply.bulk(group::name(view, group));
        cx.reply.bulk(b"consumers");
        cx.reply.integer(group::consumer_count(view, group) as i64);
        cx.reply.bulk(b"pending");
        cx.reply.integer(tree::len(view, group::pending(group)) as i64);
        progress(&mut cx.reply, view, stream, group);
    }
    Ok(())
}

/// The three fields about how far a group has got.
fn progress<S: Sink + ?Sized>(
    reply: &mut Reply<'_, S>,
    view: &View,
    stream: Off<Stream>,
    group: Off<Group>,
) {
    let position = group::position(view, group);
    reply.bulk(b"last-delivered-id");
    reply::id(reply, position.last);
    reply.bulk(b"entries-read");
    integer_or_null(reply, position.read);
    reply.bulk(b"lag");
    integer_or_null(reply, lag::of(view, stream, group));
}

fn integer_or_null<S: Sink + ?Sized>(reply: &mut Reply<'_, S>, number: Option<i64>) {
    match number {
        Some(number) => reply.integer(number),
        None => reply.null(),
    }
}

/// `XINFO HELP`: show helpful text about the different subcommands.
pub fn help(cx: &mut Cx<'_>) -> Outcome {
    texts::reply(&mut cx.reply, "xinfo");
    Ok(())
}

/// `XINFO STREAM key [FULL [COUNT count]]`: get information about a stream.
pub fn stream(cx: &mut Cx<'_>) -> Outcome {
    let stream = open_stream(cx)?;
    let full = match cx.args.len() {
        3 => None,
        4 | 6 if cx.args.is(3, "FULL") => Some(full_count(cx)?),
        _ => return Err(syntax(cx)),
    };
    let view = &*cx.tx;
    let reply = &mut cx.reply;
    reply.map(if full.is_some() { 9 } else { 10 });
    whole(reply, view, stream);
    match full {
        Some(count) => everything(reply, view, stream, count),
        None => {
            reply.bulk(b"groups");
            reply.integer(group::count(view, stream) as i64);
            reply.bulk(b"first-entry");
            entry_or_null(reply, entries::first(view, stream));
            reply.bulk(b"last-entry");
            entry_or_null(reply, entries::last(view, stream));
        }
    }
    Ok(())
}

fn syntax(cx: &Cx<'_>) -> Fail {
    Fail::Bytes(wrong_subcommand("xinfo", cx.arg(1)))
}

/// How many entries of each kind `FULL` shows.
fn full_count(cx: &Cx<'_>) -> Result<usize, Fail> {
    const DEFAULT: usize = 10;
    if cx.args.len() == 4 {
        return Ok(DEFAULT);
    }
    if !cx.args.is(4, "COUNT") {
        return Err(syntax(cx));
    }
    Ok(match cx.int_arg(5)? {
        0 => usize::MAX,
        count => usize::try_from(count).unwrap_or(DEFAULT),
    })
}

/// The seven fields about a stream as a whole.
fn whole<S: Sink + ?Sized>(reply: &mut Reply<'_, S>, view: &View, stream: Off<Stream>) {
    let counts = stream::counts(view, stream);
    let nodes = stream::nodes(view, stream);
    reply.bulk(b"length");
    reply.integer(counts.len as i64);
    reply.bulk(b"radix-tree-keys");
    reply.integer(nodes as i64);
    reply.bulk(b"radix-tree-nodes");
    // There is no radix tree. One of so many keys has about that many nodes, its root among them.
    reply.integer(nodes as i64 + 1);
    for (name, id) in [
        ("last-generated-id", counts.last),
        ("max-deleted-entry-id", stream::max_deleted(view, stream)),
    ] {
        reply.bulk(name.as_bytes());
        reply::id(reply, id);
    }
    reply.bulk(b"entries-added");
    reply.integer(counts.added as i64);
    reply.bulk(b"recorded-first-entry-id");
    reply::id(reply, stream::first_id(view, stream));
}

fn entry_or_null<S: Sink + ?Sized>(reply: &mut Reply<'_, S>, entry: Option<Entry<'_>>) {
    match entry {
        Some(entry) => reply::entry(reply, &entry),
        None => reply.null(),
    }
}

/// The entries, and the groups with all that is theirs, `count` of each at most.
fn everything<S: Sink + ?Sized>(
    reply: &mut Reply<'_, S>,
    view: &View,
    stream: Off<Stream>,
    count: usize,
) {
    reply.bulk(b"entries");
    let shown = stream::len(view, stream).min(count as u64) as usize;
    reply.array(shown);
    let found = entries::forward(view, stream, Id::MIN, Id::MAX).take(shown);
    found.for_each(|entry| reply::entry(reply, &entry));
    reply.bulk(b"groups");
    reply.array(group::count(view, stream) as usize);
    for group in group::all(view, stream) {
        reply.map(7);
        reply.bulk(b"name");
        reply.bulk(group::name(view, group));
        progress(reply, view, stream, group);
        let pending = group::pending(group);
        reply.bulk(b"pel-count");
        reply.integer(tree::len(view, pending) as i64);
        reply.bulk(b"pending");
        reply.array(tree::len(view, pending).min(count as u64) as usize);
        for claim in group::pending_from(view, pending, Id::MIN).take(count) {
            reply.array(4);
            reply::id(reply, claim.id);
            reply.bulk(group::consumer_name(view, claim.consumer));
            reply.integer(claim.time);
            reply.integer(claim.count as i64);
        }
        reply.bulk(b"consumers");
        reply.array(group::consumer_count(view, group) as usize);
        for consumer in group::consumers(view, group) {
            full_consumer(reply, view, consumer, count);
        }
    }
}

fn full_consumer<S: Sink + ?Sized>(
    reply: &mut Reply<'_, S>,
    view: &View,
    consumer: Off<Consumer>,
    count: usize,
) {
    let pending = group::pending_of(consumer);
    reply.map(4);
    reply.bulk(b"name");
    reply.bulk(group::consumer_name(view, consumer));
    reply.bulk(b"seen-time");
    reply.integer(group::seen(view, consumer));
    reply.bulk(b"pel-count");
    reply.integer(tree::len(view, pending) as i64);
    reply.bulk(b"pending");
    reply.array(tree::len(view, pending).min(count as u64) as usize);
    for claim in group::pending_from(view, pending, Id::MIN).take(count) {
        reply.array(3);
        reply::id(reply, claim.id);
        reply.integer(claim.time);
        reply.integer(claim.count as i64);
    }
}
