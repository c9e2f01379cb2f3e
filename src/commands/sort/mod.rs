//! `SORT`: the elements of a list, set or sorted set in another order.

mod options;
mod pattern;

use std::cmp::Ordering;
use std::ops::Range;

use shm::deque::Direction;
use shm::pack::{self, Digits, Item};

use self::options::Options;
use self::pattern::Pattern;
use super::errors::c_string;
use super::key_search;
use super::spec::{CommandSpec, KeySpec, acl, anywhere, at, cmd, flag, key};
use crate::executor::{Cx, Fail, Key, Outcome, class, dispatch, error};
use crate::keyspace::entry::Identity;
use crate::keyspace::{Found, Kind, Type};
use crate::util::numbers::string2d;
use crate::util::quote::is_space;
use crate::util::sorting::{pqsort, qsort};
use crate::values::list::{self, Limits, List};
use crate::values::set::Set;
use crate::values::zset::{self, Reader};

/// The keys that elements are sorted by, or replaced with.
const BY_OR_GET: KeySpec = anywhere().flags(key::RO | key::ACCESS).notes(
    "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the \
     content of the key we sort",
);

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("sort", -2, sort)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::SET | acl::SORTEDSET | acl::LIST | acl::DANGEROUS)
        .keys(&[
            at(1).flags(key::RO | key::ACCESS),
            BY_OR_GET,
            anywhere().flags(key::OW | key::UPDATE).notes(
                "For the optional STORE keyword. It is marked 'unknown' because the keyword can \
                 appear anywhere in the argument array",
            ),
        ])
        .get_keys(key_search::of_sort),
    cmd("sort_ro", -2, sort_ro)
        .flags(flag::READONLY)
        .acl(acl::SET | acl::SORTEDSET | acl::LIST | acl::DANGEROUS)
        .keys(&[at(1).flags(key::RO | key::ACCESS), BY_OR_GET])
        .get_keys(key_search::of_sort_ro),
];

/// `SORT key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]
/// [STORE destination]`: sort the elements in a list, set or sorted set.
fn sort(cx: &mut Cx<'_>) -> Outcome {
    run(cx, true)
}

/// `SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC]
/// [ALPHA]`: sort the elements in a list, set or sorted set. Read-only variant of SORT.
fn sort_ro(cx: &mut Cx<'_>) -> Outcome {
    run(cx, false)
}

fn run(cx: &mut Cx<'_>, can_store: bool) -> Outcome {
    let mut options = Options::parse(cx, can_store)?;
    let mut key = cx.read(cx.arg(1))?;
    let of_type = key.found.as_ref().map(|found| cx.entry(found).kind().value_type());
    match of_type {
        None | Some(Type::List | Type::Zset) => {}
        Some(Type::Set) => {
            // A set has no order of its own, and what is stored shall not depend on chance.
            if options.unsorted && options.store.is_some() {
                (options.unsorted, options.alpha, options.by) = (false, true, None);
            }
        }
        Some(_) => return Err(error::WRONG_TYPE),
    }
    leave_listpack(cx, &mut key)?;
    let elements = match &key.found {
        Some(found) => elements(cx, found, &options)?,
        None => Texts::default(),
    };
    let order = match options.unsorted {
        true => (0..elements.len()).collect(),
        false => match sorted(cx, &elements, &options)? {
            Some(order) => order,
            None => {
                // Not a failure that takes back what was done: in Redis too a sorted set has become
                // a `skiplist` by now.
                let text = "ERR One or more scores can't be converted into double";
                dispatch::reply_error(cx, &text.into());
                return Ok(());
            }
        },
    };
    let range = match options.unsorted && of_type != Some(Type::Set) {
        // Only what is wanted was gathered.
        true => 0..order.len(),
        false => options.range(order.len()),
    };
    let given: Vec<&[u8]> = order[range].iter().map(|index| elements.get(*index)).collect();
    match options.store {
        Some(target) => store(cx, target, &given, &options),
        None => reply(cx, &given, &options),
    }
}

