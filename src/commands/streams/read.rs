//! `XREAD` and `XREADGROUP`.

use shm::{Off, Tx};

use super::{arguments, group_of, quoting, reply, stream_of};
use crate::commands::blocking;
use crate::executor::{Cx, Fail, Outcome, class, error};
use crate::proto::reply::{Protocol, Reply, Sink};
use crate::session::waits::Kind;
use crate::values::stream::group::{self, Claim, Consumer, Group};
use crate::values::stream::{Id, Stream, entries, lag};

/// `XREAD [COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]`: return never seen
/// elements in multiple streams, with IDs greater than the ones reported by the caller for each
/// stream. Can block.
pub fn xread(cx: &mut Cx<'_>) -> Outcome {
    read(cx, false)
}

/// `XREADGROUP GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key
/// ...] id [id ...]`: return new entries from a stream using a consumer group, or access the
/// history of the pending entries for a given consumer. Can block.
pub fn xreadgroup(cx: &mut Cx<'_>) -> Outcome {
    read(cx, true)
}

/// Who reads: a consumer of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reader<'a> {
    /// Name of the group.
    pub group: &'a [u8],
    /// Name of the consumer, which is made if it is not there.
    pub consumer: &'a [u8],
    /// Whether what is delivered counts as acknowledged.
    pub no_ack: bool,
}

/// What one stream is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Entries after this id; of a consumer, those that are pending.
    After(Id),
    /// Entries that no consumer of the group was given yet.
    New,
}

/// A request, apart from the ids.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Milliseconds to wait if there is nothing, 0 for any time; `None` if that is not wanted.
    pub block: Option<i64>,
    /// Most entries of each stream; `u64::MAX` for all.
    pub count: u64,
    /// The consumer, of `XREADGROUP`.
    pub reader: Option<Reader<'a>>,
    /// Number of the argument that is the first key; the ids stand behind the keys.
    pub first_key: usize,
    /// Number of streams.
    pub streams: usize,
}

/// Entries that a client who has waited is given of each stream at most, if it did not say.
pub const BLOCKED_COUNT: u64 = 1000;

