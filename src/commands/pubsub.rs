//! Publish and subscribe, sharded too.

use shm::table;

use super::spec::{CommandSpec, at, cmd, container, flag, key};
use crate::executor::{Cx, Fail, Outcome};
use crate::session::members;
use crate::session::pubsub::{self, Kind};
use crate::util::glob::{self, Case};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("psubscribe", -2, psubscribe)
        .flags(flag::PUBSUB | flag::NOSCRIPT | flag::LOADING | flag::STALE),
    cmd("publish", 3, publish)
        .flags(flag::MAY_REPLICATE | flag::PUBSUB | flag::LOADING | flag::STALE | flag::FAST),
    container("pubsub", -2).subcommands(&[
        cmd("pubsub|channels", -2, channels).flags(flag::PUBSUB | flag::LOADING | flag::STALE),
        cmd("pubsub|help", 2, help).flags(flag::LOADING | flag::STALE),
        cmd("pubsub|numpat", 2, numpat).flags(flag::PUBSUB | flag::LOADING | flag::STALE),
        cmd("pubsub|numsub", -2, numsub).flags(flag::PUBSUB | flag::LOADING | flag::STALE),
        cmd("pubsub|shardchannels", -2, shardchannels)
            .flags(flag::PUBSUB | flag::LOADING | flag::STALE),
        cmd("pubsub|shardnumsub", -2, shardnumsub)
            .flags(flag::PUBSUB | flag::LOADING | flag::STALE),
    ]),
    cmd("punsubscribe", -1, punsubscribe)
        .flags(flag::PUBSUB | flag::NOSCRIPT | flag::LOADING | flag::STALE),
    cmd("spublish", 3, spublish)
        .flags(flag::MAY_REPLICATE | flag::PUBSUB | flag::LOADING | flag::STALE | flag::FAST)
        .keys(&[at(1).flags(key::NOT_KEY)]),
    cmd("ssubscribe", -2, ssubscribe)
        .flags(flag::PUBSUB | flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .keys(&[at(1).to(-1, 1, 0).flags(key::NOT_KEY)]),
    cmd("subscribe", -2, subscribe)
        .flags(flag::PUBSUB | flag::NOSCRIPT | flag::LOADING | flag::STALE),
    cmd("sunsubscribe", -1, sunsubscribe)
        .flags(flag::PUBSUB | flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .keys(&[at(1).to(-1, 1, 0).flags(key::NOT_KEY)]),
    cmd("unsubscribe", -1, unsubscribe)
        .flags(flag::PUBSUB | flag::NOSCRIPT | flag::LOADING | flag::STALE),
];

/// `PSUBSCRIBE pattern [pattern ...]`: listen for messages published to channels matching the given
/// patterns.
fn psubscribe(cx: &mut Cx<'_>) -> Outcome {
    subscribe_all(cx, Kind::Pattern, "psubscribe")
}

/// `SSUBSCRIBE shardchannel [shardchannel ...]`: listen for messages published to the given shard
/// channels.
fn ssubscribe(cx: &mut Cx<'_>) -> Outcome {
    if cx.in_exec {
        return Err("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client".into());
    }
    subscribe_all(cx, Kind::Shard, "ssubscribe")
}

/// `SUBSCRIBE channel [channel ...]`: listen for messages published to the given channels.
fn subscribe(cx: &mut Cx<'_>) -> Outcome {
    subscribe_all(cx, Kind::Channel, "subscribe")
}

fn subscribe_all(cx: &mut Cx<'_>, kind: Kind, word: &str) -> Outcome {
    for name in cx.args.from(1) {
        pubsub::subscribe(&mut cx.tx, cx.root, cx.session, kind, name)?;
        notify(cx, kind, word, Some(name));
    }
    Ok(())
}

/// Tells the client of one subscription that it has or has no longer. This is a message, which
/// `CLIENT REPLY` does not hold back.
fn notify(cx: &mut Cx<'_>, kind: Kind, word: &str, name: Option<&[u8]>) {
    let count = pubsub::count(&cx.tx, cx.session, kind);
    let muted = cx.reply.sink().is_muted();
    cx.reply.sink().mute(false);
    cx.reply.push(3);
    cx.reply.bulk(word.as_bytes());
    match name {
        Some(name) => cx.reply.bulk(name),
        None => cx.reply.null(),
    }
    cx.reply.integer(count as i64);
    cx.reply.sink().mute(muted);
}

/// `PUNSUBSCRIBE [pattern [pattern ...]]`: stop listening for messages posted to channels matching
/// the given patterns.
fn punsubscribe(cx: &mut Cx<'_>) -> Outcome {
    unsubscribe_all(cx, Kind::Pattern, "punsubscribe")
}

/// `SUNSUBSCRIBE [shardchannel [shardchannel ...]]`: stop listening for messages posted to the
/// given shard channels.
fn sunsubscribe(cx: &mut Cx<'_>) -> Outcome {
    unsubscribe_all(cx, Kind::Shard, "sunsubscribe")
}

/// `UNSUBSCRIBE [channel [channel ...]]`: stop listening for messages posted to the given channels.
fn unsubscribe(cx: &mut Cx<'_>) -> Outcome {
    unsubscribe_all(cx, Kind::Channel, "unsubscribe")
}

fn unsubscribe_all(cx: &mut Cx<'_>, kind: Kind, word: &str) -> Outcome {
    if cx.args.len() > 1 {
        for name in cx.args.from(1) {
            pubsub::unsubscribe(&mut cx.tx, cx.root, cx.session, kind, name)?;
            notify(cx, kind, word, Some(name));
        }
        return Ok(());
    }
    let names = pubsub::names(&cx.tx, cx.session, kind, usize::MAX);
    if names.is_empty() {
        notify(cx, kind, word, None);
    }
    for name in names {
        pubsub::unsubscribe(&mut cx.tx, cx.root, cx.session, kind, &name)?;
        notify(cx, kind, word, Some(&name));
    }
    Ok(())
}

/// `PUBLISH channel message`: post a message to a channel.
fn publish(cx: &mut Cx<'_>) -> Outcome {
    let mut own = Vec::new();
    let (channel, message) = (cx.arg(1), cx.arg(2));
    let receivers = pubsub::publish(&mut cx.tx, cx.state, cx.root, channel, message, &mut own)?;
    cx.push_raw(&own);
    cx.reply.integer(receivers);
    Ok(())
}

/// `SPUBLISH shardchannel message`: post a message to a shard channel.
fn spublish(cx: &mut Cx<'_>) -> Outcome {
    let mut own = Vec::new();
    let (channel, message) = (cx.arg(1), cx.arg(2));
    let receivers =
        pubsub::publish_to_shard(&mut cx.tx, cx.state, cx.root, channel, message, &mut own)?;
    cx.push_raw(&own);
    cx.reply.integer(receivers);
    Ok(())
}

/// `PUBSUB CHANNELS [pattern]`: list active channels.
fn channels(cx: &mut Cx<'_>) -> Outcome {
    list(cx, Kind::Channel)
}

/// `PUBSUB HELP`: show helpful text about the different subcommands.
fn help(cx: &mut Cx<'_>) -> Outcome {
    super::help::reply(&mut cx.reply, "pubsub");
    Ok(())
}

/// `PUBSUB NUMPAT`: get the count of unique patterns pattern subscriptions.
fn numpat(cx: &mut Cx<'_>) -> Outcome {
    let count = table::len(&cx.tx, Kind::Pattern.index(cx.root));
    cx.reply.integer(count as i64);
    Ok(())
}

/// `PUBSUB NUMSUB [channel [channel ...]]`: get the count of subscribers for channels.
fn numsub(cx: &mut Cx<'_>) -> Outcome {
    counts(cx, Kind::Channel)
}

/// `PUBSUB SHARDCHANNELS [pattern]`: list active shard channels.
fn shardchannels(cx: &mut Cx<'_>) -> Outcome {
    list(cx, Kind::Shard)
}

/// `PUBSUB SHARDNUMSUB [shardchannel [shardchannel ...]]`: get the count of subscribers for shard
/// channels.
fn shardnumsub(cx: &mut Cx<'_>) -> Outcome {
    counts(cx, Kind::Shard)
}

fn list(cx: &mut Cx<'_>, kind: Kind) -> Outcome {
    if cx.args.len() > 3 {
        return Err(Fail::Bytes(super::errors::wrong_subcommand("pubsub", cx.arg(1))));
    }
    let pattern = cx.args.get(2);
    let mut names = Vec::new();
    table::for_each(&cx.tx, kind.index(cx.root), |view, block| {
        let name = members::name(view, block.cast());
        if pattern.is_none_or(|pattern| glob::matches(pattern, name, Case::Sensitive)) {
            names.push(name.to_vec());
        }
    });
    cx.reply.array(names.len());
    names.iter().for_each(|name| cx.reply.bulk(name));
    Ok(())
}

fn counts(cx: &mut Cx<'_>, kind: Kind) -> Outcome {
    cx.reply.array(cx.args.len().saturating_sub(2) * 2);
    for name in cx.args.from(2) {
        let topic = members::find(&cx.tx, kind.index(cx.root), 0, name);
        let count = topic.map_or(0, |topic| members::count(&cx.tx, topic));
        cx.reply.bulk(name);
        cx.reply.integer(i64::from(count));
    }
    Ok(())
}
