//! Packed items: byte strings and integers one behind the other, readable from both ends.
//!
//! ```text
//! run  = item item item ...
//! item = encoding | back-length
//!
//! encoding   0xxxxxxx                      integer 0 to 127
//!            10nnnnnn bytes                byte string, n < 64
//!            110xxxxx xxxxxxxx             integer of 13 bits, signed
//!            1110nnnn nnnnnnnn bytes       byte string, n < 4096
//!            11110000 n (4) bytes          byte string
//!            11110001 .. 11110100          integer of 2, 3, 4, 8 bytes, signed
//! ```
//!
//! The back-length is the length of the encoding in groups of seven bits, the highest first; all but
//! the first of them have the top bit set, so that it can be read from its end.
//!
//! These are the entries of a *listpack*, as Redis 7 stores and dumps them, without what stands before
//! the first and behind the last one. Whoever holds a run holds its bytes and, mostly, the number of its
//! items. The functions here are pure: they know neither arenas nor transactions.
//!
//! A run made by [`encode`] is *canonical*: whatever is the decimal text of a 64-bit integer stands as
//! an integer, and every item in the shortest encoding. So equal items have equal bytes, on which
//! [`find`] relies. Runs from outside have to pass [`check`] first.

/// One item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Item<'a> {
    /// An integer, which reads as its decimal text.
    Int(i64),
    /// Any other byte string.
    Bytes(&'a [u8]),
}

/// Room for the text of an integer, for [`Item::text`].
pub type Digits = itoa::Buffer;

impl<'a> Item<'a> {
    /// The item that a value becomes when it is encoded.
    #[inline]
    pub fn of(value: &'a [u8]) -> Item<'a> {
        match integer(value) {
            Some(number) => Item::Int(number),
            None => Item::Bytes(value),
        }
    }

    /// The item as text.
    #[inline]
    pub fn text<'b>(&self, digits: &'b mut Digits) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Item::Int(number) => digits.format(*number).as_bytes(),
            Item::Bytes(bytes) => bytes,
        }
    }

    /// Bytes of the text.
    pub fn text_len(&self) -> usize {
        match self {
            Item::Int(number) => digits_of(*number),
            Item::Bytes(bytes) => bytes.len(),
        }
    }

    /// A copy of the text.
    pub fn to_vec(&self) -> Vec<u8> {
        self.text(&mut Digits::new()).to_vec()
    }

    /// Whether the item reads as this text.
    #[inline]
    pub fn is(&self, text: &[u8]) -> bool {
        match self {
            Item::Int(number) => integer(text) == Some(*number),
            Item::Bytes(bytes) => *bytes == text,
        }
    }

    /// The item as an integer, if it is the canonical text of one.
    #[inline]
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Item::Int(number) => Some(*number),
            Item::Bytes(bytes) => integer(bytes),
        }
    }
}

