//! HyperLogLogs: strings that count distinct elements by 16384 registers. The bytes are those of
//! Redis, since clients can read, store and merge them.
//!
//! ```text
//! "HYLL" | encoding | 3 unused bytes | cardinality (8 bytes, little-endian) | registers
//! ```
//!
//! The topmost bit of the cardinality says that it is out of date. Registers are either *dense*, 6 bits
//! each from the lowest bit of the first byte on, or *sparse*, a run of opcodes:
//!
//! | opcode | stands for |
//! | --- | --- |
//! | `00nnnnnn` (ZERO) | n + 1 registers of 0 |
//! | `01nnnnnn nnnnnnnn` (XZERO) | n + 1 registers of 0 |
//! | `1vvvvvnn` (VAL) | n + 1 registers of v + 1 |
//!
//! Clients can set such a string to anything, so nothing here relies on more than [`encoding`] says.

use super::string::Content;

/// Number of registers.
pub const REGISTERS: usize = 1 << INDEX_BITS;
/// Bytes in front of the registers.
pub const HEADER: usize = 16;
/// Bytes of a dense HyperLogLog.
pub const DENSE_SIZE: usize = HEADER + REGISTERS * 6 / 8;
/// Where the cardinality stands.
pub const CARDINALITY_AT: usize = 8;

/// Bits of an element's hash that choose its register.
const INDEX_BITS: u32 = 14;
/// The other bits, whose zeros are counted.
const COUNTED_BITS: u32 = 64 - INDEX_BITS;
/// The largest value of a sparse register.
const SPARSE_MAX: u8 = 32;
/// Most registers of a VAL opcode.
const VAL_MAX_LEN: usize = 4;
/// Most registers of a ZERO opcode.
const ZERO_MAX_LEN: usize = 64;
/// The bit of the cardinality's last byte that says that it is out of date.
const STALE: u8 = 1 << 7;

/// How registers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// 6 bits each.
    Dense,
    /// Opcodes.
    Sparse,
}

/// The opcodes do not stand for as many registers as there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrupted;

/// The encoding of a string that begins like a HyperLogLog and may be one; `None` for others.
pub fn encoding(head: &[u8], length: u64) -> Option<Encoding> {
    match head.get(..HEADER)? {
        [b'H', b'Y', b'L', b'L', 0, ..] if length == DENSE_SIZE as u64 => Some(Encoding::Dense),
        [b'H', b'Y', b'L', b'L', 1, ..] => Some(Encoding::Sparse),
        _ => None,
    }
}

/// [`encoding`] of the content of a string.
pub fn encoding_of(content: &Content<'_>) -> Option<Encoding> {
    let mut head = Vec::with_capacity(HEADER);
    content.pieces(0, HEADER as u64, |piece| head.extend_from_slice(piece));
    encoding(&head, content.len())
}

/// The register that an element belongs to, and the value that it asks for: one more than the zeros
/// at the end of the rest of its hash.
pub fn register_of(element: &[u8]) -> (usize, u8) {
    let hash = murmur(element);
    let index = hash as usize & (REGISTERS - 1);
    let rest = hash >> INDEX_BITS | 1 << COUNTED_BITS;
    (index, rest.trailing_zeros() as u8 + 1)
}

/// MurmurHash64A with Redis's seed.
fn murmur(bytes: &[u8]) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    const R: u32 = 47;
    const SEED: u64 = 0xadc8_3b19;
    // Redis's length is an int, sign extended.
    let length = bytes.len() as i32 as u64;
    let mut hash = SEED ^ length.wrapping_mul(M);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mut word = u64::from_le_bytes(*word).wrapping_mul(M);
        word ^= word >> R;
        hash = (hash ^ word.wrapping_mul(M)).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(M);
    }
    hash ^= hash >> R;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> R
}

/// Where a dense register stands: the number of its first byte in the string, and its lowest bit
/// there.
pub fn dense_place(index: usize) -> (usize, u32) {
    let bit = index * 6;
    (HEADER + bit / 8, (bit % 8) as u32)
}

/// The value of a register whose lowest bit is `shift` of the first of two bytes.
pub fn get_bits(bytes: [u8; 2], shift: u32) -> u8 {
    (u16::from_le_bytes(bytes) >> shift) as u8 & 63
}

/// The two bytes with another value of that register.
pub fn with_bits(bytes: [u8; 2], shift: u32, value: u8) -> [u8; 2] {
    let others = u16::from_le_bytes(bytes) & !(63 << shift);
    (others | u16::from(value) << shift).to_le_bytes()
}

