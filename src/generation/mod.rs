//! Joins handoff, arena and network: the serving process.
//!
//! | module | what |
//! | --- | --- |
//! | [`start`] | generation 1: makes arena and listeners |
//! | [`taking`] | a successor: takes over from its predecessor |
//! | [`serving`] | the loop: turns, accepts, background rounds |
//! | [`giving`] | the predecessor's part in an upgrade, within that loop |
//! | [`standing_by`] | the predecessor's part after it: frozen, until its successor has proved itself |
//! | [`watched`] | the successor's part meanwhile |
//! | [`admission`] | accepting and closing connections |
//! | [`recovering`] | taking up what another generation, or a panic, has left |
//! | [`panics`] | which of them end the process |
//! | [`prefault`] | pages that are entered into the page table before the freeze |
//! | [`huge_pages`] | which pages the arena has |
//! | [`configuration`] | the configuration as it passes from one generation to the next |
//! | [`telling`] | the keeper is told of what has to outlive this process |
//! | [`new_keeper`] | a keeper is started in place of one that has died |

mod admission;
mod configuration;
mod giving;
mod huge_pages;
mod new_keeper;
mod orders;
mod panics;
mod prefault;
mod recovering;
mod serving;
mod standing_by;
mod start;
mod taking;
mod telling;
mod watched;

use std::process::ExitCode;

use handoff::keeper_channel::{GenerationEnd, StartFailed};
use handoff::message::{PROTOCOL_MAX, PROTOCOL_MIN};
use shm::Record;
use shm::arena::combined_fingerprint;
use shm::record::fingerprint;

use crate::identity::Identity;
use crate::keeper_state::Profile;
use crate::keyspace::trash::Trash;
use crate::keyspace::{Database, Entry};
use crate::role::Role;
use crate::root::{Counters, HandoffState, Root};
use crate::session::members::{Member, Topic};
use crate::session::output::{Chunk, Message};
use crate::session::queue::Queued;
use crate::session::tracking::{Reader, Tracked};
use crate::session::waits::{Place, Queue, Wait};
use crate::session::{Directory, Session};
use crate::statistics::{CommandRow, ErrorRow, Statistics};
use crate::values::hash::Field;
use crate::values::set::SetMember;
use crate::values::stream::group::{Consumer, Delivery, Group, Pending, Progress};
use crate::values::stream::node::{Fill, Node};
use crate::values::stream::{StoredId, Stream, Totals};
use crate::values::zset::{Zset, ZsetMember};
use crate::version;

/// Changes whenever something in the arena changes its meaning without changing its layout: kinds
/// of entries, flags of sessions, archives.
const ENCODINGS: u64 = 1;

/// Most addresses that the keeper is told of.
const MAX_ADDRESSES: usize = 64;

/// The server's part of the arena's fingerprint.
pub const FINGERPRINT: u64 = fingerprint(
    &[
        Root::LAYOUT,
        Counters::LAYOUT,
        HandoffState::LAYOUT,
        Statistics::LAYOUT,
        CommandRow::LAYOUT,
        ErrorRow::LAYOUT,
        Database::LAYOUT,
        Entry::LAYOUT,
        Trash::LAYOUT,
        Session::LAYOUT,
        Directory::LAYOUT,
        Chunk::LAYOUT,
        Message::LAYOUT,
        Topic::LAYOUT,
        Member::LAYOUT,
        Queued::LAYOUT,
        Wait::LAYOUT,
        Place::LAYOUT,
        Queue::LAYOUT,
        Tracked::LAYOUT,
        Reader::LAYOUT,
        SetMember::LAYOUT,
        Stream::LAYOUT,
        Totals::LAYOUT,
        StoredId::LAYOUT,
        Node::LAYOUT,
        Fill::LAYOUT,
        Group::LAYOUT,
        Progress::LAYOUT,
        Consumer::LAYOUT,
        Pending::LAYOUT,
        Delivery::LAYOUT,
        Field::LAYOUT,
        Zset::LAYOUT,
        ZsetMember::LAYOUT,
    ],
    &[("encodings", ENCODINGS)],
);

/// Serves until told to stop, or replaced.
pub fn run(channel: GenerationEnd, role: Role) -> ExitCode {
    if !version::WARNING.is_empty() {
        tracing::error!("this server is {}", version::WARNING);
    }
    match role {
        Role::First { generation, keeper_pid, settings, holding } => {
            match start::start(&channel, generation, keeper_pid, &settings) {
                Ok(mut generation) => {
                    generation.settings = settings;
                    generation.tell_keeper(holding, None);
                    generation.serve(channel)
                }
                Err(error) => {
                    let reason = format!("{error:#}");
                    // The exit tells as much if the keeper cannot be told.
                    let _ = channel.send(&StartFailed { reason }.into());
                    ExitCode::FAILURE
                }
            }
        }
        Role::Successor(succession) => match taking::take_over(&channel, succession) {
            Ok(generation) => generation.serve(channel),
            Err(()) => ExitCode::FAILURE,
        },
    }
}

/// Handoff versions and arena fingerprints of this build.
pub fn identity() -> Identity {
    Identity::of_this_build((PROTOCOL_MIN, PROTOCOL_MAX), vec![fingerprint_text()])
}

/// The fingerprint of arenas that this build makes, in hexadecimal.
fn fingerprint_text() -> String {
    format!("{:016x}", combined_fingerprint(FINGERPRINT))
}

/// What this process says of itself when it serves at these addresses, or the first of them.
fn profile(addresses: &[String]) -> Profile {
    Profile {
        version: version::VERSION.into(),
        build: version::build().into(),
        fingerprint: fingerprint_text(),
        handoff_versions: (PROTOCOL_MIN, PROTOCOL_MAX),
        addresses: addresses.iter().take(MAX_ADDRESSES).cloned().collect(),
    }
}

/// Who this process is, for the other generation.
fn handoff_identity() -> handoff::message::Identity {
    handoff::message::Identity {
        version: version::VERSION.into(),
        build: version::build().into(),
        fingerprint: combined_fingerprint(FINGERPRINT).to_le_bytes().to_vec(),
    }
}
