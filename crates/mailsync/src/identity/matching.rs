//! Pairs messages of two lists by fingerprint, size, date and, where these cannot tell, by their bytes.
//!
//! Nothing here reads a message: what has to be read is said ([`Matched::undecided`]).

use std::collections::BTreeMap;

use crate::{
    Fingerprint, Message, Uid,
    sides::{Both, Side},
};

/// What is which.
#[derive(Debug, Default)]
pub(crate) struct Matched {
    /// The same message on both sides.
    pub(crate) pairs: Vec<(Uid, Uid)>,
    /// Messages whose bytes must be known to tell. Who cannot get them asks without
    /// ([`Bytes::Unavailable`]): then they are taken for different.
    pub(crate) undecided: Both<Vec<Uid>>,
}

/// Whether undecided messages may be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Bytes {
    /// They may.
    Askable,
    /// What was read is all there is.
    Unavailable,
}

/// So many pairs within a group are looked at one by one.
const FEW_PAIRS: usize = 256;

/// Messages with one fingerprint.
#[derive(Default)]
struct Group<'m>(Both<Vec<&'m Message>>);

/// Pairs messages. Those without a fingerprint stay alone.
pub(crate) fn match_up<'m>(
    left: impl IntoIterator<Item = &'m Message>,
    right: impl IntoIterator<Item = &'m Message>,
    bytes: Bytes,
) -> Matched {
    let mut groups: BTreeMap<Fingerprint, Group<'m>> = BTreeMap::new();
    let mut sort = |side, messages: &mut dyn Iterator<Item = &'m Message>| {
        for message in messages {
            if let Some(fingerprint) = message.fingerprint {
                groups.entry(fingerprint).or_default().0.of_mut(side).push(message);
            }
        }
    };
    sort(Side::Left, &mut left.into_iter());
    sort(Side::Right, &mut right.into_iter());
    let mut matched = Matched::default();
    for group in groups.into_values() {
        group.pair_up(bytes, &mut matched);
    }
    matched.pairs.sort_unstable();
    matched
}

impl Group<'_> {
    fn pair_up(mut self, bytes: Bytes, matched: &mut Matched) {
        let same_bytes = |one: &Message, two: &Message| one.body.is_some() && one.body == two.body;
        let dated = |one: &Message, two: &Message| same_bytes(one, two) && same_date(one, two);
        self.take_pairs(dated, matched);
        self.take_pairs(same_bytes, matched);
        let can_be = |one: &Message, two: &Message| {
            alike(one, two) && (one.body.is_none() || two.body.is_none())
        };
        // One against one of the same size: what tells them apart is beyond chance, and reading every message
        // of a mailbox that was copied before would cost as much as copying it.
        let lonely = |one: &Message, two: &Message, group: &Self| {
            let rivals = |mine: &Message, others: &[&Message]| {
                others.iter().filter(|other| can_be(mine, other)).count() == 1
            };
            can_be(one, two)
                && one.size == two.size
                && rivals(one, &group.0.right)
                && rivals(two, &group.0.left)
        };
        // Of large groups, as of mails without any header, all are read.
        let few = self.0.left.len().saturating_mul(self.0.right.len()) <= FEW_PAIRS;
        let certain: Vec<(Uid, Uid)> = (self.0.left.iter())
            .filter(|_| few)
            .flat_map(|one| self.0.right.iter().map(move |two| (*one, *two)))
            .filter(|(one, two)| lonely(one, two, &self))
            .map(|(one, two)| (one.uid, two.uid))
            .collect();
        let is_certain = |one: &Message, two: &Message| certain.contains(&(one.uid, two.uid));
        self.take_pairs(is_certain, matched);
        if bytes == Bytes::Askable {
            let rivals = |mine: &[&Message], others: &[&Message]| -> Vec<Uid> {
                let asked = mine.iter().filter(|one| one.body.is_none());
                let asked = asked.filter(|one| others.iter().any(|two| can_be(one, two)));
                asked.map(|one| one.uid).collect()
            };
            matched.undecided.left.extend(rivals(&self.0.left, &self.0.right));
            matched.undecided.right.extend(rivals(&self.0.right, &self.0.left));
        }
    }

    /// Takes out pairs in the order of UIDs, each message once.
    fn take_pairs(&mut self, same: impl Fn(&Message, &Message) -> bool, matched: &mut Matched) {
        let Both { left, right } = &mut self.0;
        left.retain(|one| {
            let Some(at) = right.iter().position(|two| same(one, two)) else { return true };
            matched.pairs.push((one.uid, right.remove(at).uid));
            false
        });
    }
}

