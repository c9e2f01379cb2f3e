//! `hotredis-load`: many clients on a Redis-compatible server, every reply checked. See
//! `hotredis_tests::load`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use hotredis_tests::load::{self, Control, Options};

/// Puts many clients on a server and checks every reply. Exits 0 only if nothing was wrong.
#[derive(Debug, Parser)]
#[command(name = "hotredis-load", version)]
struct Arguments {
    /// Address of the server.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Port of the server.
    #[arg(long, default_value_t = 6379)]
    port: u16,
    /// Connections that only hold session state, which is verified at the end.
    #[arg(long, default_value_t = 9_000)]
    idle: usize,
    /// Connections that are blocked on keys, and fed now and then.
    #[arg(long, default_value_t = 200)]
    waiting: usize,
    /// Connections that send pipelined INCRs.
    #[arg(long, default_value_t = 50)]
    busy: usize,
    /// Requests that a busy connection sends at once.
    #[arg(long, default_value_t = 16)]
    pipeline: usize,
    /// Share of the batches (0 to 1) in which one request is cut in two, the second half following
    /// 1 to 10 ms later.
    #[arg(long, default_value_t = 0.05)]
    split_ratio: f64,
    /// Seconds for which requests are sent.
    #[arg(long, default_value_t = 20.0)]
    duration: f64,
    /// Requests per second of all connections together, sent on time whether or not replies come.
    /// Without it each connection sends its next batch as soon as the last one is answered.
    #[arg(long)]
    rate: Option<f64>,
    /// First set this many keys (21-byte keys, 32-byte values).
    #[arg(long, default_value_t = 0)]
    keys: u64,
    /// Idle connections hold nothing but a database and a name.
    #[arg(long)]
    plain_idle: bool,
    /// Seed of the random choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also write the report as JSON to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draw latency and throughput over time.
    #[arg(long)]
    chart: bool,
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("hotredis-load: {error:#}");
        ExitCode::from(2)
    })
}

fn run() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let addr = SocketAddr::new(arguments.host, arguments.port);
    if arguments.keys > 0 {
        let start = Instant::now();
        load::preload(addr, arguments.keys)?;
        println!("set {} keys in {:.1} s", arguments.keys, start.elapsed().as_secs_f64());
    }
    let options = Options {
        idle: arguments.idle,
        waiting: if arguments.plain_idle { 0 } else { arguments.waiting },
        busy: arguments.busy,
        pipeline: arguments.pipeline,
        split_ratio: arguments.split_ratio,
        duration: Duration::try_from_secs_f64(arguments.duration).context("--duration")?,
        rate: arguments.rate,
        plain_idle: arguments.plain_idle,
        seed: arguments.seed,
        ..Options::new(addr)
    };
    let report = load::run(&options, &Control::new())?;
    println!("{report}");
    if arguments.chart {
        print!("\n{}", load::chart::draw(&report));
    }
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&report.to_json())?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(if report.errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