fn digits_of(number: i64) -> usize {
    let magnitude = number.unsigned_abs();
    usize::from(number < 0) + magnitude.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Reads the canonical decimal text of an integer: an optional `-`, no `+`, no blanks, no leading
/// zero, no `-0`, within `i64`.
#[inline]
pub fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut magnitude: u64 = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // 19 digits cannot overflow a u64.
        magnitude = magnitude * 10 + u64::from(digit);
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// The longest encoding of an integer, in bytes.
const INT_MAX: usize = 9;

/// What stands before an item's bytes: all of an integer, the length of a byte string.
#[derive(Clone, Copy)]
struct Head {
    bytes: [u8; INT_MAX],
    len: usize,
}

impl Head {
    #[inline]
    fn new<const N: usize>(head: [u8; N]) -> Head {
        let mut bytes = [0; INT_MAX];
        bytes[..N].copy_from_slice(&head);
        Head { bytes, len: N }
    }

    #[inline]
    fn of(item: Item<'_>) -> Head {
        match item {
            Item::Int(number) => Head::of_int(number),
            Item::Bytes(bytes) => Head::of_len(bytes.len()),
        }
    }

    #[inline]
    fn of_int(number: i64) -> Head {
        let b = number.to_le_bytes();
        match number {
            0..=127 => Head::new([b[0]]),
            -4096..=4095 => Head::new([0xc0 | (b[1] & 0x1f), b[0]]),
            -0x8000..=0x7fff => Head::new([0xf1, b[0], b[1]]),
            -0x80_0000..=0x7f_ffff => Head::new([0xf2, b[0], b[1], b[2]]),
            -0x8000_0000..=0x7fff_ffff => Head::new([0xf3, b[0], b[1], b[2], b[3]]),
            _ => Head::new([0xf4, b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]),
        }
    }

    #[inline]
    fn of_len(len: usize) -> Head {
        let b = (len as u32).to_le_bytes();
        match len {
            0..64 => Head::new([0x80 | b[0]]),
            64..4096 => Head::new([0xe0 | b[1], b[0]]),
            _ => Head::new([0xf0, b[0], b[1], b[2], b[3]]),
        }
    }

    #[inline(always)]
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Bytes of a back-length. The bounds are Redis's, one below what seven bits a byte could hold.
#[inline(always)]
fn back_length_size(encoding: usize) -> usize {
    match encoding {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

fn push_back_length(out: &mut Vec<u8>, encoding: usize) {
    let size = back_length_size(encoding);
    for i in (0..size).rev() {
        let group = (encoding >> (7 * i)) as u8 & 0x7f;
        out.push(if i + 1 == size { group } else { group | 0x80 });
    }
}

/// Longest byte string that an item may be, in bytes: what lengths of 32 bits allow.
pub const BYTES_MAX: usize = u32::MAX as usize;

/// Bytes that a value takes in a run.
#[inline]
pub fn encoded_len(value: &[u8]) -> usize {
    encoded_len_of(Item::of(value))
}

/// Bytes that an item takes in a run.
#[inline]
pub fn encoded_len_of(item: Item<'_>) -> usize {
    let body = if let Item::Bytes(bytes) = item { bytes.len() } else { 0 };
    let encoding = Head::of(item).len + body;
    encoding + back_length_size(encoding)
}

/// Appends a value to a run: as an integer if it is the canonical text of one, else as it is.
///
/// # Panics
///
/// If it is longer than [`BYTES_MAX`].
#[inline]
pub fn encode(out: &mut Vec<u8>, value: &[u8]) {
    encode_item(out, Item::of(value));
}

/// Appends an integer to a run.
#[inline]
pub fn encode_int(out: &mut Vec<u8>, number: i64) {
    encode_item(out, Item::Int(number));
}

/// Appends a byte string that is known not to be the canonical text of an integer.
///
/// # Panics
///
/// If it is longer than [`BYTES_MAX`].
#[inline]
pub fn encode_raw(out: &mut Vec<u8>, bytes: &[u8]) {
    debug_assert!(integer(bytes).is_none());
    encode_item(out, Item::Bytes(bytes));
}

/// Appends an item, as it is, to a run.
///
/// # Panics
///
/// If it is longer than [`BYTES_MAX`].
#[inline]
pub fn encode_item(out: &mut Vec<u8>, item: Item<'_>) {
    let head = Head::of(item);
    let body = if let Item::Bytes(bytes) = item { bytes } else { &[] };
    assert!(body.len() <= BYTES_MAX, "an item of {} bytes is too long", body.len());
    out.reserve(head.len + body.len() + 5);
    out.extend_from_slice(head.as_slice());
    out.extend_from_slice(body);
    push_back_length(out, head.len + body.len());
}

/// How long an encoding is, and where in it a byte string's bytes begin; `None` if it does not fit
/// into `bytes` or there is no such encoding.
#[inline(always)]
fn measure(bytes: &[u8]) -> Option<(usize, usize)> {
    let first = *bytes.first()?;
    let (head, len) = match first {
        0..=0x7f => (1, 1),
        0x80..=0xbf => (1, 1 + usize::from(first & 0x3f)),
        0xc0..=0xdf => (2, 2),
        0xe0..=0xef => (2, 2 + (usize::from(first & 0xf) << 8 | usize::from(*bytes.get(1)?))),
        0xf0 => {
            let len = bytes.get(1..5)?.try_into().ok()?;
            (5, 5 + u32::from_le_bytes(len) as usize)
        }
        0xf1..=0xf3 => (3, usize::from(first - 0xf1) + 3),
        0xf4 => (9, 9),
        _ => return None,
    };
    (len <= bytes.len()).then_some((head, len))
}

/// The item of an encoding that was measured.
#[inline(always)]
fn decode(encoding: &[u8], head: usize) -> Item<'_> {
    /// An integer of these little-endian bytes.
    fn int(bytes: &[u8]) -> Item<'_> {
        let negative = bytes.last().is_some_and(|top| top & 0x80 != 0);
        let mut wide = if negative { [0xff; 8] } else { [0; 8] };
        wide[..bytes.len()].copy_from_slice(bytes);
        Item::Int(i64::from_le_bytes(wide))
    }
    match encoding[0] {
        first @ 0..=0x7f => Item::Int(i64::from(first)),
        first @ 0xc0..=0xdf => {
            let number = i64::from(first & 0x1f) << 8 | i64::from(encoding[1]);
            // The sign is the topmost of 13 bits.
            Item::Int(number << 51 >> 51)
        }
        0xf1..=0xf4 => int(&encoding[1..]),
        _ => Item::Bytes(&encoding[head..]),
    }
}

#[cold]
#[inline(never)]
fn broken(at: usize) -> ! {
    panic!("a packed run is broken at byte {at}: the arena is damaged")
}

/// The item that starts at `at`, and where the next one does; `None` at the run's end.
///
/// # Panics
///
/// If no item starts there.
#[inline]
pub fn next(run: &[u8], at: usize) -> Option<(Item<'_>, usize)> {
    let bytes = run.get(at..).filter(|bytes| !bytes.is_empty())?;
    let Some((head, len)) = measure(bytes) else { broken(at) };
    Some((decode(&bytes[..len], head), at + len + back_length_size(len)))
}

/// Where the item behind the one at `at` starts.
///
/// # Panics
///
/// If no item starts there.
#[inline]
pub fn skip(run: &[u8], at: usize) -> usize {
    match run.get(at..).and_then(measure) {
        Some((_, len)) => at + len + back_length_size(len),
        None => broken(at),
    }
}

/// Where the item starts that ends just before `end`; `None` if `end` is the run's start.
///
/// # Panics
///
/// If no item ends there.
#[inline]
pub fn before(run: &[u8], end: usize) -> Option<usize> {
    if end == 0 {
        return None;
    }
    let (mut at, mut len, mut shift) = (end, 0, 0);
    loop {
        at = at.wrapping_sub(1);
        let Some(&byte) = run.get(at) else { broken(end) };
        len |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
        shift += 7;
        if shift > 28 {
            broken(end);
        }
    }
    Some(at.checked_sub(len).unwrap_or_else(|| broken(end)))
}

/// The item that ends just before `end`, and where it starts; `None` if `end` is the run's start.
///
/// # Panics
///
/// If no item ends there.
#[inline]
pub fn previous(run: &[u8], end: usize) -> Option<(Item<'_>, usize)> {
    let start = before(run, end)?;
    next(run, start).map(|(item, _)| (item, start))
}

/// The items of a run, from whichever end.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    run: &'a [u8],
    front: usize,
    back: usize,
}

impl Items<'_> {
    /// Where the next item from the front starts.
    pub fn position(&self) -> usize {
        self.front
    }

    /// Where the next item from the back ends.
    pub fn back_position(&self) -> usize {
        self.back
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;
    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        if self.front >= self.back {
            return None;
        }
        let (item, after) = next(self.run, self.front)?;
        self.front = after;
        Some(item)
    }
}

