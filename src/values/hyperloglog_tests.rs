use super::*;

const MAX: u64 = 3000;

fn raise(log: &mut HyperLogLog, index: usize, value: u8) {
    assert_eq!(log.raise(index, value, MAX), Ok(true));
}

/// The registers, whatever the encoding.
fn registers(log: &HyperLogLog) -> Vec<u8> {
    let mut union = Union::new();
    union.add(log.bytes(), log.encoding()).expect("well-formed");
    union.0.to_vec()
}

#[test]
fn runs_are_split_and_joined() {
    let mut log = HyperLogLog::new();
    assert_eq!(log.bytes()[HEADER..], [0x7f, 0xff]);
    raise(&mut log, 100, 3);
    assert_eq!(log.bytes()[HEADER..], [0x40, 99, val(3, 1), 0x7f, 0x9a]);
    raise(&mut log, 101, 3);
    raise(&mut log, 99, 3);
    assert_eq!(log.bytes()[HEADER..], [0x40, 98, val(3, 3), 0x7f, 0x99]);
    raise(&mut log, 100, 5);
    assert_eq!(log.bytes()[HEADER..HEADER + 5], [0x40, 98, val(3, 1), val(5, 1), val(3, 1)]);
    assert_eq!(log.raise(100, 5, MAX), Ok(false));
}

#[test]
fn all_forms_hold_the_same_registers() {
    let seed: u64 = 0x5eed_1234_0bad_cafe;
    for sparse_max in [0, 20, 400, MAX] {
        let mut log = HyperLogLog::new();
        let mut plain = vec![0; REGISTERS];
        for number in 0..5_000u64 {
            let (index, value) = register_of(&number.wrapping_mul(seed).to_le_bytes());
            // Neighbours, so that runs meet.
            let index = if number % 3 == 0 { index } else { index % 300 };
            let raised = log.raise(index, value, sparse_max);
            assert_eq!(raised, Ok(plain[index] < value), "element {number}");
            plain[index] = plain[index].max(value);
            assert!(log.encoding() == Encoding::Dense || log.bytes().len() as u64 <= MAX.max(20));
        }
        assert!(registers(&log) == plain);
        let before = count(log.bytes(), log.encoding());
        log.make_dense().expect("well-formed");
        assert!(registers(&log) == plain);
        assert_eq!(count(log.bytes(), Encoding::Dense), before);
    }
}

#[test]
fn every_register_has_its_bits() {
    let mut log = HyperLogLog::new();
    log.make_dense().expect("well-formed");
    let value = |index: usize| (index * 7 % 64) as u8;
    (0..REGISTERS).for_each(|index| {
        log.raise_dense(index, value(index));
    });
    let mut index = 0;
    dense_values(log.bytes(), |found| {
        assert_eq!(found, value(index), "register {index}");
        index += 1;
    });
    assert_eq!((index, log.bytes().len()), (REGISTERS, DENSE_SIZE));
}

#[test]
fn what_is_no_hyperloglog_is_refused() {
    let sparse = HyperLogLog::new();
    assert_eq!(encoding(sparse.bytes(), 18), Some(Encoding::Sparse));
    assert_eq!(encoding(&sparse.bytes()[..15], 15), None);
    assert_eq!(encoding(b"HYLL\x02...........", 16), None);
    assert_eq!(encoding(b"HYLL\0...........", DENSE_SIZE as u64 - 1), None);
    assert_eq!(encoding(b"HYLX\x01...........", 16), None);
}

#[test]
fn hostile_bytes_are_found_out() {
    let mut rng = 1u64;
    let mut random = || {
        rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (rng >> 33) as usize
    };
    let mut refused = 0;
    for _ in 0..3_000 {
        let mut log = HyperLogLog::new();
        for _ in 0..random() % 40 {
            log.raise(random() % REGISTERS, (random() % 32 + 1) as u8, MAX).expect("well-formed");
        }
        let mut bytes = log.bytes().to_vec();
        for _ in 0..1 + random() % 3 {
            let at = HEADER + random() % (bytes.len() - HEADER);
            match random() % 3 {
                0 => bytes[at] = random() as u8,
                1 if bytes.len() > HEADER + 1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, random() as u8),
            }
        }
        let mut hostile = HyperLogLog::from_bytes(bytes);
        for _ in 0..20 {
            let _ = hostile.raise(random() % REGISTERS, (random() % 51 + 1) as u8, MAX);
        }
        refused += usize::from(count(hostile.bytes(), hostile.encoding()).is_err());
        let _ = Union::new().add(hostile.bytes(), hostile.encoding());
        let _ = hostile.make_dense();
    }
    assert!(refused > 1_000, "{refused}");
    let mut full = vec![0xff; DENSE_SIZE];
    full[..HEADER].copy_from_slice(b"HYLL\0...........");
    assert_eq!(count(&full, Encoding::Dense), Ok(1 << 63));
}

#[test]
fn the_self_test_passes() {
    for seed in [0, 1, 0xdead_beef_0123_4567] {
        assert_eq!(self_test(seed, MAX), Ok(()));
    }
}
