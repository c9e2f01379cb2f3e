//! The table of directives, with the names, bounds and defaults of redis-server 7.0.15.

use super::kind::{Kind, choice, int, memory};

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Directive {
    /// The name under which it is shown and stored.
    pub name: &'static str,
    /// A second name from older Redis versions, shown by `CONFIG GET` beside the first.
    pub alias: Option<&'static str>,
    /// What values it takes.
    pub kind: Kind,
    /// The value without any configuration, as text.
    pub default: &'static str,
    /// Who may change it, once the server runs.
    pub mutability: Mutability,
    /// Shown by `CONFIG GET` only to those who give the exact name.
    pub hidden: bool,
    /// Accepted and stored, but without effect in hotredis.
    pub inert: bool,
}

/// Who may change a directive, once the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutability {
    /// `CONFIG SET`.
    Free,
    /// `CONFIG SET`, if `enable-protected-configs` allows it.
    Protected,
    /// Nobody.
    Immutable,
}

/// The place of a directive in [`all`]. Differs between builds: archives hold names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(pub(super) u16);

const INT_MAX: i128 = i32::MAX as i128;
const UINT_MAX: i128 = u32::MAX as i128;
const I64_MAX: i128 = i64::MAX as i128;
const U64_MAX: i128 = u64::MAX as i128;
const MIB: i128 = 1 << 20;

const PROTECTED_ACTION: &[&str] = &["no", "yes", "local"];

const fn directive(name: &'static str, kind: Kind, default: &'static str) -> Directive {
    let mutability = Mutability::Free;
    Directive { name, alias: None, kind, default, mutability, hidden: false, inert: false }
}

impl Directive {
    const fn alias(self, alias: &'static str) -> Self {
        Self { alias: Some(alias), ..self }
    }

    const fn immutable(self) -> Self {
        Self { mutability: Mutability::Immutable, ..self }
    }

    const fn protected(self) -> Self {
        Self { mutability: Mutability::Protected, ..self }
    }

    const fn hidden(self) -> Self {
        Self { hidden: true, ..self }
    }

    const fn inert(self) -> Self {
        Self { inert: true, ..self }
    }

    /// The name, then the alias if there is one.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.alias)
    }
}

/// Listening, connections, limits of one client.
const NETWORK: &[Directive] = &[
    directive("bind", Kind::Bind, "* -::*"),
    directive("port", int(0, 65535), "6379"),
    directive("unixsocket", Kind::Text, "").immutable(),
    directive("unixsocketperm", Kind::Octal { max: 0o777 }, "0").immutable(),
    directive("tcp-backlog", int(0, INT_MAX), "511").immutable(),
    directive("tcp-keepalive", int(0, INT_MAX), "300"),
    directive("timeout", int(0, INT_MAX), "0"),
    directive("protected-mode", Kind::Bool, "yes"),
    directive("maxclients", int(1, UINT_MAX), "10000"),
    directive("bind-source-addr", Kind::Text, "").inert(),
    directive("socket-mark-id", int(0, UINT_MAX), "0").immutable().inert(),
    directive("requirepass", Kind::Text, ""),
    directive("masteruser", Kind::Text, "").inert(),
    directive("masterauth", Kind::Text, "").inert(),
    directive("proto-max-bulk-len", memory(MIB, I64_MAX), "536870912"),
    directive("client-query-buffer-limit", memory(MIB, I64_MAX), "1073741824"),
    directive(
        "client-output-buffer-limit",
        Kind::BufferLimits,
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
    ),
    directive("maxmemory-clients", Kind::MemoryOrPercent, "0").inert(),
];

