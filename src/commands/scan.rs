//! Iterating over the keys of a database.

use shm::{Off, field, table};

use super::spec::{CommandSpec, acl, cmd, flag};
use crate::executor::{Cx, Fail, Outcome, error};
use crate::keyspace::{self, Entry, EntryView, Found, Type};
use crate::root::{Counters, Root};
use crate::util::glob::{self, Case};
use crate::util::numbers::scan_cursor;
use crate::values;

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("keys", 2, keys)
        .flags(flag::READONLY)
        .acl(acl::KEYSPACE | acl::DANGEROUS)
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"]),
    cmd("scan", -2, scan)
        .flags(flag::READONLY)
        .acl(acl::KEYSPACE)
        .tips(&["nondeterministic_output", "request_policy:special"]),
];

/// `KEYS pattern`: find all keys matching the given pattern.
fn keys(cx: &mut Cx<'_>) -> Outcome {
    let pattern = Pattern::new(cx.arg(1));
    let now = cx.now_ms();
    let mut found: Vec<Off<Entry>> = Vec::new();
    table::for_each(&cx.tx, keyspace::keys(cx.database), |view, block| {
        let entry = EntryView::new(view, block.cast());
        if entry.expiry().is_none_or(|at| at > now) && pattern.matches(entry.key()) {
            found.push(block.cast());
        }
    });
    reply_keys(cx, &found);
    Ok(())
}

/// A pattern, which may be the one that matches everything.
pub(super) struct Pattern<'a>(Option<&'a [u8]>);

impl<'a> Pattern<'a> {
    fn new(pattern: &'a [u8]) -> Pattern<'a> {
        Pattern((pattern != b"*").then_some(pattern))
    }

    /// Whether a key, a member or a field matches.
    #[inline]
    pub(super) fn matches(&self, key: &[u8]) -> bool {
        self.0.is_none_or(|pattern| glob::matches(pattern, key, Case::Sensitive))
    }
}

fn reply_keys(cx: &mut Cx<'_>, found: &[Off<Entry>]) {
    cx.reply.array(found.len());
    for off in found {
        cx.reply.bulk(EntryView::new(&cx.tx, *off).key());
    }
}

/// The options of `SCAN` and its likes.
pub(super) struct Options<'a> {
    /// About how many elements a step is to visit.
    pub count: u64,
    /// Which elements are wanted.
    pub pattern: Pattern<'a>,
    /// Which type of values, for `SCAN` alone.
    of_type: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    /// Reads the arguments from `at` on. `TYPE` is an option of keys only.
    fn parse(cx: &Cx<'a>, mut at: usize, of_keys: bool) -> Result<Options<'a>, Fail> {
        let mut options = Options { count: 10, pattern: Pattern(None), of_type: None };
        while at < cx.args.len() {
            let value = cx.args.get(at + 1).ok_or(error::SYNTAX)?;
            if cx.args.is(at, "COUNT") {
                let count = cx.int_arg(at + 1)?;
                options.count =
                    u64::try_from(count).ok().filter(|n| *n > 0).ok_or(error::SYNTAX)?;
            } else if cx.args.is(at, "MATCH") {
                options.pattern = Pattern::new(value);
            } else if of_keys && cx.args.is(at, "TYPE") {
                options.of_type = Some(value);
            } else {
                return Err(error::SYNTAX);
            }
            at += 2;
        }
        Ok(options)
    }
}

fn parse_cursor(cx: &Cx<'_>, at: usize) -> Result<u64, Fail> {
    Ok(scan_cursor(cx.arg(at)).ok_or("ERR invalid cursor")?)
}

/// A step of `SSCAN`, `HSCAN` or `ZSCAN` that is to be made.
pub(super) struct ElementScan<'a> {
    /// The key.
    pub found: Found,
    /// Where to go on, for [`values::table::scan`](crate::values::table::scan).
    pub cursor: u64,
    /// Which elements, and how many.
    pub options: Options<'a>,
}

impl<'a> ElementScan<'a> {
    /// Reads the arguments of a command `key cursor [MATCH pattern] [COUNT count]`. If the key is not
    /// there, that is replied, and there is nothing to do.
    pub fn parse(cx: &mut Cx<'a>, of_type: Type) -> Result<Option<ElementScan<'a>>, Fail> {
        let cursor = parse_cursor(cx, 2)?;
        let Some(found) = cx.read_as(cx.arg(1), of_type)? else {
            reply_cursor(cx, 0);
            cx.reply.array(0);
            return Ok(None);
        };
        let options = Options::parse(cx, 3, false)?;
        Ok(Some(ElementScan { found, cursor, options }))
    }
}

/// Replies with the first of the two parts of a scan's reply; the array of what was found follows.
pub(super) fn reply_cursor(cx: &mut Cx<'_>, cursor: u64) {
    cx.reply.array(2);
    cx.reply.bulk(itoa::Buffer::new().format(cursor).as_bytes());
}

/// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`: incrementally iterate the keys space.
fn scan(cx: &mut Cx<'_>) -> Outcome {
    let cursor = parse_cursor(cx, 1)?;
    let options = Options::parse(cx, 2, true)?;
    let now = cx.now_ms();
    let (mut found, mut live): (Vec<Off<Entry>>, u64) = (Vec::new(), 0);
    let mut expired: Vec<Vec<u8>> = Vec::new();
    let keys = keyspace::keys(cx.database);
    let cursor = values::table::scan(&cx.tx, keys, cursor, options.count, |view, block| {
        let entry = EntryView::new(view, block.cast());
        if !options.pattern.matches(entry.key()) {
            return;
        }
        let gone = entry.expiry().is_some_and(|at| at <= now);
        // Redis removes an expired key when it asks for its type, and goes on with that of a key that
        // is not there.
        let of_type = if gone { "none" } else { entry.kind().value_type().name() };
        let wanted = match options.of_type {
            Some(wanted) => wanted.eq_ignore_ascii_case(of_type.as_bytes()),
            None => !gone,
        };
        if wanted {
            found.push(block.cast());
        }
        if gone {
            expired.push(entry.key().to_vec());
        } else {
            live += 1;
        }
    });
    reply_cursor(cx, cursor);
    reply_keys(cx, &found);
    if options.of_type.is_some() {
        // The question for the type is a lookup.
        let counters = field!(cx.root, Root.counters);
        cx.count(field!(counters, Counters.hits), live);
    }
    for name in &expired {
        if options.of_type.is_some() {
            cx.look(name)?;
        } else {
            cx.remove_if_expired(name)?;
        }
    }
    Ok(())
}
