//! Entries that were delivered and not acknowledged.

use shm::Off;

use super::{arguments, group_of, no_group, quoting, read, reply};
use crate::executor::{Cx, Fail, Outcome, error};
use crate::util::numbers::string2ll;
use crate::values::stream::group::{self, Claim, Consumer, Group};
use crate::values::stream::{Id, Stream, entries};

/// `XACK key group id [id ...]`: marks a pending message as correctly processed, effectively
/// removing it from the pending entries list of the consumer group. Return value of the command is
/// the number of messages successfully acknowledged, that is, the IDs we were actually able to
/// resolve in the PEL.
pub fn xack(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.read(cx.arg(1))?;
    let Some((_, group)) = group_of(cx, &key, cx.arg(2))? else {
        cx.reply.integer(0);
        return Ok(());
    };
    let mut acknowledged = 0;
    for id in arguments::ids(cx, 3)? {
        if let Some(claim) = group::find_pending(&cx.tx, group, id) {
            group::drop_pending(&mut cx.tx, group, &claim)?;
            acknowledged += 1;
            cx.dirty += 1;
        }
    }
    cx.reply.integer(acknowledged);
    Ok(())
}

/// `XPENDING key group [[IDLE min-idle-time] start end count [consumer]]`: return information and
/// entries from a stream consumer group pending entries list, that are messages fetched but never
/// acknowledged.
pub fn xpending(cx: &mut Cx<'_>) -> Outcome {
    let listed = match cx.args.len() {
        3 => None,
        6..=9 => Some(Listed::parse(cx)?),
        _ => return Err(error::SYNTAX),
    };
    let key = cx.read(cx.arg(1))?;
    let group = group_of(cx, &key, cx.arg(2))?;
    let (_, group) = group.ok_or_else(|| no_group(cx.arg(1), cx.arg(2)))?;
    match listed {
        Some(listed) => listed.reply(cx, group),
        None => summary(cx, group),
    }
    Ok(())
}

fn summary(cx: &mut Cx<'_>, group: Off<Group>) {
    let view = &*cx.tx;
    let pending = group::pending(group);
    cx.reply.array(4);
    cx.reply.integer(shm::tree::len(view, pending) as i64);
    let first = group::pending_from(view, pending, Id::MIN).next();
    let (Some(first), Some(last)) = (first, group::last_pending(view, pending)) else {
        cx.reply.null();
        cx.reply.null();
        cx.reply.null_array();
        return;
    };
    reply::id(&mut cx.reply, first.id);
    reply::id(&mut cx.reply, last.id);
    let count = |consumer| shm::tree::len(view, group::pending_of(consumer));
    let busy = || group::consumers(view, group).filter(|consumer| count(*consumer) > 0);
    cx.reply.array(busy().count());
    for consumer in busy() {
        cx.reply.array(2);
        cx.reply.bulk(group::consumer_name(view, consumer));
        cx.reply.bulk_integer(count(consumer) as i64);
    }
}

/// Which pending entries are to be listed.
struct Listed<'a> {
    start: Id,
    end: Id,
    count: usize,
    min_idle: i64,
    consumer: Option<&'a [u8]>,
}

