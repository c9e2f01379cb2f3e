//! `RESTORE`.

use std::borrow::Cow;

use crate::executor::events::class;
use crate::executor::{Cx, Fail, Key, Outcome, error};
use crate::keyspace::access::{self, Policy};
use crate::keyspace::entry;
use crate::rdb;
use crate::values::serial::{self, Refused};

const BAD_FORMAT: Fail = Fail::Err(Cow::Borrowed("ERR Bad data format"));

/// What stands behind the arguments that must be there.
#[derive(Default)]
struct Options {
    replace: bool,
    /// The time to live is a point in time.
    absolute: bool,
    /// Seconds since the key was used.
    idle: Option<i64>,
    /// The counter of its use.
    frequency: Option<u8>,
}

impl Options {
    fn parse(cx: &Cx<'_>) -> Result<Options, Fail> {
        let mut options = Options::default();
        let mut at = 4;
        while at < cx.args.len() {
            let more = at + 1 < cx.args.len();
            if cx.args.is(at, "REPLACE") {
                options.replace = true;
            } else if cx.args.is(at, "ABSTTL") {
                options.absolute = true;
            } else if cx.args.is(at, "IDLETIME") && more && options.frequency.is_none() {
                at += 1;
                let idle = cx.int_arg(at)?;
                if idle < 0 {
                    return Err("ERR Invalid IDLETIME value, must be >= 0".into());
                }
                options.idle = Some(idle);
            } else if cx.args.is(at, "FREQ") && more && options.idle.is_none() {
                at += 1;
                let frequency = u8::try_from(cx.int_arg(at)?)
                    .map_err(|_| Fail::from("ERR Invalid FREQ value, must be >= 0 and <= 255"))?;
                options.frequency = Some(frequency);
            } else {
                return Err(error::SYNTAX);
            }
            at += 1;
        }
        Ok(options)
    }
}

/// `RESTORE key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]`:
/// create a key using the provided serialized value, previously obtained using DUMP.
pub(super) fn restore(cx: &mut Cx<'_>) -> Outcome {
    let options = Options::parse(cx)?;
    let name = cx.arg(1);
    if !options.replace && cx.open(name)?.exists() {
        return Err("BUSYKEY Target key name already exists.".into());
    }
    let ttl = cx.int_arg(2)?;
    if ttl < 0 {
        return Err("ERR Invalid TTL value, must be >= 0".into());
    }
    let dump = cx.arg(3);
    if !rdb::is_sealed(dump) {
        return Err("ERR DUMP payload version or checksum are wrong".into());
    }
    let object = rdb::object::read(dump).map_err(|malformed| {
        tracing::debug!("a value to restore was refused: {malformed}");
        BAD_FORMAT
    })?;
    let key = cx.peek(name)?;
    let start = if options.absolute { 0 } else { cx.now_ms() };
    let expiry = (ttl != 0).then(|| ttl.wrapping_add(start));
    if expiry.is_some_and(|at| at <= cx.now_ms()) {
        if let Some(found) = &key.found {
            cx.delete(found)?;
            cx.changed(name)?;
            cx.notify(class::GENERIC, "del", name)?;
        }
        cx.reply.ok();
        return Ok(());
    }
    let loaded = serial::load(&mut cx.tx, name, expiry, &object, &cx.state.config);
    let fresh = loaded.map_err(|refused| match refused {
        Refused::Unsound => BAD_FORMAT,
        Refused::Oom => Fail::Oom,
    })?;
    // What replaces another key is new all the same.
    if let Some(found) = &key.found {
        cx.delete(found)?;
    }
    let key = Key { found: None, ..key };
    let entry = cx.put(&key, fresh)?;
    let word = match cx.state.access {
        Policy::Time => access::idle_for(options.idle.unwrap_or(0), cx.now_ms()),
        Policy::Frequency(_) => match options.frequency {
            Some(counter) => access::with_counter(counter, cx.now_ms()),
            // The old value's counter is not this one's.
            None => cx.state.access.first(cx.now_ms()),
        },
    };
    entry::touch(&mut cx.tx, entry, word);
    cx.changed(name)?;
    cx.notify(class::GENERIC, "restore", name)?;
    cx.reply.ok();
    Ok(())
}
