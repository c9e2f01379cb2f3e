//! The rarely changing part of a session: an rkyv archive in a block of its own.

use rkyv::{Archive, Deserialize, Serialize};
use shm::{Off, OutOfMemory, Tx, U32, View, field};

use super::Session;

/// Names and addresses.
#[derive(Archive, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
pub struct Cold {
    /// `CLIENT SETNAME`; empty for none.
    pub name: Vec<u8>,
    /// The peer's address.
    pub peer: String,
    /// Our address.
    pub local: String,
}

/// Reads the archive. Another build may have written it, so it is validated; one that is not valid
/// reads as empty, which only blurs `CLIENT LIST`.
pub fn load(view: &View, session: Off<Session>) -> Cold {
    let record = view.get(session);
    if record.cold.get().is_null() {
        return Cold::default();
    }
    let bytes = view.bytes(record.cold.get(), record.cold_len.get().to_native() as usize);
    rkyv::from_bytes::<Cold, rkyv::rancor::Error>(bytes).unwrap_or_default()
}

/// Replaces the archive.
pub fn store(tx: &mut Tx<'_>, session: Off<Session>, cold: &Cold) -> Result<(), OutOfMemory> {
    let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(cold).map_err(|_| OutOfMemory)?;
    let block = tx.alloc(bytes.len() as u64)?;
    tx.init_bytes(&block, 0, &bytes);
    let old = tx.get(session).cold.get();
    tx.set(field!(session, Session.cold), block.off())?;
    tx.set(field!(session, Session.cold_len), U32::from_native(bytes.len() as u32))?;
    if !old.is_null() {
        tx.free(old)?;
    }
    Ok(())
}
