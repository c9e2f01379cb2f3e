//! What the table knows about a command: the words in which rows are written.
//!
//! A row is a chain of `const` calls that starts with [`cmd`] or [`container`]:
//!
//! ```ignore
//! cmd("get", 2, get).flags(flag::READONLY | flag::FAST).acl(acl::STRING)
//!     .keys(&[at(1).flags(key::RO | key::ACCESS)])
//! ```
//!
//! Only what cannot be derived is written down. The categories that follow from flags (`@read`,
//! `@slow`, ...), the legacy key range (first, last, step) and `movablekeys` are computed here as
//! Redis computes them. Documentation (summary, arguments, ...) is generated data: see
//! `docs.jsonl`.

use crate::executor::{Cx, Outcome};

/// Runs one command: arity and existence have been checked, everything else is the handler's task.
pub type Handler = fn(&mut Cx<'_>) -> Outcome;

/// Finds the keys of a command whose key specs alone do not tell their flags (`SET` reads only with
/// `GET`).
///
/// Gets the whole command, name first. `None`: the arguments make no valid command.
pub type GetKeys = fn(&[&[u8]]) -> Option<Vec<KeyRef>>;

/// One key among the arguments of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRef {
    /// Index in the argument vector; the command's name is 0.
    pub position: usize,
    /// How the key is used: [`key`] bits.
    pub flags: u32,
}

/// Declares a module of bit constants together with the names by which `COMMAND` shows them, in its
/// order.
macro_rules! bits {
    ($(#[$doc:meta])* $module:ident { $($(#[$item:meta])* $name:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[expect(missing_docs, reason = "the names are those of Redis's COMMAND manual page")]
        pub mod $module {
            #[allow(
                non_camel_case_types,
                clippy::upper_case_acronyms,
                reason = "only counts the bits"
            )]
            enum Bit { $($name,)* }
            $($(#[$item])* pub const $name: u32 = 1 << Bit::$name as u32;)*
            /// Every bit with its name, in the order of Redis's replies. Hidden bits have an empty
            /// name.
            pub const NAMES: &[(u32, &str)] = &[$(($name, $text),)*];
        }
    };
}

bits! {
    /// Command flags.
    flag {
        WRITE = "write",
        READONLY = "readonly",
        DENYOOM = "denyoom",
        MODULE = "module",
        ADMIN = "admin",
        PUBSUB = "pubsub",
        NOSCRIPT = "noscript",
        BLOCKING = "blocking",
        LOADING = "loading",
        STALE = "stale",
        SKIP_MONITOR = "skip_monitor",
        SKIP_SLOWLOG = "skip_slowlog",
        ASKING = "asking",
        FAST = "fast",
        NO_AUTH = "no_auth",
        /// Held back by a pause of writes (`PUBLISH`); not shown.
        MAY_REPLICATE = "",
        NO_MANDATORY_KEYS = "no_mandatory_keys",
        /// Refused unless an `enable-*-command` directive allows it (`DEBUG`); not shown.
        PROTECTED = "",
        NO_ASYNC_LOADING = "no_async_loading",
        NO_MULTI = "no_multi",
        MOVABLEKEYS = "movablekeys",
        ALLOW_BUSY = "allow_busy",
    }
}

bits! {
    /// ACL categories; names are shown with an `@` before them.
    acl {
        KEYSPACE = "keyspace",
        READ = "read",
        WRITE = "write",
        SET = "set",
        SORTEDSET = "sortedset",
        LIST = "list",
        HASH = "hash",
        STRING = "string",
        BITMAP = "bitmap",
        HYPERLOGLOG = "hyperloglog",
        GEO = "geo",
        STREAM = "stream",
        PUBSUB = "pubsub",
        ADMIN = "admin",
        FAST = "fast",
        SLOW = "slow",
        BLOCKING = "blocking",
        DANGEROUS = "dangerous",
        CONNECTION = "connection",
        TRANSACTION = "transaction",
        SCRIPTING = "scripting",
    }
}

bits! {
    /// What a command does with a key: one of `RO RW OW RM` for the value as a whole, then what it
    /// does with user data.
    key {
        RO = "RO",
        RW = "RW",
        OW = "OW",
        RM = "RM",
        ACCESS = "access",
        UPDATE = "update",
        INSERT = "insert",
        DELETE = "delete",
        NOT_KEY = "not_key",
        INCOMPLETE = "incomplete",
        VARIABLE_FLAGS = "variable_flags",
    }
}

/// Where the keys of a key spec begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At this argument.
    Index(i32),
    /// After this word, searched from an argument on (backwards from a negative one).
    Keyword(&'static str, i32),
    /// It cannot be told.
    Unknown,
}

/// Which arguments from there on are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// Every `step`-th up to `last`: relative to the first, or from the end if negative; then
    /// `limit` > 1 takes only the first 1/`limit` of what remains.
    Range {
        /// The last key.
        last: i32,
        /// Distance from key to key.
        step: i32,
        /// Divisor of the remaining arguments; 0 and 1 mean none.
        limit: i32,
    },
    /// As many as the argument at `number` says, from `first` on, both relative to the beginning.
    KeyNum {
        /// The argument that holds the count.
        number: i32,
        /// The first key.
        first: i32,
        /// Distance from key to key.
        step: i32,
    },
    /// It cannot be told.
    Unknown,
}