/// One opcode of a sparse HyperLogLog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opcode {
    /// Bytes.
    size: usize,
    /// The value of its registers.
    pub value: u8,
    /// Registers.
    pub run: usize,
}

impl Opcode {
    fn is_val(self) -> bool {
        self.value > 0
    }

    /// Whether it is the long form of a run of zeros.
    pub fn is_xzero(self) -> bool {
        self.size == 2
    }
}

/// The opcode at a position of a string. A byte that is missing counts as 0, as the byte behind each
/// of Redis's strings.
fn opcode(bytes: &[u8], at: usize) -> Option<Opcode> {
    let first = *bytes.get(at)?;
    Some(if first & 0x80 != 0 {
        Opcode { size: 1, value: (first >> 2 & 31) + 1, run: usize::from(first & 3) + 1 }
    } else if first & 0x40 == 0 {
        Opcode { size: 1, value: 0, run: usize::from(first & 63) + 1 }
    } else {
        let second = bytes.get(at + 1).copied().unwrap_or(0);
        Opcode { size: 2, value: 0, run: (usize::from(first & 63) << 8 | usize::from(second)) + 1 }
    })
}

/// The opcodes of a sparse HyperLogLog.
pub fn opcodes(bytes: &[u8]) -> impl Iterator<Item = Opcode> {
    let mut at = HEADER;
    std::iter::from_fn(move || {
        let opcode = opcode(bytes, at)?;
        at += opcode.size;
        Some(opcode)
    })
}

fn val(value: u8, run: usize) -> u8 {
    0x80 | (value - 1) << 2 | (run - 1) as u8
}

fn push_zeros(out: &mut Vec<u8>, run: usize) {
    let n = run - 1;
    if run > ZERO_MAX_LEN {
        out.push(0x40 | (n >> 8) as u8);
    }
    out.push(n as u8);
}

/// A HyperLogLog in private memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HyperLogLog {
    bytes: Vec<u8>,
}

impl HyperLogLog {
    /// One without elements.
    pub fn new() -> HyperLogLog {
        let mut bytes = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0".to_vec();
        push_zeros(&mut bytes, REGISTERS);
        HyperLogLog { bytes }
    }

