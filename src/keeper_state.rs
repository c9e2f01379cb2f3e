//! What a keeper has to know to carry on where another one left off: how `hotredis keeper` is told.
//!
//! It travels as JSON in a memfd, together with the descriptors that it names by their numbers, from
//! whoever starts that keeper: the generation that has lost its own, or a keeper that is replaced.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;

use handoff::keeper_channel::{Ready, Serving};
use handoff::message::Identity;
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use crate::keeper::protocol::UpgradeResult;
use crate::settings::Settings;

/// Longest state in bytes: 100,000 sockets take about 5 MB.
const MAX_BYTES: u64 = 64 << 20;

/// What a generation said of itself when it began to serve.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Version of its build.
    pub version: String,
    /// Mark of its build, empty if it has none.
    pub build: String,
    /// Fingerprint of the arena that it serves.
    pub fingerprint: String,
    /// Lowest and highest handoff version that it speaks.
    pub handoff_versions: (u16, u16),
    /// What it listens on.
    pub addresses: Vec<String>,
}

impl From<Ready> for Profile {
    fn from(said: Ready) -> Self {
        Self {
            version: said.version,
            build: said.build,
            fingerprint: said.fingerprint,
            handoff_versions: said.handoff_versions,
            addresses: said.addresses,
        }
    }
}

impl From<Serving> for Profile {
    fn from(said: Serving) -> Self {
        Self {
            version: said.version,
            build: said.build,
            fingerprint: said.fingerprint,
            handoff_versions: said.handoff_versions,
            addresses: said.addresses,
        }
    }
}

impl Profile {
    /// Who it is, as the handoff's machines say it.
    pub fn identity(&self) -> Identity {
        let fingerprint = u64::from_str_radix(&self.fingerprint, 16).unwrap_or_default();
        Identity {
            version: self.version.clone(),
            build: self.build.clone(),
            fingerprint: fingerprint.to_le_bytes().to_vec(),
        }
    }
}

/// A generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationState {
    /// Its process.
    pub pid: u32,
    /// Its number.
    pub number: u64,
    /// What it said of itself.
    pub profile: Profile,
    /// The keeper's end of its channel.
    pub channel: RawFd,
}

/// What a keeper is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeeperState {
    /// What `hotredis serve` was given.
    pub settings: Settings,
    /// The generation that serves.
    pub serving: GenerationState,
    /// The keeper's ends of holding links, with the numbers of the generations.
    pub links: Vec<(u64, RawFd)>,
    /// Upgrades that there have been, and how many failed.
    pub upgrades: (u64, u64),
    /// What a keeper leaves to the program that it becomes.
    #[serde(default)]
    pub kept: Option<Kept>,
}

/// What a keeper leaves to the program that it becomes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The control socket.
    pub control: RawFd,
    /// Its path.
    pub control_path: PathBuf,
    /// Descriptors of the arena.
    pub arena: Vec<RawFd>,
    /// Listeners with their descriptions.
    pub listeners: Vec<(Vec<u8>, RawFd)>,
    /// Connections: slot, cookie, round of telling, socket.
    pub sockets: Vec<(u32, u64, u64, RawFd)>,
    /// Cookies of connections that were closed before anybody had told of them.
    pub closed_untold: Vec<u64>,
    /// The round of telling.
    pub round: u64,
    /// The generation that serves is this process's child.
    pub is_parent: bool,
    /// Upgrades that were undone.
    pub rollbacks: u64,
    /// The last upgrades, in the words of the control socket.
    pub history: Vec<UpgradeResult>,
    /// A number for the next upgrade or request.
    pub next_number: u64,
    /// Since the server was started.
    pub uptime_ms: u64,
}

impl KeeperState {
    /// Writes it where the process that is started will find it.
    ///
    /// # Errors
    /// If the system has no memory for it.
    pub fn to_descriptor(&self) -> io::Result<OwnedFd> {
        let mut file = File::from(memfd_create(c"hotredis-keeper", MFdFlags::MFD_CLOEXEC)?);
        serde_json::to_writer(io::BufWriter::new(&file), self)?;
        file.flush()?;
        file.rewind()?;
        Ok(file.into())
    }

    /// Reads it.
    ///
    /// # Errors
    /// If it is not one that this build understands.
    pub fn from_descriptor(fd: OwnedFd) -> io::Result<Self> {
        let mut json = String::new();
        let mut file = File::from(fd);
        file.rewind()?;
        if (&file).take(MAX_BYTES + 1).read_to_string(&mut json)? as u64 > MAX_BYTES {
            return Err(io::Error::other(format!("it takes more than {MAX_BYTES} bytes")));
        }
        Ok(serde_json::from_str(&json)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_travels() {
        let serving = GenerationState {
            pid: 12,
            number: 3,
            profile: Profile { version: "1".into(), ..Profile::default() },
            channel: 5,
        };
        let settings = Settings::default();
        let (links, upgrades) = (vec![(3, 6)], (4, 5));
        let state = KeeperState { settings, serving, links, upgrades, kept: None };
        let fd = state.to_descriptor().unwrap();
        assert_eq!(KeeperState::from_descriptor(fd).unwrap(), state);
        let rubbish = memfd_create(c"rubbish", MFdFlags::MFD_CLOEXEC).unwrap();
        assert!(KeeperState::from_descriptor(rubbish).is_err());
    }
}
