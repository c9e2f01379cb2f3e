//! Finding the keys among a command's arguments, by its key specs or, where those cannot tell, by a
//! function.

use super::spec::{Begin, CommandSpec, Find, KeyRef, KeySpec, key};
use crate::util::numbers::string2ll;

/// Whether the command can have keys at all.
pub fn has_keys(command: &CommandSpec) -> bool {
    let real = |spec: &KeySpec| spec.flags & key::NOT_KEY == 0;
    command.get_keys.is_some() || command.key_specs.iter().any(real)
}

/// The keys of a whole command, name first. `None`: the arguments are not what the command takes,
/// so its keys cannot be told.
pub fn find(command: &CommandSpec, argv: &[&[u8]]) -> Option<Vec<KeyRef>> {
    let vague = command.key_specs.iter().any(|spec| spec.flags & key::VARIABLE_FLAGS != 0);
    let by_specs = if vague { None } else { by_key_specs(command, argv) };
    match (by_specs, command.get_keys) {
        (None, Some(get_keys)) => get_keys(argv),
        (found, _) => found,
    }
}

fn by_key_specs(command: &CommandSpec, argv: &[&[u8]]) -> Option<Vec<KeyRef>> {
    let mut found = Vec::new();
    for spec in command.key_specs.iter().filter(|spec| spec.flags & key::NOT_KEY == 0) {
        let Some(first) = beginning(spec.begin, argv)? else { continue };
        let (first, last, step) = range(spec.find, first, argv)?;
        if last < first || last >= argv.len() {
            return None;
        }
        found.extend(
            (first..=last).step_by(step).map(|position| KeyRef { position, flags: spec.flags }),
        );
        if spec.flags & key::INCOMPLETE != 0 {
            return None;
        }
    }
    if found.is_empty() { None } else { Some(found) }
}

/// Where the keys begin: `Some(None)` if this command line has none of them, `None` if it cannot be
/// told.
fn beginning(begin: Begin, argv: &[&[u8]]) -> Option<Option<usize>> {
    match begin {
        Begin::Index(at) => Some(Some(usize::try_from(at).ok()?)),
        Begin::Keyword(keyword, from) => {
            let is_keyword = |at: &usize| argv[*at].eq_ignore_ascii_case(keyword.as_bytes());
            let at = if from > 0 {
                (usize::try_from(from).ok()?..argv.len().saturating_sub(1)).find(is_keyword)
            } else {
                let start = argv.len().saturating_sub(from.unsigned_abs() as usize);
                (2..=start).rev().find(is_keyword)
            };
            Some(at.map(|at| at + 1))
        }
        Begin::Unknown => None,
    }
}

/// First key, last key, step.
fn range(find: Find, first: usize, argv: &[&[u8]]) -> Option<(usize, usize, usize)> {
    let from_end = |last: i32, end: usize| end.checked_sub(last.unsigned_abs() as usize);
    match find {
        Find::Range { last, step, limit } => {
            let last = match (last, limit) {
                (0.., _) => first + usize::try_from(last).ok()?,
                (_, 0) => from_end(last, argv.len())?,
                (_, limit) => {
                    let share = argv.len().checked_sub(first)? / usize::try_from(limit).ok()?;
                    from_end(last, first + share)?
                }
            };
            Some((first, last, usize::try_from(step).ok()?))
        }
        Find::KeyNum { number, first: offset, step } => {
            let count = argv.get(first + usize::try_from(number).ok()?)?;
            let count = usize::try_from(string2ll(count)?).ok()?;
            let first = first + usize::try_from(offset).ok()?;
            Some((first, (first + count).checked_sub(1)?, usize::try_from(step).ok()?))
        }
        Find::Unknown => None,
    }
}