/// Sorting a sorted set makes it a `skiplist`, as in Redis.
fn leave_listpack(cx: &mut Cx<'_>, key: &mut Key<'_>) -> Outcome {
    let Some(found) = key.found else { return Ok(()) };
    let entry = cx.entry(&found);
    if entry.kind() != Kind::ZsetPacked {
        return Ok(());
    }
    let identity = Identity::of(&entry);
    let mut builder = zset::Builder::default();
    if let Some(reader) = Reader::of(&entry) {
        for element in reader.elements(0) {
            builder.push(element.member.text(&mut Digits::new()), element.score);
        }
    }
    let none = zset::Limits { entries: 0, value: 0 };
    let fresh = builder.create(&mut cx.tx, key.name, identity.expiry, &none)?;
    let entry = identity.hand_over(&mut cx.tx, &fresh);
    cx.exchange(key, entry)
}

/// Texts, one behind the other.
#[derive(Debug, Default)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }
}

impl<'a> Extend<Item<'a>> for Texts {
    fn extend<I: IntoIterator<Item = Item<'a>>>(&mut self, items: I) {
        for item in items {
            self.bytes.extend_from_slice(item.text(&mut Digits::new()));
            self.ends.push(self.bytes.len());
        }
    }
}

/// The elements of a key. Of a list or sorted set that keeps its order, only those that are given,
/// from whichever end.
fn elements(cx: &Cx<'_>, found: &Found, options: &Options<'_>) -> Result<Texts, Fail> {
    let entry = cx.entry(found);
    let mut texts = Texts::default();
    if let Some(set) = Set::of(&entry) {
        texts.extend(set.members());
    } else if let Some(list) = List::of(&entry) {
        extend_by_list(&mut texts, &list, options);
    } else {
        let reader = Reader::of(&entry).ok_or(error::WRONG_TYPE)?;
        let len = reader.len();
        let ranks = if options.unsorted { wide(options.range(len as usize)) } else { 0..len };
        let reverse = options.unsorted && options.descending;
        let ranks = if reverse { len - ranks.end..len - ranks.start } else { ranks };
        texts.extend(reader.slice(ranks, reverse).map(|element| element.member));
    }
    Ok(texts)
}

fn extend_by_list(texts: &mut Texts, list: &List<'_>, options: &Options<'_>) {
    if !options.unsorted {
        return texts.extend(list.items());
    }
    let range = options.range(list.len() as usize);
    let start = range.start as u64;
    let walk = match options.descending {
        false => list.walk(start, Direction::Forward),
        true if range.is_empty() => return,
        true => list.walk(list.len() - 1 - start, Direction::Backward),
    };
    texts.extend(walk.take(range.len()));
}

fn wide(range: Range<usize>) -> Range<u64> {
    range.start as u64..range.end as u64
}

/// By what an element is put in its place.
enum Weight {
    Score(f64),
    /// The text of another key; the element's own if that is not asked for.
    Text(Option<Vec<u8>>),
}

