use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::*;

fn set(uids: &[u32]) -> UidSet {
    uids.iter().copied().collect()
}

#[test]
fn ranges_are_as_few_as_can_be() {
    let set = UidSet::from_ranges(vec![(9, 7), (1, 3), (4, 4), (2, 5), (0, 0), (0, 1)]);
    assert_eq!(set.to_string(), "1:5,7:9");
    assert_eq!(set.len(), 8);
    assert_eq!((set.min(), set.max()), (Some(1), Some(9)));
    assert_eq!(UidSet::range(5, 4), UidSet::new());
}

#[test]
fn the_highest_number_can_be_in_a_set() {
    let all = UidSet::range(0, u32::MAX);
    assert_eq!(all.len(), u64::from(u32::MAX));
    assert_eq!(all.difference(&UidSet::range(1, u32::MAX)), UidSet::new());
    assert_eq!(all.difference(&UidSet::range(2, u32::MAX - 1)).to_string(), "1,4294967295");
    let mut sparse = set(&[u32::MAX]);
    assert!(sparse.insert(1) && !sparse.insert(1) && sparse.contains(u32::MAX));
    assert_eq!(sparse.union(&all), all);
}

#[test]
fn a_set_is_divided_into_lines_and_windows() {
    let set =
        UidSet::from_ranges(vec![(1, 1), (10, 19), (100, 100), (4_000_000_000, 4_000_000_009)]);
    let lines: Vec<_> = set.lines(21).map(|line| line.to_string()).collect();
    assert_eq!(lines, ["1,10:19,100", "4000000000:4000000009"]);
    let windows: Vec<_> = set.windows(6).map(|window| window.to_string()).collect();
    assert_eq!(windows, ["1,10:14", "15:19,100", "4000000000:4000000005", "4000000006:4000000009"]);
    assert_eq!(UidSet::new().lines(99).count(), 0);
    assert_eq!(UidSet::new().windows(9).count(), 0);
}

#[test]
fn a_list_may_go_down_and_name_billions() {
    let list = UidList::from_runs(vec![(4_294_967_295, 1)]);
    assert_eq!(list.len(), 4_294_967_295);
    assert_eq!(list.iter().take(2).collect::<Vec<_>>(), [u32::MAX, u32::MAX - 1]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sets_are_what_sets_of_numbers_are(
        left in btree_set(1_u32..60, 0..30),
        right in btree_set(1_u32..60, 0..30),
    ) {
        let (one, two): (UidSet, UidSet) =
            (left.iter().copied().collect(), right.iter().copied().collect());
        let same = |set: UidSet, numbers: Vec<u32>| {
            prop_assert_eq!(set.len(), numbers.len() as u64);
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), numbers);
            Ok(())
        };
        same(one.union(&two), left.union(&right).copied().collect())?;
        same(one.difference(&two), left.difference(&right).copied().collect())?;
        same(one.intersection(&two), left.intersection(&right).copied().collect())?;
        for uid in 0..61 {
            prop_assert_eq!(one.contains(uid), left.contains(&uid));
        }
        let mut grown = one.clone();
        for uid in &right {
            prop_assert_eq!(grown.insert(*uid), !left.contains(uid));
        }
        prop_assert_eq!(&grown, &one.union(&two));
        let joined = |parts: Vec<UidSet>| parts.iter().fold(UidSet::new(), |all, part| all.union(part));
        prop_assert_eq!(joined(grown.lines(21).collect()), grown.clone());
        prop_assert_eq!(joined(grown.windows(7).collect()), grown.clone());
        prop_assert!(grown.windows(7).all(|window| window.len() <= 7));
        prop_assert!(grown.lines(21).all(|line| line.to_string().len() <= 21));
    }

    #[test]
    fn ranges_in_any_order_make_one_set(ranges in vec((0_u32..50, 0_u32..50), 0..20)) {
        let numbers: std::collections::BTreeSet<u32> = ranges
            .iter()
            .flat_map(|(a, b)| *a.min(b)..=*a.max(b))
            .filter(|number| *number > 0)
            .collect();
        let set = UidSet::from_ranges(ranges);
        prop_assert_eq!(set.iter().collect::<Vec<_>>(), numbers.into_iter().collect::<Vec<_>>());
    }
}
