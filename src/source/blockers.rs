//! Which wanted items wait for which others.
//!
//! Pure, and linear in entries and blockers: no recursion, so a chain of any
//! length is no matter.

use crate::core::Hold;

/// What the id of a blocker leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocker {
    /// It has succeeded and blocks no more.
    Succeeded,
    /// It is wanted itself: the item at this place.
    Open(usize),
    /// It has not succeeded yet, and is not among the wanted ones.
    Elsewhere,
    /// It was told, and not as a success.
    Failed,
    /// Neither an item that can be used nor an outcome.
    Unknown,
}

/// Ids of a circle that are named; more would be no help, and a list of all
/// for each of a hundred thousand members would fill the memory.
const NAMED: usize = 8;

/// Why each wanted item has to wait for others, if it has to. `wanted` holds
/// id and blockers of each, `state` says what a blocker leads to.
///
/// What lasts is named before what can still end by itself.
pub fn holds(wanted: &[(&str, &[String])], state: impl Fn(&str) -> Blocker) -> Vec<Option<Hold>> {
    let mut edges = Vec::with_capacity(wanted.len());
    let mut holds = Vec::with_capacity(wanted.len());
    for (_, blockers) in wanted {
        let (mut open, mut open_ids) = (Vec::new(), Vec::new());
        let mut lasting = None;
        for id in *blockers {
            let hold = match state(id) {
                Blocker::Succeeded => continue,
                Blocker::Open(place) => {
                    open.push(place);
                    open_ids.push(id.clone());
                    continue;
                }
                Blocker::Elsewhere => {
                    open_ids.push(id.clone());
                    continue;
                }
                Blocker::Failed => Hold::BlockerFailed(id.clone()),
                Blocker::Unknown => Hold::BlockerUnknown(id.clone()),
            };
            lasting.get_or_insert(hold);
        }
        let waits = (!open_ids.is_empty()).then_some(Hold::Blocked(open_ids));
        edges.push(open);
        holds.push(lasting.or(waits));
    }
    for circle in circles(&edges) {
        let named = circle.path.iter().take(NAMED);
        let mut ids: Vec<String> = named
            .filter_map(|place| wanted.get(*place))
            .map(|(id, _)| (*id).to_owned())
            .collect();
        let more = circle.path.len().saturating_sub(NAMED);
        if more > 0 {
            ids.push(format!("… ({more} more)"));
        }
        for place in circle.members {
            if let Some(hold) = holds.get_mut(place) {
                *hold = Some(Hold::Cycle(ids.clone()));
            }
        }
    }
    holds
}

/// A circle and those who are caught in it.
struct Circle {
    /// Along the edges, from the lowest place on.
    path: Vec<usize>,
    /// The places of the path, and of those that reach each other with it but
    /// stand on a further circle.
    members: Vec<usize>,
}

/// Every place that can reach itself belongs to one circle here.
fn circles(edges: &[Vec<usize>]) -> Vec<Circle> {
    let component = components(edges);
    let of = |place: usize| component.get(place).copied();
    // For each place, the way to go on within its component, if there is one.
    let next: Vec<Option<usize>> = edges
        .iter()
        .enumerate()
        .map(|(from, to)| to.iter().copied().find(|to| of(*to) == of(from)))
        .collect();

    // Following those ways meets itself or a circle known before; only a place
    // that is alone in its component has none.
    let mut circles: Vec<Circle> = Vec::new();
    let mut seen = vec![Seen::Never; edges.len()];
    for start in 0..edges.len() {
        let mut trail = Vec::new();
        let mut at = start;
        while let (Seen::Never, Some(to)) = (seen[at], next[at]) {
            seen[at] = Seen::OnTrail(trail.len());
            trail.push(at);
            at = to;
        }
        let circle = match seen[at] {
            Seen::Never => continue,
            Seen::Caught(circle) => circle,
            Seen::OnTrail(position) => {
                let mut path = trail[position..].to_vec();
                let lowest = (0..path.len()).min_by_key(|i| path[*i]).unwrap_or(0);
                path.rotate_left(lowest);
                circles.push(Circle {
                    path,
                    members: Vec::new(),
                });
                circles.len() - 1
            }
        };
        for place in &trail {
            seen[*place] = Seen::Caught(circle);
        }
        circles[circle].members.extend(trail);
    }
    circles
}

/// How far the walk of [`circles`] knows a place.
#[derive(Clone, Copy)]
enum Seen {
    Never,
    OnTrail(usize),
    Caught(usize),
}

