//! What `INFO commandstats` and `INFO errorstats` show: counters in the arena, so that they go on
//! through upgrades, also to a build with other commands.
//!
//! Commands are known by the hash of their names. Where a row stands never changes, so each process
//! remembers it once it has looked for it: counting is one load and one store, without a log.

use shm::check::Checker;
use shm::{Hint, Off, OutOfMemory, Tx, U32, U64, View, field, record};

use crate::commands::table::{self, Command};
use crate::root::{Counters, Root};

record! {
    /// All of it, in one block. One a server.
    pub struct Statistics {
        /// Rows of commands, those in use first.
        pub commands: [CommandRow; 512],
        /// Rows of error codes, those in use first.
        pub errors: [ErrorRow; 128],
    }
}

record! {
    /// How often an error code was replied.
    pub struct ErrorRow {
        /// Bytes of the code; 0 for a row that is free.
        pub len: Hint<u8>,
        /// The code.
        pub code: Hint<[u8; 31]>,
        /// Replies that began with it.
        pub count: Hint<U64>,
    }
}

record! {
    /// What happened to one command.
    pub struct CommandRow {
        /// Hash of its full name (`crate::commands::table::Command::name_hash`); 0 for a row that is free.
        pub name: Hint<U32>,
        /// Unused.
        pub reserved: U32,
        /// How often it ran.
        pub calls: Hint<U64>,
        /// Its share of the time of the turns in which it ran, nanoseconds.
        pub nanos: Hint<U64>,
        /// How often it was refused before it ran.
        pub rejected: Hint<U64>,
        /// How often it ran and replied with an error.
        pub failed: Hint<U64>,
    }
}

/// Commands that can be counted; a build has about a third of it.
const COMMANDS: u64 = 512;
/// Error codes that can be counted.
const ERRORS: u64 = 128;
/// The longest code; what has no space within so many bytes counts as `ERR`, as in Redis.
const LONGEST_CODE: usize = 30;

/// Makes the block of a new server.
pub fn create(tx: &mut Tx<'_>) -> Result<Off<Statistics>, OutOfMemory> {
    let block = tx.alloc(size_of::<Statistics>() as u64)?;
    tx.init_fill(&block, 0, 0, block.size());
    Ok(block.off().cast())
}

/// Sets every counter to zero.
pub fn reset(tx: &mut Tx<'_>, root: Off<Root>) {
    for row in command_rows(tx, root) {
        for counter in [
            field!(row, CommandRow.calls),
            field!(row, CommandRow.nanos),
            field!(row, CommandRow.rejected),
            field!(row, CommandRow.failed),
        ] {
            tx.hint(counter, U64::from_native(0));
        }
    }
    for row in error_rows(tx, root) {
        tx.hint(field!(row, ErrorRow.len), 0);
        tx.hint(field!(row, ErrorRow.count), U64::from_native(0));
    }
}

/// The rows of commands that are in use.
pub fn command_rows(view: &View, root: Off<Root>) -> Vec<Off<CommandRow>> {
    let rows = (0..COMMANDS).map(|index| command_row(view, root, index));
    rows.take_while(|row| view.get(*row).name.get().to_native() != 0).collect()
}

/// The error codes with their counts, sorted.
pub fn errors(view: &View, root: Off<Root>) -> Vec<(Vec<u8>, u64)> {
    let mut found: Vec<_> = error_rows(view, root)
        .into_iter()
        .map(|row| (code(view, row), view.get(row).count.get().to_native()))
        .collect();
    found.sort();
    found
}

fn error_rows(view: &View, root: Off<Root>) -> Vec<Off<ErrorRow>> {
    let rows = (0..ERRORS).map(|index| error_row(view, root, index));
    rows.take_while(|row| view.get(*row).len.get() != 0).collect()
}

fn command_row(view: &View, root: Off<Root>, index: u64) -> Off<CommandRow> {
    let statistics = view.get(root).statistics;
    field!(statistics, Statistics.commands).cast::<CommandRow>().nth(index)
}

fn error_row(view: &View, root: Off<Root>, index: u64) -> Off<ErrorRow> {
    let statistics = view.get(root).statistics;
    field!(statistics, Statistics.errors).cast::<ErrorRow>().nth(index)
}

fn code(view: &View, row: Off<ErrorRow>) -> Vec<u8> {
    let record = view.get(row);
    let code = record.code.get();
    code[..usize::from(record.len.get()).min(code.len())].to_vec()
}

#[inline(always)]
fn add(tx: &mut Tx<'_>, counter: Off<Hint<U64>>, by: u64) {
    let value = tx.read(counter).get().to_native();
    tx.hint(counter, U64::from_native(value.wrapping_add(by)));
}

/// Counts an error reply, given without its `-`: in all, and by its code.
#[cold]
pub fn count_error(tx: &mut Tx<'_>, root: Off<Root>, message: &[u8]) {
    add(tx, field!(field!(root, Root.counters), Counters.errors), 1);
    let end = message.iter().take(LONGEST_CODE + 1).position(|byte| *byte == b' ');
    let wanted = end.filter(|end| *end > 0).map_or(b"ERR".as_slice(), |end| &message[..end]);
    for index in 0..ERRORS {
        let row = error_row(tx, root, index);
        if tx.get(row).len.get() == 0 {
            let mut code = [0; 31];
            code[..wanted.len()].copy_from_slice(wanted);
            tx.hint(field!(row, ErrorRow.code), code);
            tx.hint(field!(row, ErrorRow.len), wanted.len() as u8);
        } else if code(tx, row) != wanted {
            continue;
        }
        return add(tx, field!(row, ErrorRow.count), 1);
    }
}

