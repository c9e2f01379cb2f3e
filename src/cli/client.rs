//! Finding a running instance and talking to it over its control socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use crate::keeper::protocol::{InstanceStatus, MAX_REPLY, Reply, Request};
use crate::keeper::runtime_dir;

/// How long a keeper may take to accept a request or to say how it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which instance is meant.
#[derive(Clone, Debug, Default, Args)]
pub struct Selector {
    /// The instance that serves this TCP port; with several, some commands take several instances.
    #[arg(long = "port", value_name = "N", group = "instance")]
    pub ports: Vec<u16>,
    /// The instance with this control socket, or that serves this Unix socket.
    #[arg(long, value_name = "PATH", group = "instance")]
    pub socket: Option<PathBuf>,
    /// The instance whose keeper, or serving generation, has this pid.
    #[arg(long, value_name = "PID", group = "instance")]
    pub pid: Option<u32>,
    /// Where control sockets are looked for [default: /run/hotredis for root, else
    /// $XDG_RUNTIME_DIR/hotredis or /tmp/hotredis-UID].
    #[arg(long, value_name = "DIR")]
    pub runtime_dir: Option<PathBuf>,
}

/// A connection to a keeper.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<UnixStream>,
}

impl Connection {
    /// Connects to a control socket.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(path)
            .with_context(|| format!("cannot reach {}", path.display()))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Asks for something.
    pub fn send(&mut self, request: &Request) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).context("cannot write to the control socket")
    }

    /// Waits for the next line of the answer.
    pub fn receive(&mut self, patience: Option<Duration>) -> anyhow::Result<Reply> {
        self.stream.get_ref().set_read_timeout(patience)?;
        let mut line = Vec::new();
        let bound = u64::try_from(MAX_REPLY)?;
        (&mut self.stream)
            .take(bound)
            .read_until(b'\n', &mut line)
            .context("no answer on the control socket")?;
        if line.is_empty() {
            bail!(
                "the keeper has closed the connection: it has exited, or belongs to another user"
            );
        }
        serde_json::from_slice(&line).context("the control socket's answer cannot be read")
    }

    /// Asks how the instance is.
    pub fn status(&mut self) -> anyhow::Result<InstanceStatus> {
        self.send(&Request::Status)?;
        match self.receive(Some(PATIENCE))? {
            Reply::Status(status) => Ok(*status),
            other => bail!("asked for its status, the keeper said {other:?}"),
        }
    }
}

/// An instance that answered.
#[derive(Debug)]
pub struct Instance {
    /// Its control socket.
    pub socket: PathBuf,
    /// How it is.
    pub status: InstanceStatus,
    /// The connection over which it said so.
    pub connection: Connection,
}

impl Selector {
    fn directory(&self) -> PathBuf {
        self.runtime_dir.clone().unwrap_or_else(runtime_dir::default_path)
    }

    /// All instances that answer, and what is wrong with the others.
    pub fn all(&self) -> anyhow::Result<(Vec<Instance>, Vec<anyhow::Error>)> {
        let mut instances = Vec::new();
        let mut silent = Vec::new();
        for path in runtime_dir::sockets(&self.directory())? {
            match ask(&path) {
                Ok(instance) => instances.push(instance),
                Err(error) if is_stale(&error) => {}
                Err(error) => silent.push(error),
            }
        }
        Ok((instances, silent))
    }

    /// Whether it says which instance, or instances, rather than any.
    pub fn chooses(&self) -> bool {
        !self.ports.is_empty() || self.pid.is_some() || self.socket.is_some()
    }

    /// The one instance that is meant.
    pub fn find(&self) -> anyhow::Result<Instance> {
        let mut meant = self.meant()?;
        match (meant.pop(), meant.is_empty()) {
            (Some(instance), true) => Ok(instance),
            (last, _) => {
                let all = meant.iter().chain(&last).map(|it| indented(&it.status));
                bail!("several instances are meant, choose one by --pid:{}", lines(all))
            }
        }
    }

    /// The instances that are meant: at least one, and one for each port that is named.
    pub fn meant(&self) -> anyhow::Result<Vec<Instance>> {
        if let Some(socket) = self.socket.as_ref().filter(|socket| !self.is_served(socket)) {
            return Ok(vec![ask(socket)?]);
        }
        let (instances, silent) = self.all()?;
        let is_served = |port| instances.iter().any(|it| serves_port(&it.status, port));
        let missing = self.ports.iter().copied().find(|port| !is_served(*port));
        let (meant, others): (Vec<_>, Vec<_>) =
            instances.into_iter().partition(|it| self.means(&it.status));
        if !meant.is_empty() && missing.is_none() {
            return Ok(meant);
        }
        let silent = silent.iter().map(|error| format!("  not answering: {error:#}"));
        let others = others.iter().map(|it| indented(&it.status));
        let wanted = self.wanted(missing);
        let list = lines(others.chain(silent));
        bail!("no running instance{wanted} in {}{list}", self.directory().display())
    }