impl<'a> Request<'a> {
    /// Reads the options.
    pub fn parse(cx: &Cx<'a>, of_group: bool) -> Result<Request<'a>, Fail> {
        let (mut block, mut count, mut no_ack) = (None, 0, false);
        let (mut group, mut streams, mut at) = (None, None, 1);
        while at < cx.args.len() && streams.is_none() {
            let more = cx.args.len() - at - 1;
            if cx.args.is(at, "BLOCK") && more > 0 {
                at += 1;
                block = Some(timeout(cx, at)?);
            } else if cx.args.is(at, "COUNT") && more > 0 {
                at += 1;
                count = u64::try_from(cx.int_arg(at)?).unwrap_or(0);
            } else if cx.args.is(at, "STREAMS") && more > 0 {
                if !more.is_multiple_of(2) {
                    return Err("ERR Unbalanced XREAD list of streams: for each stream key an ID \
                                or '$' must be specified."
                        .into());
                }
                streams = Some((at + 1, more / 2));
            } else if cx.args.is(at, "GROUP") && more >= 2 {
                only_of_group("GROUP", of_group)?;
                group = Some((cx.arg(at + 1), cx.arg(at + 2)));
                at += 2;
            } else if cx.args.is(at, "NOACK") {
                only_of_group("NOACK", of_group)?;
                no_ack = true;
            } else {
                return Err(error::SYNTAX);
            }
            at += 1;
        }
        let (first_key, streams) = streams.ok_or(error::SYNTAX)?;
        if of_group && group.is_none() {
            return Err("ERR Missing GROUP option for XREADGROUP".into());
        }
        let count = if count == 0 { u64::MAX } else { count };
        let reader = group.map(|(group, consumer)| Reader { group, consumer, no_ack });
        Ok(Request { block, count, reader, first_key, streams })
    }

    /// What the stream of that number, counted from 0, is asked for. Fails if the key holds another
    /// type, or there is no such group.
    fn wanted(&self, cx: &mut Cx<'a>, number: usize) -> Result<Wanted, Fail> {
        let key = cx.read(cx.arg(self.first_key + number))?;
        let stream = stream_of(cx, &key)?;
        if let Some(reader) = self.reader
            && group_of(cx, &key, reader.group)?.is_none()
        {
            let text = "NOGROUP No such key '%s' or consumer group '%s' in XREADGROUP with GROUP \
                        option";
            return Err(quoting(text, &[key.name, reader.group]));
        }
        match (c_string(cx.arg(self.first_key + self.streams + number)), self.reader) {
            (b"$", Some(_)) => {
                Err("ERR The $ ID is meaningless in the context of XREADGROUP: you \
                                    want to read the history of this consumer by specifying a \
                                    proper ID, or use the > ID to get new messages. The $ ID would \
                                    just return an empty result set."
                    .into())
            }
            (b"$", None) => {
                let last = |stream| crate::values::stream::counts(&cx.tx, stream).last;
                Ok(Wanted::After(stream.map_or(Id::MIN, last)))
            }
            (b">", None) => {
                Err("ERR The > ID can be specified only when calling XREADGROUP using \
                                 the GROUP <group> <consumer> option."
                    .into())
            }
            (b">", Some(_)) => Ok(Wanted::New),
            (text, reader) => match arguments::id(text)? {
                // Redis's own mark of what is new.
                Id::MAX if reader.is_some() => Ok(Wanted::New),
                id => Ok(Wanted::After(id)),
            },
        }
    }
}

/// What Redis sees of an argument that it compares as a string of C's.
fn c_string(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or(text)
}

fn only_of_group(option: &str, of_group: bool) -> Result<(), Fail> {
    match of_group {
        true => Ok(()),
        false => Err(format!(
            "ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."
        )
        .into()),
    }
}

/// Reads a time-out in milliseconds.
fn timeout(cx: &Cx<'_>, at: usize) -> Result<i64, Fail> {
    let given = cx.int_arg(at).map_err(|_| "ERR timeout is not an integer or out of range")?;
    if given < 0 {
        return Err("ERR timeout is negative".into());
    }
    Ok(given)
}

fn read(cx: &mut Cx<'_>, of_group: bool) -> Outcome {
    let request = Request::parse(cx, of_group)?;
    let mut wanted = Vec::with_capacity(request.streams);
    for number in 0..request.streams {
        wanted.push(request.wanted(cx, number)?);
    }
    // How many streams have something is known at the end: what is read of one may leave nothing
    // for the next, which may be the same one.
    let (mut replies, mut served) = (Served::default(), 0);
    for (number, wanted) in wanted.iter().enumerate() {
        served += usize::from(serve(cx, &mut replies, &request, number, *wanted)?);
    }
    if served > 0 {
        start_streams(&mut cx.reply, served);
        return replies.send(cx);
    }
    match request.block {
        Some(_) => wait(cx, &request, &wanted),
        None => {
            cx.reply.null_array();
            Ok(())
        }
    }
}

/// Has the client wait until one of the streams has something for it.
fn wait(cx: &mut Cx<'_>, request: &Request<'_>, wanted: &[Wanted]) -> Outcome {
    let deadline = blocking::deadline(cx, request.block.unwrap_or(0))?;
    let kind = if request.reader.is_some() { Kind::Group } else { Kind::Stream };
    let keys = wanted.iter().enumerate().map(|(number, wanted)| match wanted {
        Wanted::After(id) => (request.first_key + number, (id.ms, id.seq)),
        // Resolved when the group is asked.
        Wanted::New => (request.first_key + number, (u64::MAX, u64::MAX)),
    });
    blocking::wait_for(cx, kind, keys, deadline)
}

/// Begins the reply of that many streams: a map, for which RESP2 has an array of pairs.
pub fn start_streams<S: Sink + ?Sized>(reply: &mut Reply<'_, S>, streams: usize) {
    match reply.protocol() {
        Protocol::Resp2 => reply.array(streams),
        Protocol::Resp3 => reply.map(streams),
    }
}

/// Begins the part of the reply that is about one stream; its entries follow.
pub fn start_stream<S: Sink + ?Sized>(reply: &mut Reply<'_, S>, key: &[u8]) {
    if reply.protocol() == Protocol::Resp2 {
        reply.array(2);
    }
    reply.bulk(key);
}

/// What was read so far, while the number of streams is still unknown.
#[derive(Default)]
struct Served<'a> {
    /// The parts of the reply.
    bytes: Vec<u8>,
    /// The keys for which a consumer was made, each with how many bytes stand before its event:
    /// Redis makes the consumer when it has named the stream.
    new_consumers: Vec<(usize, &'a [u8])>,
}

impl Served<'_> {
    /// Writes the parts, and tells of the consumers.
    fn send(&self, cx: &mut Cx<'_>) -> Outcome {
        let mut sent = 0;
        for &(at, key) in &self.new_consumers {
            cx.reply.raw(&self.bytes[sent..at]);
            tell_new_consumer(cx, key)?;
            sent = at;
        }
        cx.reply.raw(&self.bytes[sent..]);
        Ok(())
    }
}

/// Reads the stream of that number, if there is something; says whether there was.
fn serve<'a>(
    cx: &mut Cx<'a>,
    served: &mut Served<'a>,
    request: &Request<'a>,
    number: usize,
    wanted: Wanted,
) -> Result<bool, Fail> {
    let key = cx.read(cx.arg(request.first_key + number))?;
    let Some(stream) = stream_of(cx, &key)? else { return Ok(false) };
    let mut reply = Reply::new(&mut served.bytes, cx.protocol());
    let reply = &mut reply;
    let Some(reader) = request.reader else {
        let Wanted::After(after) = wanted else { return Ok(false) };
        if !has_after(cx, stream, after) {
            return Ok(false);
        }
        start_stream(reply, key.name);
        send_after(&cx.tx, reply, stream, after, request.count);
        return Ok(true);
    };
    let Some(group) = group::find(&cx.tx, stream, reader.group) else { return Ok(false) };
    let last = group::position(&cx.tx, group).last;
    if wanted == Wanted::New && !has_after(cx, stream, last) {
        return Ok(false);
    }
    let (consumer, is_new) = consumer(cx, group, reader.consumer)?;
    cx.dirty += 1;
    start_stream(reply, key.name);
    if is_new {
        served.new_consumers.push((reply.sink().len(), key.name));
    }
    let now = cx.now_ms();
    match wanted {
        Wanted::New => {
            let to = To { group, consumer: (!reader.no_ack).then_some(consumer), now };
            deliver_new(&mut cx.tx, reply, stream, to, request.count)?;
        }
        Wanted::After(after) => {
            deliver_pending(&mut cx.tx, reply, stream, consumer, after, request.count, now)?;
        }
    }
    Ok(true)
}

