//! What `COMMAND` and its subcommands answer, computed from the table alone.

use super::docs;
use super::key_search;
use super::spec::{Begin, Find, KeySpec, acl, flag, key};
use super::table::{self, Command, Lookup};
use crate::proto::reply::{Reply, Sink};
use crate::util::glob::{self, Case};

/// What is wrong with the request: an error reply's text.
pub type Refused = &'static str;

/// `COMMAND`, and `COMMAND INFO` without names: everything about all commands.
pub fn all<S: Sink + ?Sized>(reply: &mut Reply<'_, S>) {
    reply.array(table::top_level().len());
    table::top_level().iter().for_each(|command| describe(reply, command));
}

/// `COMMAND COUNT`.
pub fn count<S: Sink + ?Sized>(reply: &mut Reply<'_, S>) {
    reply.integer(table::top_level().len() as i64);
}

/// `COMMAND INFO name ...`: null for an unknown one.
pub fn info<S: Sink + ?Sized>(reply: &mut Reply<'_, S>, names: &[&[u8]]) {
    if names.is_empty() {
        return all(reply);
    }
    reply.array(names.len());
    for name in names {
        match table::by_full_name(name) {
            Some(command) => describe(reply, command),
            None => reply.null(),
        }
    }
}

/// `COMMAND DOCS [name ...]`: unknown names are left out.
pub fn docs<S: Sink + ?Sized>(reply: &mut Reply<'_, S>, names: &[&[u8]]) {
    let chosen: Vec<&Command> = if names.is_empty() {
        table::top_level().iter().collect()
    } else {
        names.iter().filter_map(|name| table::by_full_name(name)).collect()
    };
    let documented =
        chosen.iter().filter_map(|command| Some((command, docs::of(command.full_name)?)));
    let documented: Vec<_> = documented.collect();
    reply.map(documented.len());
    for (command, doc) in documented {
        reply.bulk(command.full_name.as_bytes());
        doc.reply(reply);
    }
}

/// `COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]`; `filter` is what
/// follows `LIST`.
///
/// # Errors
/// If that is no filter.
pub fn list<S: Sink + ?Sized>(reply: &mut Reply<'_, S>, filter: &[&[u8]]) -> Result<(), Refused> {
    let names: Vec<&str> = match filter {
        [] => table::all().iter().map(|command| command.full_name).collect(),
        [word, kind, what] if word.eq_ignore_ascii_case(b"filterby") => filtered(kind, what)?,
        _ => return Err("syntax error"),
    };
    reply.array(names.len());
    names.iter().for_each(|name| reply.bulk(name.as_bytes()));
    Ok(())
}

fn filtered(kind: &[u8], what: &[u8]) -> Result<Vec<&'static str>, Refused> {
    let select = |keep: &dyn Fn(&Command) -> bool| {
        table::all()
            .iter()
            .filter(|command| keep(command))
            .map(|command| command.full_name)
            .collect()
    };
    match kind.to_ascii_lowercase().as_slice() {
        // There are no modules, so none that a command could come from.
        b"module" => Ok(Vec::new()),
        b"aclcat" => {
            let named = |(_, name): &&(u32, &str)| name.as_bytes().eq_ignore_ascii_case(what);
            let category = acl::NAMES.iter().find(named).map_or(0, |(bit, _)| *bit);
            Ok(select(&|command| command.acl & category != 0))
        }
        b"pattern" => {
            Ok(select(&|command| glob::matches(what, command.full_name.as_bytes(), Case::Ignored)))
        }
        _ => Err("syntax error"),
    }
}

