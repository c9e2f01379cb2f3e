//! Subscriptions: who listens to which channels and patterns.

use shm::table::{self, Table};
use shm::{Off, OutOfMemory, Tx, View, field};

use super::members::{self, Member, Topic, own};
use super::push::Push;
use super::{Session, change_flags, flag};
use crate::executor::{State, dispatch};
use crate::proto::reply::{Reply, Sink};
use crate::root::Root;
use crate::util::glob::{self, Case};

/// What a session can subscribe to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Channels.
    Channel,
    /// Patterns of channels.
    Pattern,
    /// Shard channels.
    Shard,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Channel, Kind::Pattern, Kind::Shard];

    /// The table of the names with their subscribers.
    pub fn index(self, root: Off<Root>) -> Off<Table> {
        match self {
            Kind::Channel => field!(root, Root.channels),
            Kind::Pattern => field!(root, Root.patterns),
            Kind::Shard => field!(root, Root.shard_channels),
        }
    }

    /// The table of a session's own subscriptions.
    pub fn own(self, session: Off<Session>) -> Off<Table> {
        match self {
            Kind::Channel => field!(session, Session.channels),
            Kind::Pattern => field!(session, Session.patterns),
            Kind::Shard => field!(session, Session.shard_channels),
        }
    }
}

/// The number that a reply to a (un)subscription of this kind tells.
pub fn count(view: &View, session: Off<Session>, kind: Kind) -> u64 {
    let len = |kind: Kind| table::len(view, kind.own(session));
    match kind {
        Kind::Channel | Kind::Pattern => len(Kind::Channel) + len(Kind::Pattern),
        Kind::Shard => len(Kind::Shard),
    }
}

/// Subscribes a session; false if it is subscribed already.
pub fn subscribe(
    tx: &mut Tx<'_>,
    root: Off<Root>,
    session: Off<Session>,
    kind: Kind,
    name: &[u8],
) -> Result<bool, OutOfMemory> {
    change_flags(tx, session, 0, flag::SUBSCRIBER)?;
    if own::find(tx, kind.own(session), name).is_some() {
        return Ok(false);
    }
    let member = members::join(tx, kind.index(root), 0, name, session)?;
    own::insert(tx, kind.own(session), name, member)?;
    Ok(true)
}

/// Ends a subscription; false if there is none.
pub fn unsubscribe(
    tx: &mut Tx<'_>,
    root: Off<Root>,
    session: Off<Session>,
    kind: Kind,
    name: &[u8],
) -> Result<bool, OutOfMemory> {
    let Some(member) = own::take(tx, kind.own(session), name)? else { return Ok(false) };
    members::leave(tx, kind.index(root), member)?;
    if Kind::ALL.iter().all(|kind| table::len(tx, kind.own(session)) == 0) {
        change_flags(tx, session, flag::SUBSCRIBER, 0)?;
    }
    Ok(true)
}

/// The names a session is subscribed to, at most `limit` of them.
pub fn names(view: &View, session: Off<Session>, kind: Kind, limit: usize) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    let mut cursor = 0;
    loop {
        let step = table::scan_step(view, kind.own(session), cursor, |view, block| {
            let member: Off<Member> = block.cast();
            names.push(members::name(view, view.get(member).topic).to_vec());
        });
        cursor = step.cursor;
        if cursor == 0 || names.len() >= limit {
            names.truncate(limit);
            return names;
        }
    }
}

/// Ends up to `limit` subscriptions of a session; true when none is left, and no memory of them.
pub fn leave(
    tx: &mut Tx<'_>,
    root: Off<Root>,
    session: Off<Session>,
    limit: usize,
) -> Result<bool, OutOfMemory> {
    let mut left = limit;
    for kind in Kind::ALL {
        for name in names(tx, session, kind, left) {
            unsubscribe(tx, root, session, kind, &name)?;
            left -= 1;
        }
        if left == 0 {
            return Ok(false);
        }
        drop_table(tx, kind.own(session))?;
    }
    Ok(true)
}

/// Gives back the memory of an empty table, whatever its size.
fn drop_table(tx: &mut Tx<'_>, own: Off<Table>) -> Result<(), OutOfMemory> {
    while table::drain_step(tx, own, usize::MAX, |_, _| Ok(()))? != table::Drained::All {}
    Ok(())
}

/// Sends a message to everybody who is subscribed to a channel or to a pattern that matches it;
/// gives their number. What is for the session whose turn it is is appended to `own`: it goes into
/// that session's replies.
pub fn publish(
    tx: &mut Tx<'_>,
    state: &mut State,
    root: Off<Root>,
    channel: &[u8],
    message: &[u8],
    own: &mut Vec<u8>,
) -> Result<i64, OutOfMemory> {
    let mut receivers = 0;
    if let Some(topic) = members::find(tx, Kind::Channel.index(root), 0, channel) {
        receivers += deliver(tx, state, topic, &[b"message", channel, message], own)?;
    }
    for topic in matching_patterns(tx, root, channel) {
        let pattern = members::name(tx, topic).to_vec();
        let words: [&[u8]; 4] = [b"pmessage", &pattern, channel, message];
        receivers += deliver(tx, state, topic, &words, own)?;
    }
    Ok(receivers)
}

/// As [`publish`], for a shard channel.
pub fn publish_to_shard(
    tx: &mut Tx<'_>,
    state: &mut State,
    root: Off<Root>,
    channel: &[u8],
    message: &[u8],
    own: &mut Vec<u8>,
) -> Result<i64, OutOfMemory> {
    match members::find(tx, Kind::Shard.index(root), 0, channel) {
        Some(topic) => deliver(tx, state, topic, &[b"smessage", channel, message], own),
        None => Ok(0),
    }
}

fn matching_patterns(view: &View, root: Off<Root>, channel: &[u8]) -> Vec<Off<Topic>> {
    let mut found = Vec::new();
    if table::len(view, Kind::Pattern.index(root)) == 0 {
        return found;
    }
    table::for_each(view, Kind::Pattern.index(root), |view, block| {
        let topic: Off<Topic> = block.cast();
        if glob::matches(members::name(view, topic), channel, Case::Sensitive) {
            found.push(topic);
        }
    });
    found
}

/// Sends a message to everybody who is subscribed to a name; gives their number.
fn deliver(
    tx: &mut Tx<'_>,
    state: &mut State,
    topic: Off<Topic>,
    words: &[&[u8]],
    own: &mut Vec<u8>,
) -> Result<i64, OutOfMemory> {
    let mut push = Push::new(|reply| encode(reply, words));
    let members = members::members(tx, topic);
    for member in &members {
        if member.session == state.current {
            let version = tx.get(member.session).protocol.get();
            own.extend(push.bytes(dispatch::protocol_of(version)));
        } else {
            push.send(tx, state, member.session)?;
        }
    }
    Ok(members.len() as i64)
}

fn encode<S: Sink>(reply: &mut Reply<'_, S>, words: &[&[u8]]) {
    reply.push(words.len());
    words.iter().for_each(|word| reply.bulk(word));
}