/// The process and its surroundings.
const GENERAL: &[Directive] = &[
    directive("databases", int(1, INT_MAX), "16").immutable(),
    directive("hz", Kind::Clamped { min: 1, max: 500 }, "10"),
    directive("dynamic-hz", Kind::Bool, "yes").inert(),
    directive("dir", Kind::Text, "").protected().inert(),
    directive("logfile", Kind::Text, "").immutable().inert(),
    directive("loglevel", choice(&["debug", "verbose", "notice", "warning"]), "notice"),
    directive("pidfile", Kind::Text, "").immutable(),
    directive("daemonize", Kind::Bool, "no").immutable().inert(),
    directive("supervised", choice(&["upstart", "systemd", "auto", "no"]), "no")
        .immutable()
        .inert(),
    directive("set-proc-title", Kind::Bool, "yes").immutable().inert(),
    directive("proc-title-template", Kind::TitleTemplate, "{title} {listen-addr} {server-mode}")
        .inert(),
    directive("always-show-logo", Kind::Bool, "no").immutable().inert(),
    directive("syslog-enabled", Kind::Bool, "no").immutable().inert(),
    directive("syslog-ident", Kind::Text, "redis").immutable().inert(),
    directive(
        "syslog-facility",
        choice(&[
            "user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
        ]),
        "local0",
    )
    .immutable()
    .inert(),
    directive("enable-debug-command", choice(PROTECTED_ACTION), "no").immutable(),
    directive("enable-module-command", choice(PROTECTED_ACTION), "no").immutable().inert(),
    directive("enable-protected-configs", choice(PROTECTED_ACTION), "no").immutable(),
    directive("shutdown-timeout", int(0, INT_MAX), "10").inert(),
    directive("shutdown-on-sigterm", Kind::Shutdown, "default").inert(),
    directive("shutdown-on-sigint", Kind::Shutdown, "default").inert(),
    directive("io-threads", int(1, 128), "1").immutable().inert(),
    directive("io-threads-do-reads", Kind::Bool, "no").immutable().inert(),
    directive("crash-log-enabled", Kind::Bool, "yes").inert(),
    directive("crash-memcheck-enabled", Kind::Bool, "yes").inert(),
    directive("disable-thp", Kind::Bool, "yes").immutable().inert(),
    directive("ignore-warnings", Kind::Text, "").inert(),
    directive("oom-score-adj", choice(&["no", "yes", "relative", "absolute"]), "no").inert(),
    directive("oom-score-adj-values", Kind::OomScores, "0 200 800").inert(),
    directive("server_cpulist", Kind::Text, "").immutable().inert(),
    directive("bio_cpulist", Kind::Text, "").immutable().inert(),
    directive("aof_rewrite_cpulist", Kind::Text, "").immutable().inert(),
    directive("bgsave_cpulist", Kind::Text, "").immutable().inert(),
    directive("watchdog-period", int(0, INT_MAX), "0").hidden().inert(),
    directive("use-exit-on-panic", Kind::Bool, "no").hidden().inert(),
    directive("busy-reply-threshold", int(0, I64_MAX), "5000").alias("lua-time-limit").inert(),
    directive("lua-enable-deprecated-api", Kind::Bool, "no").immutable().hidden().inert(),
    directive(
        "propagation-error-behavior",
        choice(&["ignore", "panic", "panic-on-replicas"]),
        "ignore",
    )
    .inert(),
];

/// Memory, eviction, expiry, freeing.
const MEMORY: &[Directive] = &[
    directive("maxmemory", memory(0, U64_MAX), "0"),
    directive(
        "maxmemory-policy",
        choice(&[
            "volatile-lru",
            "volatile-lfu",
            "volatile-random",
            "volatile-ttl",
            "allkeys-lru",
            "allkeys-lfu",
            "allkeys-random",
            "noeviction",
        ]),
        "noeviction",
    ),
    directive("maxmemory-samples", int(1, INT_MAX), "5").inert(),
    directive("maxmemory-eviction-tenacity", int(0, 100), "10").inert(),
    directive("lfu-log-factor", int(0, INT_MAX), "10"),
    directive("lfu-decay-time", int(0, INT_MAX), "1"),
    directive("active-expire-effort", int(1, 10), "1").inert(),
    directive("activerehashing", Kind::Bool, "yes").inert(),
    directive("lazyfree-lazy-eviction", Kind::Bool, "no").inert(),
    directive("lazyfree-lazy-expire", Kind::Bool, "no").inert(),
    directive("lazyfree-lazy-server-del", Kind::Bool, "no").inert(),
    directive("lazyfree-lazy-user-del", Kind::Bool, "no").inert(),
    directive("lazyfree-lazy-user-flush", Kind::Bool, "no").inert(),
    directive("activedefrag", Kind::Bool, "yes"),
    directive("active-defrag-cycle-min", int(1, 99), "1"),
    directive("active-defrag-cycle-max", int(1, 99), "25"),
    directive("active-defrag-threshold-lower", int(0, 1000), "10"),
    directive("active-defrag-threshold-upper", int(0, 1000), "100"),
    directive("active-defrag-ignore-bytes", memory(1, I64_MAX), "4194304"),
    directive("active-defrag-max-scan-fields", int(1, I64_MAX), "1000").inert(),
    directive("jemalloc-bg-thread", Kind::Bool, "yes").inert(),
    directive("tracking-table-max-keys", int(0, I64_MAX), "1000000"),
];