    /// That of a string that has an [`encoding`].
    pub fn from_bytes(bytes: Vec<u8>) -> HyperLogLog {
        HyperLogLog { bytes }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How its registers are stored.
    pub fn encoding(&self) -> Encoding {
        if self.bytes[4] == 0 { Encoding::Dense } else { Encoding::Sparse }
    }

    /// Says that the cardinality is out of date.
    pub fn invalidate(&mut self) {
        self.bytes[CARDINALITY_AT + 7] |= STALE;
    }

    /// Raises a register to a value, if it is below; says whether it was. A sparse one that would
    /// exceed `sparse_max` bytes, or the values it can hold, becomes dense.
    ///
    /// # Errors
    /// If it is sparse and not well-formed where that matters; it is unchanged then.
    pub fn raise(&mut self, index: usize, value: u8, sparse_max: u64) -> Result<bool, Corrupted> {
        match self.encoding() {
            Encoding::Dense => Ok(self.raise_dense(index, value)),
            Encoding::Sparse => self.raise_sparse(index, value, sparse_max),
        }
    }

    fn raise_dense(&mut self, index: usize, value: u8) -> bool {
        let (at, shift) = dense_place(index);
        let pair = [self.bytes[at], self.bytes.get(at + 1).copied().unwrap_or(0)];
        if value <= get_bits(pair, shift) {
            return false;
        }
        let pair = with_bits(pair, shift, value);
        self.bytes[at] = pair[0];
        if let Some(byte) = self.bytes.get_mut(at + 1) {
            *byte = pair[1];
        }
        true
    }

    fn raise_sparse(
        &mut self,
        index: usize,
        value: u8,
        sparse_max: u64,
    ) -> Result<bool, Corrupted> {
        if value > SPARSE_MAX {
            self.make_dense()?;
            return Ok(self.raise_dense(index, value));
        }
        // The opcode of the register, and the first register of it.
        let (mut at, mut first, mut before) = (HEADER, 0, None);
        let old = loop {
            let old = opcode(&self.bytes, at).ok_or(Corrupted)?;
            if index < first + old.run {
                break old;
            }
            before = Some(at);
            at += old.size;
            first += old.run;
        };
        if at + old.size > self.bytes.len() {
            return Err(Corrupted);
        }
        if old.value >= value {
            return Ok(false);
        }
        let (left, right) = (index - first, first + old.run - 1 - index);
        let fresh = split(old, left, right, value);
        let grown = self.bytes.len() as u64 + fresh.len() as u64 - old.size as u64;
        if fresh.len() > old.size && grown > sparse_max {
            self.make_dense()?;
            return Ok(self.raise_dense(index, value));
        }
        self.bytes.splice(at..at + old.size, fresh);
        self.join_runs(before.unwrap_or(HEADER));
        self.invalidate();
        Ok(true)
    }

    /// Joins neighbouring VAL opcodes of one value among the five from `at` on, as Redis does: the
    /// later one takes both runs.
    fn join_runs(&mut self, mut at: usize) {
        for _ in 0..5 {
            let Some(one) = opcode(&self.bytes, at) else { return };
            let next = opcode(&self.bytes, at + 1).filter(|next| next.is_val());
            match next {
                Some(next)
                    if one.is_val()
                        && one.value == next.value
                        && one.run + next.run <= VAL_MAX_LEN =>
                {
                    self.bytes[at + 1] = val(one.value, one.run + next.run);
                    self.bytes.remove(at);
                }
                _ => at += one.size,
            }
        }
    }

    /// Stores the registers densely.
    ///
    /// # Errors
    /// If it is sparse and not well-formed; it is unchanged then.
    pub fn make_dense(&mut self) -> Result<(), Corrupted> {
        if self.encoding() == Encoding::Dense {
            return Ok(());
        }
        let mut dense = HyperLogLog { bytes: vec![0; DENSE_SIZE] };
        dense.bytes[..HEADER].copy_from_slice(&self.bytes[..HEADER]);
        dense.bytes[4] = 0;
        each_run(&self.bytes, |index, value, run| {
            for index in index..index + run {
                dense.raise_dense(index, value);
            }
        })?;
        *self = dense;
        Ok(())
    }
}

impl Default for HyperLogLog {
    fn default() -> Self {
        Self::new()
    }
}

/// The opcodes that take the place of one, of whose registers the one behind `left` others gets
/// another value.
fn split(old: Opcode, left: usize, right: usize, value: u8) -> Vec<u8> {
    let mut fresh = Vec::with_capacity(5);
    let push_rest = |fresh: &mut Vec<u8>, run: usize| match run {
        0 => {}
        run if old.is_val() => fresh.push(val(old.value, run)),
        run => push_zeros(fresh, run),
    };
    push_rest(&mut fresh, left);
    fresh.push(val(value, 1));
    push_rest(&mut fresh, right);
    fresh
}

/// Calls `each` with first register, value and length of each run of registers that are not 0.
fn each_run(bytes: &[u8], mut each: impl FnMut(usize, u8, usize)) -> Result<(), Corrupted> {
    let mut index = 0;
    for opcode in opcodes(bytes) {
        if opcode.is_val() {
            if index + opcode.run > REGISTERS {
                return Err(Corrupted);
            }
            each(index, opcode.value, opcode.run);
        }
        index += opcode.run;
    }
    if index == REGISTERS { Ok(()) } else { Err(Corrupted) }
}

/// Calls `each` with the value of every register of a dense HyperLogLog.
pub fn dense_values(bytes: &[u8], mut each: impl FnMut(u8)) {
    for three in bytes[HEADER..].as_chunks::<3>().0 {
        let four = u32::from_le_bytes([three[0], three[1], three[2], 0]);
        (0..4).for_each(|i| each((four >> (6 * i)) as u8 & 63));
    }
}

/// All registers, one in a byte: the union of several HyperLogLogs.
pub struct Union(Box<[u8; REGISTERS]>);

impl Union {
    /// The union of none.
    pub fn new() -> Union {
        Union(vec![0; REGISTERS].into_boxed_slice().try_into().expect("as many as there are"))
    }

    /// Adds one, whose bytes these are.
    ///
    /// # Errors
    /// If it is sparse and not well-formed; a part may have been added then.
    pub fn add(&mut self, bytes: &[u8], encoding: Encoding) -> Result<(), Corrupted> {
        let registers = &mut self.0;
        match encoding {
            Encoding::Dense => {
                let mut index = 0;
                dense_values(bytes, |value| {
                    registers[index] = registers[index].max(value);
                    index += 1;
                });
                Ok(())
            }
            Encoding::Sparse => each_run(bytes, |index, value, run| {
                for register in &mut registers[index..index + run] {
                    *register = (*register).max(value);
                }
            }),
        }
    }

