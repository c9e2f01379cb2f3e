//! Waiting for entries of streams.

use crate::commands::streams::read::{self, BLOCKED_COUNT, Request, To};
use crate::executor::{Cx, Fail};
use crate::values::stream::{self, Id, group};

/// Gives a blocked `XREAD` or `XREADGROUP` what there is of a stream, if that is anything behind `after`
/// (behind what its group has had, for a consumer).
pub(super) fn serve<'a>(cx: &mut Cx<'a>, name: &'a [u8], after: Id) -> Result<bool, Fail> {
    let request = Request::parse(cx, cx.command.full_name == "xreadgroup")?;
    let key = cx.open(name)?;
    let Some(stream) = key.found.and_then(|found| stream::of(&cx.entry(&found))) else {
        return Ok(false);
    };
    let count = if request.count == u64::MAX { BLOCKED_COUNT } else { request.count };
    let last = stream::counts(&cx.tx, stream).last;
    let Some(reader) = request.reader else {
        if last <= after {
            return Ok(false);
        }
        read::start_streams(&mut cx.reply, 1);
        read::start_stream(&mut cx.reply, name);
        read::send_after(&cx.tx, &mut cx.reply, stream, after, count);
        return Ok(true);
    };
    let group = group::find(&cx.tx, stream, reader.group).ok_or(Fail::from(
        "NOGROUP the consumer group this client was blocked on no longer exists",
    ))?;
    if last <= group::position(&cx.tx, group).last {
        return Ok(false);
    }
    let (consumer, is_new) = read::consumer(cx, group, reader.consumer)?;
    if is_new {
        read::tell_new_consumer(cx, name)?;
    }
    read::start_streams(&mut cx.reply, 1);
    read::start_stream(&mut cx.reply, name);
    let to = To { group, consumer: (!reader.no_ack).then_some(consumer), now: cx.now_ms() };
    read::deliver_new(&mut cx.tx, &mut cx.reply, stream, to, count)?;
    Ok(true)
}
