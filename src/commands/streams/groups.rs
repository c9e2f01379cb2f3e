//! `XGROUP`.

use shm::Off;

use super::{arguments, entries, quoting, stream_of};
use crate::commands::errors::wrong_subcommand;
use crate::commands::help as texts;
use crate::executor::{Cx, Fail, Outcome, class};
use crate::values::stream::group::{self, Group, Position};
use crate::values::stream::{self, Id};

/// Options of `CREATE` and `SETID`.
struct Options {
    /// Whether a stream that is not there is made.
    make_stream: bool,
    /// Entries that the group has read, if that was said.
    read: Option<i64>,
}

impl Options {
    fn parse(cx: &Cx<'_>, creates: bool) -> Result<Options, Fail> {
        let mut options = Options { make_stream: false, read: None };
        let mut at = 5;
        while at < cx.args.len() {
            if creates && cx.args.is(at, "MKSTREAM") {
                options.make_stream = true;
            } else if cx.args.is(at, "ENTRIESREAD") && at + 1 < cx.args.len() {
                at += 1;
                let read = cx.int_arg(at)?;
                if read < -1 {
                    return Err("ERR value for ENTRIESREAD must be positive or -1".into());
                }
                options.read = (read != -1).then_some(read);
            } else {
                return Err(syntax(cx));
            }
            at += 1;
        }
        Ok(options)
    }
}

fn syntax(cx: &Cx<'_>) -> Fail {
    Fail::Bytes(wrong_subcommand("xgroup", cx.arg(1)))
}

const NO_STREAM: &str = "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE \
                         you may want to use the MKSTREAM option to create an empty stream \
                         automatically.";

/// The group that a subcommand is about.
fn open_group(cx: &mut Cx<'_>) -> Result<(Off<stream::Stream>, Option<Off<Group>>), Fail> {
    let key = cx.open(cx.arg(2))?;
    let stream = stream_of(cx, &key)?.ok_or(NO_STREAM)?;
    Ok((stream, group::find(&cx.tx, stream, cx.arg(3))))
}

/// The same, where it must be there.
fn existing_group(cx: &mut Cx<'_>) -> Result<(Off<stream::Stream>, Off<Group>), Fail> {
    let (stream, group) = open_group(cx)?;
    let text = "NOGROUP No such consumer group '%s' for key name '%s'";
    let group = group.ok_or_else(|| quoting(text, &[cx.arg(3), cx.arg(2)]))?;
    Ok((stream, group))
}

/// `XGROUP CREATE key groupname <id | $> [MKSTREAM] [ENTRIESREAD entries_read]`: create a consumer
/// group.
pub fn create(cx: &mut Cx<'_>) -> Outcome {
    let options = Options::parse(cx, true)?;
    let key = cx.open(cx.arg(2))?;
    let mut stream = stream_of(cx, &key)?;
    if stream.is_none() && !options.make_stream {
        return Err(NO_STREAM.into());
    }
    if cx.args.len() > 8 {
        return Err(syntax(cx));
    }
    let last = match (cx.arg(4), stream) {
        (b"$", Some(stream)) => stream::counts(&cx.tx, stream).last,
        (b"$", None) => Id::MIN,
        (text, _) => arguments::id(text)?,
    };
    let name = cx.arg(3);
    if stream.is_some_and(|stream| group::find(&cx.tx, stream, name).is_some()) {
        return Err("BUSYGROUP Consumer Group name already exists".into());
    }
    if stream.is_none() {
        stream = Some(entries::create(cx, &key)?);
        cx.changed(key.name)?;
        // Redis counts one change.
        cx.dirty -= 1;
    }
    if let Some(stream) = stream {
        group::create(&mut cx.tx, stream, name, Position { last, read: options.read })?;
    }
    cx.dirty += 1;
    cx.reply.ok();
    cx.notify(class::STREAM, "xgroup-create", key.name)
}

/// `XGROUP SETID key groupname <id | $> [ENTRIESREAD entries_read]`: set a consumer group to an
/// arbitrary last delivered ID value.
pub fn setid(cx: &mut Cx<'_>) -> Outcome {
    let options = Options::parse(cx, false)?;
    let (stream, group) = existing_group(cx)?;
    if cx.args.len() > 7 {
        return Err(syntax(cx));
    }
    let last = match cx.arg(4) {
        b"$" => stream::counts(&cx.tx, stream).last,
        text => arguments::bound(text)?,
    };
    group::set_position(&mut cx.tx, group, Position { last, read: options.read })?;
    cx.dirty += 1;
    cx.reply.ok();
    cx.notify(class::STREAM, "xgroup-setid", cx.arg(2))
}

/// `XGROUP DESTROY key groupname`: destroy a consumer group.
pub fn destroy(cx: &mut Cx<'_>) -> Outcome {
    let (stream, _) = open_group(cx)?;
    let destroyed = group::remove(&mut cx.tx, stream, cx.args.at(3))?;
    cx.reply.integer(i64::from(destroyed));
    if destroyed {
        cx.dirty += 1;
        cx.notify(class::STREAM, "xgroup-destroy", cx.arg(2))?;
        // Who waits for it waits in vain.
        cx.key_ready(cx.arg(2))?;
    }
    Ok(())
}

/// `XGROUP CREATECONSUMER key groupname consumername`: create a consumer in a consumer group.
pub fn createconsumer(cx: &mut Cx<'_>) -> Outcome {
    let (_, group) = existing_group(cx)?;
    let name = cx.arg(4);
    let is_new = group::find_consumer(&cx.tx, group, name).is_none();
    if is_new {
        let now = cx.now_ms();
        group::create_consumer(&mut cx.tx, group, name, now)?;
        cx.dirty += 1;
        cx.notify(class::STREAM, "xgroup-createconsumer", cx.arg(2))?;
    }
    cx.reply.integer(i64::from(is_new));
    Ok(())
}

/// `XGROUP DELCONSUMER key groupname consumername`: delete a consumer from a consumer group.
pub fn delconsumer(cx: &mut Cx<'_>) -> Outcome {
    let (_, group) = existing_group(cx)?;
    let pending = group::remove_consumer(&mut cx.tx, group, cx.args.at(4))?;
    if pending.is_some() {
        cx.dirty += 1;
        cx.notify(class::STREAM, "xgroup-delconsumer", cx.arg(2))?;
    }
    cx.reply.integer(pending.unwrap_or(0) as i64);
    Ok(())
}

/// `XGROUP HELP`: show helpful text about the different subcommands.
pub fn help(cx: &mut Cx<'_>) -> Outcome {
    texts::reply(&mut cx.reply, "xgroup");
    Ok(())
}
