//! What a turn has of its client's input: room to read into, and what is kept of it until the next
//! turn. See [`super::turn`].

use shm::{Off, OutOfMemory, Tx, U32, U64, field};

use super::Executor;
use super::turn::{Turn, between};
use crate::session::{self, Session, flag};

/// A session's unfinished request of this size is read on in its own block.
pub(super) const LARGE_INPUT: u32 = 32 << 10;
/// First size of such a block.
pub(super) const FIRST_BLOCK: u64 = 64 << 10;

/// The largest there can be: a block lies within one region.
pub(super) const LARGEST_BLOCK: u64 = shm::layout::REGION - 2 * shm::layout::SPAN;
/// Room that such a block has for a read, at least.
pub(super) const ROOM_LEAST: u64 = 16 << 10;
/// What a read into such a block may give whatever the request needs.
pub(super) const READ_LEAST: u64 = 256 << 10;

impl Executor {
    /// Makes sure that the session's block of input has room for more; gives how much may be read:
    /// what the request still needs, or a little, since whatever else comes is run in this turn.
    pub(super) fn grow_block(&mut self, turn: &Turn) -> Result<usize, OutOfMemory> {
        let (session, length) = (turn.session, turn.length as u64);
        let whole = turn.decoder.whole().filter(|whole| *whole > length);
        let most = whole.map_or(0, |whole| whole - length).max(READ_LEAST);
        let block = self.arena.get(session).input.get();
        let size = shm::alloc::block_size(&self.arena, block);
        if size - length >= ROOM_LEAST {
            return Ok((size - length).min(most) as usize);
        }
        // Twice as large, so that a request is copied twice at most; no more for what a peer has
        // only announced, and no more than it takes.
        let size = (length * 2).clamp(FIRST_BLOCK, LARGEST_BLOCK);
        let size = whole.map_or(size, |whole| size.min(whole + ROOM_LEAST)).max(length + 1);
        let mut tx = self.arena.begin();
        let fresh = tx.alloc(size)?;
        tx.init_copy(&fresh, 0, block, length);
        let room = (fresh.size() - length).min(most);
        tx.set(field!(session, Session.input), fresh.off())?;
        tx.free(block)?;
        tx.commit(&turn.payload(&self.output));
        Ok(room as usize)
    }

    /// Notes what a read has put behind the input.
    #[inline(always)]
    pub(super) fn note_read(&mut self, turn: &mut Turn, read: usize) -> Result<(), OutOfMemory> {
        turn.length += read;
        turn.read_bytes += read as u64;
        if turn.large {
            let (session, length) = (turn.session, turn.length as u32);
            let mut tx = self.arena.begin();
            tx.set(field!(session, Session.input_len), U32::from_native(length))?;
            tx.commit(&turn.payload(&self.output));
        } else {
            self.publish(turn);
        }
        Ok(())
    }

    /// Takes up what a read has put behind the input of a turn whose owner died before it could
    /// note that. `Ok(false)` if there was no room for so much.
    pub(super) fn take_up_read(&mut self, turn: &mut Turn, read: u64) -> Result<bool, OutOfMemory> {
        if read == 0 {
            // Noted by one who died later in doing this. To say again where the turn stands would be to forget
            // which replies that one had kept already.
            return Ok(true);
        }
        let room = if turn.large {
            let block = self.arena.get(turn.session).input.get();
            shm::alloc::block_size(&self.arena, block)
        } else {
            self.input.bytes().len() as u64
        };
        if read > room.saturating_sub(turn.length as u64) {
            return Ok(false);
        }
        self.note_read(turn, read as usize)?;
        Ok(true)
    }

    /// Keeps the input of a turn whose owner has died. Requests may stand in it, which have to run before
    /// more is read: what comes next may be the end.
    pub(super) fn save_rest(&mut self, turn: &Turn) -> Result<(), OutOfMemory> {
        let mut tx = self.arena.begin();
        save_input(&mut tx, &self.input, turn)?;
        let waits = tx.get(turn.session).is(flag::BLOCKED | flag::POSTPONED);
        if turn.position < turn.length && !waits {
            session::change_flags(&mut tx, turn.session, 0, flag::RESUMED)?;
        }
        tx.commit(&between(0, 0));
        Ok(())
    }
}

/// Counts what the turn has read, and keeps what it did not consume in a block of the session, if
/// there is such a rest.
#[inline]
pub(super) fn save_input(
    tx: &mut Tx<'_>,
    input: &shm::io::IoBuffer,
    turn: &Turn,
) -> Result<(), OutOfMemory> {
    let session = turn.session;
    // For the settlement after a crash.
    if shm::CRASH_SAFE && turn.read_bytes > 0 {
        let total = tx.get(session).total_in.get().to_native() + turn.read_bytes;
        tx.set(field!(session, Session.total_in), U64::from_native(total))?;
    }
    if !turn.had_block && turn.position == turn.length {
        return Ok(());
    }
    let old = tx.get(session).input.get();
    let rest = turn.length - turn.position;
    if turn.large && turn.position == 0 {
        // Nothing was consumed: the block stays as it is.
        return tx.set(field!(session, Session.decoder), words_of(turn));
    }
    let mut block = Off::NULL;
    if rest > 0 {
        let large = rest as u32 >= LARGE_INPUT;
        let fresh = tx.alloc(if large {
            (rest as u64 + ROOM_LEAST).max(FIRST_BLOCK)
        } else {
            rest as u64
        })?;
        if turn.large {
            tx.init_copy(&fresh, 0, old.byte_add(turn.position as u64), rest as u64);
        } else {
            tx.init_bytes(&fresh, 0, &input.bytes()[turn.position..turn.length]);
        }
        block = fresh.off();
    }
    tx.set(field!(session, Session.input), block)?;
    tx.set(field!(session, Session.input_len), U32::from_native(rest as u32))?;
    tx.set(field!(session, Session.decoder), words_of(turn))?;
    if !old.is_null() {
        tx.free(old)?;
    }
    Ok(())
}

fn words_of(turn: &Turn) -> [U64; 4] {
    turn.decoder.to_words().map(U64::from_native)
}
