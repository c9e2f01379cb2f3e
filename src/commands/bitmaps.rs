//! Bitmap commands: strings seen as arrays of bits.

use super::key_search;
use super::not_implemented;
use super::spec::{CommandSpec, acl, at, cmd, flag, key};
use crate::executor::{Cx, Outcome};

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("setbit", 4, setbit)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::BITMAP)
        .keys(&[at(1).flags(key::RW | key::ACCESS | key::UPDATE)]),
    cmd("getbit", 3, getbit)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::BITMAP)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("bitcount", -2, bitcount)
        .flags(flag::READONLY)
        .acl(acl::BITMAP)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("bitpos", -3, bitpos)
        .flags(flag::READONLY)
        .acl(acl::BITMAP)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("bitop", -4, bitop).flags(flag::WRITE | flag::DENYOOM).acl(acl::BITMAP).keys(&[
        at(2).flags(key::OW | key::UPDATE),
        at(3).to(-1, 1, 0).flags(key::RO | key::ACCESS),
    ]),
    cmd("bitfield", -2, bitfield)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::BITMAP)
        .keys(&[at(1)
            .flags(key::RW | key::ACCESS | key::UPDATE | key::VARIABLE_FLAGS)
            .notes("This command allows both access and modification of the key")])
        .get_keys(key_search::of_bitfield),
    cmd("bitfield_ro", -2, bitfield_ro)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::BITMAP)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
];

/// `SETBIT key offset value`: sets or clears the bit at offset in the string value stored at key.
fn setbit(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `GETBIT key offset`: returns the bit value at offset in the string value stored at key.
fn getbit(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `BITCOUNT key [start end [BYTE | BIT]]`: count set bits in a string.
fn bitcount(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `BITPOS key bit [start [end [BYTE | BIT]]]`: find first bit set or clear in a string.
fn bitpos(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `BITOP operation destkey key [key ...]`: perform bitwise operations between strings.
fn bitop(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `BITFIELD key [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value |
/// INCRBY encoding offset increment> ...]`: perform arbitrary bitfield integer operations on
/// strings.
fn bitfield(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `BITFIELD_RO key [GET encoding offset [GET encoding offset ...]]`: read-only variant of
/// `BITFIELD`.
fn bitfield_ro(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}
