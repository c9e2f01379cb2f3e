//! The root record: where everything that the server keeps in the arena can be found.

use shm::table::Table;
use shm::tree::Tree;
use shm::{Hint, I64, Off, OutOfMemory, Slot, Tx, U32, U64, View, field, record};

use crate::config::ConfigValues;
use crate::keyspace::Database;
use crate::keyspace::trash::Trash;
use crate::session::members::Topic;
use crate::session::waits::Queue;
use crate::session::{Directory, Session};
use crate::statistics::{self, Statistics};

record! {
    /// The root. One a server, made with the arena.
    pub struct Root {
        /// Wall clock at the start, milliseconds since the epoch.
        pub started_ms: I64,
        /// Random name of this run, in hexadecimal, for `INFO`.
        pub run_id: [u8; 40],
        /// The databases, `database_count` records in one block.
        pub databases: Off<Database>,
        /// Number of databases.
        pub database_count: U32,
        /// All sessions by slot.
        pub sessions: Directory,
        /// The id of the next client.
        pub next_client_id: Slot<U64>,
        /// First of the sessions that have output which is not in the executor's buffer.
        pub pending_output: Slot<Off<Session>>,
        /// Dead things to be taken apart.
        pub trash: Slot<Off<Trash>>,
        /// Archive of the configuration.
        pub config: Slot<Off<u8>>,
        /// Its length.
        pub config_len: Slot<U32>,
        /// Channels with their subscribers.
        pub channels: Table,
        /// Patterns with their subscribers.
        pub patterns: Table,
        /// Shard channels with their subscribers.
        pub shard_channels: Table,
        /// Watched keys with their watchers.
        pub watched: Table,
        /// Keys that blocked clients wait for, with those who do.
        pub waiting: Table,
        /// First of the keys that are ready, null between transactions.
        pub ready_first: Slot<Off<Queue>>,
        /// Last of them.
        pub ready_last: Slot<Off<Queue>>,
        /// Blocked clients that have a deadline, by it.
        pub deadlines: Tree,
        /// Blocked clients.
        pub blocked: Slot<U32>,
        /// Those of them that wait for elements of lists.
        pub blocked_lists: Slot<U32>,
        /// Those that wait for elements of sorted sets.
        pub blocked_zsets: Slot<U32>,
        /// Those that wait for entries of streams.
        pub blocked_streams: Slot<U32>,
        /// Keys that clients with `CLIENT TRACKING` have read.
        pub tracked: Table,
        /// Readers of all tracked keys together.
        pub tracked_items: Slot<U64>,
        /// Prefixes of broadcast tracking with the sessions that chose them.
        pub prefixes: Table,
        /// Sessions in `MONITOR` mode are members of this topic; null if there are none.
        pub monitor_topic: Slot<Off<Topic>>,
        /// Sessions in `MONITOR` mode.
        pub monitors: Slot<U32>,
        /// Sessions with `CLIENT TRACKING` on.
        pub trackers: Slot<U32>,
        /// Until when `CLIENT PAUSE` holds commands back, milliseconds since the epoch; 0 for never.
        pub paused_until_ms: Slot<I64>,
        /// Whether that pause holds back all commands (1) or only writes (0).
        pub pause_all: Slot<u8>,
        /// 1 if `DEBUG SET-ACTIVE-EXPIRE 0` switched active expiry off.
        pub active_expire_off: Slot<u8>,
        /// Statistics by command and by error code.
        pub statistics: Off<Statistics>,
        /// Statistics.
        pub counters: Counters,
        /// What `INFO handoff` shows.
        pub handoff: HandoffState,
        /// Which start of the machine this server belongs to. What an earlier one wrote to a disk may have
        /// got there in part.
        pub boot_id: [u8; 16],
    }
}

record! {
    /// Statistics: approximate, since a command that is rolled back may count.
    pub struct Counters {
        /// Commands run.
        pub commands: Hint<U64>,
        /// Connections accepted.
        pub connections: Hint<U64>,
        /// Connections refused because of `maxclients`.
        pub rejected: Hint<U64>,
        /// Bytes read from clients.
        pub input_bytes: Hint<U64>,
        /// Bytes written to clients.
        pub output_bytes: Hint<U64>,
        /// Keys that expired.
        pub expired: Hint<U64>,
        /// Look-ups that found a key.
        pub hits: Hint<U64>,
        /// Look-ups that found none.
        pub misses: Hint<U64>,
        /// Error replies.
        pub errors: Hint<U64>,
        /// Highest `used_memory` seen.
        pub peak_memory: Hint<U64>,
        /// Changes to the data set.
        pub dirty: Hint<U64>,
        /// Blocks that defragmentation has moved.
        pub defrag_hits: Hint<U64>,
        /// Blocks that it looked at and did not move.
        pub defrag_misses: Hint<U64>,
        /// Keys of which it has moved something.
        pub defrag_key_hits: Hint<U64>,
        /// Keys that it left as they were.
        pub defrag_key_misses: Hint<U64>,
        /// How long cycles took, in microseconds.
        pub defrag_us: Hint<U64>,
        /// Room for more, so that a new counter does not change the layout.
        pub reserved: [Hint<U64>; 16],
    }
}