/// The numbers of the elements, in order; `None` if some cannot be compared as numbers.
fn sorted(
    cx: &mut Cx<'_>,
    elements: &Texts,
    options: &Options<'_>,
) -> Result<Option<Vec<usize>>, Fail> {
    let mut weighed = Vec::with_capacity(elements.len());
    let mut convertible = true;
    for index in 0..elements.len() {
        let element = elements.get(index);
        let by = match &options.by {
            Some(pattern) => pattern.look_up(cx, element)?,
            None => None,
        };
        let weight = if options.alpha {
            Weight::Text(by)
        } else {
            let text = if options.by.is_some() { by.as_deref() } else { Some(element) };
            // What has no weight weighs nothing.
            let score = text.map_or(Some(0.0), score);
            convertible &= score.is_some();
            Weight::Score(score.unwrap_or(0.0))
        };
        weighed.push((weight, index));
    }
    if !convertible {
        return Ok(None);
    }
    // Texts that stay within this command are compared as C does, those stored as they are.
    let seen = |text: &'_ [u8]| match options.store {
        Some(_) => text.len(),
        None => c_string(text, usize::MAX).len(),
    };
    let by_text = |a: &[u8], b: &[u8]| a[..seen(a)].cmp(&b[..seen(b)]);
    let compare = |(a, i): &(Weight, usize), (b, j): &(Weight, usize)| match (a, b) {
        (Weight::Score(a), Weight::Score(b)) => {
            // Equal scores are told apart, so that the result is the same each time.
            let order = a.partial_cmp(b).unwrap_or(Ordering::Equal);
            order.then_with(|| elements.get(*i).cmp(elements.get(*j)))
        }
        (Weight::Text(a), Weight::Text(b)) if options.by.is_some() => match (a, b) {
            (Some(a), Some(b)) => by_text(a, b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        },
        _ => by_text(elements.get(*i), elements.get(*j)),
    };
    let compare = |i: &usize, j: &usize| {
        let order = compare(&weighed[*i], &weighed[*j]) as i32;
        if options.descending { -order } else { order }
    };
    let mut order: Vec<usize> = (0..weighed.len()).collect();
    let range = options.range(order.len());
    // Elements that compare equal end up where these algorithms happen to put them.
    if options.by.is_some() && range != (0..order.len()) {
        pqsort(&mut order, &compare, range);
    } else {
        qsort(&mut order, &compare);
    }
    Ok(Some(order))
}

/// Reads a number as C's `strtod` does: blanks before it do not matter, nor does anything behind a
/// NUL; no text at all is 0. Numbers out of its range are none.
fn score(text: &[u8]) -> Option<f64> {
    let text = c_string(text, usize::MAX);
    if text.is_empty() {
        return Some(0.0);
    }
    let blanks = text.iter().take_while(|byte| is_space(**byte)).count();
    let number = &text[blanks..];
    let score = string2d(number)?;
    // Decimal fractions that small are not exact, which counts as out of range.
    let is_hexadecimal = number.iter().any(|byte| matches!(byte, b'x' | b'X'));
    (!score.is_subnormal() || is_hexadecimal).then_some(score)
}

/// Calls `each` with everything that is given of an element.
fn each_given(
    cx: &mut Cx<'_>,
    element: &[u8],
    get: &[Pattern<'_>],
    mut each: impl FnMut(&mut Cx<'_>, Option<&[u8]>) -> Outcome,
) -> Outcome {
    if get.is_empty() {
        return each(cx, Some(element));
    }
    for pattern in get {
        let value = pattern.look_up(cx, element)?;
        each(cx, value.as_deref())?;
    }
    Ok(())
}

fn reply(cx: &mut Cx<'_>, given: &[&[u8]], options: &Options<'_>) -> Outcome {
    cx.reply.array(given.len() * options.get.len().max(1));
    for element in given {
        each_given(cx, element, &options.get, |cx, value| {
            match value {
                Some(value) => cx.reply.bulk(value),
                None => cx.reply.null(),
            }
            Ok(cx.reply.sink().check()?)
        })?;
    }
    Ok(())
}

/// Makes a key a list of what is given, and replies with its length; without anything, removes it.
fn store(cx: &mut Cx<'_>, target: &[u8], given: &[&[u8]], options: &Options<'_>) -> Outcome {
    let (mut run, mut count) = (Vec::new(), 0);
    for element in given {
        each_given(cx, element, &options.get, |_, value| {
            pack::encode(&mut run, value.unwrap_or_default());
            count += 1;
            Ok(())
        })?;
    }
    if count == 0 {
        cx.delete_target(target)?;
        cx.reply.integer(0);
        return Ok(());
    }
    let limits = Limits::of(cx.state.config.list_max_listpack_size());
    let key = cx.peek(target)?;
    let fresh = list::create(&mut cx.tx, target, None, &run, count, &limits)?;
    cx.put(&key, fresh)?;
    cx.changed(target)?;
    cx.dirty += count as u64 - 1;
    cx.notify(class::LIST, "sortstore", target)?;
    cx.reply.integer(count as i64);
    Ok(())
}

#[cfg(test)]
mod tests;
