//! Entries made of what was read.

use shm::pack::Item;
use shm::{Fresh, OutOfMemory, Tx};

use crate::config::ConfigValues;
use crate::rdb::object::Object;
use crate::values::set;
use crate::values::string::{self, Encoded};

/// Makes an entry with a value that was read, in the form that the limits in force ask for.
pub fn load(
    tx: &mut Tx<'_>,
    key: &[u8],
    expiry: Option<i64>,
    object: &Object,
    config: &ConfigValues,
) -> Result<Fresh, OutOfMemory> {
    match object {
        Object::String(text) => string::create(tx, key, Encoded::of(text), expiry),
        Object::Set(members) => {
            let content: set::Content = members.iter().map(Item::of).collect();
            set::create(tx, key, expiry, &content, config.set_max_intset_entries())
        }
        _ => Err(OutOfMemory),
    }
}