impl<'a> Listed<'a> {
    fn parse(cx: &Cx<'a>) -> Result<Listed<'a>, Fail> {
        let (mut at, mut min_idle) = (3, 0);
        if cx.args.is(3, "IDLE") {
            min_idle = cx.int_arg(4)?;
            if cx.args.len() < 8 {
                return Err(error::SYNTAX);
            }
            at = 5;
        }
        let count = usize::try_from(cx.int_arg(at + 2)?).unwrap_or(0);
        let (start, end) = (arguments::start(cx.arg(at))?, arguments::end(cx.arg(at + 1))?);
        Ok(Listed { start, end, count, min_idle, consumer: cx.args.get(at + 3) })
    }

    fn reply(&self, cx: &mut Cx<'_>, group: Off<Group>) {
        let (view, now) = (&*cx.tx, cx.state.now_ms);
        let mut pending = group::pending(group);
        if let Some(name) = self.consumer {
            let Some(consumer) = group::find_consumer(view, group, name) else {
                return cx.reply.array(0);
            };
            pending = group::pending_of(consumer);
        }
        let within = group::pending_from(view, pending, self.start)
            .take_while(|claim| self.count > 0 && claim.id <= self.end)
            .filter(|claim| self.min_idle == 0 || now.wrapping_sub(claim.time) >= self.min_idle);
        let claims: Vec<Claim> = within.take(self.count).collect();
        cx.reply.array(claims.len());
        for claim in claims {
            cx.reply.array(4);
            reply::id(&mut cx.reply, claim.id);
            cx.reply.bulk(group::consumer_name(view, claim.consumer));
            cx.reply.integer(now.wrapping_sub(claim.time).max(0));
            cx.reply.integer(claim.count as i64);
        }
    }
}

/// Options of `XCLAIM`.
struct Options {
    /// When the entries count as delivered, if that was said.
    time: Option<i64>,
    /// How often.
    retries: Option<u64>,
    /// Whether entries that are not pending become so.
    force: bool,
    /// Whether only the ids are replied.
    just_id: bool,
    /// What the group has been delivered at least.
    last: Id,
}

impl Options {
    fn parse(cx: &Cx<'_>, mut at: usize) -> Result<Options, Fail> {
        let (mut time, mut retries, mut last) = (-1, -1, Id::MIN);
        let (mut force, mut just_id) = (false, false);
        let integer = |at, what| {
            let text = || format!("ERR Invalid {what} option argument for XCLAIM");
            string2ll(cx.arg(at)).ok_or_else(|| Fail::from(text()))
        };
        while at < cx.args.len() {
            let more = at + 1 < cx.args.len();
            if cx.args.is(at, "FORCE") {
                force = true;
            } else if cx.args.is(at, "JUSTID") {
                just_id = true;
            } else if cx.args.is(at, "IDLE") && more {
                at += 1;
                time = cx.now_ms().wrapping_sub(integer(at, "IDLE")?);
            } else if cx.args.is(at, "TIME") && more {
                at += 1;
                time = integer(at, "TIME")?;
            } else if cx.args.is(at, "RETRYCOUNT") && more {
                at += 1;
                retries = integer(at, "RETRYCOUNT")?;
            } else if cx.args.is(at, "LASTID") && more {
                at += 1;
                last = arguments::id(cx.arg(at))?;
            } else {
                return Err(quoting("ERR Unrecognized XCLAIM option '%s'", &[cx.arg(at)]));
            }
            at += 1;
        }
        // What is no sensible time is taken to be now.
        let time = (0..=cx.now_ms()).contains(&time).then_some(time);
        Ok(Options { time, retries: u64::try_from(retries).ok(), force, just_id, last })
    }
}

/// Who claims entries: a consumer that is made when it gets the first one.
struct Claimer<'a> {
    key: &'a [u8],
    group: Off<Group>,
    name: &'a [u8],
    consumer: Option<Off<Consumer>>,
    /// Whether the consumer is new. Its event comes within the reply, behind the header.
    is_new: bool,
}

impl<'a> Claimer<'a> {
    fn new(key: &'a [u8], group: Off<Group>, name: &'a [u8]) -> Claimer<'a> {
        Claimer { key, group, name, consumer: None, is_new: false }
    }

    fn consumer(&mut self, cx: &mut Cx<'_>) -> Result<Off<Consumer>, Fail> {
        match self.consumer {
            Some(consumer) => Ok(consumer),
            None => {
                let (consumer, is_new) = read::consumer(cx, self.group, self.name)?;
                (self.consumer, self.is_new) = (Some(consumer), is_new);
                Ok(consumer)
            }
        }
    }

    /// Writes the claimed entries, and tells of the consumer if it is new.
    fn reply(
        &self,
        cx: &mut Cx<'_>,
        stream: Off<Stream>,
        claimed: &[Id],
        just_id: bool,
    ) -> Outcome {
        cx.reply.array(claimed.len());
        if self.is_new {
            read::tell_new_consumer(cx, self.key)?;
        }
        for &id in claimed {
            match entries::find(&cx.tx, stream, id) {
                Some(entry) if !just_id => reply::entry(&mut cx.reply, &entry),
                _ => reply::id(&mut cx.reply, id),
            }
        }
        Ok(())
    }
}

/// `XCLAIM key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds]
/// [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID id]`: changes (or acquires) ownership of a message
/// in a consumer group, as if the message was delivered to the specified consumer.
pub fn xclaim(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.read(cx.arg(1))?;
    let group = group_of(cx, &key, cx.arg(2))?;
    let (stream, group) = group.ok_or_else(|| no_group(cx.arg(1), cx.arg(2)))?;
    let min_idle = string2ll(cx.arg(4)).ok_or("ERR Invalid min-idle-time argument for XCLAIM")?;
    let ids: Vec<Id> = cx.args.from(5).map_while(|text| Id::parse(text, 0)).collect();
    let options = Options::parse(cx, 5 + ids.len())?;
    let mut position = group::position(&cx.tx, group);
    let mut is_moved = options.last > position.last;
    if is_moved {
        position.last = options.last;
        group::set_position(&mut cx.tx, group, position)?;
    }
    let mut claimer = Claimer::new(key.name, group, cx.arg(3));
    let mut claimed = Vec::new();
    for id in ids {
        let dirty = cx.dirty;
        if claim(cx, stream, &mut claimer, &options, min_idle, id)? {
            claimed.push(id);
        }
        is_moved &= cx.dirty == dirty;
    }
    cx.dirty += u64::from(is_moved);
    claimer.reply(cx, stream, &claimed, options.just_id)
}

