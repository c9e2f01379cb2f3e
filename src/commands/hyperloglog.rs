//! HyperLogLog commands: strings that count distinct elements.

use super::errors::c_string;
use super::spec::{CommandSpec, acl, at, cmd, flag, key};
use super::strings::{content, content_of, expiry_of, write_silently_at};
use crate::executor::{Cx, Fail, Key, Outcome, class, dispatch};
use crate::keyspace::{Found, Kind};
use crate::values::hyperloglog::{
    self, CARDINALITY_AT, Corrupted, Encoding, HyperLogLog, REGISTERS, Union,
};
use crate::values::string::{self, Encoded};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("pfadd", -2, pfadd)
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(acl::HYPERLOGLOG)
        .keys(&[at(1).flags(key::RW | key::INSERT)]),
    cmd("pfcount", -2, pfcount)
        .flags(flag::READONLY | flag::MAY_REPLICATE)
        .acl(acl::HYPERLOGLOG)
        .keys(&[at(1).to(-1, 1, 0).flags(key::RW | key::ACCESS).notes(
            "RW because it may change the internal representation of the key, and propagate to \
             replicas",
        )]),
    cmd("pfdebug", 3, pfdebug)
        .flags(flag::WRITE | flag::DENYOOM | flag::ADMIN)
        .acl(acl::HYPERLOGLOG)
        .keys(&[at(2).flags(key::RW | key::ACCESS)]),
    cmd("pfmerge", -2, pfmerge).flags(flag::WRITE | flag::DENYOOM).acl(acl::HYPERLOGLOG).keys(&[
        at(1).flags(key::RW | key::ACCESS | key::INSERT),
        at(2).to(-1, 1, 0).flags(key::RO | key::ACCESS),
    ]),
    cmd("pfselftest", 1, pfselftest).flags(flag::ADMIN).acl(acl::HYPERLOGLOG),
];

const NO_HYPERLOGLOG: &str = "WRONGTYPE Key is not a valid HyperLogLog string value.";
const CORRUPTED: &str = "INVALIDOBJ Corrupted HLL object detected";

impl From<Corrupted> for Fail {
    fn from(_: Corrupted) -> Fail {
        CORRUPTED.into()
    }
}

/// The encoding of the HyperLogLog of a key that is there.
fn encoding(cx: &Cx<'_>, found: &Found) -> Result<Encoding, Fail> {
    let content = content(cx, found)?;
    hyperloglog::encoding_of(&content).ok_or_else(|| NO_HYPERLOGLOG.into())
}

/// The bytes of a key that is there.
fn bytes(cx: &Cx<'_>, found: &Found) -> Result<Vec<u8>, Fail> {
    Ok(content(cx, found)?.bytes(&mut itoa::Buffer::new()).into_owned())
}

/// Makes the string of a key `raw`, as Redis does before it may write into it. Gives the key anew.
fn unshare<'a>(cx: &mut Cx<'a>, key: Key<'a>) -> Result<Key<'a>, Fail> {
    let raw = |found: Found| matches!(cx.entry(&found).kind(), Kind::Inline | Kind::Blob);
    if key.found.is_none_or(raw) {
        return Ok(key);
    }
    let first = content_of(cx, &key)?.and_then(|content| content.byte(0)).unwrap_or(0);
    write_silently_at(cx, &key, 0, &[first])?;
    cx.peek(key.name)
}

/// Stores the bytes of a HyperLogLog; only what has changed is written. The key is invalid
/// afterwards.
fn store(cx: &mut Cx<'_>, key: &Key<'_>, new: &[u8]) -> Outcome {
    let old = key.found.as_ref().map(|found| bytes(cx, found)).transpose()?;
    match old {
        Some(old) if old.len() <= new.len() => {
            for (start, end) in changed_parts(&old, new) {
                let key = cx.peek(key.name)?;
                write_silently_at(cx, &key, start as u64, &new[start..end])?;
            }
        }
        _ => {
            let expiry = expiry_of(cx, key);
            let fresh = string::create(&mut cx.tx, key.name, Encoded::Raw(new), expiry)?;
            cx.put(key, fresh)?;
        }
    }
    Ok(())
}

/// Where `new`, which is not shorter, differs from `old`: parts with some equal bytes between them.
fn changed_parts(old: &[u8], new: &[u8]) -> Vec<(usize, usize)> {
    const JOINED: usize = 16;
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for at in (0..new.len()).filter(|at| old.get(*at) != new.get(*at)) {
        match parts.last_mut() {
            Some((_, end)) if at < *end + JOINED => *end = at + 1,
            _ => parts.push((at, at + 1)),
        }
    }
    parts
}

