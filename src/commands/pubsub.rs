//! Publish and subscribe, sharded too.

use super::not_implemented;
use super::spec::{CommandSpec, at, cmd, container, flag, key};
use crate::executor::{Cx, Outcome};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("psubscribe", -2, psubscribe)
        .flags(flag::PUBSUB | flag::NOSCRIPT | flag::LOADING | flag::STALE),
    cmd("publish", 3, publish).flags(flag::PUBSUB | flag::LOADING | flag::STALE | flag::FAST),
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
        .flags(flag::PUBSUB | flag::LOADING | flag::STALE | flag::FAST)
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
fn psubscribe(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `PUBLISH channel message`: post a message to a channel.
fn publish(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `PUBSUB CHANNELS [pattern]`: list active channels.
fn channels(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `PUBSUB HELP`: show helpful text about the different subcommands.
fn help(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `PUBSUB NUMPAT`: get the count of unique patterns pattern subscriptions.
fn numpat(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `PUBSUB NUMSUB [channel [channel ...]]`: get the count of subscribers for channels.
fn numsub(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `PUBSUB SHARDCHANNELS [pattern]`: list active shard channels.
fn shardchannels(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `PUBSUB SHARDNUMSUB [shardchannel [shardchannel ...]]`: get the count of subscribers for shard
/// channels.
fn shardnumsub(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `PUNSUBSCRIBE [pattern [pattern ...]]`: stop listening for messages posted to channels matching
/// the given patterns.
fn punsubscribe(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `SPUBLISH shardchannel message`: post a message to a shard channel.
fn spublish(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `SSUBSCRIBE shardchannel [shardchannel ...]`: listen for messages published to the given shard
/// channels.
fn ssubscribe(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `SUBSCRIBE channel [channel ...]`: listen for messages published to the given channels.
fn subscribe(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `SUNSUBSCRIBE [shardchannel [shardchannel ...]]`: stop listening for messages posted to the
/// given shard channels.
fn sunsubscribe(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `UNSUBSCRIBE [channel [channel ...]]`: stop listening for messages posted to the given channels.
fn unsubscribe(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}
