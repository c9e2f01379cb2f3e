//! `LOLWUT`: computer art, as Redis 5 and 6 drew it.
//!
//! `LOLWUT VERSION 5` is Schotter, after Georg Nees: squares that fall out of order from row to
//! row. `LOLWUT VERSION 6` is a skyline as in the games of 8 bit machines. Any other version only
//! says which one this is.

use super::spec::{CommandSpec, cmd, flag};
use crate::executor::{Cx, Outcome};
use crate::proto::reply::Format;
use crate::util::numbers::string2ll;

/// The rows of this family.
pub static COMMANDS: &[CommandSpec] =
    &[cmd("lolwut", -1, lolwut).flags(flag::READONLY | flag::FAST)];

/// `LOLWUT [VERSION version]`: display some computer art and the Redis version.
fn lolwut(cx: &mut Cx<'_>) -> Outcome {
    let args: Vec<&[u8]> = cx.args.from(1).collect();
    let art = render(&args, &mut || cx.state.random() as u32);
    let art = art.map_err(|reason| format!("ERR {reason}"))?;
    cx.reply.verbatim(Format::Text, art.as_bytes());
    Ok(())
}

const SIGNATURE: &str = "Redis ver. 7.0.15\n";
const SCHOTTER_CAPTION: &str = "\nGeorg Nees - schotter, plotter on paper, 1968. ";
const SKYLINE_CAPTION: &str = "\nDedicated to the 8 bit game developers of past and present.\n\
                               Original 8 bit image from Plaguemon by hikikomori. ";

/// Where chance comes from: any 32 bits, every time.
pub type Chance<'a> = &'a mut dyn FnMut() -> u32;

/// What `LOLWUT` answers (as a verbatim string of text); `args` are those behind the name.
///
/// # Errors
/// The text of the error reply, if a number is none.
pub fn render(args: &[&[u8]], chance: Chance<'_>) -> Result<String, &'static str> {
    let [word, version, rest @ ..] = args else { return Ok(SIGNATURE.to_owned()) };
    if !word.eq_ignore_ascii_case(b"version") {
        return Ok(SIGNATURE.to_owned());
    }
    // Redis prints the number as an unsigned int before it looks at it.
    match parse(version)? as u32 {
        5 => {
            let columns = size(rest, 0, 66, 1000)?;
            let (per_row, per_column) = (size(rest, 1, 8, 200)?, size(rest, 2, 12, 200)?);
            let canvas = schotter(columns, per_row, per_column, chance);
            Ok(format!("{}{SCHOTTER_CAPTION}{SIGNATURE}", canvas.braille()))
        }
        6 => {
            let (columns, rows) = (size(rest, 0, 80, 1000)?, size(rest, 1, 20, 1000)?);
            Ok(format!("{}{SKYLINE_CAPTION}{SIGNATURE}", skyline(columns, rows, chance).grays()))
        }
        _ => Ok(SIGNATURE.to_owned()),
    }
}

fn parse(text: &[u8]) -> Result<i64, &'static str> {
    string2ll(text).ok_or("value is not an integer or out of range")
}

/// An optional size, brought into 1..=`most`.
fn size(args: &[&[u8]], at: usize, default: i32, most: i32) -> Result<i32, &'static str> {
    let number = args.get(at).map_or(Ok(default.into()), |text| parse(text))?;
    Ok(number.clamp(1, most.into()) as i32)
}

/// Pixels of a few colours. Drawing outside is allowed and does nothing.
struct Canvas {
    width: i32,
    height: i32,
    pixels: Vec<u8>,
}

impl Canvas {
    fn new(width: i32, height: i32, color: u8) -> Self {
        Self { width, height, pixels: vec![color; (width * height) as usize] }
    }

    fn index(&self, x: i32, y: i32) -> Option<usize> {
        let inside = (0..self.width).contains(&x) && (0..self.height).contains(&y);
        inside.then(|| (x + y * self.width) as usize)
    }

    fn set(&mut self, x: i32, y: i32, color: u8) {
        if let Some(at) = self.index(x, y) {
            self.pixels[at] = color;
        }
    }

    fn get(&self, x: i32, y: i32) -> u8 {
        self.index(x, y).map_or(0, |at| self.pixels[at])
    }