    /// Whether the path is a Unix socket that an instance serves, rather than a control socket.
    fn is_served(&self, socket: &Path) -> bool {
        self.all()
            .is_ok_and(|(instances, _)| instances.iter().any(|it| serves_path(&it.status, socket)))
    }

    fn means(&self, status: &InstanceStatus) -> bool {
        let by_port = self.ports.iter().any(|port| serves_port(status, *port));
        (self.ports.is_empty() || by_port)
            && self.pid.is_none_or(|pid| status.pid == pid || status.generation_pid == pid)
            && self.socket.as_ref().is_none_or(|socket| serves_path(status, socket))
    }

    fn wanted(&self, missing_port: Option<u16>) -> String {
        match (missing_port, &self.socket, self.pid) {
            (Some(port), ..) => format!(" serves port {port}"),
            (_, Some(socket), _) => format!(" serves {}", socket.display()),
            (.., Some(pid)) => format!(" has pid {pid}"),
            _ => String::new(),
        }
    }
}

fn ask(path: &Path) -> anyhow::Result<Instance> {
    let mut connection = Connection::open(path)?;
    let status = connection.status().with_context(|| path.display().to_string())?;
    Ok(Instance { socket: path.into(), status, connection })
}

fn is_stale(error: &anyhow::Error) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, NotFound};
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    matches!(kind, Some(ConnectionRefused | NotFound))
}

fn serves_port(status: &InstanceStatus, port: u16) -> bool {
    let suffix = format!(":{port}");
    status.addresses.iter().any(|address| !address.starts_with('/') && address.ends_with(&suffix))
}

fn serves_path(status: &InstanceStatus, socket: &Path) -> bool {
    let socket = std::path::absolute(socket).unwrap_or_else(|_| socket.into());
    status.addresses.iter().any(|address| Path::new(address) == socket)
}

/// What an instance is called: by its pid, and where it listens.
pub fn describe(status: &InstanceStatus) -> String {
    format!("pid {}, on {}", status.pid, status.addresses.join(", "))
}

fn indented(status: &InstanceStatus) -> String {
    format!("  {}", describe(status))
}

fn lines(items: impl Iterator<Item = String>) -> String {
    items.fold(String::new(), |all, item| all + "\n" + &item)
}

/// Reads a number of seconds, fractions allowed, from the command line.
pub fn seconds(given: &str) -> Result<Duration, String> {
    let seconds: f64 = given.parse().map_err(|_| "a number of seconds is wanted".to_string())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if (0.05..=3600.0).contains(&seconds) => Ok(duration),
        _ => Err("between 0.05 and 3600 seconds are possible".into()),
    }
}

/// As [`seconds`], or 0.
pub fn seconds_or_none(given: &str) -> Result<Duration, String> {
    match given.parse() {
        Ok(0.0f64) => Ok(Duration::ZERO),
        _ => seconds(given).map_err(|error| error + ", or 0"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_known_by_port_path_or_pid() {
        let status = InstanceStatus {
            pid: 10,
            generation_pid: 11,
            addresses: vec!["127.0.0.1:16379".into(), "[::1]:6379".into(), "/run/x.sock".into()],
            ..InstanceStatus::default()
        };
        let by_port = |ports: &[u16]| {
            Selector { ports: ports.to_vec(), ..Selector::default() }.means(&status)
        };
        assert!(by_port(&[16379]) && by_port(&[6379]) && !by_port(&[379]) && by_port(&[1, 6379]));
        let by_pid = |pid| Selector { pid: Some(pid), ..Selector::default() }.means(&status);
        assert!(by_pid(10) && by_pid(11) && !by_pid(12));
        let by_path = |path: &str| {
            Selector { socket: Some(path.into()), ..Selector::default() }.means(&status)
        };
        assert!(by_path("/run/x.sock") && !by_path("/run/y.sock"));
        assert!(Selector::default().means(&status));
    }

    #[test]
    fn seconds_are_bounded() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        for wrong in ["", "x", "-1", "0", "1e9", "NaN", "inf"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert_eq!(seconds_or_none("0"), Ok(Duration::ZERO));
        assert_eq!(seconds_or_none("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["", "x", "-1", "0.01", "NaN"] {
            assert!(seconds_or_none(wrong).is_err(), "{wrong}");
        }
    }
}
