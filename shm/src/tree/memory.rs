//! What a tree takes.

use super::cursor::select;
use super::node::{self, Branch, Node, ROOM, bytes};
use super::{Tree, len};
use crate::alloc::{block_size, class_of, class_size};
use crate::arena::View;
use crate::off::Off;

/// Pairs up to which every node of branches is looked at.
const FEW: u64 = 4096;

/// Bytes of all the tree's nodes, as allocated. The blocks that the pairs lead to do not count. Of a large
/// tree the ways to about `samples` pairs are looked at, and the rest is taken to be like them; every node
/// of branches if it is 0.
pub fn memory(view: &View, tree: Off<Tree>, samples: u64) -> u64 {
    let record = view.read(tree);
    let (root, height) = (record.root.get(), record.height.get().to_native());
    if root.is_null() {
        0
    } else if samples == 0 || len(view, tree) <= FEW.max(samples) {
        below(view, root, height)
    } else {
        judged(view, tree, samples.clamp(32, 1 << 16))
    }
}

fn below(view: &View, node: Off<Node>, height: u64) -> u64 {
    let own = block_size(view, node.cast());
    let branches = || node::entries::<Branch>(view, node).iter();
    match height {
        0 => own,
        // All leaves below are of one size.
        1 => own + branches().len() as u64 * full_block(true),
        _ => own + branches().map(|it| below(view, it.child, height - 1)).sum::<u64>(),
    }
}

fn judged(view: &View, tree: Off<Tree>, samples: u64) -> u64 {
    let pairs = len(view, tree);
    // A node on the way to a pair stands for as many nodes as there are pairs for each pair below it.
    let (mut leaves, mut inner) = (0.0, 0.0);
    for i in 0..samples {
        let way = select(view, tree, (2 * i + 1) * pairs / (2 * samples));
        let steps = way.path().iter();
        let share = |count: u64| 1.0 / count.max(1) as f64;
        let below = steps.map(|step| {
            let branch = node::entry::<Branch>(view, step.node, step.index);
            share(branch.count.get().to_native())
        });
        let below: Vec<f64> = below.collect();
        leaves += below.last().copied().unwrap_or(share(pairs));
        inner += share(pairs) + below.iter().rev().skip(1).sum::<f64>();
    }
    let nodes = |shares: f64| (shares * pairs as f64 / samples as f64).round() as u64;
    nodes(leaves) * full_block(true) + nodes(inner) * full_block(false)
}

/// Bytes of the block of a leaf, or a node of branches, with room for 31 entries.
fn full_block(leaf: bool) -> u64 {
    class_size(class_of(bytes(leaf, ROOM)).expect("a node is small"))
}
