//! `OBJECT`: how a value is stored.

use super::help;
use super::spec::{CommandSpec, acl, at, cmd, container, flag, key};
use crate::executor::{Cx, Fail, Outcome};
use crate::keyspace::access::{self, Policy};
use crate::keyspace::{EntryView, Found};
use crate::values::string::{self, Content};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[container("object", -2).subcommands(&[
    cmd("object|encoding", 3, encoding)
        .flags(flag::READONLY)
        .acl(acl::KEYSPACE)
        .keys(&[at(2).flags(key::RO)])
        .tips(&["nondeterministic_output"]),
    cmd("object|freq", 3, freq)
        .flags(flag::READONLY)
        .acl(acl::KEYSPACE)
        .keys(&[at(2).flags(key::RO)])
        .tips(&["nondeterministic_output"]),
    cmd("object|help", 2, help_text).flags(flag::LOADING | flag::STALE).acl(acl::KEYSPACE),
    cmd("object|idletime", 3, idletime)
        .flags(flag::READONLY)
        .acl(acl::KEYSPACE)
        .keys(&[at(2).flags(key::RO)])
        .tips(&["nondeterministic_output"]),
    cmd("object|refcount", 3, refcount)
        .flags(flag::READONLY)
        .acl(acl::KEYSPACE)
        .keys(&[at(2).flags(key::RO)])
        .tips(&["nondeterministic_output"]),
])];

/// Looks the key up; replies with null if it is not there.
fn look(cx: &mut Cx<'_>) -> Result<Option<Found>, Fail> {
    let found = cx.inspect(cx.arg(2))?.found;
    if found.is_none() {
        cx.reply.null();
    }
    Ok(found)
}

/// `OBJECT ENCODING key`: inspect the internal encoding of a Redis object.
fn encoding(cx: &mut Cx<'_>) -> Outcome {
    if let Some(found) = look(cx)? {
        let encoding = cx.entry(&found).kind().encoding();
        cx.reply.bulk(encoding.as_bytes());
    }
    Ok(())
}

/// `OBJECT FREQ key`: get the logarithmic access frequency counter of a Redis object.
fn freq(cx: &mut Cx<'_>) -> Outcome {
    let Some(found) = look(cx)? else { return Ok(()) };
    let Policy::Frequency(frequency) = cx.state.access else {
        return Err("ERR An LFU maxmemory policy is not selected, access frequency not tracked. \
             Please note that when switching between policies at runtime LRU and LFU data will \
             take some time to adjust."
            .into());
    };
    let counter = frequency.counter(cx.entry(&found).access(), cx.now_ms());
    cx.reply.integer(counter.into());
    Ok(())
}

/// `OBJECT HELP`: show helpful text about the different subcommands.
fn help_text(cx: &mut Cx<'_>) -> Outcome {
    help::reply(&mut cx.reply, "object");
    Ok(())
}

/// `OBJECT IDLETIME key`: get the time since a Redis object was last accessed.
fn idletime(cx: &mut Cx<'_>) -> Outcome {
    let Some(found) = look(cx)? else { return Ok(()) };
    if cx.state.access != Policy::Time {
        return Err("ERR An LFU maxmemory policy is selected, idle time not tracked. Please note \
             that when switching between policies at runtime LRU and LFU data will take some time \
             to adjust."
            .into());
    }
    let idle = idle_seconds(cx, &found);
    cx.reply.integer(idle);
    Ok(())
}

/// Seconds since a key was used.
pub(super) fn idle_seconds(cx: &Cx<'_>, found: &Found) -> i64 {
    access::idle_seconds(cx.entry(found).access(), cx.now_ms())
}

/// `OBJECT REFCOUNT key`: get the number of references to the value of the key.
fn refcount(cx: &mut Cx<'_>) -> Outcome {
    if let Some(found) = look(cx)? {
        let count = reference_count(cx, &found);
        cx.reply.integer(count);
    }
    Ok(())
}

/// What Redis would say: small integers are shared there, unless eviction needs to know of each
/// key's use.
pub(super) fn reference_count(cx: &Cx<'_>, found: &Found) -> i64 {
    const SHARED: i64 = i32::MAX as i64;
    let policy = cx.state.config.maxmemory_policy();
    let shares = cx.state.maxmemory == 0 || !(policy.ends_with("lru") || policy.ends_with("lfu"));
    match string::content(&EntryView::new(&cx.tx, found.entry)) {
        Some(Content::Int(0..10_000)) if shares => SHARED,
        _ => 1,
    }
}