/// One group of keys among a command's arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// Remark shown by `COMMAND INFO`; empty for none.
    pub notes: &'static str,
    /// [`key`] bits.
    pub flags: u32,
    /// Where the keys begin.
    pub begin: Begin,
    /// Which arguments are keys from there.
    pub find: Find,
}

/// A single key at argument `index`.
pub const fn at(index: i32) -> KeySpec {
    let find = Find::Range { last: 0, step: 1, limit: 0 };
    KeySpec { notes: "", flags: 0, begin: Begin::Index(index), find }
}

/// A single key after the word `keyword`, searched from argument `from` on.
pub const fn after(keyword: &'static str, from: i32) -> KeySpec {
    KeySpec { begin: Begin::Keyword(keyword, from), ..at(0) }
}

/// Keys that no rule finds.
pub const fn anywhere() -> KeySpec {
    KeySpec { begin: Begin::Unknown, find: Find::Unknown, ..at(0) }
}

impl KeySpec {
    /// A range of keys: see [`Find::Range`].
    pub const fn to(self, last: i32, step: i32, limit: i32) -> Self {
        Self { find: Find::Range { last, step, limit }, ..self }
    }

    /// Counted keys: see [`Find::KeyNum`].
    pub const fn counted(self, number: i32, first: i32, step: i32) -> Self {
        Self { find: Find::KeyNum { number, first, step }, ..self }
    }

    /// How the keys are used: [`key`] bits.
    pub const fn flags(self, flags: u32) -> Self {
        Self { flags, ..self }
    }

    /// The remark that `COMMAND INFO` shows.
    pub const fn notes(self, notes: &'static str) -> Self {
        Self { notes, ..self }
    }
}

/// A row of the command table. Built with [`cmd`] or [`container`].
#[derive(Clone, Copy, Debug)]
pub struct CommandSpec {
    /// Lower case; `container|subcommand` for a subcommand.
    pub full_name: &'static str,
    /// Arguments with the name (with both names for a subcommand): exactly so many, or at least
    /// `-arity`.
    pub arity: i32,
    /// [`flag`] bits, the derived `movablekeys` among them.
    pub flags: u32,
    /// [`acl`] bits, with those that follow from the flags.
    pub acl: u32,
    /// First key of the legacy range, 0 if there is none.
    pub first_key: i32,
    /// Last key of the legacy range, from the end if negative.
    pub last_key: i32,
    /// Distance from key to key in the legacy range.
    pub step: i32,
    /// Hints to clients and proxies.
    pub tips: &'static [&'static str],
    /// Where the keys are.
    pub key_specs: &'static [KeySpec],
    /// The rows of a container command.
    pub subcommands: &'static [CommandSpec],
    /// Runs the command; a container's own handler runs only for the bare name (`COMMAND`).
    pub handler: Handler,
    /// Finds keys and their flags where the key specs say `variable_flags`.
    pub get_keys: Option<GetKeys>,
}

