//! Geohashes: positions on the earth as numbers of 52 bits, and distances between them. The formulas
//! and the order of their operations are those of Redis, so that every bit of a result agrees.
//!
//! A geohash of `step` halvings in each direction names one of 4^step areas; longitude and latitude
//! take turns in its bits, longitude first. An element of a sorted set has the geohash of 26 halvings
//! as its score.

/// Longitudes that can be encoded, degrees.
pub const LONGITUDES: Span = Span { min: -180.0, max: 180.0 };
/// Latitudes that can be encoded, degrees: a square map has no poles.
pub const LATITUDES: Span = Span { min: -85.05112878, max: 85.05112878 };

/// Halvings of what is stored.
const STEPS: u32 = 26;
/// The earth's mean radius, metres.
const EARTH_RADIUS: f64 = 6_372_797.560856;
/// Half of the map's width, metres.
const MERCATOR_MAX: f64 = 20_037_726.37;
/// Degrees to radians.
const DEGREE: f64 = std::f64::consts::PI / 180.0;

/// From a lowest to a highest value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
}

impl Span {
    /// Whether a value is neither below nor above.
    pub fn contains(&self, value: f64) -> bool {
        !(value < self.min || value > self.max)
    }

    fn width(&self) -> f64 {
        self.max - self.min
    }

    /// Which of 2^step equal parts a value is in.
    fn part_of(&self, value: f64, step: u32) -> u32 {
        let offset = (value - self.min) / self.width() * (1u64 << step) as f64;
        c_int(offset) as u32
    }

    fn part(&self, part: u32, step: u32) -> Span {
        let parts = (1u64 << step) as f64;
        let edge = |part: u32| self.min + f64::from(part) / parts * self.width();
        Span { min: edge(part), max: edge(part.wrapping_add(1)) }
    }

    fn middle(&self) -> f64 {
        (self.min + self.max) / 2.0
    }
}

/// A double as a signed integer, as x86 converts it: what does not fit becomes the least one.
pub fn c_int(value: f64) -> i64 {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if (-BEYOND..BEYOND).contains(&value) { value as i64 } else { i64::MIN }
}

/// A double as an unsigned integer, as compilers have x86 convert it.
fn c_unsigned(value: f64) -> u64 {
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    if value >= HALF { c_int(value - HALF) as u64 ^ 1 << 63 } else { c_int(value) as u64 }
}

/// A position, degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// Degrees to the east.
    pub longitude: f64,
    /// Degrees to the north.
    pub latitude: f64,
}

impl Position {
    /// Whether it can be encoded.
    pub fn is_valid(&self) -> bool {
        LONGITUDES.contains(self.longitude) && LATITUDES.contains(self.latitude)
    }

    /// The score of an element here.
    pub fn score(&self) -> f64 {
        Hash::of(self, STEPS, LATITUDES).bits as f64
    }

    /// Where the element of a score is: the middle of its area.
    pub fn of_score(score: f64) -> Position {
        let area = Hash { bits: c_unsigned(score), step: STEPS }.area();
        let within = |value: f64, span: Span| {
            let value = if value > span.max { span.max } else { value };
            if value < span.min { span.min } else { value }
        };
        Position {
            longitude: within(area.longitudes.middle(), LONGITUDES),
            latitude: within(area.latitudes.middle(), LATITUDES),
        }
    }

    /// The usual text of a geohash, of 11 characters: in it latitudes go from pole to pole.
    pub fn geohash(&self) -> [u8; 11] {
        const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let bits = Hash::of(self, STEPS, Span { min: -90.0, max: 90.0 }).bits;
        std::array::from_fn(|i| {
            // 52 bits are ten characters and a little.
            let index = if i < 10 { bits >> (52 - (i + 1) * 5) & 31 } else { 0 };
            ALPHABET[index as usize]
        })
    }

    /// The distance to another position along the surface, metres.
    pub fn distance(&self, other: &Position) -> f64 {
        let (latitude, other_latitude) = (self.latitude * DEGREE, other.latitude * DEGREE);
        let (longitude, other_longitude) = (self.longitude * DEGREE, other.longitude * DEGREE);
        let u = ((other_latitude - latitude) / 2.0).sin();
        let v = ((other_longitude - longitude) / 2.0).sin();
        let a = u * u + latitude.cos() * other_latitude.cos() * v * v;
        2.0 * EARTH_RADIUS * a.sqrt().asin()
    }
}

/// The area that a geohash names.
#[derive(Debug, Clone, Copy)]
struct Area {
    longitudes: Span,
    latitudes: Span,
}

/// A geohash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hash {
    bits: u64,
    step: u32,
}

/// The bits of latitudes; the others are those of longitudes.
const EVEN: u64 = 0x5555_5555_5555_5555;

impl Hash {
    fn of(position: &Position, step: u32, latitudes: Span) -> Hash {
        let latitude = latitudes.part_of(position.latitude, step);
        let longitude = LONGITUDES.part_of(position.longitude, step);
        Hash { bits: spread(latitude) | spread(longitude) << 1, step }
    }