/// `COMMAND GETKEYS` and, with flags, `COMMAND GETKEYSANDFLAGS`; `argv` is the command to look
/// into.
///
/// # Errors
/// If it is no command, has no keys, or its arguments do not tell them.
pub fn get_keys<S: Sink + ?Sized>(
    reply: &mut Reply<'_, S>,
    argv: &[&[u8]],
    with_flags: bool,
) -> Result<(), Refused> {
    let name = argv.first().copied().unwrap_or_default();
    let Lookup::Found(command) = table::lookup(name, argv.get(1).copied()) else {
        return Err("Invalid command specified");
    };
    if !key_search::has_keys(command) {
        return Err("The command has no key arguments");
    }
    if !command.arity_allows(argv.len()) {
        return Err("Invalid number of arguments specified for command");
    }
    let keys = match key_search::find(command, argv) {
        Some(keys) => keys,
        None if command.is(flag::NO_MANDATORY_KEYS) => Vec::new(),
        None => return Err("Invalid arguments specified for command"),
    };
    reply.array(keys.len());
    for found in keys {
        if with_flags {
            reply.array(2);
        }
        reply.bulk(argv[found.position]);
        if with_flags {
            bits(reply, found.flags, key::NAMES, "");
        }
    }
    Ok(())
}

/// One command as an element of `COMMAND INFO`, subcommands inside.
fn describe<S: Sink + ?Sized>(reply: &mut Reply<'_, S>, command: &Command) {
    reply.array(10);
    reply.bulk(command.full_name.as_bytes());
    reply.integer(command.arity.into());
    bits(reply, command.flags, flag::NAMES, "");
    for number in [command.first_key, command.last_key, command.step] {
        reply.integer(number.into());
    }
    bits(reply, command.acl, acl::NAMES, "@");
    reply.set(command.tips.len());
    command.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    reply.set(command.key_specs.len());
    command.key_specs.iter().for_each(|spec| describe_keys(reply, spec));
    // Redis sends a set where there are none, and an array otherwise.
    let children = command.children();
    if children.is_empty() {
        reply.set(0)
    } else {
        reply.array(children.len())
    }
    children.iter().for_each(|child| describe(reply, child));
}

/// The names of the bits that are set, as a set of simple strings.
fn bits<S: Sink + ?Sized>(reply: &mut Reply<'_, S>, set: u32, names: &[(u32, &str)], prefix: &str) {
    let shown: Vec<&str> = names
        .iter()
        .filter(|(bit, name)| set & bit != 0 && !name.is_empty())
        .map(|(_, name)| *name)
        .collect();
    reply.set(shown.len());
    shown.iter().for_each(|name| reply.simple(format!("{prefix}{name}")));
}

fn describe_keys<S: Sink + ?Sized>(reply: &mut Reply<'_, S>, spec: &KeySpec) {
    reply.map(if spec.notes.is_empty() { 3 } else { 4 });
    if !spec.notes.is_empty() {
        reply.bulk(b"notes");
        reply.bulk(spec.notes.as_bytes());
    }
    reply.bulk(b"flags");
    bits(reply, spec.flags, key::NAMES, "");
    reply.bulk(b"begin_search");
    match spec.begin {
        Begin::Index(index) => search_step(reply, "index", &[("index", index)]),
        Begin::Keyword(keyword, from) => {
            search_type(reply, "keyword", 2);
            reply.bulk(b"keyword");
            reply.bulk(keyword.as_bytes());
            number(reply, "startfrom", from);
        }
        Begin::Unknown => search_step(reply, "unknown", &[]),
    }
    reply.bulk(b"find_keys");
    match spec.find {
        Find::Range { last, step, limit } => {
            search_step(reply, "range", &[("lastkey", last), ("keystep", step), ("limit", limit)]);
        }
        Find::KeyNum { number, first, step } => {
            let fields = [("keynumidx", number), ("firstkey", first), ("keystep", step)];
            search_step(reply, "keynum", &fields);
        }
        Find::Unknown => search_step(reply, "unknown", &[]),
    }
}

fn search_step<S: Sink + ?Sized>(reply: &mut Reply<'_, S>, kind: &str, fields: &[(&str, i32)]) {
    search_type(reply, kind, fields.len());
    fields.iter().for_each(|(name, value)| number(reply, name, *value));
}

fn search_type<S: Sink + ?Sized>(reply: &mut Reply<'_, S>, kind: &str, fields: usize) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(fields);
}

fn number<S: Sink + ?Sized>(reply: &mut Reply<'_, S>, name: &str, value: i32) {
    reply.bulk(name.as_bytes());
    reply.integer(value.into());
}
