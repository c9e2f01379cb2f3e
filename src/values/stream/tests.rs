use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use shm::{Off, OutOfMemory, Tx, View};

use super::change::{Keep, Trim};
use super::group::{self, Position};
use super::{Counts, Id, Limits, Stream, change, counts, entries, serial};
use crate::keyspace::{self, EntryView};
use crate::root;
use crate::values::testing::{self, Held, KeyOp};

/// The key of the stream that operations are on; the one beside it gets copies.
const KEY: u8 = 0;
/// Nodes are full after few entries, so that every operation meets several of them.
const LIMITS: Limits = Limits { bytes: 200, entries: 4 };

#[derive(Debug, Clone)]
enum Op {
    Add { same_ms: bool, fields: Vec<(u8, Vec<u8>)> },
    Delete { at: usize },
    Trim { keep: usize, by_id: bool, whole_nodes: bool, limit: u64 },
    Group { name: u8 },
    DropGroup { name: u8 },
    Deliver { group: u8, consumer: u8, at: usize },
    Acknowledge { group: u8, at: usize },
    DropConsumer { group: u8, consumer: u8 },
    Key(KeyOp),
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<i32>().prop_map(|number| number.to_string().into_bytes()),
        (0usize..40, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
        (60usize..5000).prop_map(|len| vec![b'v'; len]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let fields = || prop::collection::vec((0u8..3, value()), 1..4);
    let (name, consumer, at) = (0u8..3, 0u8..3, 0usize..40);
    prop_oneof![
        10 => (any::<bool>(), fields()).prop_map(|(same_ms, fields)| Op::Add { same_ms, fields }),
        3 => at.clone().prop_map(|at| Op::Delete { at }),
        2 => (0usize..12, any::<bool>(), any::<bool>(), 0u64..9).prop_map(
            |(keep, by_id, whole_nodes, limit)| Op::Trim { keep, by_id, whole_nodes, limit }
        ),
        1 => name.clone().prop_map(|name| Op::Group { name }),
        1 => name.clone().prop_map(|name| Op::DropGroup { name }),
        6 => (name.clone(), consumer.clone(), at.clone())
            .prop_map(|(group, consumer, at)| Op::Deliver { group, consumer, at }),
        3 => (name.clone(), at).prop_map(|(group, at)| Op::Acknowledge { group, at }),
        1 => (name, consumer).prop_map(|(group, consumer)| Op::DropConsumer { group, consumer }),
        2 => KeyOp::any(2).prop_map(Op::Key),
    ]
}

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct PlainGroup {
    consumers: BTreeSet<Vec<u8>>,
    /// Consumer and number of deliveries.
    pending: BTreeMap<Id, (Vec<u8>, u64)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Plain {
    entries: BTreeMap<Id, Fields>,
    last: Id,
    added: u64,
    max_deleted: Id,
    groups: BTreeMap<Vec<u8>, PlainGroup>,
}

type Model = testing::Model<Plain>;

/// Names that begin alike, so that the order needs more than the first bytes.
fn name(number: u8) -> Vec<u8> {
    let names: [&[u8]; 3] = [b"beginning", b"beginnings", b"b"];
    names[usize::from(number) % 3].to_vec()
}

fn field_names(fields: &[(u8, Vec<u8>)]) -> Fields {
    fields.iter().map(|(field, value)| (name(*field), value.clone())).collect()
}

fn id_at(model: &Plain, at: usize) -> Id {
    // Some ids were never there.
    let ids: Vec<_> = model.entries.keys().copied().collect();
    ids.get(at).copied().unwrap_or(Id { ms: at as u64, seq: 1 })
}

/// The stream, which is made if it is not there.
fn open(tx: &mut Tx<'_>) -> Result<Off<Stream>, OutOfMemory> {
    if let Some(found) = testing::find(tx, KEY) {
        return Ok(stream_of(&EntryView::new(tx, found.entry)));
    }
    let (fresh, stream) = super::create(tx, &testing::name(KEY), None)?;
    testing::put(tx, KEY, fresh)?;
    Ok(stream)
}

fn stream_of(entry: &EntryView<'_>) -> Off<Stream> {
    super::of(entry).expect("a stream")
}

/// Runs an operation in the arena and in the model.
fn run(tx: &mut Tx<'_>, model: &mut Model, op: &Op) -> Result<(), OutOfMemory> {
    if let Op::Key(op) = op {
        return op.run(tx, model);
    }
    let stream = open(tx)?;
    let new = || Held { value: Plain::default(), expiry: None };
    let model = &mut model.entry(KEY).or_insert_with(new).value;
    match op {
        Op::Add { same_ms, fields } => {
            let id = match same_ms {
                true => model.last.next().expect("an id"),
                false => Id { ms: model.last.ms + 1, seq: 0 },
            };
            let fields = field_names(fields);
            let args: Vec<&[u8]> = fields.iter().flat_map(|(f, v)| [&f[..], &v[..]]).collect();
            change::append(tx, stream, LIMITS, id, args.iter().copied())?;
            model.entries.insert(id, fields);
            (model.last, model.added) = (id, model.added + 1);
        }
        Op::Delete { at } => {
            let id = id_at(model, *at);
            let deleted = change::delete(tx, stream, &[id])?;
            assert_eq!(deleted, u64::from(model.entries.remove(&id).is_some()));
            if deleted > 0 {
                model.max_deleted = model.max_deleted.max(id);
            }
        }
        Op::Trim { keep, by_id, whole_nodes, limit } => {
            trim(tx, stream, model, *keep, *by_id, *whole_nodes, *limit)?;
        }
        Op::Group { name: group } => {
            let group = name(*group);
            if group::find(tx, stream, &group).is_none() {
                group::create(tx, stream, &group, Position { last: Id::MIN, read: None })?;
            }
            model.groups.entry(group).or_default();
        }
        Op::DropGroup { name: group } => {
            let group = name(*group);
            let dropped = group::remove(tx, stream, &group)?;
            assert_eq!(dropped, model.groups.remove(&group).is_some());
        }
        _ => run_on_group(tx, stream, model, op)?,
    }
    Ok(())
}

fn trim(
    tx: &mut Tx<'_>,
    stream: Off<Stream>,
    model: &mut Plain,
    keep: usize,
    by_id: bool,
    whole_nodes: bool,
    limit: u64,
) -> Result<(), OutOfMemory> {
    let limit = if whole_nodes { limit } else { 0 };
    let from = id_at(model, keep);
    let keep_what = if by_id { Keep::From(from) } else { Keep::Length(keep as u64) };
    let removed = change::trim(tx, stream, Trim { keep: keep_what, whole_nodes, limit })?;
    let wanted = match by_id {
        true => model.entries.range(..from).count(),
        false => model.entries.len().saturating_sub(keep),
    } as u64;
    if whole_nodes {
        // Where nodes end is not the model's business.
        assert!(removed <= wanted && (limit == 0 || removed <= limit));
    } else {
        assert_eq!(removed, wanted);
    }
    for _ in 0..removed {
        model.entries.pop_first();
    }
    Ok(())
}

fn run_on_group(
    tx: &mut Tx<'_>,
    stream: Off<Stream>,
    model: &mut Plain,
    op: &Op,
) -> Result<(), OutOfMemory> {
    let (Op::Deliver { group, .. }
    | Op::Acknowledge { group, .. }
    | Op::DropConsumer { group, .. }) = op
    else {
        return Ok(());
    };
    let Some(at) = group::find(tx, stream, &name(*group)) else { return Ok(()) };
    let id = match op {
        Op::Deliver { at, .. } | Op::Acknowledge { at, .. } => id_at(model, *at),
        _ => Id::MIN,
    };
    let of_model = model.groups.get_mut(&name(*group)).expect("the same groups");
    match op {
        Op::Deliver { consumer, .. } => {
            let who = name(*consumer);
            let consumer = match group::find_consumer(tx, at, &who) {
                Some(consumer) => consumer,
                None => group::create_consumer(tx, at, &who, 5)?,
            };
            of_model.consumers.insert(who.clone());
            let times = of_model.pending.get(&id).map_or(1, |(_, times)| times + 1);
            match group::find_pending(tx, at, id) {
                Some(claim) => group::deliver_again(tx, &claim, consumer, 7, times)?,
                None => group::add_pending(tx, at, consumer, id, 7, times)?,
            }
            of_model.pending.insert(id, (who, times));
        }
        Op::Acknowledge { .. } => {
            let claim = group::find_pending(tx, at, id);
            assert_eq!(claim.is_some(), of_model.pending.remove(&id).is_some());
            if let Some(claim) = claim {
                group::drop_pending(tx, at, &claim)?;
            }
        }
        Op::DropConsumer { consumer, .. } => {
            let who = name(*consumer);
            let dropped = group::remove_consumer(tx, at, &who)?;
            assert_eq!(dropped.is_some(), of_model.consumers.remove(&who));
            let before = of_model.pending.len();
            of_model.pending.retain(|_, (owner, _)| *owner != who);
            assert_eq!(dropped.unwrap_or(0) as usize, before - of_model.pending.len());
        }
        _ => {}
    }
    Ok(())
}

/// Reads a stream back.
fn read(entry: &EntryView<'_>) -> Plain {
    let (view, stream) = (entry.view(), stream_of(entry));
    let fields = |entry: &super::node::Entry<'_>| -> Fields {
        entry.pairs().map(|(field, value)| (field.to_vec(), value.to_vec())).collect()
    };
    let found: BTreeMap<Id, Fields> = entries::forward(view, stream, Id::MIN, Id::MAX)
        .map(|entry| (entry.id, fields(&entry)))
        .collect();
    let mut backward: Vec<Id> =
        entries::backward(view, stream, Id::MIN, Id::MAX).map(|entry| entry.id).collect();
    backward.reverse();
    assert!(found.keys().eq(&backward));
    let middle = backward.get(backward.len() / 2).copied().unwrap_or(Id::MAX);
    let from_middle = entries::count(view, stream, middle, Id::MAX, u64::MAX);
    assert_eq!(from_middle, found.range(middle..).count() as u64);
    let Counts { len, added, last } = counts(view, stream);
    assert_eq!(len, found.len() as u64);
    let groups = group::all(view, stream).map(|at| {
        let name_of = |consumer| group::consumer_name(view, consumer).to_vec();
        let claims = group::pending_from(view, group::pending(at), Id::MIN);
        let read = PlainGroup {
            consumers: group::consumers(view, at).map(name_of).collect(),
            pending: claims.map(|it| (it.id, (name_of(it.consumer), it.count))).collect(),
        };
        (group::name(view, at).to_vec(), read)
    });
    let max_deleted = super::max_deleted(view, stream);
    Plain { entries: found, last, added, max_deleted, groups: groups.collect() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// What is left is what was done, entries and groups.
    #[test]
    fn streams_are_what_was_done_to_them(transactions in testing::transactions(op())) {
        let read = |view: &View| testing::read(view, read);
        testing::drive(&mut testing::arena(), Model::new(), &transactions, run, read)?;
    }

    /// What is written as listpacks and read back is the same stream.
    #[test]
    fn nodes_survive_being_listpacks(ops in prop::collection::vec(op(), 1..60)) {
        const AGAIN: u8 = 2;
        let mut arena = testing::arena();
        let run_all = |tx: &mut Tx<'_>| {
            let mut model = Model::new();
            ops.iter().try_for_each(|op| run(tx, &mut model, op))?;
            open(tx)
        };
        let stream = arena.transact(run_all).expect("memory");
        let mut nodes = Vec::new();
        serial::for_each_node(&arena, stream, |node| {
            let mut listpack = Vec::new();
            serial::to_listpack(node, &mut listpack);
            assert_eq!(listpack.len() as u64, node.listpack_bytes());
            nodes.push((node.master, listpack));
        });
        let (counts, deleted) = (counts(&arena, stream), super::max_deleted(&arena, stream));
        let rebuild = |tx: &mut Tx<'_>| {
            let mut builder = serial::Builder::new(tx)?;
            for (master, listpack) in &nodes {
                builder.node(tx, *master, listpack).expect("a node");
            }
            builder.totals(tx, counts, deleted).expect("totals that agree");
            let fresh = super::create_with(tx, &testing::name(AGAIN), None, builder.stream())?;
            testing::put(tx, AGAIN, fresh)
        };
        arena.transact(rebuild).expect("memory");
        let all = testing::read(&arena, read);
        let mut old = all[&KEY].value.clone();
        old.groups.clear();
        prop_assert_eq!(&old, &all[&AGAIN].value);
        testing::check(&arena);
    }
}

#[test]
fn a_large_stream_is_freed_in_steps_that_the_checker_accepts() {
    const COPY: u8 = 1;
    let mut arena = testing::arena();
    let fill = |tx: &mut Tx<'_>| {
        let stream = open(tx)?;
        let at = group::create(tx, stream, b"g", Position { last: Id::MIN, read: None })?;
        let consumers =
            [group::create_consumer(tx, at, b"a", 1)?, group::create_consumer(tx, at, b"b", 1)?];
        for ms in 1..=1000 {
            let (id, args) = (Id { ms, seq: 0 }, [&b"field"[..], b"value"]);
            change::append(tx, stream, LIMITS, id, args.into_iter())?;
            group::add_pending(tx, at, consumers[ms as usize % 2], id, 1, 1)?;
        }
        Ok(())
    };
    arena.transact(fill).expect("memory");
    testing::check(&arena);
    // A copy that is dropped with its group, beside the group alone.
    arena.transact(|tx| testing::copy(tx, KEY, COPY)).expect("memory");
    let drop_group = |tx: &mut Tx<'_>| {
        let stream = open(tx)?;
        group::remove(tx, stream, b"g")
    };
    arena.transact(drop_group).expect("memory");
    arena.transact(|tx| testing::remove(tx, COPY)).expect("memory");
    testing::check(&arena);
    let step = |tx: &mut Tx<'_>| {
        let root = root::of(tx);
        keyspace::trash::step(tx, root, 64)
    };
    let mut steps = 0;
    while arena.transact(step).expect("memory") {
        steps += 1;
        if steps % 8 == 0 {
            testing::check(&arena);
        }
    }
    assert!(steps > 40, "freed in {steps} steps");
    testing::check(&arena);
}

