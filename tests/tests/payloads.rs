//! Packed values that were damaged, or made up: the proofs that the fuzz targets work with, for a while, from the same
//! samples.

use std::fs;
use std::path::Path;

use hotredis_tests::proofs::{Restorer, integers, packed_run};
use hotredis_tests::rng::{Rng, SeedOnFailure, seed_or};

/// The samples of a fuzz target, in the order of their names.
fn samples(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|e| panic!("cannot read {folder:?}: {e}"));
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a sample")).collect()
}

/// Changes some bytes, leaves some out, or puts in those of another sample.
fn damage(rng: &mut Rng, bytes: &mut Vec<u8>, samples: &[Vec<u8>]) {
    for _ in 0..1 + rng.below(4) {
        let at = rng.below(bytes.len() + 1);
        match rng.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, rng.next_u64() as u8),
            2 => {
                let other = rng.pick(samples);
                let from = rng.below(other.len());
                let part = other[from..].iter().take(1 + rng.below(12)).copied();
                bytes.splice(at..at, part);
            }
            _ if at == bytes.len() => {}
            3 => bytes[at] = rng.next_u64() as u8,
            4 => bytes[at] = bytes[at].wrapping_add(rng.below(5) as u8).wrapping_sub(2),
            _ => bytes[at] ^= 1 << rng.below(8),
        }
    }
}

fn drive(target: &str, rounds: usize, mut prove: impl FnMut(&[u8])) {
    let seed = seed_or(20_261);
    let _guard = SeedOnFailure(seed);
    let (mut rng, samples) = (Rng::new(seed), samples(target));
    samples.iter().for_each(|sample| prove(sample));
    for _ in 0..rounds {
        let mut bytes = rng.pick(&samples).clone();
        damage(&mut rng, &mut bytes, &samples);
        prove(&bytes);
    }
}

#[test]
fn damaged_runs_and_sets_are_refused_or_sound() {
    drive("packed", 40_000, |bytes| {
        packed_run(bytes);
        integers(bytes);
    });
}

#[test]
fn damaged_dumps_are_refused_or_sound() {
    let mut restorer = Restorer::new();
    drive("dump", 6_000, |bytes| restorer.dump(bytes));
}