/// Whether a stream has an entry with a greater id.
pub fn has_after(cx: &Cx<'_>, stream: Off<Stream>, after: Id) -> bool {
    entries::last(&cx.tx, stream).is_some_and(|entry| entry.id > after)
}

/// The consumer of that name, which is made if it is not there, and whether it is new; notes that it
/// was heard of. Of a new one the caller tells ([`tell_new_consumer`]), where its reply has got to
/// the point at which Redis does.
pub fn consumer(
    cx: &mut Cx<'_>,
    group: Off<Group>,
    name: &[u8],
) -> Result<(Off<Consumer>, bool), Fail> {
    let now = cx.now_ms();
    if let Some(consumer) = group::find_consumer(&cx.tx, group, name) {
        group::set_seen(&mut cx.tx, consumer, now)?;
        return Ok((consumer, false));
    }
    let consumer = group::create_consumer(&mut cx.tx, group, name, now)?;
    cx.dirty += 1;
    Ok((consumer, true))
}

/// Tells of a consumer that reading or claiming has made.
pub fn tell_new_consumer(cx: &mut Cx<'_>, key: &[u8]) -> Outcome {
    cx.notify(class::STREAM, "xgroup-createconsumer", key)
}

/// Writes the entries with greater ids, `count` at most.
pub fn send_after<S: Sink + ?Sized>(
    tx: &Tx<'_>,
    reply: &mut Reply<'_, S>,
    stream: Off<Stream>,
    after: Id,
    count: u64,
) {
    let Some(start) = after.next() else {
        return reply.array(0);
    };
    let count = entries::count(tx, stream, start, Id::MAX, count) as usize;
    reply.array(count);
    let found = entries::forward(tx, stream, start, Id::MAX).take(count);
    found.for_each(|entry| reply::entry(reply, &entry));
}

/// Whom entries are delivered to.
#[derive(Debug, Clone, Copy)]
pub struct To {
    /// The group.
    pub group: Off<Group>,
    /// The consumer; `None` if what it gets counts as acknowledged.
    pub consumer: Option<Off<Consumer>>,
    /// Milliseconds since the epoch.
    pub now: i64,
}

/// Writes entries that no consumer of the group was given yet, `count` at most, and notes that they
/// were delivered.
pub fn deliver_new<S: Sink + ?Sized>(
    tx: &mut Tx<'_>,
    reply: &mut Reply<'_, S>,
    stream: Off<Stream>,
    to: To,
    count: u64,
) -> Outcome {
    let mut position = group::position(tx, to.group);
    let Some(start) = position.last.next() else {
        reply.array(0);
        return Ok(());
    };
    let count = entries::count(tx, stream, start, Id::MAX, count) as usize;
    reply.array(count);
    let mut ids = Vec::with_capacity(count);
    for entry in entries::forward(tx, stream, start, Id::MAX).take(count) {
        reply::entry(reply, &entry);
        ids.push(entry.id);
    }
    for &id in &ids {
        position.read = lag::advance(tx, stream, position.read, id);
        position.last = id;
    }
    group::set_position(tx, to.group, position)?;
    let Some(consumer) = to.consumer else { return Ok(()) };
    for id in ids {
        // It may be pending for another one, if the group's position was set back.
        match group::find_pending(tx, to.group, id) {
            Some(claim) => group::deliver_again(tx, &claim, consumer, to.now, 1)?,
            None => group::add_pending(tx, to.group, consumer, id, to.now, 1)?,
        }
    }
    Ok(())
}

/// Writes the consumer's pending entries with greater ids, `count` at most, and notes that they were
/// delivered again.
fn deliver_pending<S: Sink + ?Sized>(
    tx: &mut Tx<'_>,
    reply: &mut Reply<'_, S>,
    stream: Off<Stream>,
    consumer: Off<Consumer>,
    after: Id,
    count: u64,
    now: i64,
) -> Outcome {
    let pending = group::pending_of(consumer);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    // Redis does not go beyond the greatest id either, it starts at it.
    let start = after.next().unwrap_or(after);
    let claims: Vec<Claim> = group::pending_from(tx, pending, start).take(count).collect();
    reply.array(claims.len());
    for claim in claims {
        let Some(entry) = entries::find(tx, stream, claim.id) else {
            reply::gone(reply, claim.id);
            continue;
        };
        reply::entry(reply, &entry);
        group::deliver_again(tx, &claim, consumer, now, claim.count.wrapping_add(1))?;
    }
    Ok(())
}
