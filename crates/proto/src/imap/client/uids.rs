//! Sets of UIDs, kept as ranges.
//!
//! Nothing here knows which mailbox a UID belongs to.

use std::fmt;

/// A set of UIDs (or sequence numbers): none is zero.
#[derive(Clone, Default, Eq, Hash, PartialEq)]
pub struct UidSet {
    /// First and last of each range: ascending, apart by more than one.
    ranges: Vec<(u32, u32)>,
}

impl UidSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// All from `first` to `last`; empty if there is none such.
    pub fn range(first: u32, last: u32) -> Self {
        let first = first.max(1);
        Self { ranges: if first <= last { vec![(first, last)] } else { Vec::new() } }
    }

    /// Of ranges in any order, which may overlap; zeros are left out.
    pub fn from_ranges(mut ranges: Vec<(u32, u32)>) -> Self {
        ranges.iter_mut().for_each(|(first, last)| {
            if first > last {
                std::mem::swap(first, last);
            }
            *first = (*first).max(1);
        });
        ranges.retain(|(first, last)| first <= last);
        if !ranges.is_sorted() {
            ranges.sort_unstable();
        }
        let mut set = Self::new();
        ranges.into_iter().for_each(|(first, last)| set.push(first, last));
        set
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many it has.
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|(first, last)| u64::from(last - first) + 1).sum()
    }

    /// The lowest.
    pub fn min(&self) -> Option<u32> {
        self.ranges.first().map(|(first, _)| *first)
    }

    /// The highest.
    pub fn max(&self) -> Option<u32> {
        self.ranges.last().map(|(_, last)| *last)
    }

    /// Whether it has this one.
    pub fn contains(&self, uid: u32) -> bool {
        let after = self.ranges.partition_point(|(first, _)| *first <= uid);
        let before = after.checked_sub(1).and_then(|at| self.ranges.get(at));
        before.is_some_and(|(_, last)| uid <= *last)
    }

    /// Adds one; says whether it was not there. Cheap at the end, else as dear as the set is long.
    pub fn insert(&mut self, uid: u32) -> bool {
        if uid == 0 || self.contains(uid) {
            return false;
        }
        if self.max().is_none_or(|max| max < uid) {
            self.push(uid, uid);
        } else {
            *self = self.union(&Self::range(uid, uid));
        }
        true
    }

    /// What is in one or the other.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let (mut left, mut right) = (self.ranges.iter().peekable(), other.ranges.iter().peekable());
        let mut union =
            Self { ranges: Vec::with_capacity(self.ranges.len().max(other.ranges.len())) };
        loop {
            let next = match (left.peek(), right.peek()) {
                (Some(one), Some(two)) if two < one => right.next(),
                (Some(_), _) => left.next(),
                (None, _) => right.next(),
            };
            let Some((first, last)) = next else {
                return union;
            };
            union.push(*first, *last);
        }
    }

    /// What is in this one and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut difference = Self::new();
        let mut without = other.ranges.iter().peekable();
        for &(first, last) in &self.ranges {
            let mut next = Some(first);
            while let (Some(start), Some(&&(from, to))) = (next, without.peek()) {
                if to < start {
                    without.next();
                    continue;
                }
                if from > last {
                    break;
                }
                if from > start {
                    difference.push(start, from - 1);
                }
                next = to.checked_add(1).filter(|next| *next <= last);
                if next.is_some() {
                    without.next();
                }
            }
            if let Some(start) = next {
                difference.push(start, last);
            }
        }
        difference
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Self::new();
        let mut others = other.ranges.iter().peekable();
        for &(first, last) in &self.ranges {
            while let Some(&&(from, to)) = others.peek() {
                if from > last {
                    break;
                }
                if to >= first {
                    both.push(first.max(from), last.min(to));
                }
                if to > last {
                    break;
                }
                others.next();
            }
        }
        both
    }

    /// All of them, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = u32> + '_ {
        self.ranges.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// First and last of each range, ascending.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = (u32, u32)> + '_ {
        self.ranges.iter().copied()
    }

    /// The same in sets that take at most `length` bytes on the wire each, for servers have limits to their
    /// lines; a range is never divided. At least 21 bytes are taken.
    pub fn lines(&self, length: usize) -> Lines<'_> {
        Lines { rest: &self.ranges, length }
    }

    /// The same in sets of at most `count` UIDs each.
    pub fn windows(&self, count: u32) -> impl Iterator<Item = Self> + '_ {
        let mut rest = self.clone();
        std::iter::from_fn(move || {
            let window = rest.first(count.max(1));
            rest = rest.difference(&window);
            (!window.is_empty()).then_some(window)
        })
    }

    /// The lowest `count`.
    fn first(&self, count: u32) -> Self {
        let (mut window, mut left) = (Self::new(), count);
        for &(first, last) in &self.ranges {
            if left == 0 {
                break;
            }
            let end = last.min(first.saturating_add(left - 1));
            window.push(first, end);
            left -= end - first + 1;
        }
        window
    }

    /// Adds a range that begins nowhere before the last one's beginning.
    fn push(&mut self, first: u32, last: u32) {
        match self.ranges.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => self.ranges.push((first, last)),
        }
    }
}