impl<'a> DoubleEndedIterator for Items<'a> {
    #[inline]
    fn next_back(&mut self) -> Option<Item<'a>> {
        if self.front >= self.back {
            return None;
        }
        let (item, start) = previous(self.run, self.back)?;
        self.back = start;
        Some(item)
    }
}

/// All items of a run.
#[inline]
pub fn items(run: &[u8]) -> Items<'_> {
    Items { run, front: 0, back: run.len() }
}

/// Where the first item equal to `value` starts, from the item at `from` on; of every `skip + 1` items
/// the first is looked at (1 for a run of pairs that is searched for a first half).
///
/// # Panics
///
/// If no item starts at `from`, and it is not the run's end. The run has to be canonical.
#[inline]
pub fn find(run: &[u8], from: usize, value: &[u8], skip: usize) -> Option<usize> {
    let item = Item::of(value);
    let head = Head::of(item);
    let body = if let Item::Bytes(bytes) = item { bytes } else { &[] };
    let first = head.bytes[0];
    let mut at = from;
    while at < run.len() {
        // Encodings tell their own length, so an equal start is an equal item.
        if run[at] == first
            && let Some(rest) = run[at..].strip_prefix(head.as_slice())
            && rest.starts_with(body)
        {
            return Some(at);
        }
        for _ in 0..=skip {
            at = self::skip(run, at);
        }
    }
    None
}

/// Where the item of that number starts, counted from zero, in a run of `count` items; it is sought
/// from the nearer end. The run's end for `count`.
///
/// # Panics
///
/// If the run has fewer items.
pub fn nth(run: &[u8], count: usize, index: usize) -> usize {
    assert!(index <= count, "item {index} of {count}");
    if index <= count / 2 {
        (0..index).fold(0, |at, _| skip(run, at))
    } else {
        let back = |end, _| before(run, end).unwrap_or_else(|| broken(end));
        (index..count).fold(run.len(), back)
    }
}

/// What [`check`] found out of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Number of its items.
    pub count: usize,
    /// Whether it is what [`encode`] would have made of them.
    pub canonical: bool,
}

/// Proves that bytes are a run, readable in both directions; `None` if not. Any bytes will do.
pub fn check(run: &[u8]) -> Option<Checked> {
    let (mut at, mut count, mut canonical) = (0, 0, true);
    let mut back = Vec::with_capacity(5);
    while at < run.len() {
        let bytes = &run[at..];
        let (head, len) = measure(bytes)?;
        back.clear();
        push_back_length(&mut back, len);
        if !bytes[len..].starts_with(&back) {
            return None;
        }
        let item = decode(&bytes[..len], head);
        let as_text = if let Item::Bytes(text) = item { integer(text) } else { None };
        canonical &= as_text.is_none() && bytes.starts_with(Head::of(item).as_slice());
        at += len + back.len();
        count += 1;
    }
    Some(Checked { count, canonical })
}

/// The number of items, if bytes are a canonical run. Any bytes will do.
pub fn validate(run: &[u8]) -> Option<usize> {
    check(run).filter(|checked| checked.canonical).map(|checked| checked.count)
}