/// Encodings of values.
const VALUES: &[Directive] = &[
    directive("hash-max-listpack-entries", int(0, I64_MAX), "512")
        .alias("hash-max-ziplist-entries"),
    directive("hash-max-listpack-value", memory(0, I64_MAX), "64").alias("hash-max-ziplist-value"),
    directive("list-max-listpack-size", int(-INT_MAX - 1, INT_MAX), "-2")
        .alias("list-max-ziplist-size"),
    directive("list-compress-depth", int(0, INT_MAX), "0").inert(),
    directive("set-max-intset-entries", int(0, I64_MAX), "512"),
    directive("zset-max-listpack-entries", int(0, I64_MAX), "128")
        .alias("zset-max-ziplist-entries"),
    directive("zset-max-listpack-value", memory(0, I64_MAX), "64").alias("zset-max-ziplist-value"),
    directive("stream-node-max-bytes", memory(0, I64_MAX), "4096"),
    directive("stream-node-max-entries", int(0, I64_MAX), "100"),
    directive("hll-sparse-max-bytes", memory(0, I64_MAX), "3000"),
];

/// Events, slow log, latency, ACL log.
const OBSERVATION: &[Directive] = &[
    directive("notify-keyspace-events", Kind::Events, ""),
    directive("slowlog-log-slower-than", int(-1, I64_MAX), "10000").inert(),
    directive("slowlog-max-len", int(0, I64_MAX), "128").inert(),
    directive("latency-monitor-threshold", int(0, I64_MAX), "0").inert(),
    directive("latency-tracking", Kind::Bool, "yes").inert(),
    directive("latency-tracking-info-percentiles", Kind::Percentiles, "50 99 99.9").inert(),
    directive("aclfile", Kind::Text, "").immutable().inert(),
    directive("acllog-max-len", int(0, I64_MAX), "128").inert(),
    directive("acl-pubsub-default", choice(&["allchannels", "resetchannels"]), "resetchannels")
        .inert(),
];

/// Snapshots and the append-only file.
const PERSISTENCE: &[Directive] = &[
    directive("save", Kind::Save, "3600 1 300 100 60 10000").inert(),
    directive("dbfilename", Kind::FileName, "dump.rdb").protected().inert(),
    directive("rdbcompression", Kind::Bool, "yes"),
    directive("rdbchecksum", Kind::Bool, "yes").immutable().inert(),
    directive("rdb-del-sync-files", Kind::Bool, "no").inert(),
    directive("rdb-save-incremental-fsync", Kind::Bool, "yes").inert(),
    directive("rdb-key-save-delay", int(-INT_MAX - 1, INT_MAX), "0").hidden().inert(),
    directive("key-load-delay", int(-INT_MAX - 1, INT_MAX), "0").hidden().inert(),
    directive("loading-process-events-interval-bytes", int(1024, INT_MAX), "2097152")
        .hidden()
        .inert(),
    directive("sanitize-dump-payload", choice(&["no", "yes", "clients"]), "no").inert(),
    directive("stop-writes-on-bgsave-error", Kind::Bool, "yes").inert(),
    directive("appendonly", Kind::Bool, "no").inert(),
    directive("appendfilename", Kind::Text, "appendonly.aof").immutable().inert(),
    directive("appenddirname", Kind::Text, "appendonlydir").immutable().inert(),
    directive("appendfsync", choice(&["everysec", "always", "no"]), "everysec").inert(),
    directive("no-appendfsync-on-rewrite", Kind::Bool, "no").inert(),
    directive("auto-aof-rewrite-percentage", int(0, INT_MAX), "100").inert(),
    directive("auto-aof-rewrite-min-size", memory(0, I64_MAX), "67108864").inert(),
    directive("aof-load-truncated", Kind::Bool, "yes").inert(),
    directive("aof-use-rdb-preamble", Kind::Bool, "yes").inert(),
    directive("aof-rewrite-incremental-fsync", Kind::Bool, "yes").inert(),
    directive("aof-timestamp-enabled", Kind::Bool, "no").inert(),
    directive("aof-disable-auto-gc", Kind::Bool, "no").inert(),
];

