//! Fixed records of the arena: rkyv `Portable`, `CheckBytes`, `repr(C)`, without padding.
//!
//! A record's fields say how they may change:
//!
//! - a plain field is written once, while its block is fresh;
//! - a [`Slot`] is changed in place, only through a transaction;
//! - a [`Hint`] is changed in place without a log, because losing it does not matter.

use rkyv::Portable;
use rkyv::bytecheck::CheckBytes;

/// A little-endian `u16` of any alignment, as it stands in the arena.
pub type U16 = rkyv::rend::unaligned::u16_ule;
/// A little-endian `u32` of any alignment, as it stands in the arena.
pub type U32 = rkyv::rend::unaligned::u32_ule;
/// A little-endian `u64` of any alignment, as it stands in the arena.
pub type U64 = rkyv::rend::unaligned::u64_ule;
/// A little-endian `i64` of any alignment, as it stands in the arena.
pub type I64 = rkyv::rend::unaligned::i64_ule;

/// A type that may stand in the arena.
///
/// # Safety
///
/// The implementor has a layout that does not depend on the compiler or the build, has no padding,
/// is valid for every bit pattern, and has alignment 1.
pub unsafe trait Record: Portable + Copy + 'static {
    /// What the fingerprint says about the type.
    const LAYOUT: TypeLayout;
}

/// One field, as the fingerprint sees it.
#[derive(Debug, Clone, Copy)]
pub struct FieldLayout {
    /// The field's name.
    pub name: &'static str,
    /// The field's type, as written in the source.
    pub ty: &'static str,
    /// Bytes from the start of the record.
    pub offset: usize,
    /// Size in bytes.
    pub size: usize,
    /// Hash of the field's own type, so that a record inside of a record counts with its fields.
    pub hash: u64,
}

/// One type, as the fingerprint sees it.
#[derive(Debug, Clone, Copy)]
pub struct TypeLayout {
    /// The type's name.
    pub name: &'static str,
    /// Size in bytes.
    pub size: usize,
    /// Hash of name, size, alignment and fields.
    pub hash: u64,
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

const fn fnv_bytes(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(FNV_PRIME);
        i += 1;
    }
    // A terminator, so that ("ab", "c") and ("a", "bc") differ.
    (hash ^ 0xff).wrapping_mul(FNV_PRIME)
}

const fn fnv_number(hash: u64, number: u64) -> u64 {
    fnv_bytes(hash, &number.to_le_bytes())
}

impl TypeLayout {
    /// Hashes a type's description (FNV-1a, 64 bits).
    pub const fn new(
        name: &'static str,
        size: usize,
        align: usize,
        fields: &[FieldLayout],
    ) -> TypeLayout {
        let mut hash = fnv_bytes(FNV_OFFSET, name.as_bytes());
        hash = fnv_number(fnv_number(hash, size as u64), align as u64);
        let mut i = 0;
        while i < fields.len() {
            let f = fields[i];
            hash = fnv_bytes(fnv_bytes(hash, f.name.as_bytes()), f.ty.as_bytes());
            hash = fnv_number(fnv_number(hash, f.offset as u64), f.size as u64);
            hash = fnv_number(hash, f.hash);
            i += 1;
        }
        TypeLayout { name, size, hash }
    }
}

/// The fingerprint of a set of layouts and versions: what two builds must share to serve the same
/// arena.
///
/// `versions` are named numbers that no layout shows: encodings, the hash function, size classes.
pub const fn fingerprint(types: &[TypeLayout], versions: &[(&str, u64)]) -> u64 {
    let mut hash = FNV_OFFSET;
    let mut i = 0;
    while i < types.len() {
        hash = fnv_number(fnv_bytes(hash, types[i].name.as_bytes()), types[i].hash);
        i += 1;
    }
    i = 0;
    while i < versions.len() {
        hash = fnv_number(fnv_bytes(hash, versions[i].0.as_bytes()), versions[i].1);
        i += 1;
    }
    hash
}

