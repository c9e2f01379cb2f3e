//! Size classes.

/// Changes whenever the classes or a span's layout change.
pub const CLASSES_VERSION: u64 = 2;

/// The larger classes: a packed run of some KiB wastes a tenth at most; sizes that divide a span with
/// little left over, 4032 (a segment of a hash table), 4352 (a packed run of little more than 4 KiB) and
/// 16320 (a part of a blob) among them.
const LARGER: [u64; 22] = [
    1168, 1280, 1408, 1536, 1672, 1808, 2032, 2336, 2608, 2968, 3264, 3632, 4032, 4352, 5440, 6528,
    8160, 10896, 13072, 16320, 21792, 32688,
];

/// Bounds in bytes and the step of classes between them: a block of a keyspace of small values, of which
/// there are most, wastes less than 8 bytes, any other up to 1 KiB a sixteenth at most.
const STEPS: [(u64, u64, u64); 3] = [(16, 256, 8), (256, 512, 16), (512, 1024, 32)];

/// How many classes there are.
pub const CLASS_COUNT: usize = 1 + 30 + 16 + 16 + LARGER.len();

/// Sizes in bytes.
pub(super) const SIZES: [u64; CLASS_COUNT] = {
    let mut sizes = [16; CLASS_COUNT];
    let (mut class, mut range) = (1, 0);
    while range < STEPS.len() {
        let (from, to, step) = STEPS[range];
        let mut size = from + step;
        while size <= to {
            sizes[class] = size;
            class += 1;
            size += step;
        }
        range += 1;
    }
    let mut larger = 0;
    while larger < LARGER.len() {
        sizes[class] = LARGER[larger];
        class += 1;
        larger += 1;
    }
    assert!(class == CLASS_COUNT);
    sizes
};

const STEP: usize = 8;
const TABLE_MAX: usize = 4352;

/// The class for every size up to that of a long packed run, by steps of 8.
static SMALL_CLASSES: [u8; TABLE_MAX / STEP + 1] = {
    let mut table = [0; TABLE_MAX / STEP + 1];
    let (mut i, mut class) = (0, 0);
    while i < table.len() {
        while SIZES[class] < (i * STEP) as u64 {
            class += 1;
        }
        table[i] = class as u8;
        i += 1;
    }
    table
};

/// A hash of all sizes, for the fingerprint.
pub(crate) const fn classes_hash() -> u64 {
    let (mut hash, mut i) = (0u64, 0);
    while i < CLASS_COUNT {
        hash = (hash ^ SIZES[i]).wrapping_mul(0x0000_0100_0000_01b3);
        i += 1;
    }
    hash
}

/// The class of a size; `None` if it is large.
#[inline(always)]
pub fn class_of(size: u64) -> Option<usize> {
    if size <= TABLE_MAX as u64 {
        return Some(SMALL_CLASSES[(size as usize).div_ceil(STEP)] as usize);
    }
    let first = SMALL_CLASSES[TABLE_MAX / STEP] as usize;
    (first..CLASS_COUNT).find(|&class| SIZES[class] >= size)
}

/// 2^32 divided by the sizes, rounded up.
static RECIPROCALS: [u32; CLASS_COUNT] = {
    let mut reciprocals = [0; CLASS_COUNT];
    let mut class = 0;
    while class < CLASS_COUNT {
        reciprocals[class] = (1u64 << 32).div_ceil(SIZES[class]) as u32;
        class += 1;
    }
    reciprocals
};

/// The number of the block that holds the byte `at` bytes behind the first block of a span.
#[inline(always)]
pub(super) fn index_of(class: usize, at: u64) -> u64 {
    debug_assert!(at < crate::layout::SPAN);
    // Exact: rounding up adds less than `at * size / 2^32`, which is less than a half, to a fraction that
    // is at most `1 - 1 / size`; a test tries every byte.
    (at * u64::from(RECIPROCALS[class])) >> 32
}

/// The size of a class's blocks, in bytes.
#[inline(always)]
pub const fn class_size(class: usize) -> u64 {
    SIZES[class]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_gets_the_smallest_class_that_holds_it() {
        for size in 0..=SIZES[CLASS_COUNT - 1] {
            let class = class_of(size).unwrap();
            assert!(class_size(class) >= size);
            assert!(class == 0 || class_size(class - 1) < size, "size {size}");
        }
        assert_eq!(class_of(SIZES[CLASS_COUNT - 1] + 1), None);
    }

    #[test]
    fn an_index_is_the_quotient() {
        for (class, size) in SIZES.into_iter().enumerate() {
            for at in 0..crate::layout::SPAN {
                assert_eq!(index_of(class, at), at / size, "size {size}");
            }
        }
    }

    #[test]
    fn sizes_ascend_in_multiples_of_eight() {
        assert!(SIZES.windows(2).all(|w| w[0] < w[1]));
        assert!(SIZES.iter().all(|s| s % 8 == 0));
    }
}
