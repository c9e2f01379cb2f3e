//! `DUMP`, `RESTORE`, `MIGRATE`: values in their serialised form.

mod migrate;
mod restore;

pub(super) use migrate::secrets;

use super::spec::{CommandSpec, acl, after, at, cmd, flag, key};
use crate::executor::{Cx, Outcome};
use crate::keyspace::EntryView;
use crate::rdb;
use crate::values::serial;

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("dump", 2, dump)
        .flags(flag::READONLY)
        .acl(acl::KEYSPACE)
        .keys(&[at(1).flags(key::RO | key::ACCESS)])
        .tips(&["nondeterministic_output"]),
    cmd("migrate", -6, migrate::migrate)
        .flags(flag::WRITE)
        .acl(acl::KEYSPACE | acl::DANGEROUS)
        .keys(&[
            at(3).flags(key::RW | key::ACCESS | key::DELETE),
            after("KEYS", -2)
                .to(-1, 1, 0)
                .flags(key::RW | key::ACCESS | key::DELETE | key::INCOMPLETE),
        ])
        .tips(&["nondeterministic_output"])
        .get_keys(migrate::keys),
    cmd("restore", -4, restore::restore)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::KEYSPACE | acl::DANGEROUS)
        .keys(&[at(1).flags(key::OW | key::UPDATE)]),
    cmd("restore-asking", -4, restore::restore)
        .flags(flag::WRITE | flag::DENYOOM | flag::ASKING)
        .acl(acl::KEYSPACE | acl::DANGEROUS)
        .keys(&[at(1).flags(key::OW | key::UPDATE)]),
];

/// `DUMP key`: return a serialized version of the value stored at the specified key.
fn dump(cx: &mut Cx<'_>) -> Outcome {
    let key = cx.read(cx.arg(1))?;
    match &key.found {
        Some(found) => {
            let payload = payload(cx, &cx.entry(found));
            cx.reply.bulk(&payload);
        }
        None => cx.reply.null(),
    }
    Ok(())
}

/// A value with version and checksum, as `RESTORE` takes it.
fn payload(cx: &Cx<'_>, entry: &EntryView<'_>) -> Vec<u8> {
    let mut payload = serial::dump(entry, &cx.state.config);
    rdb::seal(&mut payload);
    payload
}