    fn area(&self) -> Area {
        Area {
            longitudes: LONGITUDES.part(gather(self.bits >> 1), self.step),
            latitudes: LATITUDES.part(gather(self.bits), self.step),
        }
    }

    /// The geohash so many areas further to the east and north; beyond the edge it goes on at the other.
    fn moved(&self, east: i32, north: i32) -> Hash {
        let used = u64::MAX >> (64 - self.step * 2);
        let shift = |bits: u64, others: u64, by: i32| match by {
            // Bits between those that count carry over.
            1 => bits.wrapping_add((others & used) + 1),
            -1 => (bits | others & used).wrapping_sub((others & used) + 1),
            _ => bits,
        };
        let cut = |bits: u64, own: u64, by: i32| if by == 0 { bits } else { bits & own & used };
        let east_bits = cut(shift(self.bits & !EVEN, EVEN, east), !EVEN, east);
        let north_bits = cut(shift(self.bits & EVEN, !EVEN, north), EVEN, north);
        Hash { bits: east_bits | north_bits, step: self.step }
    }

    /// The scores in the area: from the first on, and below the second.
    fn scores(&self) -> (f64, f64) {
        let shift = 52 - self.step * 2;
        ((self.bits << shift) as f64, ((self.bits + 1) << shift) as f64)
    }
}

/// Puts a 0 before each bit.
fn spread(value: u32) -> u64 {
    let mut bits = u64::from(value);
    bits = (bits | bits << 16) & 0x0000_ffff_0000_ffff;
    bits = (bits | bits << 8) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits << 2) & 0x3333_3333_3333_3333;
    (bits | bits << 1) & EVEN
}

/// Takes every other bit, from the lowest on.
fn gather(bits: u64) -> u32 {
    let mut bits = bits & EVEN;
    bits = (bits | bits >> 1) & 0x3333_3333_3333_3333;
    bits = (bits | bits >> 2) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits >> 4) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits >> 8) & 0x0000_ffff_0000_ffff;
    (bits | bits >> 16) as u32
}

/// What is searched around a position; metres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// All within this radius.
    Circle {
        /// In the unit that was asked for.
        radius: f64,
    },
    /// All within a box.
    Box {
        /// In the unit that was asked for.
        width: f64,
        /// In the unit that was asked for.
        height: f64,
    },
}

/// A search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Search {
    /// The middle.
    pub center: Position,
    /// What is searched.
    pub shape: Shape,
    /// Metres in the unit of the shape.
    pub unit: f64,
}

impl Search {
    /// The distance of a position from the centre in metres, if it is within the shape.
    pub fn reach(&self, position: &Position) -> Option<f64> {
        let center = &self.center;
        match self.shape {
            Shape::Circle { radius } => {
                let distance = center.distance(position);
                // A distance that is no number is within, as in Redis.
                let beyond = distance > radius * self.unit;
                (!beyond).then_some(distance)
            }
            Shape::Box { width, height } => {
                let (width, height) = (width * self.unit, height * self.unit);
                let beside = Position { longitude: center.longitude, ..*position };
                let above = Position { latitude: center.latitude, ..*position };
                let beyond = position.distance(&beside) > width / 2.0
                    || position.distance(&above) > height / 2.0;
                (!beyond).then(|| center.distance(position))
            }
        }
    }

    /// Longitudes and latitudes that the shape spans.
    fn bounds(&self) -> Area {
        let (width, height) = match self.shape {
            Shape::Circle { radius } => (self.unit * radius, self.unit * radius),
            Shape::Box { width, height } => (self.unit * (width / 2.0), self.unit * (height / 2.0)),
        };
        let Position { longitude, latitude } = self.center;
        let north = height / EARTH_RADIUS / DEGREE;
        // The edge nearer to the pole spans more degrees.
        let edge = if latitude < 0.0 { latitude - north } else { latitude + north };
        let east = width / EARTH_RADIUS / (edge * DEGREE).cos() / DEGREE;
        Area {
            longitudes: Span { min: longitude - east, max: longitude + east },
            latitudes: Span { min: latitude - north, max: latitude + north },
        }
    }

    /// Metres from the centre within which the shape lies.
    fn radius(&self) -> f64 {
        let radius = match self.shape {
            Shape::Circle { radius } => radius,
            Shape::Box { width, height } => {
                let (x, y) = (width / 2.0, height / 2.0);
                (x * x + y * y).sqrt()
            }
        };
        radius * self.unit
    }

