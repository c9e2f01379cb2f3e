//! The values in force.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use thiserror::Error;

use super::directives::{self, Directive, Id, Mutability};
use super::kind::{BufferLimits, Value};
use crate::util::glob::{self, Case};

/// The value of every directive. Cheap to read, cloned as a whole when `CONFIG SET` prepares a
/// change.
#[derive(Clone, Debug)]
pub struct ConfigValues {
    values: Vec<Value>,
}

/// On whose behalf a value is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// Command line and configuration file: everything can be set.
    Startup,
    /// `CONFIG SET` of a client that may not change protected directives.
    Client,
    /// `CONFIG SET` of a client that may (`enable-protected-configs`).
    TrustedClient,
}

/// Values that have passed every check, not yet in force.
#[derive(Clone, Debug)]
pub struct Update {
    /// All values, the changed ones among them: what is to replace the values in force.
    pub values: ConfigValues,
    /// The directives whose value differs now, each once, in the order given.
    pub changed: Vec<Id>,
}

/// Why `CONFIG SET` changed nothing. Shown as the error reply, without its `ERR`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// A name without a value.
    #[error("syntax error")]
    Syntax,
    /// No such directive.
    #[error("Unknown option or number of arguments for CONFIG SET - '{0}'")]
    Unknown(String),
    /// A value was refused, or could not be applied.
    #[error("CONFIG SET failed (possibly related to argument '{argument}') - {reason}")]
    Failed {
        /// The directive.
        argument: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ConfigError {
    /// The error of a directive whose value is fine, but whose effect could not be had (a port in
    /// use, say).
    pub fn failed(directive: &Directive, reason: impl Into<String>) -> Self {
        Self::Failed { argument: directive.name.to_owned(), reason: reason.into() }
    }
}

impl Default for ConfigValues {
    fn default() -> Self {
        DEFAULTS.clone()
    }
}

/// Every directive's default, read once: a successor must not spend its freeze on it.
static DEFAULTS: LazyLock<ConfigValues> = LazyLock::new(|| {
    let parse = |directive: &Directive| {
        let none = Value::Limits(BufferLimits::default());
        directive.kind.parse(directive.default.as_bytes(), &none).unwrap_or_else(|refusal| {
            unreachable!("the default of {} is refused: {refusal}", directive.name)
        })
    };
    ConfigValues { values: directives::all().iter().map(parse).collect() }
});

impl ConfigValues {
    /// The value of a directive.
    pub fn get(&self, id: Id) -> &Value {
        &self.values[usize::from(id.0)]
    }

    /// The value of a directive as `CONFIG GET` shows it.
    pub fn show(&self, id: Id) -> Vec<u8> {
        id.directive().kind.show(self.get(id))
    }

    /// Answers `CONFIG GET`: names, as asked for or as matched, with their values; each name once.
    ///
    /// As in Redis, a name without wildcards is shown as it was written, and finds hidden
    /// directives too.
    pub fn matching(&self, patterns: &[&[u8]]) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut found = BTreeMap::new();
        // Whatever the case in which it was written: the first spelling stays.
        let mut add = |name: &[u8], value: Vec<u8>| {
            if !found.keys().any(|known: &Vec<u8>| known.eq_ignore_ascii_case(name)) {
                found.insert(name.to_vec(), value);
            }
        };
        for pattern in patterns {
            if !pattern.iter().any(|byte| b"[*?".contains(byte)) {
                if let Some(id) = directives::find(pattern) {
                    add(pattern, self.show(id));
                }
                continue;
            }
            for (id, directive) in directives::entries().filter(|(_, directive)| !directive.hidden)
            {
                let matches = |name: &&str| glob::matches(pattern, name.as_bytes(), Case::Ignored);
                for name in directive.names().filter(matches) {
                    add(name.as_bytes(), self.show(id));
                }
            }
        }
        found
    }

    /// Checks the pairs of a `CONFIG SET` (or of the command line) without changing anything.
    ///
    /// The caller applies what has effects outside of the values (sockets, limits), then puts
    /// `values` in force.
    ///
    /// # Errors
    /// As Redis reports them: the first name that is unknown, may not be set or is given twice;
    /// then the first value that is refused.
    pub fn prepare(
        &self,
        pairs: &[(&[u8], &[u8])],
        authority: Authority,
    ) -> Result<Update, ConfigError> {
        let mut chosen: Vec<(Id, &[u8])> = Vec::with_capacity(pairs.len());
        for (name, _) in pairs {
            let id = directives::find(name).ok_or_else(|| ConfigError::Unknown(printable(name)))?;
            let named_before = chosen.iter().any(|(_, other)| other.eq_ignore_ascii_case(name));
            if let Some(reason) = forbidden(id, named_before, authority) {
                let argument = printable(name);
                return Err(ConfigError::Failed { argument, reason: reason.to_owned() });
            }
            chosen.push((id, name));
        }
        let mut update = Update { values: self.clone(), changed: Vec::new() };
        for ((id, _), (_, text)) in chosen.into_iter().zip(pairs) {
            let directive = id.directive();
            let place = &mut update.values.values[usize::from(id.0)];
            let value = directive.kind.parse(text, place);
            *place = value.map_err(|refusal| ConfigError::failed(directive, refusal))?;
            if place != self.get(id) && !update.changed.contains(&id) {
                update.changed.push(id);
            }
        }
        Ok(update)
    }

    /// Whether a client may use what `enable-debug-command` guards; `local` says that it is on this
    /// machine (loopback or Unix socket).
    pub fn allows_debug(&self, local: bool) -> bool {
        allows(self.enable_debug_command(), local)
    }

    /// The authority with which a client's `CONFIG SET` is checked.
    pub fn authority_of(&self, local: bool) -> Authority {
        if allows(self.enable_protected_configs(), local) {
            Authority::TrustedClient
        } else {
            Authority::Client
        }
    }

    /// The archive in which the values pass to the next generation: names and texts of those that
    /// are not the default, so that another build with other directives can read it.
    pub fn to_archive(&self) -> Vec<u8> {
        let defaults = Self::default();
        let set = directives::entries().filter(|(id, _)| self.get(*id) != defaults.get(*id));
        let archive = Archive {
            values: set.map(|(id, row)| (row.name.into(), row.kind.store(self.get(id)))).collect(),
        };
        let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&archive);
        bytes.expect("strings and bytes can always be archived").into_vec()
    }

    /// Reads [`to_archive`](Self::to_archive)'s bytes, and says which directives this build does
    /// not know or whose value it refuses: they have their defaults.
    ///
    /// # Errors
    /// If the bytes are no such archive.
    pub fn from_archive(bytes: &[u8]) -> Result<(Self, Vec<String>), ArchiveError> {
        let archive: Archive = rkyv::from_bytes::<Archive, rkyv::rancor::Error>(bytes)
            .map_err(|error| ArchiveError(error.to_string()))?;
        let (mut read, mut dropped) = (Self::default(), Vec::new());
        for (name, text) in archive.values {
            match read.prepare(&[(name.as_bytes(), &text)], Authority::Startup) {
                Ok(update) => read = update.values,
                Err(_) => dropped.push(name),
            }
        }
        Ok((read, dropped))
    }
}