    /// A line, by Bresenham's algorithm.
    fn line(&mut self, (mut x, mut y): (i32, i32), end: (i32, i32)) {
        let (dx, dy) = ((end.0 - x).abs(), (end.1 - y).abs());
        let step = (if x < end.0 { 1 } else { -1 }, if y < end.1 { 1 } else { -1 });
        let mut error = dx - dy;
        loop {
            self.set(x, y, 1);
            if (x, y) == end {
                return;
            }
            let doubled = error * 2;
            if doubled > -dy {
                error -= dy;
                x += step.0;
            }
            if doubled < dx {
                error += dx;
                y += step.1;
            }
        }
    }

    /// A square around a centre, turned by an angle.
    fn square(&mut self, center: (i32, i32), side: f32, angle: f32) {
        let radius = (side / std::f32::consts::SQRT_2).round();
        let corner = |quarter: u8| {
            let (sin, cos) = (f64::from(angle)
                + std::f64::consts::FRAC_PI_4
                + f64::from(quarter) * std::f64::consts::FRAC_PI_2)
                .sin_cos();
            let place = |part: f64, center: i32| {
                (part * f64::from(radius) + f64::from(center)).round() as i32
            };
            (place(sin, center.0), place(cos, center.1))
        };
        for quarter in 0..4 {
            self.line(corner(quarter), corner(quarter + 1));
        }
    }

    /// Two by four pixels in each Braille character.
    fn braille(&self) -> String {
        // The dots' bits in the order of Unicode: down the left column, down the right one, then
        // the lowest row.
        const DOTS: [(i32, i32); 8] =
            [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)];
        let mut text = String::new();
        for y in (0..self.height).step_by(4) {
            for x in (0..self.width).step_by(2) {
                let set =
                    DOTS.iter().enumerate().filter(|(_, (dx, dy))| self.get(x + dx, y + dy) != 0);
                let bits = set.fold(0, |bits, (bit, _)| bits | 1 << bit);
                text.push(
                    char::from_u32(0x2800 + bits).expect("the Braille block has 256 characters"),
                );
            }
            if y != self.height - 1 {
                text.push('\n');
            }
        }
        text
    }

    /// A coloured blank for each pixel: black, two grays, white.
    fn grays(&self) -> String {
        const COLORS: [&str; 4] = ["0;30;40m", "0;90;100m", "0;37;47m", "0;97;107m"];
        let row = |row: &[u8]| -> String {
            row.iter()
                .map(|color| format!("\x1b[{} \x1b[0m", COLORS[usize::from(*color)]))
                .collect()
        };
        let rows: Vec<String> = self.pixels.chunks_exact(self.width as usize).map(row).collect();
        rows.join("\n")
    }
}

/// Squares in rows: the first two stand in order, each later one is turned and moved more than the
/// one before.
fn schotter(columns: i32, per_row: i32, per_column: i32, chance: Chance<'_>) -> Canvas {
    let width = columns * 2;
    let padding = if width > 4 { 2 } else { 0 };
    let side = (width - padding * 2) as f32 / per_row as f32;
    let height = (side * per_column as f32 + (padding * 2) as f32) as i32;
    let mut canvas = Canvas::new(width, height, 0);
    for row in 0..per_column {
        let disorder = if row > 1 { row as f32 / per_column as f32 } else { 0.0 };
        for column in 0..per_row {
            let mut stray = || {
                if disorder == 0.0 {
                    return 0.0;
                }
                let signed = f64::from(chance()) / f64::from(u32::MAX) * 2.0 - 1.0;
                signed as f32 * disorder
            };
            let middle = |index: i32| (index as f32 * side + side / 2.0 + padding as f32) as i32;
            let (angle, right, down) = (stray(), stray(), stray());
            let center = (
                (middle(column) as f32 + right * side / 3.0) as i32,
                (middle(row) as f32 + down * side / 3.0) as i32,
            );
            canvas.square(center, side, angle);
        }
    }
    canvas
}

/// A house of the skyline.
struct House {
    left: i32,
    width: i32,
    height: i32,
    color: u8,
    windows: bool,
}