/// Replication.
const REPLICATION: &[Directive] = &[
    directive("min-replicas-max-lag", int(0, INT_MAX), "10").alias("min-slaves-max-lag").inert(),
    directive("min-replicas-to-write", int(0, INT_MAX), "0").alias("min-slaves-to-write").inert(),
    directive("repl-backlog-size", Kind::BacklogSize, "1048576").inert(),
    directive("repl-backlog-ttl", int(0, I64_MAX), "3600").inert(),
    directive("repl-disable-tcp-nodelay", Kind::Bool, "no").inert(),
    directive("repl-diskless-load", choice(&["disabled", "on-empty-db", "swapdb"]), "disabled")
        .inert(),
    directive("repl-diskless-sync", Kind::Bool, "yes").inert(),
    directive("repl-diskless-sync-delay", int(0, INT_MAX), "5").inert(),
    directive("repl-diskless-sync-max-replicas", int(0, INT_MAX), "0").inert(),
    directive("repl-ping-replica-period", int(1, INT_MAX), "10")
        .alias("repl-ping-slave-period")
        .inert(),
    directive("repl-timeout", int(1, INT_MAX), "60").inert(),
    directive("replica-announce-ip", Kind::Text, "").alias("slave-announce-ip").inert(),
    directive("replica-announce-port", int(0, 65535), "0").alias("slave-announce-port").inert(),
    directive("replica-announced", Kind::Bool, "yes").inert(),
    directive("replica-ignore-disk-write-errors", Kind::Bool, "no").inert(),
    directive("replica-ignore-maxmemory", Kind::Bool, "yes")
        .alias("slave-ignore-maxmemory")
        .inert(),
    directive("replica-lazy-flush", Kind::Bool, "no").alias("slave-lazy-flush").inert(),
    directive("replica-priority", int(0, INT_MAX), "100").alias("slave-priority").inert(),
    directive("replica-read-only", Kind::Bool, "yes").alias("slave-read-only").inert(),
    directive("replica-serve-stale-data", Kind::Bool, "yes")
        .alias("slave-serve-stale-data")
        .inert(),
    directive("replicaof", Kind::Text, "").alias("slaveof").immutable().inert(),
];

/// Cluster mode.
const CLUSTER: &[Directive] = &[
    directive("cluster-allow-pubsubshard-when-down", Kind::Bool, "yes").inert(),
    directive("cluster-allow-reads-when-down", Kind::Bool, "no").inert(),
    directive("cluster-allow-replica-migration", Kind::Bool, "yes").inert(),
    directive("cluster-announce-bus-port", int(0, 65535), "0").inert(),
    directive("cluster-announce-hostname", Kind::Hostname, "").inert(),
    directive("cluster-announce-ip", Kind::Text, "").inert(),
    directive("cluster-announce-port", int(0, 65535), "0").inert(),
    directive("cluster-announce-tls-port", int(0, 65535), "0").inert(),
    directive("cluster-config-file", Kind::Text, "nodes.conf").immutable().inert(),
    directive("cluster-enabled", Kind::Bool, "no").immutable().inert(),
    directive("cluster-link-sendbuf-limit", memory(0, U64_MAX), "0").inert(),
    directive("cluster-migration-barrier", int(0, INT_MAX), "1").inert(),
    directive("cluster-node-timeout", int(0, I64_MAX), "15000").inert(),
    directive("cluster-port", int(0, 65535), "0").immutable().inert(),
    directive(
        "cluster-preferred-endpoint-type",
        choice(&["ip", "hostname", "unknown-endpoint"]),
        "ip",
    )
    .inert(),
    directive("cluster-replica-no-failover", Kind::Bool, "no")
        .alias("cluster-slave-no-failover")
        .inert(),
    directive("cluster-replica-validity-factor", int(0, INT_MAX), "10")
        .alias("cluster-slave-validity-factor")
        .inert(),
    directive("cluster-require-full-coverage", Kind::Bool, "yes").inert(),
];

