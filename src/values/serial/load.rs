//! Entries made of what was read.

use shm::{Fresh, OutOfMemory, Tx};

use crate::config::ConfigValues;
use crate::rdb::object::Object;
use crate::values::string::{self, Encoded};

/// Makes an entry with a value that was read, in the form that the limits in force ask for.
pub fn load(
    tx: &mut Tx<'_>,
    key: &[u8],
    expiry: Option<i64>,
    object: &Object,
    _config: &ConfigValues,
) -> Result<Fresh, OutOfMemory> {
    match object {
        Object::String(text) => string::create(tx, key, Encoded::of(text), expiry),
        _ => Err(OutOfMemory),
    }
}