/// Of a consumer with many pending entries, some in each leaf of the group's tree; what is logged is
/// little for each.
#[test]
fn a_consumer_with_many_pending_entries_is_removed() {
    const ENTRIES: u64 = 30_000;
    let mut arena = testing::arena();
    let fill = |tx: &mut Tx<'_>| {
        let stream = open(tx)?;
        let args = [&b"field"[..], b"value"];
        change::append(tx, stream, LIMITS, Id { ms: 1, seq: 0 }, args.into_iter())?;
        let at = group::create(tx, stream, b"g", Position { last: Id::MIN, read: None })?;
        let mut consumers = Vec::new();
        for name in ["all", "some", "few"] {
            consumers.push(group::create_consumer(tx, at, name.as_bytes(), 1)?);
        }
        for n in 0..ENTRIES {
            let consumer = match n {
                _ if n % 500 == 3 => 2,
                _ if n % 3 == 1 => 1,
                _ => 0,
            };
            // Several with the same milliseconds.
            let id = Id { ms: n / 4, seq: n % 4 };
            group::add_pending(tx, at, consumers[consumer], id, 1, 1)?;
        }
        Ok(at)
    };
    let at = arena.transact(fill).expect("memory");
    testing::check(&arena);
    let few = ENTRIES / 500;
    let some = (0..ENTRIES).filter(|n| n % 3 == 1 && n % 500 != 3).count() as u64;
    let mut left = ENTRIES;
    for (name, count) in [("few", few), ("some", some), ("all", ENTRIES - few - some)] {
        let mut tx = arena.begin();
        let removed = group::remove_consumer(&mut tx, at, name.as_bytes()).expect("memory");
        assert_eq!(removed, Some(count), "{name}");
        let logged = tx.logged_bytes();
        assert!(logged < 4_096 + 700 * few + 60 * count, "{logged} bytes for {count} entries");
        left -= count;
        assert_eq!(shm::tree::len(&tx, group::pending(at)), left);
        tx.commit(&[0; 4]);
        testing::check(&arena);
    }
    let again = arena.transact(|tx| group::remove_consumer(tx, at, b"few"));
    assert_eq!(again, Ok(None));
}