/// The strongly connected component of each place, by Tarjan's algorithm with
/// a stack of its own ("Depth-First Search and Linear Graph Algorithms", 1972).
fn components(edges: &[Vec<usize>]) -> Vec<usize> {
    const NEW: usize = usize::MAX;
    let n = edges.len();
    let mut order = vec![NEW; n];
    let mut low = vec![NEW; n];
    let mut component = vec![NEW; n];
    let mut open: Vec<usize> = Vec::new();
    // A place, and how many of its edges have been followed.
    let mut calls: Vec<(usize, usize)> = Vec::new();
    let mut count = 0;
    for root in 0..n {
        if order[root] != NEW {
            continue;
        }
        calls.push((root, 0));
        while let Some((at, followed)) = calls.pop() {
            if followed == 0 {
                order[at] = count;
                low[at] = count;
                count += 1;
                open.push(at);
            } else if let Some(back) = edges[at].get(followed - 1) {
                // Back from this edge, or it led to a place known before.
                if component[*back] == NEW {
                    low[at] = low[at].min(low[*back]);
                }
            }
            match edges[at].get(followed) {
                Some(to) => {
                    calls.push((at, followed + 1));
                    if order[*to] == NEW {
                        calls.push((*to, 0));
                    }
                }
                None if low[at] == order[at] => {
                    while let Some(member) = open.pop() {
                        component[member] = at;
                        if member == at {
                            break;
                        }
                    }
                }
                None => {}
            }
        }
    }
    component
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Entries as `A<B,C`: A is blocked by B and C. `+X` has succeeded, `-X`
    /// has failed, any other id without an entry is not known.
    fn of(text: &str) -> Vec<String> {
        let entries: Vec<(String, Vec<String>)> = text
            .split(' ')
            .map(|entry| {
                let (id, blockers) = entry.split_once('<').unwrap_or((entry, ""));
                let blockers = blockers.split(',').filter(|b| !b.is_empty());
                (id.to_owned(), blockers.map(str::to_owned).collect())
            })
            .collect();
        held(&entries)
            .into_iter()
            .map(|hold| hold.map_or("free".to_owned(), |h| h.to_string()))
            .collect()
    }

    fn held(entries: &[(String, Vec<String>)]) -> Vec<Option<Hold>> {
        let places: BTreeMap<&str, usize> = entries
            .iter()
            .enumerate()
            .map(|(i, (id, _))| (id.as_str(), i))
            .collect();
        let wanted: Vec<(&str, &[String])> = entries
            .iter()
            .map(|(id, by)| (id.as_str(), by.as_slice()))
            .collect();
        holds(&wanted, |id| match (places.get(id), id.chars().next()) {
            (Some(place), _) => Blocker::Open(*place),
            (None, Some('+')) => Blocker::Succeeded,
            (None, Some('-')) => Blocker::Failed,
            (None, _) => Blocker::Unknown,
        })
    }

    #[test]
    fn a_blocker_holds_until_it_has_succeeded() {
        assert_eq!(of("A<+X"), ["free"]);
        assert_eq!(
            of("A B<A,+X C<B,A"),
            ["free", "blocked by A", "blocked by B, A"]
        );
    }

    #[test]
    fn what_lasts_is_named_before_what_may_end() {
        assert_eq!(of("A B<A,-X,?")[1], "blocked by -X, which did not succeed");
        assert_eq!(of("A B<A,?,-X")[1], "blocked by ?, which is not known");
        assert_eq!(of("A<-X,B B<A")[0], "blocked in a circle: A → B");
    }

    #[test]
    fn a_circle_is_named_for_its_members_only() {
        assert_eq!(of("A<A"), ["blocked in a circle: A"]);
        assert_eq!(
            of("X<C C<A A<B B<C,D D"),
            [
                "blocked by C",
                "blocked in a circle: C → A → B",
                "blocked in a circle: C → A → B",
                "blocked in a circle: C → A → B",
                "free",
            ]
        );
        // The way out of a circle leads to another one.
        assert_eq!(
            of("A<B B<A,C C<D D<C"),
            [
                "blocked in a circle: A → B",
                "blocked in a circle: A → B",
                "blocked in a circle: C → D",
                "blocked in a circle: C → D",
            ]
        );
    }

    #[test]
    fn circles_that_share_a_member_hold_all_of_theirs() {
        assert_eq!(
            of("A<B B<A,C C<B"),
            [
                "blocked in a circle: A → B",
                "blocked in a circle: A → B",
                "blocked in a circle: A → B",
            ]
        );
        assert_eq!(of("A<C B<C C<B,A"), ["blocked in a circle: B → C"; 3]);
    }

    #[test]
    fn the_members_are_those_that_can_reach_themselves() {
        let mut random = crate::source::file::fuzz::Random::new(7);
        for _ in 0..500 {
            let n = 1 + random.below(7);
            let entries: Vec<(String, Vec<String>)> = (0..n)
                .map(|i| {
                    let by = (0..random.below(3)).map(|_| random.below(n).to_string());
                    (i.to_string(), by.collect())
                })
                .collect();
            let mut reach = vec![vec![false; n]; n];
            for (i, (_, by)) in entries.iter().enumerate() {
                for b in by {
                    reach[i][b.parse::<usize>().unwrap()] = true;
                }
            }
            for k in 0..n {
                for i in 0..n {
                    for j in 0..n {
                        reach[i][j] |= reach[i][k] && reach[k][j];
                    }
                }
            }
            for (i, hold) in held(&entries).into_iter().enumerate() {
                let caught = matches!(hold, Some(Hold::Cycle(_)));
                assert_eq!(caught, reach[i][i], "{i} of {entries:?}");
                let Some(Hold::Cycle(ids)) = hold else {
                    continue;
                };
                for (from, to) in ids.iter().zip(ids.iter().cycle().skip(1)) {
                    let from = &entries[from.parse::<usize>().unwrap()];
                    assert!(from.1.contains(to), "{ids:?} of {entries:?}");
                }
            }
        }
    }

    #[test]
    fn a_chain_and_a_circle_of_a_hundred_thousand_are_no_matter() {
        let n = 100_000;
        let mut entries: Vec<(String, Vec<String>)> = (0..n)
            .map(|i| (i.to_string(), vec![(i + 1).to_string()]))
            .collect();
        let chain = held(&entries);
        assert_eq!(chain[n - 1], Some(Hold::BlockerUnknown(n.to_string())));
        assert_eq!(chain[0], Some(Hold::Blocked(vec!["1".into()])));
        entries[n - 1].1 = vec!["0".into()];
        let circle = held(&entries);
        let ids = ["0", "1", "2", "3", "4", "5", "6", "7", "… (99992 more)"];
        let named = Some(Hold::Cycle(ids.map(String::from).to_vec()));
        assert_eq!(circle[0], named);
        assert_eq!(circle[n - 1], named);
    }
}
