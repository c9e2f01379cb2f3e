//! `hotredis-crash-cost`: what it costs that a crash loses nothing, in instructions per request.
//!
//! Two builds of the server, with and without crash safety, get the same requests in the same order. The thread
//! that runs commands is stepped from instruction to instruction while they are answered, so that what is counted
//! is what the release build executes in user space: no sample, no clock, no other process counts. The figures of
//! two runs differ by what the server does by the clock: a slice of background work that falls into a count of 160
//! requests is some 30 instructions for each of them. More `--rounds` make that less.

mod stepper;
mod work;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::json;

use work::{Case, Load};

/// What crash safety may cost, in percent of the instructions that a request takes without it.
const BAR: f64 = 5.0;

/// Counts instructions per request with and without crash safety. Exits 0 only if the bar holds for every
/// command.
#[derive(Debug, Parser)]
#[command(name = "hotredis-crash-cost", version)]
struct Arguments {
    /// The build as it is.
    #[arg(long, default_value = "target/builds/release/crash-cost/with")]
    with: PathBuf,
    /// The build with the feature `without-crash-safety`.
    #[arg(long, default_value = "target/builds/release/crash-cost/without")]
    without: PathBuf,
    /// Leave out the other commands.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Connections, all of which have sent when the server wakes up.
    #[arg(long, default_value_t = 10)]
    clients: usize,
    /// Requests that each sends at once.
    #[arg(long, default_value_t = 16)]
    pipeline: usize,
    /// How often they do so while instructions are counted.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Where the figures are put.
    #[arg(long, default_value = "target/bench/crash-cost.json")]
    json: PathBuf,
    /// Put here, for each command and build, how often each instruction ran: `COUNT ADDRESS`, the address
    /// being one of the binary's file, as addr2line takes it.
    #[arg(long)]
    addresses: Option<PathBuf>,
}

/// Instructions per request of one command.
struct Row {
    name: &'static str,
    with: f64,
    without: f64,
}

impl Row {
    fn percent(&self) -> f64 {
        (self.with / self.without - 1.0) * 100.0
    }
}

fn main() -> ExitCode {
    run(&Arguments::parse()).unwrap_or_else(|error| {
        eprintln!("hotredis-crash-cost: {error:#}");
        ExitCode::from(2)
    })
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    check_builds(arguments)?;
    stay_on_one_processor()?;
    let cases = wanted(&arguments.only)?;
    let load =
        Load { clients: arguments.clients, pipeline: arguments.pipeline, rounds: arguments.rounds };
    let requests = load.requests_of_a_round() * load.rounds;
    println!(
        "user-space instructions per request, {} connections with -P {}, {requests} requests counted",
        load.clients, load.pipeline
    );
    println!("{:8} {:>10} {:>10} {:>8} {:>9}", "command", "without", "with", "more", "overhead");
    let mut rows = Vec::new();
    for case in cases {
        let count = |binary: &Path, label| -> anyhow::Result<f64> {
            let counted = work::count(binary, case, &load)
                .with_context(|| format!("{} against {}", case.name, binary.display()))?;
            if let Some(directory) = &arguments.addresses {
                counted.write(&directory.join(format!("{}-{label}", case.name)))?;
            }
            Ok(counted.total() as f64 / requests as f64)
        };
        let (with, without) =
            (count(&arguments.with, "with")?, count(&arguments.without, "without")?);
        let row = Row { name: case.name, with, without };
        print_row(&row);
        rows.push(row);
    }
    let mean = |of: fn(&Row) -> f64| rows.iter().map(of).sum::<f64>() / rows.len() as f64;
    let average = Row { name: "all", with: mean(|row| row.with), without: mean(|row| row.without) };
    print_row(&average);
    write_figures(arguments, &rows)?;
    Ok(verdict(&rows, &average))
}

/// Has this process and what it starts run on one processor: each step is a change from one to the other.
fn stay_on_one_processor() -> anyhow::Result<()> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let mut one = CpuSet::new();
    let last = (0..CpuSet::count()).rev().find(|cpu| allowed.is_set(*cpu).unwrap_or_default());
    one.set(last.context("there is no processor to run on")?)?;
    sched_setaffinity(Pid::from_raw(0), &one).context("choosing a processor")
}

/// Two equal builds would agree perfectly.
fn check_builds(arguments: &Arguments) -> anyhow::Result<()> {
    for (binary, expected) in [(&arguments.with, false), (&arguments.without, true)] {
        let said =
            std::process::Command::new(binary).arg("--version").output().with_context(|| {
                format!("cannot run {}: see `make bench-crash-cost`", binary.display())
            })?;
        let unsafe_build = String::from_utf8_lossy(&said.stdout).contains("WITHOUT CRASH SAFETY");
        if unsafe_build != expected {
            bail!("{} is the wrong one of the two builds", binary.display());
        }
    }
    Ok(())
}

fn wanted(only: &[String]) -> anyhow::Result<Vec<&'static Case>> {
    let unknown = only.iter().find(|name| work::CASES.iter().all(|case| case.name != **name));
    if let Some(name) = unknown {
        let names: Vec<_> = work::CASES.iter().map(|case| case.name).collect();
        bail!("no command is called {name}: there are {}", names.join(", "));
    }
    let is_wanted = |case: &&Case| only.is_empty() || only.iter().any(|name| name == case.name);
    Ok(work::CASES.iter().filter(is_wanted).collect())
}

fn print_row(row: &Row) {
    println!(
        "{:8} {:10.1} {:10.1} {:8.1} {:8.1}%",
        row.name,
        row.without,
        row.with,
        row.with - row.without,
        row.percent()
    );
}

fn write_figures(arguments: &Arguments, rows: &[Row]) -> anyhow::Result<()> {
    let figures: Vec<_> = rows
        .iter()
        .map(|row| json!({ "command": row.name, "with": row.with, "without": row.without }))
        .collect();
    let all = json!({
        "clients": arguments.clients,
        "pipeline": arguments.pipeline,
        "rounds": arguments.rounds,
        "instructions_per_request": figures,
    });
    if let Some(directory) = arguments.json.parent() {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::write(&arguments.json, serde_json::to_string_pretty(&all)?)
        .with_context(|| format!("writing {}", arguments.json.display()))
}

/// The bar holds if it does for each command; the average is told beside it.
fn verdict(rows: &[Row], average: &Row) -> ExitCode {
    let above: Vec<_> = rows.iter().filter(|row| row.percent() > BAR).map(|row| row.name).collect();
    let (holds, tail) = match above.as_slice() {
        [] => ("holds ", String::new()),
        names => ("FAILS ", format!(", above it: {}", names.join(", "))),
    };
    println!(
        "\n{holds} crash safety costs each command at most {BAR} % of the instructions it takes without{tail}; \
         all together {:.1} %",
        average.percent()
    );
    if above.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