impl FromIterator<u32> for UidSet {
    fn from_iter<I: IntoIterator<Item = u32>>(uids: I) -> Self {
        Self::from_ranges(uids.into_iter().map(|uid| (uid, uid)).collect())
    }
}

/// As it stands on the wire; nothing if it is empty.
impl fmt::Display for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.ranges, f)
    }
}

impl fmt::Debug for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

fn show(ranges: &[(u32, u32)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut comma = "";
    for (first, last) in ranges {
        write!(f, "{comma}{first}")?;
        if first != last {
            write!(f, ":{last}")?;
        }
        comma = ",";
    }
    Ok(())
}

/// Parts of a set that fit into lines.
#[derive(Debug)]
pub struct Lines<'a> {
    rest: &'a [(u32, u32)],
    length: usize,
}

impl Iterator for Lines<'_> {
    type Item = UidSet;

    fn next(&mut self) -> Option<UidSet> {
        let mut length = 0;
        let fits = self.rest.iter().take_while(|(first, last)| {
            let comma = usize::from(length > 0);
            length += comma + digits(*first) + if first == last { 0 } else { 1 + digits(*last) };
            length <= self.length
        });
        let count = fits.count().max(1).min(self.rest.len());
        let (line, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        (!line.is_empty()).then(|| UidSet { ranges: line.to_vec() })
    }
}

fn digits(number: u32) -> usize {
    usize::try_from(number.checked_ilog10().unwrap_or_default()).unwrap_or_default() + 1
}

/// UIDs in an order, as APPENDUID and COPYUID name them.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct UidList {
    /// First and last of each run; a run may go down.
    runs: Vec<(u32, u32)>,
}

impl UidList {
    /// Of runs in their order.
    pub(crate) fn from_runs(runs: Vec<(u32, u32)>) -> Self {
        Self { runs }
    }

    /// How many.
    pub fn len(&self) -> u64 {
        self.runs.iter().map(|(first, last)| u64::from(first.abs_diff(*last)) + 1).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// All of them, in their order. There can be billions: compare [`Self::len`] first.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.runs.iter().flat_map(|&(first, last)| {
            let count = u64::from(first.abs_diff(last)) + 1;
            let step = move |done: u64| {
                let done = u32::try_from(done).unwrap_or_default();
                if first <= last { first + done } else { first - done }
            };
            (0..count).map(step)
        })
    }
}

impl fmt::Debug for UidList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[")?;
        show(&self.runs, f)?;
        write!(f, "]")
    }
}

#[cfg(test)]
mod tests;
