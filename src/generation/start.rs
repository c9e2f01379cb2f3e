//! Generation 1: makes the arena, the root record and the listeners.

use std::path::Path;

use anyhow::{Context, anyhow, bail};
use handoff::fence::ExecutorLock;
use handoff::keeper_channel::{GenerationEnd, Ready};
use handoff::owner::{Generation as Number, OwnerWord};
use handoff::rlimit::{DESCRIPTOR_RESERVE, ensure_descriptor_limit};
use shm::header::Words;
use shm::{Arena, Options, Tx, U32, field};
use tracing::{info, warn};

use super::huge_pages;
use super::serving::Generation;
use crate::check;
use crate::config::{Authority, ConfigValues};
use crate::executor::{Buffers, Executor, State};
use crate::keeper_state::Profile;
use crate::net::{Listener, Poller, listener};
use crate::root::{self, Root};
use crate::session;
use crate::settings::{HugePages, Settings};
use crate::util::time::unix_time_ms;
use crate::words::HandoffWords;

/// Share of the memory that the arena may take, in percent, unless `--maxmemory` says otherwise.
const MEMORY_SHARE: u64 = 80;

/// Makes everything that a server has, and says READY.
pub fn start(
    channel: &GenerationEnd,
    generation: u64,
    keeper_pid: u32,
    settings: &Settings,
) -> anyhow::Result<Generation> {
    let mut config = read_config(settings)?;
    limit_clients(&mut config)?;
    let listeners = listen(&config)?;
    let number = u32::try_from(generation)
        .ok()
        .and_then(Number::new)
        .with_context(|| format!("{generation} is no number of a generation"))?;
    if let Some(path) = &settings.arena_file {
        examine(path, &config)?;
    }
    let (mut arena, reopened) = make_arena(settings)?;
    let words = HandoffWords(Words::leak(&arena));
    if reopened {
        words.forget_owners();
    }
    let lock = ExecutorLock::acquire(words.executor(number), number)?;
    OwnerWord::new(words.owner()).found(&lock)?;
    make_root(&mut arena, &config)?;
    let mut state = State::new(config, generation, keeper_pid);
    state.addresses = listeners.iter().map(Listener::address).collect();
    state.huge_pages = settings.huge_pages;
    let buffers = Buffers::take(&mut arena)?;
    let executor = Executor::new(arena, buffers, state);
    let mut poller = Poller::new(super::serving::EVENTS)?;
    for listener in listeners {
        info!("listening on {}", listener.address());
        poller.add_listener(listener)?;
    }
    let Profile { version, build, fingerprint, handoff_versions, addresses } =
        super::profile(&executor.state.addresses);
    let ready = Ready {
        pid: std::process::id(),
        generation,
        version,
        build,
        fingerprint,
        handoff_versions,
        addresses,
    };
    channel.send(&ready.into())?;
    Ok(Generation::new(executor, poller, words, lock, number))
}

/// The configuration that the settings ask for.
pub fn read_config(settings: &Settings) -> anyhow::Result<ConfigValues> {
    let mut config = ConfigValues::default();
    for directive in &settings.directives {
        let text = directive.text();
        let pair = [(directive.name.as_bytes(), text.as_bytes())];
        let update = config
            .prepare(&pair, Authority::Startup)
            .map_err(|error| anyhow!("{} {text}: {error}", directive.name))?;
        config = update.values;
    }
    if config.dir().is_empty() {
        // Shown, as Redis does, and nothing else.
        let here = std::env::current_dir().unwrap_or_default();
        let pair = [(b"dir".as_slice(), here.as_os_str().as_encoded_bytes())];
        config = config.prepare(&pair, Authority::Startup)?.values;
    }
    Ok(config)
}

/// Raises the limit of open files for `maxclients`, or lowers `maxclients` to what there is, as
/// Redis does.
fn limit_clients(config: &mut ConfigValues) -> anyhow::Result<()> {
    let wanted = u64::from(config.maxclients());
    if ensure_descriptor_limit(wanted + DESCRIPTOR_RESERVE).is_ok() {
        return Ok(());
    }
    let limit = handoff::rlimit::descriptor_limit()?;
    let Some(left) = limit.checked_sub(DESCRIPTOR_RESERVE).filter(|left| *left > 0) else {
        bail!("the limit of open files is {limit}, too low to serve anybody: raise it (ulimit -n)");
    };
    warn!("maxclients is {left} instead of {wanted}: the limit of open files is {limit}");
    let text = left.to_string();
    let pair = [(b"maxclients".as_slice(), text.as_bytes())];
    *config = config.prepare(&pair, Authority::Startup)?.values;
    Ok(())
}

/// Makes every listener that the configuration names.
fn listen(config: &ConfigValues) -> anyhow::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    if config.port() != 0 {
        let bind = String::from_utf8_lossy(config.bind()).into_owned();
        listeners = listener::bind_all(&bind, config.port(), config.tcp_backlog())?;
    }
    let path = config.unixsocket();
    if !path.is_empty() {
        let path = std::path::absolute(Path::new(std::str::from_utf8(path)?))?;
        let mode = config.unixsocketperm();
        listeners.push(listener::bind_unix(&path, mode, config.tcp_backlog())?);
    }
    if listeners.is_empty() {
        bail!("there is nothing to listen on: give a port or a Unix socket");
    }
    Ok(listeners)
}

