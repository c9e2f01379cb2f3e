//! The subcommands of `DEBUG` that look into values: `OBJECT`, `RELOAD`, `DIGEST`, `DIGEST-VALUE`.

use shm::{Off, U64, field};

use crate::commands::object::{idle_seconds, reference_count};
use crate::executor::{Cx, Fail, Outcome, error};
use crate::keyspace::entry::Identity;
use crate::keyspace::{self, Database, EntryView, Found, Kind, Type};
use crate::rdb::object;
use crate::root::{self, Counters, Root};
use crate::session::{tracking, watch};
use crate::values::list::List;
use crate::values::serial::digest::Digest;
use crate::values::serial::{self, nodes};
use crate::values::string::{self, Content, Encoded};

/// `DEBUG OBJECT key`.
pub(super) fn object(cx: &mut Cx<'_>) -> Outcome {
    let name = cx.arg(2);
    let hash = cx.tx.hash(name);
    let found = keyspace::find(&cx.tx, cx.database, hash, name).ok_or(error::NO_KEY)?;
    let entry = cx.entry(&found);
    // All but the kind, which stands before the key in a file.
    let length = serial::dump(&entry, &cx.state.config).len() - 1;
    let line = format!(
        "Value at:{:#x} refcount:{} encoding:{} serializedlength:{length} lru:{} \
         lru_seconds_idle:{}{}",
        found.entry.raw(),
        reference_count(cx, &found),
        entry.kind().encoding(),
        entry.access() & ((1 << 24) - 1),
        idle_seconds(cx, &found),
        quicklist(cx, &entry),
    );
    cx.reply.simple(line);
    Ok(())
}

/// What is told of a list beside: its nodes as they are in its dump.
fn quicklist(cx: &Cx<'_>, entry: &EntryView<'_>) -> String {
    let Some(list) = List::of(entry) else { return String::new() };
    let config = &cx.state.config;
    let (fill, compresses) = (config.list_max_listpack_size(), config.list_compress_depth() > 0);
    let (mut count, mut bytes) = (0u64, 0);
    nodes::each(&list, fill, |node| {
        count += 1;
        bytes += nodes::FRAME + node.run.len();
    });
    format!(
        " ql_nodes:{count} ql_avg_node:{:.2} ql_listpack_max:{fill} ql_compressed:{} \
         ql_uncompressed_size:{bytes}",
        list.len() as f64 / count as f64,
        u8::from(compresses),
    )
}

/// `DEBUG DIGEST`: one digest for all keys of all databases.
pub(super) fn digest(cx: &mut Cx<'_>) {
    let mut all = Digest::new();
    for index in 0..cx.tx.get(cx.root).database_count.to_native() {
        let database = root::database(&cx.tx, cx.root, index);
        if keyspace::len(&cx.tx, database) == 0 {
            continue;
        }
        all.mix(&index.to_be_bytes());
        shm::table::for_each(&cx.tx, keyspace::keys(database), |view, block: Off<u8>| {
            let entry = EntryView::new(view, block.cast());
            let mut one = Digest::new();
            one.mix(entry.key());
            one.mix_value(&entry);
            all.add_digest(&one);
        });
    }
    cx.reply.simple(all.to_hex());
}

/// `DEBUG DIGEST-VALUE key [key ...]`: a digest for each value; zeros for none.
pub(super) fn digest_value(cx: &mut Cx<'_>) -> Outcome {
    cx.reply.array(cx.args.len() - 2);
    for name in cx.args.from(2) {
        let mut digest = Digest::new();
        // Expired or not, and without a trace in events and statistics.
        let hash = cx.tx.hash(name);
        if let Some(found) = keyspace::find(&cx.tx, cx.database, hash, name) {
            digest.mix_value(&cx.entry(&found));
        }
        cx.reply.simple(digest.to_hex());
    }
    Ok(())
}

/// `DEBUG RELOAD`: there is no RDB file to go through, but values are brought into the encodings
/// that they would come out with.
pub(super) fn reload(cx: &mut Cx<'_>) -> Outcome {
    for at in 2..cx.args.len() {
        if !["MERGE", "NOFLUSH", "NOSAVE"].iter().any(|word| cx.args.is(at, word)) {
            return Err(
                "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.".into()
            );
        }
    }
    let flushes = !(2..cx.args.len()).any(|at| cx.args.is(at, "NOFLUSH"));
    for index in 0..cx.tx.get(cx.root).database_count.to_native() {
        if flushes {
            // Redis has dropped everything before it loads it again.
            cx.note_replaced(index, None)?;
            watch::database_flushed(&mut cx.tx, cx.root, index)?;
        }
        reload_database(cx, index)?;
    }
    if flushes {
        tracking::flushed(&mut cx.tx, cx.state, cx.root)?;
    }
    if !(2..cx.args.len()).any(|at| cx.args.is(at, "NOSAVE")) {
        // Redis has saved everything.
        let counter = field!(field!(cx.root, Root.counters), Counters.dirty);
        cx.tx.hint(counter, U64::from_native(0));
    }
    cx.reply.ok();
    Ok(())
}

/// Brings a database into the form in which it would be loaded.
fn reload_database(cx: &mut Cx<'_>, index: u32) -> Outcome {
    let database = root::database(&cx.tx, cx.root, index);
    let now = cx.now_ms();
    let (mut others, mut expired) = (Vec::<Vec<u8>>::new(), Vec::<Vec<u8>>::new());
    shm::table::for_each(&cx.tx, keyspace::keys(database), |view, block: Off<u8>| {
        let entry = EntryView::new(view, block.cast());
        if entry.expiry().is_some_and(|at| at <= now) {
            expired.push(entry.key().to_vec());
        } else if may_come_back_different(&entry) {
            others.push(entry.key().to_vec());
        }
    });
    for name in &expired {
        // Loading leaves out what has expired.
        let hash = cx.tx.hash(name);
        if let Some(found) = keyspace::find(&cx.tx, database, hash, name) {
            cx.note_gone(index, found.entry)?;
            keyspace::remove(&mut cx.tx, database, &found)?;
        }
    }
    for name in &others {
        let hash = cx.tx.hash(name);
        if let Some(found) = keyspace::find(&cx.tx, database, hash, name) {
            reencode(cx, database, hash, &found)?;
        }
    }
    Ok(())
}

/// Whether a value may come back with another encoding.
fn may_come_back_different(entry: &EntryView<'_>) -> bool {
    let Some(content) = string::content(entry) else {
        return matches!(entry.kind().value_type(), Type::Set | Type::Zset | Type::Hash);
    };
    let Content::Bytes(bytes) = content else { return false };
    match Encoded::of(bytes) {
        Encoded::Int(_) => true,
        Encoded::Embedded(_) => entry.kind() != Kind::Embedded,
        Encoded::Raw(_) => false,
    }
}

fn reencode(cx: &mut Cx<'_>, database: Off<Database>, hash: u64, found: &Found) -> Outcome {
    let old = cx.entry(found);
    let identity = Identity::of(&old);
    let object = object::read(&serial::dump(&old, &cx.state.config))
        .map_err(|e| Fail::from(format!("ERR a value cannot be read back: {e}")))?;
    let Identity { key, expiry, .. } = &identity;
    let fresh =
        serial::load(&mut cx.tx, key, *expiry, &object, &cx.state.config).map_err(|_| Fail::Oom)?;
    let off = identity.hand_over(&mut cx.tx, &fresh);
    keyspace::replace(&mut cx.tx, database, hash, found, off)?;
    Ok(())
}