/// Claims one entry; says whether it did. An entry that is gone is not pending any more.
fn claim(
    cx: &mut Cx<'_>,
    stream: Off<Stream>,
    claimer: &mut Claimer<'_>,
    options: &Options,
    min_idle: i64,
    id: Id,
) -> Result<bool, Fail> {
    let pending = group::find_pending(&cx.tx, claimer.group, id);
    if entries::find(&cx.tx, stream, id).is_none() {
        if let Some(pending) = pending {
            group::drop_pending(&mut cx.tx, claimer.group, &pending)?;
            cx.dirty += 1;
        }
        return Ok(false);
    }
    let now = cx.now_ms();
    let is_idle = |claim: &Claim| min_idle <= 0 || now.wrapping_sub(claim.time) >= min_idle;
    if pending.as_ref().is_some_and(|claim| !is_idle(claim)) {
        return Ok(false);
    }
    if pending.is_none() && !options.force {
        return Ok(false);
    }
    let consumer = claimer.consumer(cx)?;
    let old = pending.map_or(1, |claim| claim.count);
    let count = options.retries.unwrap_or(old.wrapping_add(u64::from(!options.just_id)));
    let time = options.time.unwrap_or(now);
    match pending {
        Some(claim) => group::deliver_again(&mut cx.tx, &claim, consumer, time, count)?,
        None => group::add_pending(&mut cx.tx, claimer.group, consumer, id, time, count)?,
    }
    cx.dirty += 1;
    Ok(true)
}

/// Entries that `XAUTOCLAIM` looks at for each one that it may claim.
const ATTEMPTS: usize = 10;

/// `XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]`: changes (or
/// acquires) ownership of messages in a consumer group, as if the messages were delivered to the
/// specified consumer.
pub fn xautoclaim(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.read(cx.arg(1))?;
    let min_idle =
        string2ll(cx.arg(4)).ok_or("ERR Invalid min-idle-time argument for XAUTOCLAIM")?;
    let start = arguments::start(cx.arg(5))?;
    let (mut at, mut count, mut just_id) = (6, 100, false);
    while at < cx.args.len() {
        if cx.args.is(at, "COUNT") && at + 1 < cx.args.len() {
            at += 1;
            count = claim_count(cx, at)?;
        } else if cx.args.is(at, "JUSTID") {
            just_id = true;
        } else {
            return Err(error::SYNTAX);
        }
        at += 1;
    }
    let group = group_of(cx, &key, cx.arg(2))?;
    let (stream, group) = group.ok_or_else(|| no_group(cx.arg(1), cx.arg(2)))?;
    let mut claimer = Claimer::new(key.name, group, cx.arg(3));
    let (mut claimed, mut deleted, now) = (Vec::new(), Vec::new(), cx.now_ms());
    // One more is where the next call may go on.
    let found = group::pending_from(&cx.tx, group::pending(group), start);
    let claims: Vec<Claim> = found.take((count * ATTEMPTS).saturating_add(1)).collect();
    let (mut attempts, mut left, mut next) = (count * ATTEMPTS, count, None);
    for claim in claims {
        if attempts == 0 || left == 0 {
            next = Some(claim.id);
            break;
        }
        attempts -= 1;
        if entries::find(&cx.tx, stream, claim.id).is_none() {
            group::drop_pending(&mut cx.tx, group, &claim)?;
            cx.dirty += 1;
            deleted.push(claim.id);
            left -= 1;
            continue;
        }
        if min_idle > 0 && now.wrapping_sub(claim.time) < min_idle {
            continue;
        }
        let consumer = claimer.consumer(cx)?;
        let times = claim.count.wrapping_add(u64::from(!just_id));
        group::deliver_again(&mut cx.tx, &claim, consumer, now, times)?;
        cx.dirty += 1;
        claimed.push(claim.id);
        left -= 1;
    }
    cx.reply.array(3);
    reply::id(&mut cx.reply, next.unwrap_or(Id::MIN));
    claimer.reply(cx, stream, &claimed, just_id)?;
    cx.reply.array(deleted.len());
    deleted.into_iter().for_each(|id| reply::id(&mut cx.reply, id));
    Ok(())
}

/// Reads how many entries `XAUTOCLAIM` may claim.
fn claim_count(cx: &Cx<'_>, at: usize) -> Result<usize, Fail> {
    const MOST: i64 = i64::MAX / 16;
    let count = cx.int_arg(at).map_err(|_| "ERR COUNT must be > 0")?;
    match count {
        1..=MOST => Ok(count as usize),
        _ => Err("ERR COUNT must be > 0".into()),
    }
}
