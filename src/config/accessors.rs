//! Typed access to the directives that the server reads, or will once it has the values they
//! speak of.

use super::directives::{Id, id};
use super::kind::{BufferLimits, Kind, Value};
use super::values::ConfigValues;

/// Reads one directive as what it is; the table says that it is that.
macro_rules! accessors {
    ($($(#[$doc:meta])* $name:ident: $kind:tt $directive:literal;)*) => {
        impl ConfigValues {
            $($(#[$doc])*
            #[doc = concat!("`", $directive, "`.")]
            pub fn $name(&self) -> accessors!(@type $kind) {
                const ID: Id = id($directive);
                accessors!(@read $kind, self.get(ID))
            })*
        }
    };
    (@type bool) => { bool };
    (@type text) => { &[u8] };
    (@type limits) => { &BufferLimits };
    (@type choice) => { &'static str };
    (@type $number:ident) => { $number };
    (@read bool, $value:expr) => {
        match $value { Value::Bool(value) => *value, other => mistyped(other) }
    };
    (@read text, $value:expr) => {
        match $value { Value::Text(value) => value.as_slice(), other => mistyped(other) }
    };
    (@read limits, $value:expr) => {
        match $value { Value::Limits(value) => value, other => mistyped(other) }
    };
    (@read choice, $value:expr) => {
        match (ID.directive().kind, $value) {
            (Kind::Choice(words), Value::Choice(at)) => words[*at],
            (_, other) => mistyped(other),
        }
    };
    (@read $number:ident, $value:expr) => {
        match $value {
            Value::Number(value) => <$number>::try_from(*value).unwrap_or($number::MAX),
            other => mistyped(other),
        }
    };
}

fn mistyped(value: &Value) -> ! {
    unreachable!("an accessor reads {value:?} as another kind than the table says")
}

accessors! {
    /// Addresses to listen on, separated by spaces; `-` before one makes it optional.
    bind: text "bind";
    /// TCP port; 0 for none.
    port: u16 "port";
    /// Path of the Unix socket; empty for none.
    unixsocket: text "unixsocket";
    /// File mode of the Unix socket; 0 leaves it to the umask.
    unixsocketperm: u32 "unixsocketperm";
    /// Length of the accept queue.
    tcp_backlog: u32 "tcp-backlog";
    /// Seconds between probes of an idle connection; 0 for none.
    tcp_keepalive: u32 "tcp-keepalive";
    /// Seconds after which an idle client is closed; 0 for never.
    timeout: u32 "timeout";
    /// Whether clients from elsewhere are refused while there is no password.
    protected_mode: bool "protected-mode";
    /// Most clients at a time.
    maxclients: u32 "maxclients";
    /// Password of the default user; empty for none.
    requirepass: text "requirepass";
    /// Longest bulk string of a request, in bytes.
    proto_max_bulk_len: u64 "proto-max-bulk-len";
    /// Whether blocks are moved so that memory can be given back.
    activedefrag: bool "activedefrag";
    /// From which share of waste on, in percent of what is used.
    active_defrag_threshold_lower: u64 "active-defrag-threshold-lower";
    /// From which share of waste on the most time is taken, in percent of what is used.
    active_defrag_threshold_upper: u64 "active-defrag-threshold-upper";
    /// Share of the time that moving blocks takes at the lower threshold, in percent.
    active_defrag_cycle_min: u64 "active-defrag-cycle-min";
    /// The same at the upper threshold, and while no client has anything to do.
    active_defrag_cycle_max: u64 "active-defrag-cycle-max";
    /// From how many bytes of waste on.
    active_defrag_ignore_bytes: u64 "active-defrag-ignore-bytes";
    /// Most bytes of a client's unread requests.
    client_query_buffer_limit: u64 "client-query-buffer-limit";
    /// Limits of unsent replies, per class of client.
    client_output_buffer_limit: limits "client-output-buffer-limit";
    /// Number of databases.
    databases: u32 "databases";
    /// Background rounds per second.
    hz: u32 "hz";
    /// Working directory as it was set; empty for where the server was started.
    dir: text "dir";
    /// Log file; empty for the standard stream.
    logfile: text "logfile";
    /// `debug`, `verbose`, `notice` or `warning`.
    loglevel: choice "loglevel";
    /// File that holds the pid; empty for none.
    pidfile: text "pidfile";
    /// `no`, `yes`, or `local` for clients on this machine.
    enable_debug_command: choice "enable-debug-command";
    /// `no`, `yes`, or `local` for clients on this machine.
    enable_protected_configs: choice "enable-protected-configs";
    /// Seconds that a shutdown waits for replicas.
    shutdown_timeout: u32 "shutdown-timeout";
    /// Milliseconds after which a busy server answers `BUSY`.
    busy_reply_threshold: u64 "busy-reply-threshold";
    /// Most bytes of data; 0 for no limit.
    maxmemory: u64 "maxmemory";
    /// What goes when memory is short, or `noeviction`.
    maxmemory_policy: choice "maxmemory-policy";
    /// Keys looked at for each one evicted.
    maxmemory_samples: u32 "maxmemory-samples";
    /// How slowly the access counter of a key grows.
    lfu_log_factor: u32 "lfu-log-factor";
    /// Minutes in which the access counter of a key falls by one.
    lfu_decay_time: u32 "lfu-decay-time";
    /// How hard expired keys are looked for, 1 to 10.
    active_expire_effort: u32 "active-expire-effort";
    /// Whether evicted values are freed in the background.
    lazyfree_lazy_eviction: bool "lazyfree-lazy-eviction";
    /// Whether expired values are freed in the background.
    lazyfree_lazy_expire: bool "lazyfree-lazy-expire";
    /// Whether overwritten values are freed in the background.
    lazyfree_lazy_server_del: bool "lazyfree-lazy-server-del";
    /// Whether `DEL` is `UNLINK`.
    lazyfree_lazy_user_del: bool "lazyfree-lazy-user-del";
    /// Whether `FLUSHALL` and `FLUSHDB` are `ASYNC` unless they say `SYNC`.
    lazyfree_lazy_user_flush: bool "lazyfree-lazy-user-flush";
    /// Keys that are remembered for `CLIENT TRACKING`; 0 for any number.
    tracking_table_max_keys: u64 "tracking-table-max-keys";
    /// Redis's bits of the event classes that are published; 0 for none.
    notify_keyspace_events: u32 "notify-keyspace-events";
    /// Microseconds from which on a command is logged as slow; negative for never.
    slowlog_log_slower_than: i64 "slowlog-log-slower-than";
    /// Entries kept in the slow log.
    slowlog_max_len: u64 "slowlog-max-len";
    /// Whether strings are compressed where values are serialised.
    rdbcompression: bool "rdbcompression";
    /// Most fields of a hash that is kept as one packed list.
    hash_max_listpack_entries: u64 "hash-max-listpack-entries";
    /// Most bytes of a field or value of such a hash.
    hash_max_listpack_value: u64 "hash-max-listpack-value";
    /// Most entries (positive) or bytes (by class, negative) of a packed chunk of a list.
    list_max_listpack_size: i32 "list-max-listpack-size";
    /// Chunks at either end of a list that are not compressed; 0 for no compression.
    list_compress_depth: u32 "list-compress-depth";
    /// Most members of a set that is kept as sorted integers.
    set_max_intset_entries: u64 "set-max-intset-entries";
    /// Most bytes of a HyperLogLog that is kept sparse.
    hll_sparse_max_bytes: u64 "hll-sparse-max-bytes";
    /// Most members of a sorted set that is kept as one packed list.
    zset_max_listpack_entries: u64 "zset-max-listpack-entries";
    /// Most bytes of a member of such a sorted set.
    zset_max_listpack_value: u64 "zset-max-listpack-value";
    /// Most bytes of a node of a stream, as a listpack; 0 for no limit.
    stream_node_max_bytes: u64 "stream-node-max-bytes";
    /// Most entries of a node of a stream; 0 for no limit.
    stream_node_max_entries: u64 "stream-node-max-entries";
}

#[cfg(test)]
mod tests {
    use crate::config::{Authority, ConfigValues};

    #[test]
    fn accessors_read_what_was_set() {
        let mut values = ConfigValues::default();
        assert_eq!((values.port(), values.databases(), values.maxclients()), (6379, 16, 10_000));
        assert_eq!(values.client_output_buffer_limit().pubsub.soft_seconds, 60);
        assert_eq!(values.maxmemory_policy(), "noeviction");
        let pairs: [(&[u8], &[u8]); 4] = [
            (b"maxmemory", b"18446744073709551615"),
            (b"slowlog-log-slower-than", b"-1"),
            (b"list-max-listpack-size", b"-5"),
            (b"requirepass", b"\xff\0"),
        ];
        values = values.prepare(&pairs, Authority::Client).expect("valid").values;
        assert_eq!((values.maxmemory(), values.slowlog_log_slower_than()), (u64::MAX, -1));
        assert_eq!((values.list_max_listpack_size(), values.requirepass()), (-5, &b"\xff\0"[..]));
    }
}