/// Whether sizes leave it open that two messages are one: servers that keep lines with LF alone count one
/// less for each line, and some only estimate. An unknown size leaves it open too.
fn alike(one: &Message, two: &Message) -> bool {
    let (Some(one), Some(two)) = (one.size, two.size) else { return true };
    // Lines of less than 20 bytes on the average are no mail's.
    one.abs_diff(two) <= one.max(two) / 20 + 64
}

fn same_date(one: &Message, two: &Message) -> bool {
    match (one.date, two.date) {
        (Some(one), Some(two)) => one.seconds == two.seconds,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BodyHash, Flags, InternalDate};

    /// A message by UID, a letter for its header, its size, and a letter for its bytes.
    fn message(uid: u32, header: u8, size: u64, body: Option<u8>) -> Message {
        Message {
            uid: Uid::new(uid).unwrap(),
            flags: Flags::default(),
            size: Some(size),
            date: None,
            fingerprint: Some(Fingerprint([header; 16])),
            body: body.map(|body| BodyHash([body; 16])),
        }
    }

    fn pairs(left: &[Message], right: &[Message], bytes: Bytes) -> (Vec<(u32, u32)>, usize) {
        let matched = match_up(left, right, bytes);
        let numbers = matched.pairs.iter().map(|(one, two)| (one.get(), two.get())).collect();
        (numbers, matched.undecided.left.len() + matched.undecided.right.len())
    }

    #[test]
    fn of_three_alike_and_one_on_the_other_side_two_are_left_over() {
        let left: Vec<_> = (1..=3).map(|uid| message(uid, b'h', 100, None)).collect();
        let right = [message(7, b'h', 100, None)];
        assert_eq!(pairs(&left, &right, Bytes::Askable), (vec![], 4));
        let read = |mut messages: Vec<Message>| {
            messages.iter_mut().for_each(|m| m.body = Some(BodyHash([1; 16])));
            messages
        };
        let (left, right) = (read(left), read(right.to_vec()));
        assert_eq!(pairs(&left, &right, Bytes::Askable), (vec![(1, 7)], 0));
    }

    #[test]
    fn two_mails_with_one_header_and_size_are_told_apart_by_their_bytes() {
        let left = [message(1, b'h', 100, Some(1)), message(2, b'h', 100, Some(2))];
        let right = [message(9, b'h', 100, Some(2))];
        assert_eq!(pairs(&left, &right, Bytes::Askable), (vec![(2, 9)], 0));
    }

    #[test]
    fn sizes_tell_apart_what_headers_do_not() {
        let left = [message(1, b'h', 5000, None), message(2, b'h', 9000, None)];
        let right = [message(8, b'h', 9000, None), message(9, b'h', 5000, None)];
        assert_eq!(pairs(&left, &right, Bytes::Askable), (vec![(1, 9), (2, 8)], 0));
        let other = [message(8, b'h', 20_000, None)];
        assert_eq!(pairs(&left, &other, Bytes::Askable), (vec![], 0));
    }

    #[test]
    fn a_size_that_differs_a_little_is_looked_into_and_never_guessed() {
        let (left, right) = ([message(1, b'h', 5000, None)], [message(8, b'h', 5050, None)]);
        assert_eq!(pairs(&left, &right, Bytes::Askable), (vec![], 2));
        assert_eq!(pairs(&left, &right, Bytes::Unavailable), (vec![], 0));
    }

    #[test]
    fn among_equal_bytes_the_same_date_comes_first() {
        let dated = |uid, seconds| Message {
            date: Some(InternalDate { seconds, zone: 0 }),
            ..message(uid, b'h', 100, Some(1))
        };
        let left = [dated(1, 10), dated(2, 20)];
        assert_eq!(pairs(&left, &[dated(5, 20)], Bytes::Askable).0, [(2, 5)]);
        assert_eq!(pairs(&left, &[dated(5, 30)], Bytes::Askable).0, [(1, 5)]);
    }
}
