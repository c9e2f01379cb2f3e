//! Searching around a position: `GEOSEARCH` and its older forms.

use super::{number, position, position_of, reader, reply_distance, reply_position, unit};
use crate::commands::errors::c_string;
use crate::commands::zsets;
use crate::executor::{Cx, Fail, Outcome, class, error};
use crate::keyspace::{Found, Type};
use crate::util::sorting;
use crate::values::geo::{self, Position, Search, Shape};
use crate::values::zset::{Builder, ScoreRange};

/// Where a command has its arguments, and which options it takes.
#[derive(Debug, Clone, Copy)]
struct Form {
    /// The argument that is the key searched.
    source: usize,
    /// The first argument that is an option.
    options: usize,
    /// What says where the centre is, if no option does.
    center: Center,
    /// Whether `STORE` and `STOREDIST` are followed by a key.
    stores: bool,
    /// Whether the result is stored in the key that is the first argument.
    always_stores: bool,
}

/// What says where the centre is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Center {
    /// The second and third argument.
    Position,
    /// The second argument, a member.
    Member,
    /// An option.
    Option,
}

/// `GEORADIUS key longitude latitude radius M | KM | FT | MI [WITHCOORD] [WITHDIST] [WITHHASH]
/// [COUNT count [ANY]] [ASC | DESC] [STORE key] [STOREDIST key]`: query a sorted set representing a
/// geospatial index to fetch members matching a given maximum distance from a point.
pub(super) fn georadius(cx: &mut Cx<'_>) -> Outcome {
    search(cx, &BY_POSITION)
}

/// `GEORADIUS_RO`: a read-only variant for `GEORADIUS`.
pub(super) fn georadius_ro(cx: &mut Cx<'_>) -> Outcome {
    search(cx, &Form { stores: false, ..BY_POSITION })
}

/// `GEORADIUSBYMEMBER key member radius M | KM | FT | MI [...]`: query a sorted set representing a
/// geospatial index to fetch members matching a given maximum distance from a member.
pub(super) fn georadiusbymember(cx: &mut Cx<'_>) -> Outcome {
    search(cx, &BY_MEMBER)
}

/// `GEORADIUSBYMEMBER_RO`: a read-only variant for `GEORADIUSBYMEMBER`.
pub(super) fn georadiusbymember_ro(cx: &mut Cx<'_>) -> Outcome {
    search(cx, &Form { stores: false, ..BY_MEMBER })
}

/// `GEOSEARCH key FROMMEMBER member | FROMLONLAT longitude latitude BYRADIUS radius M | KM | FT | MI |
/// BYBOX width height M | KM | FT | MI [ASC | DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST]
/// [WITHHASH]`: query a sorted set representing a geospatial index to fetch members inside an area of
/// a box or a circle.
pub(super) fn geosearch(cx: &mut Cx<'_>) -> Outcome {
    search(cx, &SEARCH)
}

/// `GEOSEARCHSTORE destination source ... [STOREDIST]`: query a sorted set representing a geospatial
/// index to fetch members inside an area of a box or a circle, and store the result in another key.
pub(super) fn geosearchstore(cx: &mut Cx<'_>) -> Outcome {
    search(cx, &Form { source: 2, options: 3, always_stores: true, ..SEARCH })
}

const BY_POSITION: Form =
    Form { source: 1, options: 6, center: Center::Position, stores: true, always_stores: false };
const BY_MEMBER: Form = Form { options: 5, center: Center::Member, ..BY_POSITION };
const SEARCH: Form = Form { options: 2, center: Center::Option, stores: false, ..BY_POSITION };

/// The options of a search.
#[derive(Debug, Clone, Copy, Default)]
struct Options<'a> {
    with_distance: bool,
    with_hash: bool,
    with_position: bool,
    any: bool,
    order: Option<Order>,
    /// Most elements of the result; 0 for all.
    count: usize,
    /// The key to store the result in.
    target: Option<&'a [u8]>,
    /// Whether what is stored are distances.
    distances: bool,
    /// Where the centre is; `None` also if it is a member of a key that is not there.
    center: Option<Position>,
    from_member: bool,
    from_position: bool,
    shape: Option<Shape>,
    unit: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Ascending,
    Descending,
}

/// An element that was found.
#[derive(Clone, Copy)]
struct Point {
    /// Which of the members it is.
    member: usize,
    /// Metres from the centre.
    distance: f64,
    score: f64,
    position: Position,
}

