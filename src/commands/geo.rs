//! Geo commands: positions as scores of sorted sets.

pub(super) mod search;

use super::errors::c_string;
use super::spec::{CommandSpec, acl, after, at, cmd, flag, key};
use super::zsets;
use crate::executor::{Cx, Fail, Outcome, error};
use crate::keyspace::{Found, Type};
use crate::util::numbers::string2d;
use crate::values::geo::Position;
use crate::values::zset::Reader;

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] = &[
    cmd("geoadd", -5, geoadd)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::GEO)
        .keys(&[at(1).flags(key::RW | key::UPDATE)]),
    cmd("geodist", -4, geodist)
        .flags(flag::READONLY)
        .acl(acl::GEO)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("geohash", -2, geohash)
        .flags(flag::READONLY)
        .acl(acl::GEO)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("geopos", -2, geopos)
        .flags(flag::READONLY)
        .acl(acl::GEO)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("georadius", -6, search::georadius).flags(flag::WRITE | flag::DENYOOM).acl(acl::GEO).keys(
        &[
            at(1).flags(key::RO | key::ACCESS),
            after("STORE", 6).flags(key::OW | key::UPDATE),
            after("STOREDIST", 6).flags(key::OW | key::UPDATE),
        ],
    ),
    cmd("georadius_ro", -6, search::georadius_ro)
        .flags(flag::READONLY)
        .acl(acl::GEO)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("georadiusbymember", -5, search::georadiusbymember)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::GEO)
        .keys(&[
            at(1).flags(key::RO | key::ACCESS),
            after("STORE", 5).flags(key::OW | key::UPDATE),
            after("STOREDIST", 5).flags(key::OW | key::UPDATE),
        ]),
    cmd("georadiusbymember_ro", -5, search::georadiusbymember_ro)
        .flags(flag::READONLY)
        .acl(acl::GEO)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("geosearch", -7, search::geosearch)
        .flags(flag::READONLY)
        .acl(acl::GEO)
        .keys(&[at(1).flags(key::RO | key::ACCESS)]),
    cmd("geosearchstore", -8, search::geosearchstore)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::GEO)
        .keys(&[at(1).flags(key::OW | key::UPDATE), at(2).flags(key::RO | key::ACCESS)]),
];

/// `GEOADD key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]`: add one or
/// more geospatial items in the geospatial index represented using a sorted set.
fn geoadd(cx: &mut Cx<'_>) -> Outcome {
    let (mut nx, mut xx, mut ch) = (false, false, false);
    let mut first = 2;
    while first < cx.args.len() {
        if cx.args.is(first, "NX") {
            nx = true;
        } else if cx.args.is(first, "XX") {
            xx = true;
        } else if cx.args.is(first, "CH") {
            ch = true;
        } else {
            break;
        }
        first += 1;
    }
    let count = cx.args.len() - first;
    if !count.is_multiple_of(3) || nx && xx {
        return Err(error::SYNTAX);
    }
    let mut elements = Vec::with_capacity(count / 3);
    for at in (first..cx.args.len()).step_by(3) {
        elements.push((position(cx, at)?.score(), cx.arg(at + 2)));
    }
    if elements.is_empty() {
        return Err(error::SYNTAX);
    }
    zsets::add::add_elements(cx, nx, xx, ch, &elements)
}

/// The longitude and latitude from an argument on.
fn position(cx: &Cx<'_>, at: usize) -> Result<Position, Fail> {
    let longitude = number(cx, at, NO_NUMBER)?;
    let latitude = number(cx, at + 1, NO_NUMBER)?;
    let position = Position { longitude, latitude };
    if !position.is_valid() {
        let text = format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}");
        return Err(text.into());
    }
    Ok(position)
}

const NO_NUMBER: &str = "ERR value is not a valid float";

/// An argument as a number; `refusal` if it is none.
fn number(cx: &Cx<'_>, at: usize, refusal: &'static str) -> Result<f64, Fail> {
    string2d(cx.arg(at)).filter(|number| !number.is_nan()).ok_or_else(|| refusal.into())
}

/// Metres in the unit that an argument names.
fn unit(cx: &Cx<'_>, at: usize) -> Result<f64, Fail> {
    const UNITS: [(&str, f64); 4] = [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)];
    // Redis compares C strings.
    let word = c_string(cx.arg(at), usize::MAX);
    let known = UNITS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
    let (_, metres) = known.ok_or("ERR unsupported unit provided. please use M, KM, FT, MI")?;
    Ok(*metres)
}

/// The sorted set of a key that is there and has been seen to be one.
fn reader<'c>(cx: &'c Cx<'_>, found: &Found) -> Result<Reader<'c>, Fail> {
    Reader::of(&cx.entry(found)).ok_or(error::WRONG_TYPE)
}

/// Where a member is, if the key and the member are there.
fn position_of(
    cx: &Cx<'_>,
    found: Option<&Found>,
    member: &[u8],
) -> Result<Option<Position>, Fail> {
    let Some(found) = found else { return Ok(None) };
    Ok(reader(cx, found)?.score(member).map(Position::of_score))
}

/// Replies with a distance, to four decimals.
fn reply_distance(cx: &mut Cx<'_>, distance: f64) {
    let text = match distance.is_nan() {
        true if distance.is_sign_negative() => "-nan".to_owned(),
        true => "nan".to_owned(),
        false => format!("{distance:.4}"),
    };
    cx.reply.bulk(text.as_bytes());
}

/// Replies with an array of longitude and latitude.
fn reply_position(cx: &mut Cx<'_>, position: &Position) {
    cx.reply.array(2);
    for degrees in [position.longitude, position.latitude] {
        let text = format!("{degrees:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        let text = if text == "-0" { "0" } else { text };
        cx.reply.human_double(text.as_bytes());
    }
}

/// `GEODIST key member1 member2 [M | KM | FT | MI]`: returns the distance between two members of a
/// geospatial index.
fn geodist(cx: &mut Cx<'_>) -> Outcome {
    let metres = match cx.args.len() {
        4 => 1.0,
        5 => unit(cx, 4)?,
        _ => return Err(error::SYNTAX),
    };
    let found = cx.read_as(cx.arg(1), Type::Zset)?;
    let one = position_of(cx, found.as_ref(), cx.arg(2))?;
    let other = position_of(cx, found.as_ref(), cx.arg(3))?;
    match (one, other) {
        (Some(one), Some(other)) => reply_distance(cx, one.distance(&other) / metres),
        _ => cx.reply.null(),
    }
    Ok(())
}

/// `GEOHASH key [member [member ...]]`: returns members of a geospatial index as standard geohash
/// strings.
fn geohash(cx: &mut Cx<'_>) -> Outcome {
    let found = cx.read_as(cx.arg(1), Type::Zset)?;
    cx.reply.array(cx.args.len() - 2);
    for member in cx.args.from(2) {
        match position_of(cx, found.as_ref(), member)? {
            Some(position) => cx.reply.bulk(&position.geohash()),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

/// `GEOPOS key [member [member ...]]`: returns longitude and latitude of members of a geospatial
/// index.
fn geopos(cx: &mut Cx<'_>) -> Outcome {
    let found = cx.read_as(cx.arg(1), Type::Zset)?;
    cx.reply.array(cx.args.len() - 2);
    for member in cx.args.from(2) {
        match position_of(cx, found.as_ref(), member)? {
            Some(position) => reply_position(cx, &position),
            None => cx.reply.null_array(),
        }
    }
    Ok(())
}