    /// Ranges of scores (from the first on, below the second) in which all elements within the shape
    /// are, and others; in the order in which Redis goes through them.
    pub fn ranges(&self) -> Vec<(f64, f64)> {
        let bounds = self.bounds();
        let mut step = steps_for(self.radius(), self.center.latitude);
        let mut center = Hash::of(&self.center, step, LATITUDES);
        if step > 1 && is_too_narrow(&center, &bounds) {
            step -= 1;
            center = Hash::of(&self.center, step, LATITUDES);
        }
        let area = center.area();
        let useless = |(east, north): (i32, i32)| {
            step >= 2
                && (north < 0 && area.latitudes.min < bounds.latitudes.min
                    || north > 0 && area.latitudes.max > bounds.latitudes.max
                    || east < 0 && area.longitudes.min < bounds.longitudes.min
                    || east > 0 && area.longitudes.max > bounds.longitudes.max)
        };
        const AROUND: [(i32, i32); 8] =
            [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        let mut ranges = vec![center.scores()];
        let mut last = None;
        for way in AROUND.into_iter().filter(|way| !useless(*way)) {
            let hash = center.moved(way.0, way.1);
            // Where areas are huge, neighbours are one and the same.
            if last != Some(hash) {
                ranges.push(hash.scores());
                last = Some(hash);
            }
        }
        ranges
    }
}

/// How often the map is to be halved so that nine areas cover what lies within a distance (metres) of
/// a latitude.
fn steps_for(mut distance: f64, latitude: f64) -> u32 {
    if distance == 0.0 {
        return STEPS;
    }
    let mut steps = 1;
    while distance < MERCATOR_MAX {
        distance *= 2.0;
        steps += 1;
    }
    // Towards the poles areas become smaller.
    let latitude = latitude.abs();
    steps -= 2 + i32::from(latitude > 66.0) + i32::from(latitude > 80.0);
    steps.clamp(1, STEPS as i32) as u32
}

/// Whether an area and its neighbours do not cover what is searched.
fn is_too_narrow(center: &Hash, bounds: &Area) -> bool {
    center.moved(0, 1).area().latitudes.max < bounds.latitudes.max
        || center.moved(0, -1).area().latitudes.min > bounds.latitudes.min
        || center.moved(1, 0).area().longitudes.max < bounds.longitudes.max
        || center.moved(-1, 0).area().longitudes.min > bounds.longitudes.min
}

#[cfg(test)]
mod tests {
    use super::*;

    const PALERMO: Position = Position { longitude: 13.361389, latitude: 38.115556 };
    const CATANIA: Position = Position { longitude: 15.087269, latitude: 37.502669 };

    #[test]
    fn positions_are_those_of_the_documentation_of_redis() {
        assert_eq!(PALERMO.score(), 3_479_099_956_230_698.0);
        assert_eq!(CATANIA.score(), 3_479_447_370_796_909.0);
        let palermo = Position::of_score(PALERMO.score());
        assert_eq!(&palermo.geohash(), b"sqc8b49rny0");
        assert_eq!(&Position::of_score(CATANIA.score()).geohash(), b"sqdtr74hyu0");
        let distance = palermo.distance(&Position::of_score(CATANIA.score()));
        assert_eq!(format!("{distance:.4}"), "166274.1516");
    }

    #[test]
    fn the_ranges_hold_whatever_is_within_the_shape() {
        let mut state = 7u64;
        let mut random = |span: Span| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            span.min + (state >> 11) as f64 / (1u64 << 53) as f64 * (span.max - span.min)
        };
        // Not across the line of dates, where Redis finds one side only, and not at the poles.
        let middle = Span { min: -60.0, max: 60.0 };
        let mut hits = 0;
        for round in 0..400 {
            let center = Position { longitude: random(middle), latitude: random(middle) };
            let size = random(Span { min: 1.0, max: 2_000.0 });
            let shape = match round % 2 {
                0 => Shape::Circle { radius: size },
                _ => Shape::Box { width: size, height: size / 2.0 },
            };
            let search = Search { center, shape, unit: 1000.0 };
            let ranges = search.ranges();
            for _ in 0..100 {
                let near = Span { min: -12.0, max: 12.0 };
                let score = Position {
                    longitude: center.longitude + random(near),
                    latitude: center.latitude + random(near),
                }
                .score();
                if search.reach(&Position::of_score(score)).is_some() {
                    hits += 1;
                    let held = ranges.iter().any(|(min, max)| (*min..*max).contains(&score));
                    assert!(held, "{search:?} misses {score}");
                }
            }
        }
        assert!(hits > 1_000, "{hits}");
    }

    #[test]
    fn any_number_has_a_position() {
        for score in [f64::NAN, f64::INFINITY, -f64::INFINITY, -1.0, 1e300, -1e300, 1e19, 0.5] {
            let position = Position::of_score(score);
            assert!(position.is_valid(), "{score} is at {position:?}");
            position.geohash();
        }
        for size in [0.0, f64::INFINITY, f64::MIN_POSITIVE, 1e300] {
            let shape = Shape::Circle { radius: size };
            let search = Search { center: PALERMO, shape, unit: 1609.34 };
            assert!(!search.ranges().is_empty());
        }
    }
}