/// Two rows of gray houses, the lighter behind the darker, and black ones with windows in front.
fn skyline(columns: i32, rows: i32, chance: Chance<'_>) -> Canvas {
    let mut canvas = Canvas::new(columns, rows, 3);
    for color in [2u8, 1, 0] {
        let mut left = -10;
        while left < columns {
            left += below(chance, 8);
            let extra = below(chance, rows);
            let house = match color {
                2 => House {
                    left,
                    width: 10 + below(chance, 9),
                    height: rows / 2 + extra / 2,
                    color,
                    windows: false,
                },
                1 => House {
                    left,
                    width: 10 + below(chance, 9),
                    height: rows / 2 + extra / 3,
                    color,
                    windows: false,
                },
                _ => {
                    let width = 5 + below(chance, 14);
                    let width = if width % 4 == 0 { width } else { width + width % 3 };
                    House { left, width, height: rows / 3 + extra / 2, color, windows: true }
                }
            };
            build(&mut canvas, &house, chance);
            left += match color {
                2 => house.width / 2,
                1 => house.width + 1,
                _ => house.width + 5,
            };
        }
    }
    canvas
}

fn below(chance: Chance<'_>, bound: i32) -> i32 {
    (chance() % bound.unsigned_abs()) as i32
}

/// The roof is two pixels narrower at each end; windows are two pixels wide and keep away from the
/// walls.
fn build(canvas: &mut Canvas, house: &House, chance: Chance<'_>) {
    let ground = canvas.height - 1;
    let roof = ground - house.height + 1;
    let right = house.left + house.width;
    for y in (roof..=ground).rev() {
        for x in house.left..right {
            if y == roof && (x <= house.left + 1 || x >= right - 2) {
                continue;
            }
            let inside = x > house.left + 1 && x < right - 2 && y > roof + 1 && y < ground - 1;
            let (across, down) = (x - house.left - 1, y - roof - 1);
            let color = if house.windows && inside && across / 2 % 2 == 1 && down % 2 == 1 {
                // The second half of a window has the colour of the first.
                if across % 2 == 1 { canvas.get(x - 1, y) } else { 1 + below(chance, 2) as u8 }
            } else {
                house.color
            };
            canvas.set(x, y, color);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn art(args: &[&str]) -> Result<String, &'static str> {
        let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
        let mut state = 1u32;
        render(&args, &mut || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 7
        })
    }

    #[test]
    fn only_the_signature_without_a_version_that_draws() {
        for args in [&[][..], &["version"], &["version", "4"], &["version", "-1"], &["1", "2", "3"]]
        {
            assert_eq!(art(args).as_deref(), Ok(SIGNATURE), "{args:?}");
        }
    }

    #[test]
    fn numbers_are_checked_and_clamped() {
        for args in [&["VERSION", "x"][..], &["version", "5", "x"], &["version", "6", "1", "1x"]] {
            assert_eq!(art(args), Err("value is not an integer or out of range"), "{args:?}");
        }
        let huge = art(&["version", "5", "9999999", "999999", "9999999"]).expect("art");
        assert_eq!(huge.lines().next().map(|line| line.chars().count()), Some(1000));
        assert_eq!(art(&["version", "5", "0", "0", "0"]), art(&["version", "5", "1", "1", "1"]));
        assert!(art(&["version", "6", "-5", "-5"]).is_ok_and(|text| text.lines().count() == 3));
    }

    #[test]
    fn chance_moves_the_later_rows_only() {
        let draw = |word: u32| render(&[b"version", b"5"], &mut || word).expect("art");
        let (left, right) = (draw(0), draw(u32::MAX));
        assert_ne!(left, right);
        assert!(left.lines().zip(right.lines()).take(3).all(|(left, right)| left == right));
    }

    #[test]
    fn the_canvas_has_the_size_asked_for() {
        let skyline = art(&["version", "6", "30", "7"]).expect("art");
        let rows: Vec<&str> = skyline.lines().collect();
        assert_eq!(rows.len(), 7 + 2);
        assert!(rows[..7].iter().all(|row| row.matches("\x1b[0m").count() == 30));
        assert!(skyline.ends_with("hikikomori. Redis ver. 7.0.15\n"));
    }
}