/// Replies with an error, without taking back what was done until now.
fn fail_here(cx: &mut Cx<'_>) -> Outcome {
    dispatch::reply_error(cx, &CORRUPTED.into());
    Ok(())
}

/// `PFADD key [element [element ...]]`: adds the specified elements to the specified HyperLogLog.
fn pfadd(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.open(cx.arg(1))?;
    let encoding = key.found.map(|found| encoding(cx, &found)).transpose()?;
    let key = unshare(cx, key)?;
    let added = match encoding {
        Some(Encoding::Dense) => Ok(add_densely(cx, &key)?),
        _ => add(cx, &key)?,
    };
    let Ok(changes) = added else { return fail_here(cx) };
    if changes > 0 {
        cx.changed(key.name)?;
        cx.dirty += changes - 1;
        cx.notify(class::STRING, "pfadd", key.name)?;
    }
    cx.reply.integer(i64::from(changes > 0));
    Ok(())
}

/// Adds the elements to what is not dense or not there; gives the number of changes. What was added
/// before a place that is corrupted stays.
fn add(cx: &mut Cx<'_>, key: &Key<'_>) -> Result<Result<u64, Corrupted>, Fail> {
    let sparse_max = cx.state.config.hll_sparse_max_bytes();
    let (mut log, mut changes) = match &key.found {
        Some(found) => (HyperLogLog::from_bytes(bytes(cx, found)?), 0),
        None => (HyperLogLog::new(), 1),
    };
    let mut outcome = Ok(());
    for element in cx.args.from(2) {
        let (index, value) = hyperloglog::register_of(element);
        match log.raise(index, value, sparse_max) {
            Ok(raised) => changes += u64::from(raised),
            Err(corrupted) => {
                outcome = Err(corrupted);
                break;
            }
        }
    }
    if outcome.is_ok() && changes > 0 {
        log.invalidate();
    }
    store(cx, key, log.bytes())?;
    Ok(outcome.map(|()| changes))
}

/// Adds the elements to a dense HyperLogLog, in place; gives the number of changes.
fn add_densely(cx: &mut Cx<'_>, key: &Key<'_>) -> Result<u64, Fail> {
    let mut changes = 0;
    for element in cx.args.from(2) {
        let (index, value) = hyperloglog::register_of(element);
        let (at, shift) = hyperloglog::dense_place(index);
        let old = dense_pair(cx, key, at as u64)?;
        if value > hyperloglog::get_bits(old, shift) {
            let new = hyperloglog::with_bits(old, shift, value);
            let size = if new[1] == old[1] { 1 } else { 2 };
            write_silently_at(cx, key, at as u64, &new[..size])?;
            changes += 1;
        }
    }
    if changes > 0 {
        let at = CARDINALITY_AT as u64 + 7;
        let byte = content_of(cx, key)?.and_then(|content| content.byte(at)).unwrap_or(0);
        write_silently_at(cx, key, at, &[byte | 1 << 7])?;
    }
    Ok(changes)
}

/// The bytes at a position and behind it; 0 behind the end.
fn dense_pair(cx: &Cx<'_>, key: &Key<'_>, at: u64) -> Result<[u8; 2], Fail> {
    let Some(content) = content_of(cx, key)? else { return Ok([0; 2]) };
    Ok([at, at + 1].map(|at| content.byte(at).unwrap_or(0)))
}

/// `PFCOUNT key [key ...]`: return the approximated cardinality of the set(s) observed by the
/// HyperLogLog at key(s).
fn pfcount(cx: &mut Cx<'_>) -> Outcome {
    if cx.args.len() > 2 {
        let (union, _) = unite(cx)?;
        cx.reply.integer(union.count() as i64);
        return Ok(());
    }
    let key = cx.read(cx.arg(1))?;
    let Some(found) = &key.found else {
        cx.reply.integer(0);
        return Ok(());
    };
    let encoding = encoding(cx, found)?;
    let key = unshare(cx, key)?;
    let Some(found) = &key.found else { return fail_here(cx) };
    let stored = content(cx, found)?;
    let mut digits = itoa::Buffer::new();
    let bytes = stored.bytes(&mut digits);
    let count = match hyperloglog::cached_count(&bytes) {
        Some(count) => count,
        None => match hyperloglog::count(&bytes, encoding) {
            Ok(count) => {
                write_silently_at(cx, &key, CARDINALITY_AT as u64, &count.to_le_bytes())?;
                cx.changed(key.name)?;
                count
            }
            Err(Corrupted) => return fail_here(cx),
        },
    };
    cx.reply.integer(count as i64);
    Ok(())
}