/// Starts the row of a command or subcommand that `handler` runs.
pub const fn cmd(full_name: &'static str, arity: i32, handler: Handler) -> CommandSpec {
    CommandSpec {
        full_name,
        arity,
        flags: 0,
        acl: acl::SLOW,
        first_key: 0,
        last_key: 0,
        step: 0,
        tips: &[],
        key_specs: &[],
        subcommands: &[],
        handler,
        get_keys: None,
    }
}

/// Starts the row of a command that exists only through its subcommands.
pub const fn container(full_name: &'static str, arity: i32) -> CommandSpec {
    cmd(full_name, arity, super::not_a_command)
}

impl CommandSpec {
    /// Adds [`flag`] bits, and the categories that follow from them.
    pub const fn flags(self, flags: u32) -> Self {
        let flags = self.flags | flags;
        Self { flags, acl: with_implied_categories(self.acl, flags), ..self }
    }

    /// Adds [`acl`] categories that do not follow from the flags.
    pub const fn acl(self, categories: u32) -> Self {
        Self { acl: with_implied_categories(self.acl | categories, self.flags), ..self }
    }

    /// The key specs; sets the legacy range and `movablekeys` too.
    pub const fn keys(self, key_specs: &'static [KeySpec]) -> Self {
        let (range, movable) = legacy_range(key_specs);
        let flags = if movable { self.flags | flag::MOVABLEKEYS } else { self.flags };
        let (first_key, last_key, step) = range;
        Self { key_specs, flags, first_key, last_key, step, ..self }
    }

    /// Hints to clients and proxies.
    pub const fn tips(self, tips: &'static [&'static str]) -> Self {
        Self { tips, ..self }
    }

    /// The rows of a container.
    pub const fn subcommands(self, subcommands: &'static [CommandSpec]) -> Self {
        Self { subcommands, ..self }
    }

    /// A function that finds the keys where the specs do not say enough.
    pub const fn get_keys(self, get_keys: GetKeys) -> Self {
        Self { get_keys: Some(get_keys), ..self }
    }

    /// The name without its container's.
    pub fn name(&self) -> &'static str {
        self.full_name.rsplit('|').next().unwrap_or(self.full_name)
    }

    /// Whether a command of `argc` arguments, its name among them, has enough and not too many.
    #[inline]
    pub const fn arity_allows(&self, argc: usize) -> bool {
        let wanted = self.arity.unsigned_abs() as usize;
        if self.arity >= 0 { argc == wanted } else { argc >= wanted }
    }

    /// Whether any of these [`flag`] bits is set.
    #[inline]
    pub const fn is(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }
}

/// The categories that Redis derives from flags.
const fn with_implied_categories(mut categories: u32, flags: u32) -> u32 {
    if flags & flag::WRITE != 0 {
        categories |= acl::WRITE;
    }
    if flags & flag::READONLY != 0 && categories & acl::SCRIPTING == 0 {
        categories |= acl::READ;
    }
    if flags & flag::ADMIN != 0 {
        categories |= acl::ADMIN | acl::DANGEROUS;
    }
    if flags & flag::PUBSUB != 0 {
        categories |= acl::PUBSUB;
    }
    if flags & flag::BLOCKING != 0 {
        categories |= acl::BLOCKING;
    }
    if flags & flag::FAST != 0 {
        return (categories | acl::FAST) & !acl::SLOW;
    }
    categories
}

/// The range (first, last, step) that stands for all key specs in the old part of `COMMAND INFO`,
/// and whether it misses keys. Consecutive specs of step 1 are joined, as Redis does.
const fn legacy_range(specs: &[KeySpec]) -> ((i32, i32, i32), bool) {
    let (mut first, mut last, mut step, mut movable) = (0, 0, 0, false);
    let mut i = 0;
    while i < specs.len() {
        let spec = specs[i];
        i += 1;
        movable |= spec.flags & key::INCOMPLETE != 0;
        let (Begin::Index(at), Find::Range { last: to, step: by, .. }) = (spec.begin, spec.find)
        else {
            movable = true;
            continue;
        };
        let plain = specs.len() == 1 || (by == 1 && (first == 0 || last == at - 1));
        if !plain {
            movable = true;
            continue;
        }
        if first == 0 {
            first = at;
        }
        last = if to >= 0 { at + to } else { to };
        step = by;
    }
    ((first, last, step), movable)
}