fn search(cx: &mut Cx<'_>, form: &Form) -> Outcome {
    let found = cx.read_as(cx.arg(form.source), Type::Zset)?;
    let options = Options::parse(cx, form, found.as_ref())?;
    let (Some(found), Some(center), Some(shape)) = (found, options.center, options.shape) else {
        return match options.target {
            Some(target) => store(cx, form, target, &mut Builder::default()),
            None => {
                cx.reply.array(0);
                Ok(())
            }
        };
    };
    let search = Search { center, shape, unit: options.unit };
    let (mut points, members) = matching(cx, &found, &search, options.limit())?;
    let wanted = match options.count {
        0 => points.len(),
        count => count.min(points.len()),
    };
    sort(&mut points, options.sorted(), wanted);
    points.truncate(wanted);
    points.iter_mut().for_each(|point| point.distance /= options.unit);
    let Some(target) = options.target else { return reply(cx, &options, &points, &members) };
    let mut builder = Builder::default();
    for point in &points {
        let score = if options.distances { point.distance } else { point.score };
        // No score is NaN; Redis stops there.
        builder.push(&members[point.member], if score.is_nan() { 0.0 } else { score });
    }
    store(cx, form, target, &mut builder)
}

impl<'a> Options<'a> {
    fn parse(cx: &Cx<'a>, form: &Form, found: Option<&Found>) -> Result<Options<'a>, Fail> {
        let mut options = Options::default();
        match form.center {
            Center::Position => {
                options.center = Some(position(cx, 2)?);
                options.circle(cx, 4)?;
            }
            // Without a key, what the arguments mean does not matter.
            Center::Member if found.is_none() => {}
            Center::Member => {
                options.around_member(cx, found, 2)?;
                options.circle(cx, 3)?;
            }
            Center::Option => options.target = form.always_stores.then(|| cx.arg(1)),
        }
        let mut at = form.options;
        while at < cx.args.len() {
            at = options.next(cx, form, found, at)?;
        }
        options.check(cx, form)?;
        Ok(options)
    }

    /// Reads one option with its arguments; gives the number of the next.
    fn next(
        &mut self,
        cx: &Cx<'a>,
        form: &Form,
        found: Option<&Found>,
        at: usize,
    ) -> Result<usize, Fail> {
        let is =
            |word: &str| c_string(cx.arg(at), usize::MAX).eq_ignore_ascii_case(word.as_bytes());
        let behind = cx.args.len() - at - 1;
        let searches = form.center == Center::Option;
        if is("WITHDIST") {
            self.with_distance = true;
        } else if is("WITHHASH") {
            self.with_hash = true;
        } else if is("WITHCOORD") {
            self.with_position = true;
        } else if is("ANY") {
            self.any = true;
        } else if is("ASC") {
            self.order = Some(Order::Ascending);
        } else if is("DESC") {
            self.order = Some(Order::Descending);
        } else if is("COUNT") && behind >= 1 {
            let count = cx.int_arg(at + 1)?;
            if count <= 0 {
                return Err("ERR COUNT must be > 0".into());
            }
            self.count = usize::try_from(count).unwrap_or(usize::MAX);
            return Ok(at + 2);
        } else if (is("STORE") || is("STOREDIST")) && behind >= 1 && form.stores {
            self.target = Some(cx.arg(at + 1));
            self.distances = is("STOREDIST");
            return Ok(at + 2);
        } else if is("STOREDIST") && form.always_stores {
            self.distances = true;
        } else if searches {
            return self.next_of_search(cx, found, at, behind);
        } else {
            return Err(error::SYNTAX);
        }
        Ok(at + 1)
    }

    /// As [`next`](Options::next), for what only the newer commands have.
    fn next_of_search(
        &mut self,
        cx: &Cx<'a>,
        found: Option<&Found>,
        at: usize,
        behind: usize,
    ) -> Result<usize, Fail> {
        let is =
            |word: &str| c_string(cx.arg(at), usize::MAX).eq_ignore_ascii_case(word.as_bytes());
        if is("FROMMEMBER") && behind >= 1 && !self.from_position {
            if found.is_some() {
                self.around_member(cx, found, at + 1)?;
            }
            self.from_member = true;
            Ok(at + 2)
        } else if is("FROMLONLAT") && behind >= 2 && !self.from_member {
            self.center = Some(position(cx, at + 1)?);
            self.from_position = true;
            Ok(at + 3)
        } else if is("BYRADIUS") && behind >= 2 && !matches!(self.shape, Some(Shape::Box { .. })) {
            self.circle(cx, at + 1)?;
            Ok(at + 3)
        } else if is("BYBOX") && behind >= 3 && !matches!(self.shape, Some(Shape::Circle { .. })) {
            let width = number(cx, at + 1, "ERR need numeric width")?;
            let height = number(cx, at + 2, "ERR need numeric height")?;
            if height < 0.0 || width < 0.0 {
                return Err("ERR height or width cannot be negative".into());
            }
            self.unit = unit(cx, at + 3)?;
            self.shape = Some(Shape::Box { width, height });
            Ok(at + 4)
        } else {
            Err(error::SYNTAX)
        }
    }

    /// Reads a radius and its unit.
    fn circle(&mut self, cx: &Cx<'_>, at: usize) -> Outcome {
        let radius = number(cx, at, "ERR need numeric radius")?;
        if radius < 0.0 {
            return Err("ERR radius cannot be negative".into());
        }
        self.unit = unit(cx, at + 1)?;
        self.shape = Some(Shape::Circle { radius });
        Ok(())
    }

    fn around_member(&mut self, cx: &Cx<'_>, found: Option<&Found>, at: usize) -> Outcome {
        let position = position_of(cx, found, cx.arg(at))?;
        self.center =
            Some(position.ok_or_else(|| Fail::from("ERR could not decode requested zset member"))?);
        Ok(())
    }

    /// Refuses options that do not go together.
    fn check(&self, cx: &Cx<'_>, form: &Form) -> Outcome {
        if self.target.is_some() && (self.with_distance || self.with_hash || self.with_position) {
            let what = match form.always_stores {
                true => "GEOSEARCHSTORE",
                false => "STORE option in GEORADIUS",
            };
            let rest = "is not compatible with WITHDIST, WITHHASH and WITHCOORD options";
            return Err(format!("ERR {what} {rest}").into());
        }
        let missing = |what: &str| {
            let name = c_string(cx.arg(0), usize::MAX);
            let text = format!("ERR exactly one of {what} can be specified for ");
            Err(Fail::Bytes([text.as_bytes(), name].concat()))
        };
        let searches = form.center == Center::Option;
        if searches && !(self.from_member || self.from_position) {
            return missing("FROMMEMBER or FROMLONLAT");
        }
        if searches && self.shape.is_none() {
            return missing("BYRADIUS and BYBOX");
        }
        if self.any && self.count == 0 {
            return Err("ERR the ANY argument requires COUNT argument".into());
        }
        Ok(())
    }

    /// The order of the result. The closest are to come if they are not to be all.
    fn sorted(&self) -> Option<Order> {
        match self.order {
            None if self.count > 0 && !self.any => Some(Order::Ascending),
            order => order,
        }
    }

    /// After how many elements the search may stop.
    fn limit(&self) -> usize {
        if self.any { self.count } else { usize::MAX }
    }
}

/// The elements within the shape, at most `limit`, and their members.
fn matching(
    cx: &Cx<'_>,
    found: &Found,
    search: &Search,
    limit: usize,
) -> Result<(Vec<Point>, Vec<Vec<u8>>), Fail> {
    let reader = reader(cx, found)?;
    let (mut points, mut members) = (Vec::new(), Vec::new());
    for (min, max) in search.ranges() {
        let ranks = reader.by_score(&ScoreRange { min, max, above_min: false, below_max: true });
        for element in reader.slice(ranks, false) {
            let position = Position::of_score(element.score);
            let Some(distance) = search.reach(&position) else { continue };
            let member = element.member.text(&mut shm::pack::Digits::new()).to_vec();
            points.push(Point { member: members.len(), distance, score: element.score, position });
            members.push(member);
            if points.len() >= limit {
                return Ok((points, members));
            }
        }
    }
    Ok((points, members))
}

/// Sorts by distance as far as the first `wanted` points need it.
fn sort(points: &mut [Point], order: Option<Order>, wanted: usize) {
    let Some(order) = order else { return };
    let compare = |one: &Point, other: &Point| {
        let ascending = if one.distance > other.distance {
            1
        } else if one.distance == other.distance {
            0
        } else {
            -1
        };
        if order == Order::Ascending { ascending } else { -ascending }
    };
    if wanted == points.len() {
        sorting::qsort(points, &compare);
    } else {
        sorting::pqsort(points, &compare, 0..wanted);
    }
}

fn reply(cx: &mut Cx<'_>, options: &Options<'_>, points: &[Point], members: &[Vec<u8>]) -> Outcome {
    let extras = [options.with_distance, options.with_hash, options.with_position];
    let extras = extras.into_iter().filter(|wanted| *wanted).count();
    cx.reply.array(points.len());
    for point in points {
        if extras > 0 {
            cx.reply.array(extras + 1);
        }
        cx.reply.bulk(&members[point.member]);
        if options.with_distance {
            reply_distance(cx, point.distance);
        }
        if options.with_hash {
            cx.reply.integer(geo::c_int(point.score));
        }
        if options.with_position {
            reply_position(cx, &point.position);
        }
    }
    Ok(())
}

/// Stores elements as a key's value, whatever was there, and replies with their number; without any
/// the key is deleted.
fn store<'a>(cx: &mut Cx<'a>, form: &Form, target: &'a [u8], builder: &mut Builder) -> Outcome {
    if builder.is_empty() {
        cx.delete_target(target)?;
    } else {
        let key = cx.peek(target)?;
        let limits = zsets::limits(cx);
        let fresh = builder.create(&mut cx.tx, target, None, &limits)?;
        cx.put(&key, fresh)?;
        cx.changed(target)?;
        cx.dirty += builder.len() as u64 - 1;
        let event = if form.always_stores { "geosearchstore" } else { "georadiusstore" };
        cx.notify(class::ZSET, event, target)?;
    }
    cx.reply.integer(builder.len() as i64);
    Ok(())
}
