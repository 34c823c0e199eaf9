//! Checks the former ids of plans: each belongs to exactly one plan, and to no present one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::plan::Read;
use crate::domain::sale::plan::{Plan, Slug};

/// A former id that is the id of a present plan.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    /// The index of the plan that lists it.
    from: usize,
    /// Its index in that list.
    item: usize,
    /// The index of the plan that has the id.
    to: usize,
}

/// Adds a problem for each former id that is used twice, or is the id of a plan. Plans that are
/// former ids of each other are one problem: a cycle.
pub(super) fn check(plans: &[Read<Plan>]) {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for Read { section, value: plan, .. } in plans {
        for (item, former) in plan.former_ids.iter().enumerate() {
            if let Some(owner) = owners.insert(former.as_str(), plan.id.as_str()) {
                let former = former.as_str();
                let problem = format_args!("{former:?} is a former id of {owner:?} already");
                section.item_problem("former_ids", item, problem);
            }
        }
    }
    let edges = edges(plans);
    let mut in_cycles = BTreeSet::new();
    for edge in &edges {
        // Each cycle is reported once: at its first plan.
        let Some(cycle) = cycle(*edge, &edges) else { continue };
        if cycle.iter().all(|other| edge.from <= other.from) && !in_cycles.contains(edge) {
            let from = |edge: &Edge| plans[edge.from].value.id.as_str();
            let mut ids: Vec<_> = cycle.iter().map(from).collect();
            ids.push(from(edge));
            let (section, ids) = (&plans[edge.from].section, ids.join(" → "));
            let problem = format_args!("these plans are former ids of each other: {ids}");
            section.item_problem("former_ids", edge.item, problem);
            in_cycles.extend(cycle);
        }
    }
    for edge in edges.iter().filter(|edge| !in_cycles.contains(edge)) {
        let id = plans[edge.to].value.id.as_str();
        let problem = format_args!("{id:?} is the id of a plan; list ids that no plan has now");
        plans[edge.from].section.item_problem("former_ids", edge.item, problem);
    }
}

fn edges(plans: &[Read<Plan>]) -> Vec<Edge> {
    let index = |id: &Slug| plans.iter().position(|read| read.value.id == *id);
    let of_plan = |(from, read): (usize, &'_ Read<Plan>)| {
        let items = read.value.former_ids.iter().enumerate();
        let edge = |(item, id)| Some(Edge { from, item, to: index(id)? });
        items.filter_map(edge).collect::<Vec<_>>()
    };
    plans.iter().enumerate().flat_map(of_plan).collect()
}

/// Returns the shortest cycle that begins with this edge.
fn cycle(first: Edge, edges: &[Edge]) -> Option<Vec<Edge>> {
    let mut paths = VecDeque::from([vec![first]]);
    let mut reached = BTreeSet::from([first.to]);
    while let Some(path) = paths.pop_front() {
        let end = path.last()?.to;
        if end == first.from {
            return Some(path);
        }
        for edge in edges.iter().filter(|edge| edge.from == end) {
            if reached.insert(edge.to) {
                paths.push_back(path.iter().copied().chain([*edge]).collect());
            }
        }
    }
    None
}