/// The key of `SET`: it is read only with `GET`.
pub fn of_set(argv: &[&[u8]]) -> Option<Vec<KeyRef>> {
    let reads = argv.iter().skip(3).any(|word| word.eq_ignore_ascii_case(b"get"));
    let flags = if reads { key::RW | key::ACCESS | key::UPDATE } else { key::OW | key::UPDATE };
    Some(vec![KeyRef { position: 1, flags }])
}

/// The key of `BITFIELD`: it is only read if every operation is `GET`.
pub fn of_bitfield(argv: &[&[u8]]) -> Option<Vec<KeyRef>> {
    let mut rest = argv.get(2..)?;
    let mut only_reads = true;
    while let Some((word, operands)) = rest.split_first() {
        let taken = match word.to_ascii_lowercase().as_slice() {
            b"get" => 2,
            b"overflow" => 1,
            _ => usize::MAX,
        };
        let Some(after) = operands.get(taken..) else {
            only_reads = false;
            break;
        };
        rest = after;
    }
    let flags =
        if only_reads { key::RO | key::ACCESS } else { key::RW | key::ACCESS | key::UPDATE };
    Some(vec![KeyRef { position: 1, flags }])
}

/// The keys of `SORT`: what is sorted, and what the last `STORE` names.
pub fn of_sort(argv: &[&[u8]]) -> Option<Vec<KeyRef>> {
    let mut keys = of_sort_ro(argv)?;
    let mut target = None;
    let mut at = 2;
    while at < argv.len() {
        at += match argv[at].to_ascii_lowercase().as_slice() {
            b"limit" => 3,
            b"get" | b"by" => 2,
            b"store" if at + 1 < argv.len() => {
                target = Some(at + 1);
                1
            }
            _ => 1,
        };
    }
    keys.extend(target.map(|position| KeyRef { position, flags: key::OW | key::UPDATE }));
    Some(keys)
}

/// The key of `SORT_RO`; those that patterns lead to cannot be told.
pub fn of_sort_ro(_argv: &[&[u8]]) -> Option<Vec<KeyRef>> {
    Some(vec![KeyRef { position: 1, flags: key::RO | key::ACCESS }])
}

#[cfg(test)]
mod tests {
    use super::super::spec::{after, anywhere, at, cmd};
    use super::*;

    fn positions(specs: &'static [KeySpec], line: &str) -> Option<Vec<usize>> {
        let spec = cmd("test", -1, super::super::not_a_command).keys(specs);
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        find(&spec, &argv).map(|keys| keys.iter().map(|key| key.position).collect())
    }

    #[test]
    fn ranges_counts_and_keywords() {
        const GET: &[KeySpec] = &[at(1)];
        assert_eq!(positions(GET, "get k"), Some(vec![1]));
        assert_eq!(positions(GET, "get"), None);
        const MSET: &[KeySpec] = &[at(1).to(-1, 2, 0)];
        assert_eq!(positions(MSET, "mset a 1 b 2"), Some(vec![1, 3]));
        const EVAL: &[KeySpec] = &[at(2).counted(0, 1, 1)];
        assert_eq!(positions(EVAL, "eval x 2 a b c"), Some(vec![3, 4]));
        assert_eq!(positions(EVAL, "eval x 3 a b"), None);
        assert_eq!(positions(EVAL, "eval x 0"), None);
        assert_eq!(positions(EVAL, "eval x -1 a"), None);
        assert_eq!(positions(EVAL, "eval x"), None);
        const XREAD: &[KeySpec] = &[after("STREAMS", 1).to(-1, 1, 2)];
        assert_eq!(positions(XREAD, "xread count 2 streams a b 0 0"), Some(vec![4, 5]));
        assert_eq!(positions(XREAD, "xread count 2"), None);
        const MIGRATE: &[KeySpec] = &[at(3), after("KEYS", -2).to(-1, 1, 0)];
        assert_eq!(positions(MIGRATE, "migrate h p k 0 9 keys a b"), Some(vec![3, 7, 8]));
        const SORT: &[KeySpec] = &[anywhere()];
        assert_eq!(positions(SORT, "sort k"), None);
    }
}
