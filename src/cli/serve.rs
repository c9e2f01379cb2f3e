//! `hotredis serve`: becomes the keeper of a new server.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use super::Entry;
use crate::keeper::{self, runtime_dir};
use crate::logging::{self, LogFormat, LogLevel};
use crate::settings::{
    DEFAULT_HANG_TIMEOUT_MS, DEFAULT_PROBATION_MS, Directive, HugePages, Settings,
    read_config_file, split_words,
};

/// A generation under load may well pause for a tenth of a second.
const SHORTEST_HANG_TIMEOUT: Duration = Duration::from_millis(200);

static DEFAULT_PROBATION: LazyLock<String> = LazyLock::new(|| in_seconds(DEFAULT_PROBATION_MS));

static DEFAULT_HANG_TIMEOUT: LazyLock<String> =
    LazyLock::new(|| in_seconds(DEFAULT_HANG_TIMEOUT_MS));

fn in_seconds(ms: u64) -> String {
    Duration::from_millis(ms).as_secs_f64().to_string()
}

/// Reads how long a generation may do nothing.
fn hang_timeout(given: &str) -> Result<Duration, String> {
    match super::client::seconds(given)? {
        short if short < SHORTEST_HANG_TIMEOUT => Err("at least 0.2 seconds are needed".into()),
        timeout => Ok(timeout),
    }
}

/// Run a server in the foreground.
///
/// Any directive of Redis can be given as a flag, --hz 100 say; listed are the usual ones.
///
/// The process that you start is the keeper: its pid stays the same through every upgrade. SIGUSR2
/// upgrades to the file at the path it was started from, as it is on disk then; SIGTERM and SIGINT
/// shut down, a second SIGINT kills. Flags named after a directive of Redis mean what the directive
/// does; sizes may be written as 100mb.
#[derive(Debug, Args)]
pub struct Options {
    /// A configuration file in Redis's format; flags count more than it.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Accept connections on this TCP port; 0 for none.
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Listen on this address; may be given several times, a '-' in front makes one optional
    /// [default: all].
    #[arg(long, value_name = "ADDR", num_args = 1, allow_hyphen_values = true)]
    bind: Vec<String>,
    /// Listen on a Unix socket at this path too.
    #[arg(long, value_name = "PATH")]
    unixsocket: Option<String>,
    /// Permissions of the Unix socket, in octal.
    #[arg(long, value_name = "MODE")]
    unixsocketperm: Option<String>,
    /// Most bytes of memory that data may take; 0 for no limit.
    #[arg(long, value_name = "BYTES")]
    maxmemory: Option<String>,
    /// Keep the arena in this file, under /dev/shm say, instead of anonymous memory.
    #[arg(long, value_name = "PATH")]
    arena_file: Option<PathBuf>,
    /// Ask the system for huge pages for the arena: transparent ones, or none. The log says what it
    /// grants.
    #[arg(
        long,
        value_enum,
        value_name = "no|transparent",
        hide_possible_values = true,
        default_value_t
    )]
    hugepages: HugePages,
    /// How many databases there are.
    #[arg(long, value_name = "N")]
    databases: Option<String>,
    /// Most clients at a time.
    #[arg(long, value_name = "N")]
    maxclients: Option<String>,
    /// Close a client that was idle for so many seconds; 0 for never.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<String>,
    /// Seconds between keep-alive probes to clients; 0 for none.
    #[arg(long, value_name = "SECONDS")]
    tcp_keepalive: Option<String>,
    /// How many connections may wait to be accepted.
    #[arg(long, value_name = "N")]
    tcp_backlog: Option<String>,
    /// The password that clients must give (others can see it in the process list: better in FILE).
    #[arg(long, value_name = "PASSWORD", allow_hyphen_values = true)]
    requirepass: Option<String>,
    /// Without bind and password, take connections of this machine only.
    #[arg(long, value_name = "yes|no")]
    protected_mode: Option<String>,
    /// Longest bulk string in a request.
    #[arg(long, value_name = "BYTES")]
    proto_max_bulk_len: Option<String>,
    /// Limits of unread output: "CLASS HARD SOFT SECONDS", CLASS being normal, replica or pubsub;
    /// several times.
    #[arg(long, value_name = "LIMIT")]
    client_output_buffer_limit: Vec<String>,
    /// Who may use the DEBUG command.
    #[arg(long, value_name = "no|yes|local")]
    enable_debug_command: Option<String>,
    /// Write the keeper's pid to this file.
    #[arg(long, value_name = "PATH")]
    pidfile: Option<PathBuf>,
    /// How log lines are written to stderr.
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
    /// What is logged [default: notice].
    #[arg(long, value_enum)]
    loglevel: Option<LogLevel>,
    /// How long an upgrade may take unless its request says otherwise.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = super::client::seconds)]
    upgrade_timeout: Duration,
    /// How long the generation before stands by after an upgrade, ready to take the server back if
    /// the new one crashes, hangs, or is told to go back; 0 for not at all.
    #[arg(long, value_name = "SECONDS", default_value = DEFAULT_PROBATION.as_str(), value_parser = super::client::seconds_or_none)]
    probation: Duration,
    /// In that time the new generation counts as hung if it does nothing for so long.
    #[arg(long, value_name = "SECONDS", default_value = DEFAULT_HANG_TIMEOUT.as_str(), value_parser = hang_timeout)]
    hang_timeout: Duration,
    /// Run one process, without a keeper: it upgrades itself, its pid changes, and nothing outlives its
    /// crash.
    #[arg(long)]
    no_keeper: bool,
    /// Keep another generation started and ready beside the one that serves, so that nobody is served for
    /// as short a time after a crash as in an upgrade.
    #[arg(long, conflicts_with = "no_keeper")]
    spare: bool,
    /// Where the control socket is put [default: /run/hotredis for root, else
    /// $XDG_RUNTIME_DIR/hotredis or /tmp/hotredis-UID].
    #[arg(long, value_name = "DIR")]
    runtime_dir: Option<PathBuf>,
    /// Set any directive of Redis: --set name=value; several times. Counts more than the flags.
    #[arg(long, value_name = "NAME=VALUE", allow_hyphen_values = true)]
    set: Vec<String>,
}

