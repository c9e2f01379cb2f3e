//! What an episode consists of.

use std::fmt;

use super::mask::Mask;
use super::upgrading::Then;
use crate::value::quoted;

/// One argument. Some name a connection by its number, because the servers know it by different
/// ids and addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arg {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The client id of connection N.
    Id(usize),
    /// The address of connection N's client end, `ip:port`.
    Addr(usize),
    /// The address the server listens on, `ip:port`.
    ServerAddr,
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }
}

impl From<String> for Arg {
    fn from(text: String) -> Self {
        Self::Bytes(text.into_bytes())
    }
}

impl From<Vec<u8>> for Arg {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<i64> for Arg {
    fn from(number: i64) -> Self {
        number.to_string().into()
    }
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => {
                let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_:.*@#+/".contains(b);
                match std::str::from_utf8(bytes) {
                    Ok(text) if !text.is_empty() && bytes.iter().all(plain) => f.write_str(text),
                    _ => f.write_str(&quoted(bytes)),
                }
            }
            Self::Id(n) => write!(f, "<id of c{n}>"),
            Self::Addr(n) => write!(f, "<address of c{n}>"),
            Self::ServerAddr => f.write_str("<address of the server>"),
        }
    }
}

/// How the generator may damage a command to test wrong use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vary {
    /// Arguments may be dropped, added, repeated, and replaced by odd numbers.
    Freely,
    /// Arguments may be dropped, added and repeated, but a number in the wrong place would make
    /// the run depend on time (a key that expires while it is compared).
    Shape,
    /// Sent as it is: a damaged form could stop or hang the servers.
    Not,
}

/// One command and how its replies are compared.
#[derive(Debug, Clone)]
pub struct Command {
    /// Name and arguments.
    pub args: Vec<Arg>,
    /// How its replies are compared.
    pub mask: Mask,
    /// How it may be damaged.
    pub vary: Vary,
}

impl Command {
    /// A command whose replies must be equal.
    pub fn new(args: Vec<Arg>) -> Self {
        Self { args, mask: Mask::Exact, vary: Vary::Freely }
    }

    /// With replies compared by `mask`.
    pub fn mask(mut self, mask: Mask) -> Self {
        self.mask = mask;
        self
    }

    /// With the damage the generator may do.
    pub fn vary(mut self, vary: Vary) -> Self {
        self.vary = vary;
        self
    }

    /// Adds an argument.
    pub fn push(&mut self, arg: impl Into<Arg>) -> &mut Self {
        self.args.push(arg.into());
        self
    }

    /// Name and arguments; what each server knows by another name is empty.
    pub fn words(&self) -> Vec<&[u8]> {
        self.args
            .iter()
            .map(|arg| match arg {
                Arg::Bytes(bytes) => bytes.as_slice(),
                _ => &[],
            })
            .collect()
    }

    /// Whether the command's name is `name` (upper case).
    pub fn is(&self, name: &str) -> bool {
        let first = self.args.first();
        matches!(first, Some(Arg::Bytes(b)) if b.eq_ignore_ascii_case(name.as_bytes()))
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, arg) in self.args.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{arg}")?;
        }
        Ok(())
    }
}

/// `cmd!["SET", key, 5]`: a [`Command`] of things that are [`Arg`]s.
#[macro_export]
macro_rules! cmd {
    ($($arg:expr),+ $(,)?) => {
        $crate::differential::Command::new(vec![$($crate::differential::Arg::from($arg)),+])
    };
}

/// One step of an episode.
#[derive(Debug, Clone)]
pub enum Step {
    /// Sends commands in one write.
    Send {
        /// Which connection.
        client: usize,
        /// What to send.
        commands: Vec<Command>,
    },
    /// Sends bytes, in pieces between which the servers come to rest.
    Raw {
        /// Which connection.
        client: usize,
        /// What to send.
        pieces: Vec<Vec<u8>>,
    },
    /// Iterates a whole database with SCAN and these options; compares the union.
    Scan {
        /// Which database.
        db: usize,
        /// MATCH, COUNT, TYPE.
        options: Vec<Vec<u8>>,
    },
    /// Waits until the key has expired on both servers, if it is about to.
    AwaitGone {
        /// Which database.
        db: usize,
        /// Which key.
        key: Vec<u8>,
    },
    /// Closes a connection and opens it again.
    Reconnect {
        /// Which connection.
        client: usize,
    },
    /// Turns keyspace events on, and opens one more connection that listens to all of them.
    Listen,
    /// Compares all keys of all databases, and what the servers say of their connections.
    CompareState,
    /// Replaces the candidate's binary by its other build, if it has one; and what then becomes of
    /// that.
    Upgrade(Then),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { client, commands } => {
                let lines: Vec<String> = commands.iter().map(|c| c.to_string()).collect();
                write!(f, "c{client}> {}", lines.join(&format!("\n    c{client}| ")))
            }
            Self::Raw { client, pieces } => {
                let pieces: Vec<String> = pieces.iter().map(|p| quoted(p)).collect();
                write!(f, "c{client}> (raw bytes) {}", pieces.join(" + "))
            }
            Self::Scan { db, options } => {
                let options: Vec<String> = options.iter().map(|o| quoted(o)).collect();
                write!(f, "(control) SCAN all of db {db} {}", options.join(" "))
            }
            Self::AwaitGone { db, key } => {
                write!(f, "(control) wait until {} in db {db} has expired", quoted(key))
            }
            Self::Reconnect { client } => write!(f, "c{client}  (close and connect again)"),
            Self::Listen => f.write_str("(one more connection listens to all keyspace events)"),
            Self::CompareState => f.write_str("(control) compare the keyspaces"),
            Self::Upgrade(Then::Stands) => f.write_str("(control) upgrade the candidate"),
            Self::Upgrade(Then::GoesBack) => {
                f.write_str("(control) upgrade the candidate, and go back")
            }
            Self::Upgrade(Then::Dies(us)) => {
                write!(
                    f,
                    "(control) upgrade the candidate, and kill the new generation after {us} us"
                )
            }
        }
    }
}
