//! Iterating over the keys of a database.

use shm::{Off, table};

use super::spec::{CommandSpec, acl, cmd, flag};
use crate::executor::{Cx, Fail, Outcome, class, error};
use crate::keyspace::{self, Entry, EntryView};
use crate::util::glob::{self, Case};
use crate::util::numbers::scan_cursor;

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
struct Pattern<'a>(Option<&'a [u8]>);

impl<'a> Pattern<'a> {
    fn new(pattern: &'a [u8]) -> Pattern<'a> {
        Pattern((pattern != b"*").then_some(pattern))
    }

    fn matches(&self, key: &[u8]) -> bool {
        self.0.is_none_or(|pattern| glob::matches(pattern, key, Case::Sensitive))
    }
}

fn reply_keys(cx: &mut Cx<'_>, found: &[Off<Entry>]) {
    cx.reply.array(found.len());
    for off in found {
        cx.reply.bulk(EntryView::new(&cx.tx, *off).key());
    }
}

/// The options of `SCAN`.
struct Options<'a> {
    count: u64,
    pattern: Pattern<'a>,
    of_type: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(cx: &Cx<'a>) -> Result<Options<'a>, Fail> {
        let mut options = Options { count: 10, pattern: Pattern(None), of_type: None };
        let mut at = 2;
        while at < cx.args.len() {
            let value = cx.args.get(at + 1).ok_or(error::SYNTAX)?;
            if cx.args.is(at, "COUNT") {
                let count = cx.int_arg(at + 1)?;
                options.count =
                    u64::try_from(count).ok().filter(|n| *n > 0).ok_or(error::SYNTAX)?;
            } else if cx.args.is(at, "MATCH") {
                options.pattern = Pattern::new(value);
            } else if cx.args.is(at, "TYPE") {
                options.of_type = Some(value);
            } else {
                return Err(error::SYNTAX);
            }
            at += 2;
        }
        Ok(options)
    }

    fn accept(&self, entry: &EntryView<'_>) -> bool {
        let of_type = entry.kind().value_type().name().as_bytes();
        self.of_type.is_none_or(|wanted| wanted.eq_ignore_ascii_case(of_type))
    }
}

/// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`: incrementally iterate the keys space.
fn scan(cx: &mut Cx<'_>) -> Outcome {
    let mut cursor = scan_cursor(cx.arg(1)).ok_or("ERR invalid cursor")?;
    let options = Options::parse(cx)?;
    let now = cx.now_ms();
    let mut found: Vec<Off<Entry>> = Vec::new();
    let mut expired: Vec<Vec<u8>> = Vec::new();
    let mut visited = 0;
    // Where the table is sparse, the work is bounded all the same.
    let mut steps = options.count.saturating_mul(10);
    loop {
        let step = table::scan_step(&cx.tx, keyspace::keys(cx.database), cursor, |view, block| {
            let entry = EntryView::new(view, block.cast());
            if !options.pattern.matches(entry.key()) {
                return;
            }
            if entry.expiry().is_some_and(|at| at <= now) {
                expired.push(entry.key().to_vec());
            } else if options.accept(&entry) {
                found.push(block.cast());
            }
        });
        cursor = step.cursor;
        visited += step.visited;
        steps -= 1;
        if cursor == 0 || visited >= options.count || steps == 0 {
            break;
        }
    }
    cx.reply.array(2);
    cx.reply.bulk(itoa::Buffer::new().format(cursor).as_bytes());
    reply_keys(cx, &found);
    for name in &expired {
        cx.remove_if_expired(name)?;
        if options.of_type.is_some() {
            // Redis asks for its type then, and finds that it is gone.
            cx.notify(class::KEY_MISS, "keymiss", name)?;
        }
    }
    Ok(())
}