pub fn run(options: Options, entry: &Entry) -> anyhow::Result<ExitCode> {
    let mut settings = settings_of(options)?;
    // Before there is a process that would have to be stopped again.
    settings.port()?;
    logging::init(settings.log_format, settings.log_level()?);
    settings.binary =
        keeper::path_started_from().context("cannot find the file that this process runs")?;
    settings.service_manager = keeper::service_manager();
    if settings.no_keeper {
        return Ok(keeper::alone::run(settings, entry.generation));
    }
    Ok(keeper::run(settings))
}

fn settings_of(options: Options) -> anyhow::Result<Settings> {
    let mut directives = match &options.file {
        Some(file) => read_config_file(file)?,
        None => Vec::new(),
    };
    directives.extend(flags(&options)?);
    for assignment in &options.set {
        let Some((name, value)) = assignment.split_once('=') else {
            bail!("--set wants NAME=VALUE, not '{assignment}'");
        };
        let arguments = split_words(value).with_context(|| format!("--set {name}"))?;
        directives.push(Directive::new(name.trim(), arguments));
    }
    let runtime_dir = options.runtime_dir.unwrap_or_else(runtime_dir::default_path);
    Ok(Settings {
        directives,
        arena_file: options.arena_file.map(std::path::absolute).transpose()?,
        huge_pages: options.hugepages,
        log_format: options.log_format,
        upgrade_timeout_ms: u64::try_from(options.upgrade_timeout.as_millis())?,
        probation_ms: u64::try_from(options.probation.as_millis())?,
        hang_timeout_ms: u64::try_from(options.hang_timeout.as_millis())?,
        spare: options.spare,
        runtime_dir: std::path::absolute(runtime_dir)?,
        no_keeper: options.no_keeper,
        binary: PathBuf::new(),
        service_manager: None,
    })
}

/// Puts `--set name=value` for each flag of `serve` that is no flag of its own but a directive of
/// Redis, such as `--hz 100`.
pub fn spell_out(words: Vec<OsString>, program: &clap::Command) -> Vec<OsString> {
    let Some(serve) = program.find_subcommand("serve") else { return words };
    if words.get(1).is_none_or(|word| word != "serve") {
        return words;
    }
    let is_flag = |name: &str| serve.get_arguments().any(|it| it.get_long() == Some(name));
    let is_directive = |name: &str| crate::config::directives::find(name.as_bytes()).is_some();
    let mut spelled = Vec::with_capacity(words.len());
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let name = word.to_str().and_then(|word| word.strip_prefix("--"));
        let (name, value) = match name.and_then(|name| name.split_once('=')) {
            Some((name, value)) => (Some(name), Some(OsString::from(value))),
            None => (name, None),
        };
        let Some(name) = name.filter(|name| !is_flag(name) && is_directive(name)) else {
            spelled.push(word);
            continue;
        };
        let mut assignment = OsString::from(format!("{name}="));
        // Without a value it is empty, which the directive will refuse if it may not be.
        assignment.push(value.or_else(|| words.next()).unwrap_or_default());
        spelled.push("--set".into());
        spelled.push(assignment);
    }
    spelled
}

