//! What masks overlook, and what they do not.

use super::*;

fn equal(mask: Mask, a: &Value, b: &Value) -> bool {
    same(mask, a, b, (&Names::default(), &Names::default()))
}

#[test]
fn a_mask_loosens_what_it_names_and_nothing_else() {
    let int = Value::Integer;
    assert!(!equal(Mask::Exact, &int(1), &int(2)));
    assert!(equal(Mask::Near(5), &int(100), &int(96)));
    assert!(!equal(Mask::Near(5), &int(-1), &int(1)), "no expiry is no lifetime");
    assert!(!equal(Mask::NearTime(5), &int(FAR + 1), &int(FAR + 2)));
    let (x, y) = (Value::bulk("x"), Value::bulk("y"));
    let array = |v: &[&Value]| Value::Array(v.iter().map(|v| (*v).clone()).collect());
    assert!(equal(Mask::Unordered, &array(&[&x, &y]), &array(&[&y, &x])));
    assert!(!equal(Mask::Unordered, &array(&[&x, &x, &y]), &array(&[&y, &y, &x])));
    assert!(!equal(Mask::Exact, &array(&[&x, &y]), &array(&[&y, &x])));
    let scan = |v: &[&Value]| Value::Array(vec![Value::bulk("0"), array(v)]);
    assert!(equal(Mask::Scan(1), &scan(&[&x, &y]), &scan(&[&y, &x])));
    assert!(equal(Mask::Scan(2), &scan(&[&x, &x, &y, &y]), &scan(&[&y, &y, &x, &x])));
    assert!(!equal(Mask::Scan(2), &scan(&[&x, &y]), &scan(&[&y, &x])));
    let pairs = array(&[&array(&[&x, &x]), &array(&[&y, &y])]);
    assert!(equal(Mask::Shuffled, &array(&[&x, &x, &y, &y]), &array(&[&y, &y, &x, &x])));
    assert!(equal(Mask::Shuffled, &pairs, &array(&[&array(&[&y, &y]), &array(&[&x, &x])])));
    assert!(!equal(Mask::Shuffled, &array(&[&x, &x, &y, &y]), &pairs));
    assert!(!equal(Mask::Kind, &Value::error("ERR a"), &Value::error("ERR b")));
    assert!(!equal(Mask::Kind, &Value::NullBulk, &Value::Null));
    assert!(!equal(Mask::Info, &x, &Value::Verbatim(*b"txt", b"x".to_vec())));
}

#[test]
fn only_runs_of_one_message_are_put_in_order() {
    let message = |pattern: &str, payload: &str| {
        let words = ["pmessage", pattern, "channel", payload];
        Event::Value(Value::Push(words.iter().map(Value::bulk).collect()))
    };
    let names = (&Names::default(), &Names::default());
    let (a, b) = (message("a", "1"), message("b", "1"));
    let later = message("a", "2");
    let x = [a.clone(), b.clone(), later.clone()];
    assert!(same_events(&[], &x, &[b.clone(), a.clone(), later.clone()], names));
    assert!(!same_events(&[], &x, &[later, a, b], names));
}