record! {
    /// The outcome of upgrades, as the keeper reported it.
    pub struct HandoffState {
        /// Generation that serves.
        pub generation: Slot<U64>,
        /// Upgrades that succeeded.
        pub upgrades: Slot<U64>,
        /// Upgrades that failed or were refused.
        pub failures: Slot<U64>,
        /// The last freeze, microseconds.
        pub last_freeze_us: Slot<U64>,
        /// The last upgrade's whole time, milliseconds.
        pub last_total_ms: Slot<U64>,
        /// Connections moved by the last upgrade.
        pub last_connections: Slot<U64>,
        /// Wall clock of the last upgrade, milliseconds since the epoch.
        pub last_ms: Slot<I64>,
        /// Length of the result's text.
        pub result_len: Slot<U32>,
        /// `ok`, or why the last one failed; cut to this size.
        pub result: Slot<[u8; 228]>,
        /// Deaths of a generation that were recovered from.
        pub crashes: Slot<U64>,
        /// Of what the last of them died, filled up with zeros.
        pub crash_cause: Slot<[u8; 32]>,
        /// How long nobody served then, microseconds.
        pub crash_outage_us: Slot<U64>,
        /// Commands that were stopped because processes died in them.
        pub poisoned: Slot<U64>,
        /// Commands that panicked.
        pub panics: Slot<U64>,
        /// The command that may be the reason of deaths.
        pub suspect: Slot<Suspect>,
    }
}

record! {
    /// The command in which the last process has died that died of its own in a command.
    pub struct Suspect {
        /// Id of its client; 0 if there is none.
        pub client: U64,
        /// Where the request starts in all that the client has sent since it was accepted.
        pub position: U64,
        /// How many have died in it, one after the other.
        pub deaths: U64,
    }
}

/// The root of an arena.
///
/// # Panics
///
/// If the arena has none: it is not a server's.
#[inline(always)]
pub fn of(view: &View) -> Off<Root> {
    let root = view.root();
    debug_assert!(!root.is_null(), "the arena has no root");
    root.cast()
}

/// Makes the root of a new arena.
pub fn create(
    tx: &mut Tx<'_>,
    databases: u32,
    now_ms: i64,
    run_id: [u8; 40],
    boot_id: [u8; 16],
) -> Result<Off<Root>, OutOfMemory> {
    let block = tx.alloc(u64::from(databases) * size_of::<Database>() as u64)?;
    for i in 0..u64::from(databases) {
        tx.init(&block, i * size_of::<Database>() as u64, Database::EMPTY);
    }
    let statistics = statistics::create(tx)?;
    let root = tx.alloc(size_of::<Root>() as u64)?;
    // All of the rest starts as zero: empty tables, null offsets, counters.
    tx.init_fill(&root, 0, 0, root.size());
    let off: Off<Root> = root.off().cast();
    let mut record = tx.read(off);
    record.started_ms = I64::from_native(now_ms);
    (record.run_id, record.boot_id) = (run_id, boot_id);
    record.databases = block.off().cast();
    record.statistics = statistics;
    record.database_count = U32::from_native(databases);
    record.next_client_id = Slot::new(U64::from_native(1));
    tx.init(&root, 0, record);
    tx.set_root(off.cast())?;
    Ok(off)
}

/// Makes the root of an arena that another server has left that of a new one, once its sessions are
/// gone: the keys stay.
pub fn start_anew(
    tx: &mut Tx<'_>,
    now_ms: i64,
    run_id: [u8; 40],
    boot_id: [u8; 16],
) -> Result<(), OutOfMemory> {
    let root = of(tx);
    let record = tx.read(root);
    tx.set(field!(root, Root.started_ms).cast::<Slot<I64>>(), I64::from_native(now_ms))?;
    tx.set(field!(root, Root.run_id).cast::<Slot<[u8; 40]>>(), run_id)?;
    tx.set(field!(root, Root.boot_id).cast::<Slot<[u8; 16]>>(), boot_id)?;
    tx.set(field!(root, Root.paused_until_ms), I64::from_native(0))?;
    tx.set(field!(root, Root.active_expire_off), 0)?;
    statistics::reset(tx, root);
    let counters = field!(root, Root.counters).cast::<u8>();
    tx.fill(counters, 0, size_of_val(&record.counters))?;
    let handoff = field!(root, Root.handoff).cast::<u8>();
    tx.fill(handoff, 0, size_of_val(&record.handoff))
}

/// The archive of the configuration that the arena holds, if it holds one.
pub fn stored_archive(view: &View, root: Off<Root>) -> Option<&[u8]> {
    let record = view.get(root);
    let length = record.config_len.get().to_native() as usize;
    (!record.config.get().is_null()).then(|| view.bytes(record.config.get(), length))
}

/// The configuration that the arena holds, if it holds one that can be read.
pub fn stored_config(view: &View, root: Off<Root>) -> Option<ConfigValues> {
    Some(ConfigValues::from_archive(stored_archive(view, root)?).ok()?.0)
}

/// Puts a configuration into the arena, in the place of the one that is there.
pub fn store_config(
    tx: &mut Tx<'_>,
    root: Off<Root>,
    values: &ConfigValues,
) -> Result<(), OutOfMemory> {
    let bytes = values.to_archive();
    let block = tx.alloc(bytes.len() as u64)?;
    tx.init_bytes(&block, 0, &bytes);
    let old = tx.get(root).config.get();
    if !old.is_null() {
        tx.free(old)?;
    }
    tx.set(field!(root, Root.config), block.off())?;
    tx.set(field!(root, Root.config_len), U32::from_native(bytes.len() as u32))
}

/// The database of that number, which the caller has checked.
#[inline(always)]
pub fn database(view: &View, root: Off<Root>, index: u32) -> Off<Database> {
    view.get(root).databases.nth(u64::from(index))
}
