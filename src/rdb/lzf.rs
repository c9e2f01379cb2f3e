//! LZF: byte for byte what liblzf makes of its input in the configuration that Redis builds it with
//! (a table of 2^16 places, "very fast"), so that equal values have equal dumps.
//!
//! ```text
//! 000LLLLL bytes              L + 1 literal bytes
//! LLLooooo oooooooo           L + 2 bytes, o + 1 bytes back
//! 111ooooo LLLLLLLL oooooooo  L + 9 bytes, o + 1 bytes back
//! ```

use super::{Malformed, Result};

const HASH_BITS: u32 = 16;
const MAX_LITERALS: usize = 32;
const MAX_OFFSET: usize = 1 << 13;
const MAX_MATCH: usize = 264;

/// No three bytes of compressed data become more than [`MAX_MATCH`] bytes.
const MAX_RATIO: usize = MAX_MATCH / 3;

fn slot(three: u32) -> usize {
    let hash = (three >> (24 - HASH_BITS)).wrapping_sub(three.wrapping_mul(5));
    (hash & ((1 << HASH_BITS) - 1)) as usize
}

fn three(input: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([0, input[at], input[at + 1], input[at + 2]])
}

/// How many bytes at `at` equal those at `earlier`, of which three do. The bounds are liblzf's, which
/// looks at the first bytes of a long rest without asking how many there are.
fn match_length(input: &[u8], earlier: usize, at: usize) -> usize {
    let most = (input.len() - at - 2).min(MAX_MATCH);
    let mut length = 2;
    if most > 16 {
        for _ in 0..16 {
            length += 1;
            if input[earlier + length] != input[at + length] {
                return length;
            }
        }
    }
    loop {
        length += 1;
        if length >= most || input[earlier + length] != input[at + length] {
            return length;
        }
    }
}

/// Compressed bytes, with a run of literals that has no length yet.
struct Output {
    bytes: Vec<u8>,
    most: usize,
    literals: usize,
}

impl Output {
    /// Notes the length of the run of literals; a run without any gives its place back.
    fn end_run(&mut self) {
        match self.literals {
            0 => {
                self.bytes.pop();
            }
            count => {
                let at = self.bytes.len() - count - 1;
                self.bytes[at] = count as u8 - 1;
            }
        }
    }

    fn start_run(&mut self) {
        self.literals = 0;
        self.bytes.push(0);
    }

    fn literal(&mut self, byte: u8) {
        self.bytes.push(byte);
        self.literals += 1;
        if self.literals == MAX_LITERALS {
            self.end_run();
            self.start_run();
        }
    }

    /// Adds a reference of `length` bytes; false if there is no room for it.
    fn reference(&mut self, back: usize, length: usize) -> bool {
        let end = self.bytes.len() - usize::from(self.literals == 0) + 4;
        if end >= self.most {
            return false;
        }
        self.end_run();
        let (high, length) = ((back >> 8) as u8, length - 2);
        match length {
            0..7 => self.bytes.push(high | (length as u8) << 5),
            _ => self.bytes.extend_from_slice(&[high | 7 << 5, (length - 7) as u8]),
        }
        self.bytes.push(back as u8);
        self.start_run();
        true
    }
}

/// Compresses; `None` if that would take more than `most` bytes.
pub fn compress(input: &[u8], most: usize) -> Option<Vec<u8>> {
    if input.is_empty() || most == 0 {
        return None;
    }
    // Positions; 0 is none, as nothing refers to the first byte.
    let mut table = vec![0u32; 1 << HASH_BITS];
    let mut output = Output { bytes: Vec::with_capacity(most + 1), most, literals: 0 };
    output.start_run();
    let mut at = 0;
    while at + 2 < input.len() {
        let found = &mut table[slot(three(input, at))];
        let earlier = std::mem::replace(found, at as u32) as usize;
        let back = at.wrapping_sub(earlier).wrapping_sub(1);
        let matches = earlier > 0 && back < MAX_OFFSET && three(input, earlier) == three(input, at);
        if !matches {
            if output.bytes.len() >= most {
                return None;
            }
            output.literal(input[at]);
            at += 1;
            continue;
        }
        let length = match_length(input, earlier, at);
        if !output.reference(back, length) {
            return None;
        }
        at += length;
        if at + 2 >= input.len() {
            break;
        }
        for position in at - 2..at {
            table[slot(three(input, position))] = position as u32;
        }
    }
    if output.bytes.len() + 3 > most {
        return None;
    }
    for &byte in &input[at..] {
        output.literal(byte);
    }
    output.end_run();
    Some(output.bytes)
}

/// Makes `length` bytes of compressed ones, exactly.
pub fn decompress(input: &[u8], length: u64) -> Result<Vec<u8>> {
    const BROKEN: Malformed = Malformed("compressed string");
    if length > (input.len() as u64).saturating_mul(MAX_RATIO as u64) {
        return Err(BROKEN);
    }
    if length == 0 {
        // Redis takes the 0 with which liblzf reports a failure for the length that it expects.
        return Ok(Vec::new());
    }
    let length = length as usize;
    let mut output: Vec<u8> = Vec::with_capacity(length);
    let mut rest = input.iter();
    while let Some(&control) = rest.next() {
        let control = usize::from(control);
        if control < MAX_LITERALS {
            let literals = rest.as_slice().get(..=control).ok_or(BROKEN)?;
            output.extend_from_slice(literals);
            rest = rest.as_slice()[control + 1..].iter();
        } else {
            let mut count = control >> 5;
            if count == 7 {
                count += usize::from(*rest.next().ok_or(BROKEN)?);
            }
            let low = usize::from(*rest.next().ok_or(BROKEN)?);
            let back = ((control & 0x1f) << 8 | low) + 1;
            let from = output.len().checked_sub(back).ok_or(BROKEN)?;
            if output.len() + count + 2 > length {
                return Err(BROKEN);
            }
            for at in from..from + count + 2 {
                output.push(output[at]);
            }
        }
        if output.len() > length {
            return Err(BROKEN);
        }
    }
    if output.len() == length { Ok(output) } else { Err(BROKEN) }
}
