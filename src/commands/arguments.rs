//! Arguments that several families read in the same way.

use std::ops::{Range, RangeInclusive};

use shm::Off;

use crate::executor::{Cx, Fail, error};
use crate::keyspace::Database;
use crate::root;

/// The number of a database is not one of a database.
pub const NO_DATABASE: &str = "ERR DB index is out of range";

/// Reads an integer that has to be in a range.
pub fn int_within(cx: &Cx<'_>, index: usize, range: RangeInclusive<i64>) -> Result<i64, Fail> {
    let value = cx.int_arg(index)?;
    if range.contains(&value) {
        return Ok(value);
    }
    let (min, max) = range.into_inner();
    Err(format!("ERR value is out of range, value must between {min} and {max}").into())
}

/// Reads a 32-bit integer, as Redis does where it wants an `int`.
pub fn small_int(cx: &Cx<'_>, index: usize) -> Result<i32, Fail> {
    int_within(cx, index, i32::MIN.into()..=i32::MAX.into()).map(|value| value as i32)
}

/// Reads an integer that is `least` or more; refuses everything else with that error.
pub fn at_least(cx: &Cx<'_>, index: usize, least: u64, refusal: &'static str) -> Result<u64, Fail> {
    let value = cx.int_arg(index).ok().and_then(|value| u64::try_from(value).ok());
    value.filter(|value| *value >= least).ok_or(Fail::from(refusal))
}

/// Reads how many elements are wanted, where that cannot be negative.
pub fn count(cx: &Cx<'_>, index: usize) -> Result<u64, Fail> {
    at_least(cx, index, 0, "ERR value is out of range, must be positive")
}

/// Reads the number of a database.
pub fn database(cx: &Cx<'_>, index: usize) -> Result<(u32, Off<Database>), Fail> {
    let number = small_int(cx, index)?;
    database_of(cx, number).ok_or_else(|| NO_DATABASE.into())
}

/// The database of that number, if there is one.
pub fn database_of(cx: &Cx<'_>, number: i32) -> Option<(u32, Off<Database>)> {
    let count = cx.tx.get(cx.root).database_count.to_native();
    let number = u32::try_from(number).ok().filter(|number| *number < count)?;
    Some((number, root::database(&cx.tx, cx.root, number)))
}

/// The arguments of a command that takes elements from the first of several keys, `LMPOP` or the like,
/// from the number of keys on. `E` says from which end of the value they are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PopFirst<E> {
    /// Which arguments are keys.
    pub keys: Range<usize>,
    /// From which end elements are taken.
    pub end: E,
    /// Most elements that are taken; not 0.
    pub count: u64,
}

impl<E> PopFirst<E> {
    /// Reads the arguments from the one of that number on, which is the number of keys; `end` reads the
    /// one that names the end.
    pub fn parse(
        cx: &Cx<'_>,
        index: usize,
        end: impl FnOnce(&Cx<'_>, usize) -> Result<E, Fail>,
    ) -> Result<PopFirst<E>, Fail> {
        let keys = at_least(cx, index, 1, "ERR numkeys should be greater than 0")?;
        let first = index + 1;
        let behind = first.saturating_add(keys as usize);
        if behind >= cx.args.len() {
            return Err(error::SYNTAX);
        }
        let end = end(cx, behind)?;
        let mut count = None;
        for at in (behind + 1..cx.args.len()).step_by(2) {
            if count.is_some() || !cx.args.is(at, "COUNT") || at + 1 >= cx.args.len() {
                return Err(error::SYNTAX);
            }
            count = Some(at_least(cx, at + 1, 1, "ERR count should be greater than 0")?);
        }
        Ok(PopFirst { keys: first..behind, end, count: count.unwrap_or(1) })
    }
}

/// How many elements a command that chooses them at random, `SRANDMEMBER` or the like, is to reply with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Number of elements.
    pub count: u64,
    /// Whether an element may come more than once. If not, there may be fewer than `count`.
    pub repeats: bool,
    /// Whether what belongs to an element (a value, a score) is wanted as well.
    pub with_more: bool,
}

impl Sample {
    /// Reads `count [option]`, from the second argument behind the command's name on. The option, if
    /// there is one, says that what belongs to an element is wanted as well.
    pub fn parse(cx: &Cx<'_>, option: Option<&str>) -> Result<Sample, Fail> {
        let count = int_within(cx, 2, -i64::MAX..=i64::MAX)?;
        let with_more = cx.args.len() > 3;
        if with_more {
            let option = option.filter(|option| cx.args.len() == 4 && cx.args.is(3, option));
            option.ok_or(error::SYNTAX)?;
            if count.unsigned_abs() > i64::MAX as u64 / 2 {
                return Err("ERR value is out of range".into());
            }
        }
        Ok(Sample { count: count.unsigned_abs(), repeats: count < 0, with_more })
    }
}