/// The union of all keys, and whether one of them is dense.
fn unite(cx: &mut Cx<'_>) -> Result<(Union, bool), Fail> {
    let (mut union, mut dense) = (Union::new(), false);
    for name in cx.args.from(1) {
        let Some(found) = cx.read(name)?.found else { continue };
        let encoding = encoding(cx, &found)?;
        dense |= encoding == Encoding::Dense;
        let content = content(cx, &found)?;
        union.add(&content.bytes(&mut itoa::Buffer::new()), encoding)?;
    }
    Ok((union, dense))
}

/// `PFMERGE destkey sourcekey [sourcekey ...]`: merge N different HyperLogLogs into a single one.
fn pfmerge(cx: &mut Cx<'_>) -> Outcome {
    let (union, dense) = unite(cx)?;
    let key = cx.open(cx.arg(1))?;
    let key = unshare(cx, key)?;
    let mut log = match &key.found {
        Some(found) => HyperLogLog::from_bytes(bytes(cx, found)?),
        None => HyperLogLog::new(),
    };
    if dense {
        log.make_dense()?;
    }
    let sparse_max = cx.state.config.hll_sparse_max_bytes();
    for (index, value) in union.registers() {
        // What is not well-formed was refused above.
        log.raise(index, value, sparse_max)?;
    }
    log.invalidate();
    store(cx, &key, log.bytes())?;
    cx.changed(key.name)?;
    cx.notify(class::STRING, "pfadd", key.name)?;
    cx.reply.ok();
    Ok(())
}

/// `PFDEBUG subcommand key`: internal commands for debugging HyperLogLog values.
fn pfdebug(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.open(cx.arg(2))?;
    let Some(found) = &key.found else {
        return Err("ERR The specified key does not exist".into());
    };
    let encoding = encoding(cx, found)?;
    let key = unshare(cx, key)?;
    let Some(found) = &key.found else { return fail_here(cx) };
    let mut log = HyperLogLog::from_bytes(bytes(cx, found)?);
    if cx.args.is(1, "GETREG") || cx.args.is(1, "TODENSE") {
        let sparse = encoding == Encoding::Sparse;
        if log.make_dense().is_err() {
            return fail_here(cx);
        }
        if sparse {
            store(cx, &key, log.bytes())?;
            cx.dirty += 1;
        }
        if cx.args.is(1, "TODENSE") {
            cx.reply.integer(i64::from(sparse));
        } else {
            cx.reply.array(REGISTERS);
            hyperloglog::dense_values(log.bytes(), |value| cx.reply.integer(i64::from(value)));
        }
    } else if cx.args.is(1, "DECODE") {
        if encoding == Encoding::Dense {
            dispatch::reply_error(cx, &"ERR HLL encoding is not sparse".into());
        } else {
            cx.reply.bulk(decoded(log.bytes()).as_bytes());
        }
    } else if cx.args.is(1, "ENCODING") {
        cx.reply.simple(if encoding == Encoding::Dense { "dense" } else { "sparse" });
    } else {
        let name = c_string(cx.arg(1), usize::MAX);
        let text = [b"ERR Unknown PFDEBUG subcommand '", name, b"'"].concat();
        dispatch::reply_error(cx, &Fail::Bytes(text));
    }
    Ok(())
}

/// The opcodes of a sparse HyperLogLog as text.
fn decoded(bytes: &[u8]) -> String {
    let word = |opcode: hyperloglog::Opcode| match opcode.value {
        0 if opcode.is_xzero() => format!("Z:{}", opcode.run),
        0 => format!("z:{}", opcode.run),
        value => format!("v:{value},{}", opcode.run),
    };
    hyperloglog::opcodes(bytes).map(word).collect::<Vec<String>>().join(" ")
}

/// `PFSELFTEST`: an internal command for testing HyperLogLog values.
fn pfselftest(cx: &mut Cx<'_>) -> Outcome {
    let seed = cx.state.random();
    let sparse_max = cx.state.config.hll_sparse_max_bytes();
    hyperloglog::self_test(seed, sparse_max).map_err(|why| format!("ERR TESTFAILED {why}"))?;
    cx.reply.ok();
    Ok(())
}
