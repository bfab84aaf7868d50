//! The classic text's `Step 3/7`: one row of numbers over all stages that are built, in the order of the Dockerfile. Pure.

use std::collections::BTreeMap;

use super::graph::Graph;
use crate::dockerfile::Dockerfile;

/// The numbers of a build's steps, from 0.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Numbering {
    /// Of each stage's FROM.
    first: BTreeMap<usize, usize>,
    /// How many steps there are.
    pub total: usize,
}

impl Numbering {
    /// Numbers the ARGs before the first FROM and the stages of `graph`.
    pub(super) fn new(file: &Dockerfile, graph: &Graph) -> Self {
        let mut total = file.preamble().len();
        let mut first = BTreeMap::new();
        for node in &graph.nodes {
            first.insert(node.index, total);
            total += node.steps(file);
        }
        Self { first, total }
    }

    /// The number of the instruction `index` of a stage.
    pub(super) fn of(&self, stage: usize, index: usize) -> usize {
        self.first.get(&stage).copied().unwrap_or(0) + index
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::parse;
    use crate::engine::build::plan::BuildFacts;

    #[test]
    fn steps_are_counted_over_the_stages_that_are_built() {
        let text = "ARG A=1\nFROM scratch AS a\nUSER x\nFROM scratch AS unused\nUSER y\nFROM a\nUSER z\nUSER w\n";
        let file = parse(text).file;
        let graph = Graph::of(&file, None, &BuildFacts::default(), &|_| Vec::new()).unwrap();
        let numbering = Numbering::new(&file, &graph);
        assert_eq!([numbering.of(0, 0), numbering.of(0, 1), numbering.of(2, 0), numbering.of(2, 2)], [1, 2, 3, 5]);
        assert_eq!(numbering.total, 6);
    }
}