fn allows(setting: &str, local: bool) -> bool {
    setting == "yes" || (setting == "local" && local)
}

/// The bytes that should hold the configuration do not.
#[derive(Debug, Error)]
#[error(
    "the stored configuration is damaged ({0}); start again with flags or a configuration file"
)]
pub struct ArchiveError(String);

/// What is stored: directive and value, as `CONFIG SET` takes them.
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct Archive {
    values: Vec<(String, Vec<u8>)>,
}

/// Why this directive may not be set, if so.
fn forbidden(id: Id, named_before: bool, authority: Authority) -> Option<&'static str> {
    match (id.directive().mutability, authority) {
        (Mutability::Immutable, Authority::Client | Authority::TrustedClient) => {
            Some("can't set immutable config")
        }
        (Mutability::Protected, Authority::Client) => Some("can't set protected config"),
        _ if named_before => Some("duplicate parameter"),
        _ => None,
    }
}

/// A client's bytes inside an error: up to the first NUL, as C would print them.
fn printable(name: &[u8]) -> String {
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    String::from_utf8_lossy(&name[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(values: &mut ConfigValues, pairs: &[(&str, &str)]) -> Result<Vec<&'static str>, String> {
        let pairs: Vec<_> =
            pairs.iter().map(|(name, text)| (name.as_bytes(), text.as_bytes())).collect();
        let update =
            values.prepare(&pairs, Authority::Client).map_err(|error| error.to_string())?;
        *values = update.values;
        Ok(update.changed.iter().map(|id| id.directive().name).collect())
    }

    fn shown(values: &ConfigValues, name: &str) -> String {
        let id = directives::find(name.as_bytes()).expect(name);
        String::from_utf8(values.show(id)).expect("text")
    }

    #[test]
    fn defaults_are_shown_as_the_table_writes_them() {
        let values = ConfigValues::default();
        for (id, directive) in directives::entries() {
            assert_eq!(
                String::from_utf8_lossy(&values.show(id)),
                directive.default,
                "{}",
                directive.name
            );
        }
    }

    #[test]
    fn names_and_aliases_are_unique() {
        let mut names: Vec<_> = directives::all().iter().flat_map(Directive::names).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn several_pairs_are_set_together_or_not_at_all() {
        let mut values = ConfigValues::default();
        assert_eq!(
            set(&mut values, &[("timeout", "5"), ("HZ", "1000")]),
            Ok(vec!["timeout", "hz"])
        );
        assert_eq!((shown(&values, "timeout"), shown(&values, "hz")), ("5".into(), "500".into()));
        let failed = set(&mut values, &[("timeout", "7"), ("maxclients", "0")]);
        let why = "CONFIG SET failed (possibly related to argument 'maxclients') - \
                   argument must be between 1 and 4294967295 inclusive";
        assert_eq!(failed, Err(why.into()));
        assert_eq!(shown(&values, "timeout"), "5");
        assert_eq!(set(&mut values, &[("timeout", "5")]), Ok(vec![]));
    }

    #[test]
    fn an_alias_is_the_same_directive() {
        let mut values = ConfigValues::default();
        set(&mut values, &[("hash-max-ziplist-entries", "10")]).expect("set");
        let found = values.matching(&[b"hash-max-*-entries"]);
        let names: Vec<_> = found.keys().map(Vec::as_slice).collect();
        assert_eq!(names, [&b"hash-max-listpack-entries"[..], b"hash-max-ziplist-entries"]);
        assert!(found.values().all(|value| value == b"10"));
        // Both names in one request are no duplicate, as in Redis: the later one stands.
        set(&mut values, &[("lua-time-limit", "1"), ("busy-reply-threshold", "2")]).expect("set");
        assert_eq!(shown(&values, "lua-time-limit"), "2");
    }

    #[test]
    fn get_shows_names_as_asked_and_hides_the_hidden_from_patterns() {
        let values = ConfigValues::default();
        let found = values.matching(&[
            b"MaxClients",
            b"maxclient?",
            b"maxmemory-client?",
            b"key-load-delay",
            b"rdb-key-*",
            b"nosuch",
        ]);
        let names: Vec<_> =
            found.into_keys().map(|name| String::from_utf8(name).expect("text")).collect();
        assert_eq!(names, ["MaxClients", "key-load-delay", "maxmemory-clients"]);
    }

    #[test]
    fn what_is_protected_can_be_allowed_at_the_start() {
        let values = ConfigValues::default();
        assert!(!values.allows_debug(true));
        let pairs: [(&[u8], &[u8]); 2] =
            [(b"enable-debug-command", b"local"), (b"enable-protected-configs", b"yes")];
        assert!(values.prepare(&pairs, Authority::TrustedClient).is_err());
        let values = values.prepare(&pairs, Authority::Startup).expect("start").values;
        assert!(values.allows_debug(true) && !values.allows_debug(false));
        assert_eq!(values.authority_of(false), Authority::TrustedClient);
        assert!(values.prepare(&[(b"dbfilename", b"a")], values.authority_of(false)).is_ok());
    }

    #[test]
    fn the_archive_brings_every_value_back() {
        let mut values = ConfigValues::default();
        let pairs = [
            ("requirepass", "a secret"),
            ("client-output-buffer-limit", "replica 1mb 2 3 pubsub 4 5 6"),
            ("notify-keyspace-events", "KAn"),
            ("maxmemory-clients", "5%"),
            ("shutdown-on-sigterm", "nosave now"),
            ("maxmemory", "1gb"),
            ("save", ""),
            ("port", "0"),
            ("bind", ""),
        ];
        set(&mut values, &pairs).expect("set");
        let (read, dropped) = ConfigValues::from_archive(&values.to_archive()).expect("archive");
        assert_eq!((read.values, dropped), (values.values, vec![]));
        assert!(ConfigValues::from_archive(b"nonsense").is_err());
    }
}