/// What a process remembers of the rows, by the ids of its own commands. All of it can be found
/// again.
#[derive(Default)]
pub struct Ledger {
    known: Vec<Known>,
    /// Ids of the commands that ran since time was last charged.
    ran: Vec<u16>,
    /// Whether the command that runs has replied with an error.
    pub failed: bool,
}

#[derive(Clone, Copy)]
struct Known {
    /// Null until it was looked for.
    row: Off<CommandRow>,
    /// Calls since time was last charged.
    calls: u32,
}

impl Ledger {
    /// Counts a command that ran, and that it failed if it did.
    #[inline(always)]
    pub fn called(&mut self, tx: &mut Tx<'_>, root: Off<Root>, command: &'static Command) {
        let failed = std::mem::take(&mut self.failed);
        let Some(known) = self.known(tx, root, command) else { return };
        let (row, first) = (known.row, known.calls == 0);
        known.calls += 1;
        add(tx, field!(row, CommandRow.calls), 1);
        if failed {
            add(tx, field!(row, CommandRow.failed), 1);
        }
        if first {
            self.ran.push(command.id);
        }
    }

    /// Counts that a command failed that had been blocked since it was counted, if it has.
    pub fn unblocked(&mut self, tx: &mut Tx<'_>, root: Off<Root>, command: &'static Command) {
        if std::mem::take(&mut self.failed)
            && let Some(known) = self.known(tx, root, command)
        {
            add(tx, field!(known.row, CommandRow.failed), 1);
        }
    }

    /// Counts a command that was refused before it ran.
    pub fn rejected(&mut self, tx: &mut Tx<'_>, root: Off<Root>, command: &'static Command) {
        if let Some(known) = self.known(tx, root, command) {
            add(tx, field!(known.row, CommandRow.rejected), 1);
        }
    }

    /// Whether commands ran to which time has not been charged yet.
    #[inline(always)]
    pub fn owes_time(&self) -> bool {
        !self.ran.is_empty()
    }

    /// Charges time to the commands that ran, the same to each call.
    pub fn charge(&mut self, view: &mut shm::Arena, nanos: u64) {
        let calls = |known: &[Known], id: u16| u64::from(known[usize::from(id)].calls);
        let all: u64 = self.ran.iter().map(|id| calls(&self.known, *id)).sum();
        for id in self.ran.drain(..) {
            let share = nanos / all.max(1) * calls(&self.known, id);
            let known = &mut self.known[usize::from(id)];
            known.calls = 0;
            crate::executor::bump(view, field!(known.row, CommandRow.nanos), share);
        }
    }

    /// Forgets what ran without charging it.
    pub fn forget_time(&mut self) {
        for id in self.ran.drain(..) {
            self.known[usize::from(id)].calls = 0;
        }
    }

    #[inline(always)]
    fn known(
        &mut self,
        tx: &mut Tx<'_>,
        root: Off<Root>,
        command: &'static Command,
    ) -> Option<&mut Known> {
        let id = usize::from(command.id);
        if self.known.get(id).is_none_or(|known| known.row.is_null()) {
            self.find(tx, root, command)?;
        }
        self.known.get_mut(id)
    }

    /// Finds a command's row, or takes a free one; none if there is none any more, after builds
    /// with many different commands.
    #[cold]
    fn find(&mut self, tx: &mut Tx<'_>, root: Off<Root>, command: &'static Command) -> Option<()> {
        if self.known.is_empty() {
            self.known = vec![Known { row: Off::NULL, calls: 0 }; table::all().len()];
        }
        let name = command.name_hash;
        for index in 0..COMMANDS {
            let row = command_row(tx, root, index);
            let there = tx.get(row).name.get().to_native();
            if there == 0 {
                tx.hint(field!(row, CommandRow.name), U32::from_native(name));
            } else if there != name {
                continue;
            }
            self.known[usize::from(command.id)].row = row;
            return Some(());
        }
        None
    }
}

/// Marks the block, and proves that every row has a name of its own and none follows a free one.
pub fn mark(checker: &mut Checker<'_>, root: Off<Root>) {
    let statistics = checker.view().get(root).statistics;
    if !checker.mark(statistics, size_of::<Statistics>() as u64, "statistics") {
        return;
    }
    let view = checker.view();
    let names: Vec<u32> = (0..COMMANDS)
        .map(|index| view.get(command_row(view, root, index)).name.get().to_native())
        .collect();
    let codes: Vec<Vec<u8>> =
        (0..ERRORS).map(|index| code(view, error_row(view, root, index))).collect();
    let (names, codes) = (well_formed(&names, &0), well_formed(&codes, &Vec::new()));
    if !names || !codes {
        checker.finding("statistics: a name stands twice, or behind a free row".into());
    }
}

fn well_formed<T: Ord + Clone>(rows: &[T], free: &T) -> bool {
    let used = rows.iter().take_while(|row| *row != free).count();
    let mut names = rows[..used].to_vec();
    names.sort();
    names.windows(2).all(|pair| pair[0] != pair[1]) && rows[used..].iter().all(|row| row == free)
}
