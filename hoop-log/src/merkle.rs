//! The Merkle tree of RFC 6962, section 2.1: hashes, the frontier of a growing tree, inclusion proofs.

use sha2::{Digest as _, Sha256};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// The hash of a leaf: what is in it, after a zero byte.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0]);
    hasher.update(leaf);
    hasher.finalize().into()
}

/// The hash of a node: its two children, after a one.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(left);
    bytes[33..].copy_from_slice(right);
    Sha256::digest(bytes).into()
}

/// What has to be known of a tree to go on with it: the roots of its largest perfect subtrees, left to
/// right. There is one for each bit that is set in its size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    /// The tree of `size` leaves that has these roots. None if a tree of that size has another number of them.
    pub fn new(size: u64, roots: Vec<Hash>) -> Option<Self> {
        (roots.len() == size.count_ones() as usize).then_some(Self { size, roots })
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the largest perfect subtrees, left to right.
    pub fn roots(&self) -> &[Hash] {
        &self.roots
    }

    /// Appends a leaf by its hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut root = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                root = node_hash(&left, &root);
            }
        }
        self.roots.push(root);
        self.size += 1;
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        let mut roots = self.roots.iter().rev();
        let Some(&last) = roots.next() else {
            return Sha256::digest([]).into();
        };
        roots.fold(last, |right, left| node_hash(left, &right))
    }
}

/// Makes the inclusion proof of one leaf while the leaves behind it go by: of the tree before it, the frontier
/// is enough.
#[derive(Debug)]
pub(crate) struct Prover {
    index: u64,
    /// The roots of the perfect subtrees before the leaf, the nearest last.
    left: Vec<Hash>,
    /// The leaves behind it: for each level, the root of the subtree that is the sibling of the leaf's own
    /// on that level, if it is to the right.
    right: Vec<Frontier>,
    size: u64,
}

impl Prover {
    /// For the next leaf of the tree.
    pub(crate) fn new(before: &Frontier) -> Self {
        Self {
            index: before.size,
            left: before.roots.clone(),
            right: Vec::new(),
            size: before.size + 1,
        }
    }

    /// A leaf behind it.
    pub(crate) fn push(&mut self, leaf: Hash) {
        // The highest bit in which the two differ is the level on which their subtrees are siblings.
        let level = (self.index ^ self.size).ilog2() as usize;
        if self.right.len() <= level {
            self.right.resize_with(level + 1, Frontier::default);
        }
        self.right[level].push(leaf);
        self.size += 1;
    }

    /// The proof for the tree as it is now: sibling hashes from the leaf up (RFC 6962, section 2.1.1).
    pub(crate) fn finish(mut self) -> Vec<Hash> {
        let levels = (u64::BITS - (self.size - 1).leading_zeros()) as usize;
        let mut path = Vec::new();
        for level in 0..levels {
            if self.index >> level & 1 == 1 {
                path.extend(self.left.pop());
            } else if let Some(right) = self.right.get(level).filter(|right| right.size > 0) {
                path.push(right.root());
            }
        }
        path
    }
}

/// The root of a tree of `size` leaves that has `leaf` at `index`, by an inclusion proof (RFC 9162, section
/// 2.1.3.2). None if the proof is not one for such a tree.
pub fn root_by_proof(index: u64, size: u64, leaf: Hash, proof: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut node, mut last, mut root) = (index, size - 1, leaf);
    for sibling in proof {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            root = node_hash(sibling, &root);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            root = node_hash(&root, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(root)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Both functions as RFC 6962 defines them, by recursion.
    fn naive_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&naive_root(left), &naive_root(right))
            }
        }
    }

    fn naive_path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let half = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at(half);
        let (mut path, sibling) = if index < half {
            (naive_path(index, left), naive_root(right))
        } else {
            (naive_path(index - half, right), naive_root(left))
        };
        path.push(sibling);
        path
    }

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count)
            .map(|leaf| leaf_hash(&leaf.to_le_bytes()))
            .collect()
    }

    #[test]
    fn the_empty_tree_and_the_leaf_of_no_bytes_are_those_of_the_certificate_transparency_tests() {
        let hex = |hash: Hash| hash.map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(
            hex(Frontier::default().root()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(
            hex(leaf_hash(b"")),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
    }

    proptest! {
        #[test]
        fn a_frontier_has_the_root_of_the_tree(count in 0_usize..300) {
            let leaves = leaves(count);
            let mut frontier = Frontier::default();
            for &leaf in &leaves {
                frontier.push(leaf);
            }
            prop_assert_eq!(frontier.root(), naive_root(&leaves));
            let again = Frontier::new(count as u64, frontier.roots().to_vec()).unwrap();
            prop_assert_eq!(again, frontier);
        }

        #[test]
        fn a_proof_is_that_of_the_definition_and_proves(count in 1_usize..300, index: prop::sample::Index) {
            let (leaves, index) = (leaves(count), index.index(count));
            let mut frontier = Frontier::default();
            for &leaf in &leaves[..index] {
                frontier.push(leaf);
            }
            let mut prover = Prover::new(&frontier);
            for &leaf in &leaves[index + 1..] {
                prover.push(leaf);
            }
            let proof = prover.finish();
            prop_assert_eq!(&proof, &naive_path(index, &leaves));
            let root = naive_root(&leaves);
            let (position, size) = (index as u64, count as u64);
            prop_assert_eq!(root_by_proof(position, size, leaves[index], &proof), Some(root));
            prop_assert_ne!(root_by_proof(position, size, [7; 32], &proof), Some(root));
            for cut in 0..proof.len() {
                prop_assert_ne!(root_by_proof(position, size, leaves[index], &proof[..cut]), Some(root));
            }
        }
    }
}
