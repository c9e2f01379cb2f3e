//! Sets in a table: one block for each member.

use shm::table::{self, Table};
use shm::{Off, OutOfMemory, Tx, U32, View, record};

use crate::values::table::{self as elements, Element};

record! {
    /// What stands in front of a member's text.
    pub struct SetMember {
        /// Bytes of the text.
        pub len: U32,
    }
}

/// The blocks of a set's table.
pub(super) struct Members;

impl Element for Members {
    const HEADER: u64 = size_of::<SetMember>() as u64;

    #[inline(always)]
    fn len(view: &View, block: Off<u8>) -> u64 {
        Members::HEADER + u64::from(view.get(block.cast::<SetMember>()).len.to_native())
    }

    #[inline(always)]
    fn key(view: &View, block: Off<u8>) -> &[u8] {
        let length = view.get(block.cast::<SetMember>()).len.to_native();
        view.bytes(block.byte_add(Members::HEADER), length as usize)
    }
}

/// Adds a member, unless it is there. Says whether it did.
pub(super) fn add(tx: &mut Tx<'_>, table: Off<Table>, member: &[u8]) -> Result<bool, OutOfMemory> {
    let hash = tx.hash(member);
    if elements::find_hashed::<Members>(tx, table, hash, member).is_some() {
        return Ok(false);
    }
    add_new(tx, table, hash, member)?;
    Ok(true)
}

/// Adds a member that is not there.
fn add_new(
    tx: &mut Tx<'_>,
    table: Off<Table>,
    hash: u64,
    member: &[u8],
) -> Result<(), OutOfMemory> {
    let block = make(tx, member)?;
    table::insert(tx, table, hash, block)
}

/// Makes a member's block.
pub(super) fn make(tx: &mut Tx<'_>, member: &[u8]) -> Result<Off<u8>, OutOfMemory> {
    let length = u32::try_from(member.len()).map_err(|_| OutOfMemory)?;
    let fresh = tx.alloc(Members::HEADER + u64::from(length))?;
    tx.init(&fresh, 0, SetMember { len: U32::from_native(length) });
    tx.init_bytes(&fresh, Members::HEADER, member);
    Ok(fresh.off())
}

/// Removes a member, if it is there. Says whether it was.
pub(super) fn remove(
    tx: &mut Tx<'_>,
    table: Off<Table>,
    member: &[u8],
) -> Result<bool, OutOfMemory> {
    let hash = tx.hash(member);
    let Some(place) = elements::find_hashed::<Members>(tx, table, hash, member) else {
        return Ok(false);
    };
    elements::remove(tx, table, hash, &place)?;
    Ok(true)
}

/// Removes the member in a block.
pub(super) fn remove_block(
    tx: &mut Tx<'_>,
    table: Off<Table>,
    block: Off<u8>,
) -> Result<(), OutOfMemory> {
    let hash = tx.hash(Members::key(tx, block));
    match table::find(tx, table, hash, |_, other| other == block) {
        Some(place) => elements::remove(tx, table, hash, &place),
        None => Ok(()),
    }
}