    /// The registers that are not 0, with their numbers.
    pub fn registers(&self) -> impl Iterator<Item = (usize, u8)> {
        self.0.iter().copied().enumerate().filter(|(_, value)| *value > 0)
    }

    /// The number of elements, about.
    pub fn count(&self) -> u64 {
        let mut histogram = Histogram([0; 64]);
        self.0.iter().for_each(|value| histogram.add(*value, 1));
        histogram.estimate()
    }
}

impl Default for Union {
    fn default() -> Self {
        Self::new()
    }
}

/// The cardinality that the header holds, unless it is out of date.
pub fn cached_count(bytes: &[u8]) -> Option<u64> {
    let bytes = bytes.get(CARDINALITY_AT..HEADER)?.try_into().ok()?;
    let count = u64::from_le_bytes(bytes);
    (count >> 63 == 0).then_some(count)
}

/// The number of elements, about, by the registers.
///
/// # Errors
/// If it is sparse and its opcodes stand for another number of registers.
pub fn count(bytes: &[u8], encoding: Encoding) -> Result<u64, Corrupted> {
    let mut histogram = Histogram([0; 64]);
    match encoding {
        Encoding::Dense => dense_values(bytes, |value| histogram.add(value, 1)),
        Encoding::Sparse => {
            let mut registers = 0;
            for opcode in opcodes(bytes) {
                histogram.add(opcode.value, opcode.run);
                registers += opcode.run;
            }
            if registers != REGISTERS {
                return Err(Corrupted);
            }
        }
    }
    Ok(histogram.estimate())
}

/// How many registers have each value.
struct Histogram([u64; 64]);

impl Histogram {
    fn add(&mut self, value: u8, registers: usize) {
        self.0[usize::from(value & 63)] += registers as u64;
    }

    /// Otmar Ertl's estimator ("New cardinality estimation algorithms for HyperLogLog sketches",
    /// arXiv:1702.01284), computed in the order in which Redis does, so that every bit agrees.
    fn estimate(&self) -> u64 {
        // 0.5 / ln(2)
        const ALPHA: f64 = 0.721_347_520_444_481_7;
        let registers = REGISTERS as f64;
        let full = self.0[COUNTED_BITS as usize + 1] as f64;
        let mut z = registers * tau((registers - full) / registers);
        for value in (1..=COUNTED_BITS as usize).rev() {
            z += self.0[value] as f64;
            z *= 0.5;
        }
        z += registers * sigma(self.0[0] as f64 / registers);
        let estimate = (ALPHA * registers * registers / z).round();
        // Registers that no hash leads to: Redis's conversion overflows.
        if estimate < 9_223_372_036_854_775_808.0 { estimate as u64 } else { 1 << 63 }
    }
}

/// Adds up to 100000 elements to a sparse and a dense HyperLogLog side by side, and compares what they
/// count with the truth and with each other.
///
/// # Errors
/// What is wrong, in words.
pub fn self_test(seed: u64, sparse_max: u64) -> Result<(), String> {
    const ELEMENTS: u64 = 100_000;
    let error = 1.04 / (REGISTERS as f64).sqrt();
    let (mut sparse, mut dense) = (HyperLogLog::new(), HyperLogLog::new());
    let corrupted = |_| "a sound value is taken for corrupted".to_owned();
    dense.make_dense().map_err(corrupted)?;
    let mut checkpoint = 1;
    for number in 1..=ELEMENTS {
        let (index, value) = register_of(&(number ^ seed).to_le_bytes());
        dense.raise_dense(index, value);
        sparse.raise(index, value, sparse_max).map_err(corrupted)?;
        if number != checkpoint {
            continue;
        }
        if number < sparse_max / 2 && sparse.encoding() != Encoding::Sparse {
            return Err("sparse encoding not used".to_owned());
        }
        let counted = count(&dense.bytes, Encoding::Dense).map_err(corrupted)?;
        if count(&sparse.bytes, sparse.encoding()) != Ok(counted) {
            return Err("dense/sparse disagree".to_owned());
        }
        // With ten elements, one collision is likely now and then.
        let most = if number == 10 { 1 } else { (error * 6.0 * number as f64).ceil() as u64 };
        let off_by = counted.abs_diff(number);
        if off_by > most {
            return Err(format!("Too big error. card:{number} abserr:{off_by}"));
        }
        checkpoint *= 10;
    }
    Ok(())
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if before == z {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if before == z {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
#[path = "hyperloglog_tests.rs"]
mod tests;