/// TLS.
const TLS: &[Directive] = &[
    directive("tls-auth-clients", choice(&["no", "yes", "optional"]), "yes").inert(),
    directive("tls-ca-cert-dir", Kind::Text, "").inert(),
    directive("tls-ca-cert-file", Kind::Text, "").inert(),
    directive("tls-cert-file", Kind::Text, "").inert(),
    directive("tls-ciphers", Kind::Text, "").inert(),
    directive("tls-ciphersuites", Kind::Text, "").inert(),
    directive("tls-client-cert-file", Kind::Text, "").inert(),
    directive("tls-client-key-file", Kind::Text, "").inert(),
    directive("tls-client-key-file-pass", Kind::Text, "").inert(),
    directive("tls-cluster", Kind::Bool, "no").inert(),
    directive("tls-dh-params-file", Kind::Text, "").inert(),
    directive("tls-key-file", Kind::Text, "").inert(),
    directive("tls-key-file-pass", Kind::Text, "").inert(),
    directive("tls-port", int(0, 65535), "0").inert(),
    directive("tls-prefer-server-ciphers", Kind::Bool, "no").inert(),
    directive("tls-protocols", Kind::Text, "").inert(),
    directive("tls-replication", Kind::Bool, "no").inert(),
    directive("tls-session-cache-size", int(0, INT_MAX), "20480").inert(),
    directive("tls-session-cache-timeout", int(0, INT_MAX), "300").inert(),
    directive("tls-session-caching", Kind::Bool, "yes").inert(),
];

const GROUPS: &[&[Directive]] =
    &[NETWORK, GENERAL, MEMORY, VALUES, OBSERVATION, PERSISTENCE, REPLICATION, CLUSTER, TLS];

const COUNT: usize = {
    let (mut count, mut group) = (0, 0);
    while group < GROUPS.len() {
        count += GROUPS[group].len();
        group += 1;
    }
    count
};

static TABLE: [Directive; COUNT] = {
    let mut table = [NETWORK[0]; COUNT];
    let (mut next, mut group) = (0, 0);
    while group < GROUPS.len() {
        let mut row = 0;
        while row < GROUPS[group].len() {
            table[next] = GROUPS[group][row];
            next += 1;
            row += 1;
        }
        group += 1;
    }
    table
};

/// Every directive, in the order of the table.
pub fn all() -> &'static [Directive] {
    &TABLE
}

/// Every directive with its place.
pub fn entries() -> impl Iterator<Item = (Id, &'static Directive)> {
    TABLE.iter().enumerate().map(|(at, directive)| (Id(at as u16), directive))
}

/// The directive of this name or alias, in any case.
pub fn find(name: &[u8]) -> Option<Id> {
    let named = |candidate: &'static str| candidate.as_bytes().eq_ignore_ascii_case(name);
    entries().find(|(_, directive)| directive.names().any(named)).map(|(id, _)| id)
}

/// The place of a directive that the code names; a name that is not in the table does not compile.
pub(super) const fn id(name: &str) -> Id {
    let mut at = 0;
    while at < COUNT {
        if same(TABLE[at].name.as_bytes(), name.as_bytes()) {
            return Id(at as u16);
        }
        at += 1;
    }
    panic!("no such directive")
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

impl Id {
    /// The row.
    pub fn directive(self) -> &'static Directive {
        &TABLE[usize::from(self.0)]
    }
}