/// The flags that are directives of Redis.
fn flags(options: &Options) -> anyhow::Result<Vec<Directive>> {
    let mut directives = Vec::new();
    let port = options.port.map(|port| port.to_string());
    let loglevel = options.loglevel.and_then(|level| clap::ValueEnum::to_possible_value(&level));
    let loglevel = loglevel.map(|level| level.get_name().to_string());
    let pidfile = options
        .pidfile
        .as_ref()
        .map(|path| path.to_str().context("--pidfile is not UTF-8"))
        .transpose()?;
    let single = [
        ("port", port.as_deref()),
        ("unixsocket", options.unixsocket.as_deref()),
        ("unixsocketperm", options.unixsocketperm.as_deref()),
        ("maxmemory", options.maxmemory.as_deref()),
        ("databases", options.databases.as_deref()),
        ("maxclients", options.maxclients.as_deref()),
        ("timeout", options.timeout.as_deref()),
        ("tcp-keepalive", options.tcp_keepalive.as_deref()),
        ("tcp-backlog", options.tcp_backlog.as_deref()),
        ("requirepass", options.requirepass.as_deref()),
        ("protected-mode", options.protected_mode.as_deref()),
        ("proto-max-bulk-len", options.proto_max_bulk_len.as_deref()),
        ("enable-debug-command", options.enable_debug_command.as_deref()),
        ("pidfile", pidfile),
        ("loglevel", loglevel.as_deref()),
    ];
    for (name, value) in single {
        directives.extend(value.map(|value| Directive::new(name, [value])));
    }
    if !options.bind.is_empty() {
        // One flag may carry several addresses, as the directive does.
        let addresses = options.bind.iter().flat_map(|given| given.split_ascii_whitespace());
        directives.push(Directive::new("bind", addresses));
    }
    for limit in &options.client_output_buffer_limit {
        directives.push(Directive::new("client-output-buffer-limit", split_words(limit)?));
    }
    Ok(directives)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        options: Options,
    }

    fn parse(line: &[&str]) -> anyhow::Result<Settings> {
        let words = ["serve"].iter().chain(line);
        settings_of(Alone::try_parse_from(words)?.options)
    }

    #[test]
    fn flags_become_directives() {
        let settings = parse(&[
            "--port",
            "0",
            "--bind",
            "127.0.0.1",
            "--bind",
            "-::1",
            "--maxmemory",
            "100mb",
        ])
        .unwrap();
        let expected = [
            Directive::new("port", ["0"]),
            Directive::new("maxmemory", ["100mb"]),
            Directive::new("bind", ["127.0.0.1", "-::1"]),
        ];
        assert_eq!(settings.directives, expected);
        assert_eq!(settings.upgrade_timeout_ms, 30_000);
        assert!(settings.runtime_dir.is_absolute());
    }

    #[test]
    fn a_probation_may_be_none_and_a_hang_timeout_not_too_short() {
        let settings = parse(&[]).unwrap();
        assert_eq!(settings.probation_ms, DEFAULT_PROBATION_MS);
        assert_eq!(settings.hang_timeout_ms, DEFAULT_HANG_TIMEOUT_MS);
        let settings = parse(&["--probation", "0.5", "--hang-timeout", "0.2"]).unwrap();
        assert_eq!((settings.probation_ms, settings.hang_timeout_ms), (500, 200));
        assert_eq!(parse(&["--probation", "0"]).unwrap().probation_ms, 0);
        assert!(parse(&["--probation", "-1"]).is_err());
        assert!(parse(&["--hang-timeout", "0.1"]).is_err());
    }

    #[test]
    fn huge_pages_are_transparent_or_not_asked_for() {
        assert_eq!(parse(&[]).unwrap().huge_pages, HugePages::No);
        for wanted in [HugePages::No, HugePages::Transparent] {
            assert_eq!(parse(&["--hugepages", wanted.name()]).unwrap().huge_pages, wanted);
        }
        assert!(parse(&["--hugepages", "yes"]).is_err());
    }

    #[test]
    fn limits_and_any_directive_can_be_given() {
        let limit = [
            "--client-output-buffer-limit",
            "pubsub 32mb 8mb 60",
            "--set",
            "Save=",
            "--set",
            "maxmemory-policy=noeviction",
        ];
        let expected = [
            Directive::new("client-output-buffer-limit", ["pubsub", "32mb", "8mb", "60"]),
            Directive::new("save", Vec::<String>::new()),
            Directive::new("maxmemory-policy", ["noeviction"]),
        ];
        assert_eq!(parse(&limit).unwrap().directives, expected);
        assert!(parse(&["--set", "save"]).is_err());
    }

    #[test]
    fn any_directive_is_a_flag() {
        use clap::CommandFactory;
        let spell = |line: &str| {
            let words = line.split(' ').map(OsString::from).collect();
            let spelled = spell_out(words, &crate::cli::Cli::command());
            spelled.join(&OsString::from(" ")).into_string().unwrap()
        };
        assert_eq!(spell("hotredis serve --hz 5 --port 1"), "hotredis serve --set hz=5 --port 1");
        assert_eq!(spell("hotredis serve --hz=5 x"), "hotredis serve --set hz=5 x");
        assert_eq!(spell("hotredis serve --no-such 5"), "hotredis serve --no-such 5");
        assert_eq!(spell("hotredis status --hz 5"), "hotredis status --hz 5");
    }

    #[test]
    fn flags_count_more_than_the_file() {
        let file = std::env::temp_dir().join(format!("hotredis-serve-{}.conf", std::process::id()));
        std::fs::write(&file, "port 1\nmaxclients 5\n").unwrap();
        let settings = parse(&[file.to_str().unwrap(), "--port", "2"]).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(settings.port().unwrap(), 2);
        assert_eq!(settings.last_single("maxclients"), Some("5"));
    }
}
