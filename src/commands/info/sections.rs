//! The sections of `INFO`.

use std::collections::HashMap;
use std::fmt::{Display, Write};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::utsname::uname;
use shm::{Off, table};

use super::footprint::Footprint;
use crate::commands::table as commands;
use crate::executor::Cx;
use crate::keyspace;
use crate::root::{self, HandoffState};
use crate::session::{deadlines, directory, flag, pubsub::Kind};
use crate::statistics::{self, CommandRow};
use crate::util::time::monotonic_us;
use crate::version;

/// Adds a field.
fn put(text: &mut String, name: &str, value: impl Display) {
    // A `String` takes everything.
    let _ = write!(text, "{name}:{value}\r\n");
}

/// Adds fields that are the same every time.
fn put_all(text: &mut String, fields: &[(&str, &str)]) {
    fields.iter().for_each(|(name, value)| put(text, name, value));
}

/// A number of bytes for people.
fn human(bytes: u64) -> String {
    const UNITS: [char; 5] = ['K', 'M', 'G', 'T', 'P'];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    format!("{value:.2}{}", UNITS[unit])
}

/// A section without fields.
pub fn nothing(_cx: &Cx<'_>, _text: &mut String) {}

/// What serves.
pub fn server(cx: &Cx<'_>, text: &mut String) {
    let record = cx.tx.get(cx.root);
    let system = uname().map_or_else(
        |_| "unknown".into(),
        |name| {
            let part = |part: &std::ffi::OsStr| part.to_string_lossy().into_owned();
            format!("{} {} {}", part(name.sysname()), part(name.release()), part(name.machine()))
        },
    );
    let uptime = (cx.now_ms() - record.started_ms.to_native()).max(0) / 1000;
    let executable = std::env::current_exe().unwrap_or_default();
    put(text, "redis_version", super::REDIS_VERSION);
    put_all(text, &[("redis_git_sha1", "00000000"), ("redis_git_dirty", "0")]);
    put(text, "redis_build_id", version::VERSION);
    put(text, "redis_mode", "standalone");
    put(text, "os", system);
    put(text, "arch_bits", usize::BITS);
    put_all(
        text,
        &[
            ("monotonic_clock", "POSIX clock_gettime"),
            ("multiplexing_api", "epoll"),
            ("atomicvar_api", "rust"),
            ("gcc_version", "0.0.0"),
        ],
    );
    put(text, "process_id", std::process::id());
    put(text, "process_supervised", "no");
    put(text, "run_id", String::from_utf8_lossy(&record.run_id));
    put(text, "tcp_port", cx.state.config.port());
    put(text, "server_time_usec", cx.state.now_us);
    put(text, "uptime_in_seconds", uptime);
    put(text, "uptime_in_days", uptime / 86400);
    put(text, "hz", cx.state.config.hz());
    put(text, "configured_hz", cx.state.config.hz());
    put(text, "lru_clock", (cx.now_ms() / 1000) & 0xff_ffff);
    put(text, "executable", executable.display());
    put(text, "config_file", "");
    put(text, "io_threads_active", 0);
    put(text, "hotredis_version", version::VERSION);
    put(text, "hotredis_build", version::build());
}

/// Who is connected.
pub fn clients(cx: &Cx<'_>, text: &mut String) {
    let (mut connected, mut postponed, mut input, mut output) = (0, 0, 0, 0);
    directory::for_each(&cx.tx, cx.root, |session| {
        let record = cx.tx.get(session);
        if !record.is(flag::CLOSE_ASAP) {
            connected += 1;
            postponed += u32::from(record.is(flag::POSTPONED));
            input = input.max(record.input_len.get().to_native());
            output = output.max(record.out_bytes.get().to_native());
        }
    });
    put(text, "connected_clients", connected);
    put(text, "cluster_connections", 0);
    put(text, "maxclients", cx.state.config.maxclients());
    put(text, "client_recent_max_input_buffer", input);
    put(text, "client_recent_max_output_buffer", output);
    put(text, "blocked_clients", postponed + cx.tx.get(cx.root).blocked.get().to_native());
    put(text, "tracking_clients", cx.tx.get(cx.root).trackers.get().to_native());
    put(text, "clients_in_timeout_table", deadlines::len(&cx.tx, cx.root));
}

/// Bytes of memory that the machine has.
fn total_memory() -> u64 {
    nix::sys::sysinfo::sysinfo().map_or(0, |info| info.ram_total())
}

/// A field with a number of bytes, and the same for people.
fn put_bytes(text: &mut String, name: &str, bytes: u64) {
    put(text, name, bytes);
    put(text, &format!("{name}_human"), human(bytes));
}

/// Roughly the bytes that the databases' tables take beside the entries.
fn table_overhead(cx: &Cx<'_>) -> u64 {
    const A_KEY: u64 = 16;
    let databases = 0..cx.tx.get(cx.root).database_count.to_native();
    let keys = databases.map(|index| {
        let database = root::database(&cx.tx, cx.root, index);
        keyspace::len(&cx.tx, database)
    });
    keys.sum::<u64>() * A_KEY
}

/// What the arena holds.
pub fn memory(cx: &Cx<'_>, text: &mut String) {
    let stats = cx.tx.stats();
    let peak = cx.tx.get(cx.root).counters.peak_memory.get().to_native().max(stats.used);
    let footprint = Footprint::measure(&cx.tx);
    let ratio = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    put_bytes(text, "used_memory", stats.used);
    put_bytes(text, "used_memory_rss", footprint.process);
    put_bytes(text, "used_memory_peak", peak);
    put(text, "used_memory_peak_perc", format!("{:.2}%", ratio(stats.used * 100, peak)));
    let overhead = table_overhead(cx);
    put(text, "used_memory_overhead", overhead);
    put(text, "used_memory_startup", 0);
    let data = stats.used.saturating_sub(overhead);
    put(text, "used_memory_dataset", data);
    put(text, "used_memory_dataset_perc", format!("{:.2}%", ratio(data * 100, stats.used)));
    put(text, "allocator_allocated", stats.used);
    put(text, "allocator_active", stats.spans);
    put(text, "allocator_resident", footprint.resident);
    put_bytes(text, "total_system_memory", total_memory());
    put_all(
        text,
        &[
            ("used_memory_lua", "0"),
            ("used_memory_vm_eval", "0"),
            ("used_memory_lua_human", "0B"),
            ("used_memory_scripts_eval", "0"),
            ("used_memory_scripts", "0"),
            ("used_memory_scripts_human", "0B"),
            ("number_of_cached_scripts", "0"),
            ("number_of_functions", "0"),
            ("number_of_libraries", "0"),
            ("used_memory_vm_functions", "0"),
            ("used_memory_vm_total", "0"),
            ("used_memory_vm_total_human", "0B"),
            ("used_memory_functions", "0"),
        ],
    );
    put_bytes(text, "maxmemory", cx.state.maxmemory);
    put(text, "maxmemory_policy", cx.state.config.maxmemory_policy());
    for (ratio, bytes, overhead) in [
        ("allocator_frag_ratio", "allocator_frag_bytes", footprint.fragmentation()),
        ("allocator_rss_ratio", "allocator_rss_bytes", footprint.spare()),
        ("rss_overhead_ratio", "rss_overhead_bytes", footprint.besides()),
        ("mem_fragmentation_ratio", "mem_fragmentation_bytes", footprint.whole()),
    ] {
        put(text, ratio, format!("{:.2}", overhead.ratio));
        put(text, bytes, overhead.bytes);
    }
    put_all(
        text,
        &[
            ("mem_not_counted_for_evict", "0"),
            ("mem_replication_backlog", "0"),
            ("mem_total_replication_buffers", "0"),
            ("mem_clients_slaves", "0"),
            ("mem_clients_normal", "0"),
            ("mem_cluster_links", "0"),
            ("mem_aof_buffer", "0"),
            ("mem_allocator", "hotredis-arena"),
        ],
    );
    put(text, "active_defrag_running", cx.state.defrag.percent);
    put_all(text, &[("lazyfree_pending_objects", "0"), ("lazyfreed_objects", "0")]);
    put(text, "hotredis_hugepages", cx.state.huge_pages.name());
    put(text, "hotredis_hugepages_granted", cx.tx.huge_page_bytes());
}

/// Nothing is ever saved; the changes since then are those since the start.
pub fn persistence(cx: &Cx<'_>, text: &mut String) {
    let record = cx.tx.get(cx.root);
    put_all(
        text,
        &[
            ("loading", "0"),
            ("async_loading", "0"),
            ("current_cow_peak", "0"),
            ("current_cow_size", "0"),
            ("current_cow_size_age", "0"),
            ("current_fork_perc", "0.00"),
            ("current_save_keys_processed", "0"),
            ("current_save_keys_total", "0"),
        ],
    );
    put(text, "rdb_changes_since_last_save", record.counters.dirty.get().to_native());
    put(text, "rdb_bgsave_in_progress", 0);
    put(text, "rdb_last_save_time", record.started_ms.to_native() / 1000);
    put_all(
        text,
        &[
            ("rdb_last_bgsave_status", "ok"),
            ("rdb_last_bgsave_time_sec", "-1"),
            ("rdb_current_bgsave_time_sec", "-1"),
            ("rdb_saves", "0"),
            ("rdb_last_cow_size", "0"),
            ("rdb_last_load_keys_expired", "0"),
            ("rdb_last_load_keys_loaded", "0"),
            ("aof_enabled", "0"),
            ("aof_rewrite_in_progress", "0"),
            ("aof_rewrite_scheduled", "0"),
            ("aof_last_rewrite_time_sec", "-1"),
            ("aof_current_rewrite_time_sec", "-1"),
            ("aof_last_bgrewrite_status", "ok"),
            ("aof_rewrites", "0"),
            ("aof_rewrites_consecutive_failures", "0"),
            ("aof_last_write_status", "ok"),
            ("aof_last_cow_size", "0"),
            ("module_fork_in_progress", "0"),
            ("module_fork_last_cow_size", "0"),
        ],
    );
}

/// What was done since the start.
pub fn stats(cx: &Cx<'_>, text: &mut String) {
    let record = cx.tx.get(cx.root);
    let counters = &record.counters;
    let topics = |kind: Kind| table::len(&cx.tx, kind.index(cx.root));
    put(text, "total_connections_received", counters.connections.get().to_native());
    put(text, "total_commands_processed", counters.commands.get().to_native());
    put(text, "instantaneous_ops_per_sec", cx.state.rate.per_second());
    put(text, "total_net_input_bytes", counters.input_bytes.get().to_native());
    put(text, "total_net_output_bytes", counters.output_bytes.get().to_native());
    put_all(
        text,
        &[
            ("total_net_repl_input_bytes", "0"),
            ("total_net_repl_output_bytes", "0"),
            ("instantaneous_input_kbps", "0.00"),
            ("instantaneous_output_kbps", "0.00"),
            ("instantaneous_input_repl_kbps", "0.00"),
            ("instantaneous_output_repl_kbps", "0.00"),
        ],
    );
    put(text, "rejected_connections", counters.rejected.get().to_native());
    put_all(text, &[("sync_full", "0"), ("sync_partial_ok", "0"), ("sync_partial_err", "0")]);
    put(text, "expired_keys", counters.expired.get().to_native());
    put_all(
        text,
        &[
            ("expired_stale_perc", "0.00"),
            ("expired_time_cap_reached_count", "0"),
            ("expire_cycle_cpu_milliseconds", "0"),
            ("evicted_keys", "0"),
            ("evicted_clients", "0"),
            ("total_eviction_exceeded_time", "0"),
            ("current_eviction_exceeded_time", "0"),
        ],
    );
    put(text, "keyspace_hits", counters.hits.get().to_native());
    put(text, "keyspace_misses", counters.misses.get().to_native());
    put(text, "pubsub_channels", topics(Kind::Channel));
    put(text, "pubsub_patterns", topics(Kind::Pattern));
    put(text, "pubsubshard_channels", topics(Kind::Shard));
    put_all(text, &[("latest_fork_usec", "0"), ("total_forks", "0")]);
    put_all(text, &[("migrate_cached_sockets", "0"), ("slave_expires_tracked_keys", "0")]);
    put(text, "active_defrag_hits", counters.defrag_hits.get().to_native());
    put(text, "active_defrag_misses", counters.defrag_misses.get().to_native());
    put(text, "active_defrag_key_hits", counters.defrag_key_hits.get().to_native());
    put(text, "active_defrag_key_misses", counters.defrag_key_misses.get().to_native());
    let current = match cx.state.defrag.percent {
        0 => 0,
        _ => monotonic_us().saturating_sub(cx.state.defrag.since_us),
    };
    let total = counters.defrag_us.get().to_native() + current;
    put(text, "total_active_defrag_time", total / 1000);
    put(text, "current_active_defrag_time", current / 1000);
    put(text, "tracking_total_keys", record.tracked.len.get());
    put(text, "tracking_total_items", record.tracked_items.get());
    put(text, "tracking_total_prefixes", record.prefixes.len.get());
    put(text, "unexpected_error_replies", 0);
    put(text, "total_error_replies", counters.errors.get().to_native());
    put_all(
        text,
        &[
            ("dump_payload_sanitizations", "0"),
            ("total_reads_processed", "0"),
            ("total_writes_processed", "0"),
            ("io_threaded_reads_processed", "0"),
            ("io_threaded_writes_processed", "0"),
            ("reply_buffer_shrinks", "0"),
            ("reply_buffer_expands", "0"),
        ],
    );
}

/// There are no replicas, and this is none.
pub fn replication(cx: &Cx<'_>, text: &mut String) {
    put_all(
        text,
        &[("role", "master"), ("connected_slaves", "0"), ("master_failover_state", "no-failover")],
    );
    put(text, "master_replid", String::from_utf8_lossy(&cx.tx.get(cx.root).run_id));
    put_all(
        text,
        &[
            ("master_replid2", "0000000000000000000000000000000000000000"),
            ("master_repl_offset", "0"),
            ("second_repl_offset", "-1"),
            ("repl_backlog_active", "0"),
            ("repl_backlog_size", "1048576"),
            ("repl_backlog_first_byte_offset", "0"),
            ("repl_backlog_histlen", "0"),
        ],
    );
}

/// The time that this generation has used.
pub fn cpu(_cx: &Cx<'_>, text: &mut String) {
    let fields = [
        ("", UsageWho::RUSAGE_SELF),
        ("_children", UsageWho::RUSAGE_CHILDREN),
        ("_main_thread", UsageWho::RUSAGE_THREAD),
    ];
    for (suffix, who) in fields {
        let Ok(usage) = getrusage(who) else { continue };
        let seconds =
            |time: nix::sys::time::TimeVal| format!("{}.{:06}", time.tv_sec(), time.tv_usec());
        put(text, &format!("used_cpu_sys{suffix}"), seconds(usage.system_time()));
        put(text, &format!("used_cpu_user{suffix}"), seconds(usage.user_time()));
    }
}

/// What each command was asked to do, those that were used at all.
pub fn commandstats(cx: &Cx<'_>, text: &mut String) {
    let rows: HashMap<u32, Off<CommandRow>> = statistics::command_rows(&cx.tx, cx.root)
        .into_iter()
        .map(|row| (cx.tx.get(row).name.get().to_native(), row))
        .collect();
    let commands = commands::top_level().iter();
    for command in commands.flat_map(|command| std::iter::once(command).chain(command.children())) {
        let Some(row) = rows.get(&command.name_hash) else { continue };
        let row = cx.tx.get(*row);
        let (calls, usec) = (row.calls.get().to_native(), row.nanos.get().to_native() / 1000);
        let (rejected, failed) = (row.rejected.get().to_native(), row.failed.get().to_native());
        if calls + rejected + failed > 0 {
            let each = usec as f64 / calls.max(1) as f64;
            let value = format!(
                "calls={calls},usec={usec},usec_per_call={each:.2},rejected_calls={rejected},\
                 failed_calls={failed}"
            );
            put(text, &format!("cmdstat_{}", command.full_name), value);
        }
    }
}

/// How often each error code was replied.
pub fn errorstats(cx: &Cx<'_>, text: &mut String) {
    for (code, count) in statistics::errors(&cx.tx, cx.root) {
        // One line, and one field of it, whatever a code holds.
        let code = String::from_utf8_lossy(&code).replace(['#', ':', '\n', '\r'], "_");
        put(text, &format!("errorstat_{code}"), format!("count={count}"));
    }
}

/// There is no cluster.
pub fn cluster(_cx: &Cx<'_>, text: &mut String) {
    put(text, "cluster_enabled", 0);
}

/// The databases that hold something.
pub fn keyspace(cx: &Cx<'_>, text: &mut String) {
    for index in 0..cx.tx.get(cx.root).database_count.to_native() {
        let database = root::database(&cx.tx, cx.root, index);
        let (keys, expires) =
            (keyspace::len(&cx.tx, database), keyspace::volatile(&cx.tx, database));
        if keys > 0 {
            let value = format!("keys={keys},expires={expires},avg_ttl=0");
            put(text, &format!("db{index}"), value);
        }
    }
}

/// The upgrades so far.
pub fn handoff(cx: &Cx<'_>, text: &mut String) {
    let state: &HandoffState = &cx.tx.get(cx.root).handoff;
    let result = state.result.get();
    let length = (state.result_len.get().to_native() as usize).min(result.len());
    put(text, "handoff_keeper_pid", cx.state.keeper_pid);
    put(text, "handoff_generation", cx.state.generation);
    put(text, "handoff_probation", u8::from(cx.state.watched));
    put(text, "handoff_upgrades", state.upgrades.get().to_native());
    put(text, "handoff_failures", state.failures.get().to_native());
    // One line, whatever the reason of a failure holds.
    let result = String::from_utf8_lossy(&result[..length]).replace(['\r', '\n'], " ");
    put(text, "handoff_last_result", result);
    put(text, "handoff_last_freeze_us", state.last_freeze_us.get().to_native());
    put(text, "handoff_last_total_ms", state.last_total_ms.get().to_native());
    put(text, "handoff_last_connections", state.last_connections.get().to_native());
    let cause = state.crash_cause.get();
    let cause = String::from_utf8_lossy(cause.split(|byte| *byte == 0).next().unwrap_or_default());
    put(text, "handoff_crashes", state.crashes.get().to_native());
    put(text, "handoff_last_crash_cause", cause);
    put(text, "handoff_last_crash_outage_us", state.crash_outage_us.get().to_native());
    put(text, "handoff_poisoned_commands", state.poisoned.get().to_native());
    put(text, "handoff_panics", state.panics.get().to_native());
}
