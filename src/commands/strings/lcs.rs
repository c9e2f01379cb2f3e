//! `LCS`: the longest common subsequence of two strings.

use std::borrow::Cow;

use crate::commands::spec::{CommandSpec, acl, at, cmd, flag, key};
use crate::executor::{Cx, Fail, Outcome, error};
use crate::keyspace::EntryView;
use crate::values::lcs::{Match, Table};
use crate::values::string;

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[cmd("lcs", -3, lcs)
    .flags(flag::READONLY)
    .acl(acl::STRING)
    .keys(&[at(1).to(1, 1, 0).flags(key::RO | key::ACCESS)])];

/// What `LCS` is asked for.
#[derive(Clone, Copy, Default)]
struct Options {
    length: bool,
    positions: bool,
    match_lengths: bool,
    shortest: u64,
}

impl Options {
    fn parse(cx: &Cx<'_>) -> Result<Options, Fail> {
        let mut options = Options::default();
        let mut at = 3;
        while at < cx.args.len() {
            if cx.args.is(at, "IDX") {
                options.positions = true;
            } else if cx.args.is(at, "LEN") {
                options.length = true;
            } else if cx.args.is(at, "WITHMATCHLEN") {
                options.match_lengths = true;
            } else if cx.args.is(at, "MINMATCHLEN") && at + 1 < cx.args.len() {
                at += 1;
                options.shortest = u64::try_from(cx.int_arg(at)?).unwrap_or(0);
            } else {
                return Err(error::SYNTAX);
            }
            at += 1;
        }
        if options.positions && options.length {
            return Err("ERR If you want both the length and indexes, please just use IDX.".into());
        }
        Ok(options)
    }
}

/// `LCS key1 key2 [LEN] [IDX] [MINMATCHLEN len] [WITHMATCHLEN]`: find longest common substring.
fn lcs(cx: &mut Cx<'_>) -> Outcome {
    let first = cx.read(cx.arg(1))?.found;
    // Removing the second key if it has expired does not move the first one's entry.
    let second = cx.read(cx.arg(2))?.found;
    let mut digits = (itoa::Buffer::new(), itoa::Buffer::new());
    let content = |found: Option<crate::keyspace::Found>| match found {
        Some(found) => string::content(&EntryView::new(&cx.tx, found.entry))
            .ok_or(Fail::from("ERR The specified keys must contain string values"))
            .map(Some),
        None => Ok(None),
    };
    let (a, b) = (content(first)?, content(second)?);
    let options = Options::parse(cx)?;
    let a = a.map_or(Cow::Borrowed(&[][..]), |content| content.bytes(&mut digits.0));
    let b = b.map_or(Cow::Borrowed(&[][..]), |content| content.bytes(&mut digits.1));
    let table = fill(cx, &a, &b)?;
    if options.positions {
        let (matches, length) = (table.matches(&a, &b, options.shortest), table.length());
        reply_matches(cx, &matches, length, options.match_lengths);
    } else if options.length {
        let length = table.length();
        cx.reply.integer(length as i64);
    } else {
        let common = table.subsequence(&a, &b);
        cx.reply.bulk(&common);
    }
    Ok(())
}

/// Computes the table, if it may take so much memory.
fn fill(cx: &Cx<'_>, a: &[u8], b: &[u8]) -> Result<Table, Fail> {
    const TOO_LONG: usize = u32::MAX as usize - 1;
    if a.len() >= TOO_LONG || b.len() >= TOO_LONG {
        return Err("ERR String too long for LCS".into());
    }
    if Table::bytes(a.len(), b.len()) > cx.state.config.proto_max_bulk_len() {
        return Err(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len".into()
        );
    }
    Table::new(a, b)
        .ok_or("ERR Insufficient memory, failed allocating transient memory for LCS".into())
}

fn reply_matches(cx: &mut Cx<'_>, matches: &[Match], length: u64, with_lengths: bool) {
    cx.reply.map(2);
    cx.reply.bulk(b"matches");
    cx.reply.array(matches.len());
    for found in matches {
        cx.reply.array(2 + usize::from(with_lengths));
        for start in [found.a, found.b] {
            cx.reply.array(2);
            cx.reply.integer(start as i64);
            cx.reply.integer((start + found.length - 1) as i64);
        }
        if with_lengths {
            cx.reply.integer(found.length as i64);
        }
    }
    cx.reply.bulk(b"len");
    cx.reply.integer(length as i64);
}