/// Looks at an arena file before anything of it is changed: whether this server can take it up.
fn examine(path: &Path, config: &ConfigValues) -> anyhow::Result<()> {
    if std::fs::metadata(path).map_or(0, |found| found.len()) == 0 {
        // It is to be made.
        return Ok(());
    }
    let refused = || format!("cannot take up the arena file {}", path.display());
    let arena = Arena::open_file(path, super::FINGERPRINT).with_context(refused)?;
    if arena.root().is_null() {
        return Ok(());
    }
    if let Some(finding) = check::check_root(&arena) {
        bail!("{}: it is damaged: {finding}", refused());
    }
    let record = arena.get(root::of(&arena));
    let count = record.database_count.to_native();
    if count != config.databases() {
        bail!(
            "{}: it holds {count} databases, the configuration asks for {}: start with \
             --databases {count}, or with another file",
            refused(),
            config.databases()
        );
    }
    if record.boot_id != boot_id() {
        // What the server has written is whole. What of that had got to the disk when the machine went
        // down, nobody knows.
        info!("the machine has been started anew since {} was in use: proving it", path.display());
        let report = check::check_damaged(&arena);
        if !report.clean {
            bail!("{}: it is damaged:\n{}", refused(), report.text.trim_end());
        }
    }
    Ok(())
}

/// Which start of the machine this is; zeros if the system does not say.
fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).unwrap_or_default().to_be_bytes()
}

fn make_arena(settings: &Settings) -> anyhow::Result<(Arena, bool)> {
    let cap = arena_cap();
    let options = Options {
        file: settings.arena_file.clone(),
        cap,
        fingerprint: super::FINGERPRINT,
        grow_ahead: true,
        huge_pages: settings.huge_pages == HugePages::Transparent,
        reopen: true,
        reserve: shm::mapping::reserve_granted(),
    };
    if options.reserve < shm::layout::DEFAULT_RESERVE {
        let gib = (options.reserve - shm::layout::HEAP) >> 30;
        warn!(
            "the system grants a process little address space (ulimit -v): an arena made now holds {gib} GiB at most"
        );
    }
    let (arena, reopened) = Arena::create(&options).context("cannot make the arena")?;
    if reopened {
        info!("took up the arena that an earlier server left");
    }
    huge_pages::report(&arena, settings);
    Ok((arena, reopened))
}

/// The most bytes that the arena may take: a share of the machine's memory, or of the cgroup's.
fn arena_cap() -> u64 {
    let memory = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.trim();
        line.strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024)
    });
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok());
    let least = memory.unwrap_or(u64::MAX).min(group.unwrap_or(u64::MAX));
    least / 100 * MEMORY_SHARE
}

/// Makes the root record, or the one of an arena that was taken up new: its keys stay, its
/// connections are gone.
fn make_root(arena: &mut Arena, config: &ConfigValues) -> anyhow::Result<()> {
    let now = unix_time_ms();
    if arena.root().is_null() {
        let create =
            |tx: &mut Tx<'_>| root::create(tx, config.databases(), now, run_id(), boot_id());
        arena.transact(|tx| create(tx).map(|_| ()))?;
    } else {
        // No turn is under way any more, and what was not written has nobody to go to.
        arena.begin().commit(&[0; 4]);
        drop_sessions(arena)?;
        arena.transact(|tx| root::start_anew(tx, now, run_id(), boot_id()))?;
    }
    store_config(arena, config)
}

/// Ends every session of an arena whose server has died.
fn drop_sessions(arena: &mut Arena) -> anyhow::Result<()> {
    let root = root::of(arena);
    let mut state = State::new(ConfigValues::default(), 0, 0);
    for slot in 0..session::directory::capacity(arena, root) {
        let Some(session) = session::directory::get(arena, root, slot) else { continue };
        const STEP: usize = session::LEAVE_AT_ONCE;
        let leave = |tx: &mut Tx<'_>, state: &mut State| {
            session::leave_step(tx, state, root, session, STEP)
        };
        while !arena.transact(|tx| leave(tx, &mut state))? {}
        arena.transact(|tx| session::destroy(tx, session))?;
    }
    Ok(())
}

/// Keeps the configuration in the arena, for the generations to come.
fn store_config(arena: &mut Arena, config: &ConfigValues) -> anyhow::Result<()> {
    let root = root::of(arena);
    let bytes = config.to_archive();
    arena.transact(|tx| {
        let block = tx.alloc(bytes.len() as u64)?;
        tx.init_bytes(&block, 0, &bytes);
        let old = tx.get(root).config.get();
        tx.set(field!(root, Root.config), block.off())?;
        tx.set(field!(root, Root.config_len), U32::from_native(bytes.len() as u32))?;
        if old.is_null() { Ok(()) } else { tx.free(old) }
    })?;
    Ok(())
}

fn run_id() -> [u8; 40] {
    std::array::from_fn(|_| b"0123456789abcdef"[rand::random_range(0..16)])
}