#[test]
fn what_is_no_node_is_refused() {
    let mut arena = testing::arena();
    let mut run = Vec::new();
    let args = || [&b"f"[..], b"v"].into_iter();
    let master = Id { ms: 5, seq: 1 };
    super::node::encode_fields(&mut run, args());
    super::node::encode_entry(&mut run, master, master, true, args());
    let mut listpack = vec![0; 6];
    shm::pack::encode_int(&mut listpack, 1);
    shm::pack::encode_int(&mut listpack, 0);
    listpack.extend_from_slice(&run);
    listpack.push(0xff);
    let len = listpack.len() as u32;
    listpack[..4].copy_from_slice(&len.to_le_bytes());
    let mut accepts = |bytes: &[u8]| {
        let mut tx = arena.begin();
        let mut builder = serial::Builder::new(&mut tx).expect("memory");
        builder.node(&mut tx, master, bytes).is_ok()
    };
    assert!(accepts(&listpack));
    for at in 6..listpack.len() {
        for flip in [0x01, 0x02, 0x40, 0x80, 0xff] {
            let mut damaged = listpack.clone();
            damaged[at] ^= flip;
            // Some bytes are text, or ids; none may make it panic.
            let _ = accepts(&damaged);
        }
        assert!(!accepts(&listpack[..at]), "cut at {at}");
    }
    for at in [6, 8] {
        let mut miscounted = listpack.clone();
        miscounted[at] ^= 1;
        assert!(!accepts(&miscounted), "another number at {at}");
    }
}
