//! Arguments that several families read in the same way.

use shm::Off;

use crate::executor::{Cx, Fail, error};
use crate::keyspace::Database;
use crate::root;
use crate::util::numbers::string2ll;

/// The number of a database is not one of a database.
pub const NO_DATABASE: &str = "ERR DB index is out of range";

/// Reads a 32-bit integer, as Redis does where it wants an `int`.
pub fn small_int(cx: &Cx<'_>, index: usize) -> Result<i32, Fail> {
    let value = string2ll(cx.arg(index)).ok_or(error::NOT_INTEGER)?;
    i32::try_from(value).map_err(|_| {
        "ERR value is out of range, value must between -2147483648 and 2147483647".into()
    })
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