/// A field that changes in place, only through a transaction
/// ([`Tx::set`](crate::tx::Tx::set)), which logs its old content first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Portable, CheckBytes)]
#[bytecheck(crate = rkyv::bytecheck)]
#[rkyv(crate = rkyv)]
#[repr(transparent)]
pub struct Slot<T>(T);

impl<T: Copy> Slot<T> {
    /// A slot's first content, for a fresh block.
    pub const fn new(value: T) -> Self {
        Slot(value)
    }

    /// The content.
    #[inline(always)]
    pub fn get(&self) -> T {
        self.0
    }
}

/// A field that changes in place without a log ([`View::hint`](crate::arena::View::hint)): after a
/// crash it may be older or newer than the rest, so nothing that must be right may depend on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Portable, CheckBytes)]
#[bytecheck(crate = rkyv::bytecheck)]
#[rkyv(crate = rkyv)]
#[repr(transparent)]
pub struct Hint<T>(T);

impl<T: Copy> Hint<T> {
    /// A hint's first content, for a fresh block.
    pub const fn new(value: T) -> Self {
        Hint(value)
    }

    /// The content.
    #[inline(always)]
    pub fn get(&self) -> T {
        self.0
    }
}

macro_rules! plain_record {
    ($($t:ty => $name:literal),* $(,)?) => { $(
        // SAFETY: an integer of fixed size, little-endian, alignment 1, every pattern valid.
        unsafe impl Record for $t {
            const LAYOUT: TypeLayout = TypeLayout::new($name, size_of::<$t>(), align_of::<$t>(), &[]);
        }
    )* };
}
plain_record! { u8 => "u8", U16 => "u16", U32 => "u32", U64 => "u64", I64 => "i64" }

// SAFETY: an array of records has no padding and inherits the rest.
unsafe impl<T: Record, const N: usize> Record for [T; N] {
    const LAYOUT: TypeLayout = TypeLayout::new(
        T::LAYOUT.name,
        size_of::<[T; N]>(),
        1,
        &[FieldLayout {
            name: "element",
            ty: T::LAYOUT.name,
            offset: N,
            size: T::LAYOUT.size,
            hash: T::LAYOUT.hash,
        }],
    );
}
// SAFETY: transparent over a record.
unsafe impl<T: Record> Record for Slot<T> {
    const LAYOUT: TypeLayout = T::LAYOUT;
}
// SAFETY: transparent over a record.
unsafe impl<T: Record> Record for Hint<T> {
    const LAYOUT: TypeLayout = T::LAYOUT;
}

/// Declares a record of the arena: the struct, its rkyv traits, and its part of the fingerprint.
///
/// Padding is refused at compile time.
#[macro_export]
macro_rules! record {
    ($(#[$m:meta])* $vis:vis struct $name:ident {
        $( $(#[$fm:meta])* $fvis:vis $f:ident : $t:ty ),* $(,)?
    }) => {
        $(#[$m])*
        #[derive(Clone, Copy, Debug, $crate::rkyv::Portable, $crate::rkyv::bytecheck::CheckBytes)]
        #[bytecheck(crate = $crate::rkyv::bytecheck)]
        #[rkyv(crate = $crate::rkyv)]
        #[repr(C)]
        $vis struct $name { $( $(#[$fm])* $fvis $f: $t ),* }

        const _: () = assert!(
            size_of::<$name>() == 0 $( + size_of::<$t>() )* && align_of::<$name>() == 1,
            "a record has no padding and alignment 1"
        );

        // SAFETY: `repr(C)` of records, without padding (asserted above), alignment 1.
        unsafe impl $crate::record::Record for $name {
            const LAYOUT: $crate::record::TypeLayout = $crate::record::TypeLayout::new(
                stringify!($name),
                size_of::<$name>(),
                align_of::<$name>(),
                &[ $( $crate::record::FieldLayout {
                    name: stringify!($f),
                    ty: <$t as $crate::record::Record>::LAYOUT.name,
                    offset: ::core::mem::offset_of!($name, $f),
                    size: size_of::<$t>(),
                    hash: <$t as $crate::record::Record>::LAYOUT.hash,
                } ),* ],
            );
        }
    };
}
