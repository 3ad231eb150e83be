//! Whether a back end lives: learned from logins and from looking, forgotten with care.
//!
//! Nothing here reads a clock or a socket, or looks by itself. One client that is not let in says nothing of
//! the back end: only what several clients and users met counts.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use model::{Protocol, Reason};
use parking_lot::Mutex;

/// How health is judged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HealthSettings {
    /// How many users, and where it may have known them how many clients, must have met a failure in a row. 3: a
    /// client that is banned there comes alone, or with the few others of its house.
    pub failures: usize,
    /// Within which time. 10 s: longer ago is another trouble.
    pub window: Duration,
    /// How often it is looked at; zero for never. 10 s, as most load balancers do.
    pub look_every: Duration,
    /// How many looks in a row must fail. 3: a server that restarts misses one or two.
    pub looks: u32,
    /// How long it is left alone when it is down, at first; twice as long after each trial that fails. 1 s.
    pub rest: Duration,
    /// At most. 30 s: so long may users wait for a server that is back.
    pub longest_rest: Duration,
    /// How long after its return until it gets as many logins at a time as ever. 30 s: caches are cold.
    pub slow_start: Duration,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            failures: 3,
            window: Duration::from_secs(10),
            look_every: Duration::from_secs(10),
            looks: 3,
            rest: Duration::from_secs(1),
            longest_rest: Duration::from_secs(30),
            slow_start: Duration::from_secs(30),
        }
    }
}

/// The last failures that are looked at together.
const REMEMBERED: usize = 64;

/// A failure that somebody met.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Met {
    /// The client; IPv6 by its /64.
    pub(crate) client: IpAddr,
    /// A hash of the user's name.
    pub(crate) user: u64,
    /// What was in the way.
    pub(crate) reason: Reason,
}

/// How a back end is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Condition {
    Up,
    /// Nobody goes there before `until`; `rest` is how long that was.
    Down {
        until: Instant,
        rest: Duration,
    },
    /// One login tries whether it is back.
    Tried {
        rest: Duration,
    },
    /// It is back since then, and gets more logins step by step.
    Returning {
        since: Instant,
    },
}

#[derive(Debug)]
struct State {
    condition: Condition,
    met: Vec<(Instant, Met)>,
    looks_failed: u32,
}

/// The health of a back end by protocol: one service may be down while the other works.
#[derive(Debug)]
pub(crate) struct Healths {
    imap: Health,
    pop3: Health,
}

impl Healths {
    pub(crate) fn new(settings: &HealthSettings) -> Self {
        Self { imap: Health::new(settings.clone()), pop3: Health::new(settings.clone()) }
    }

    pub(crate) fn of(&self, protocol: Protocol) -> &Health {
        match protocol {
            Protocol::Imap => &self.imap,
            Protocol::Pop3 => &self.pop3,
        }
    }
}

/// The health of one service of a back end.
#[derive(Debug)]
pub(crate) struct Health {
    settings: HealthSettings,
    state: Mutex<State>,
}

/// What changed by what was learned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Turn {
    /// It is taken to be down from now on.
    Down,
    /// It is back.
    Up,
}

/// A login that may go to a back end. It has to tell what came of it; dropped, it was given up.
#[derive(Debug)]
pub(crate) struct Permit<'h> {
    health: &'h Health,
    trial: bool,
}

impl Health {
    pub(crate) fn new(settings: HealthSettings) -> Self {
        let state = State { condition: Condition::Up, met: Vec::new(), looks_failed: 0 };
        Self { settings, state: Mutex::new(state) }
    }

    /// Whether a login may go there: none while it is down, but one at a time to try it.
    pub(crate) fn permit(&self, now: Instant) -> Option<Permit<'_>> {
        let mut state = self.state.lock();
        let trial = match state.condition {
            Condition::Up | Condition::Returning { .. } => false,
            Condition::Down { until, rest } if now >= until => {
                state.condition = Condition::Tried { rest };
                true
            }
            Condition::Down { .. } | Condition::Tried { .. } => return None,
        };
        Some(Permit { health: self, trial })
    }

    /// How many logins may be under way there, of as many as at the best of times.
    pub(crate) fn share(&self, most: usize, now: Instant) -> usize {
        let mut state = self.state.lock();
        let Condition::Returning { since } = state.condition else { return most };
        let passed = now.saturating_duration_since(since);
        if passed >= self.settings.slow_start {
            state.condition = Condition::Up;
            return most;
        }
        // A tenth at once, the rest with the time.
        let (passed, whole) = (passed.as_millis(), self.settings.slow_start.as_millis().max(1));
        let tenths = usize::try_from(1 + passed * 9 / whole).unwrap_or(10);
        (most.saturating_mul(tenths) / 10).max(1)
    }

    /// Takes what came of looking at it.
    pub(crate) fn looked(&self, answered: bool, now: Instant) -> Option<Turn> {
        let mut state = self.state.lock();
        if answered {
            state.looks_failed = 0;
            return self.back(&mut state, now);
        }
        state.looks_failed = state.looks_failed.saturating_add(1);
        match state.condition {
            Condition::Up | Condition::Returning { .. }
                if state.looks_failed >= self.settings.looks =>
            {
                self.down(&mut state, self.settings.rest, now);
                Some(Turn::Down)
            }
            // When it is tried by a login again hangs on logins alone: a look may fail where they would not.
            _ => None,
        }
    }

    /// Its state in a word, for the operator.
    pub(crate) fn word(&self, now: Instant) -> &'static str {
        match self.state.lock().condition {
            Condition::Down { .. } | Condition::Tried { .. } => "down",
            Condition::Returning { since }
                if now.saturating_duration_since(since) < self.settings.slow_start =>
            {
                "returning"
            }
            Condition::Up | Condition::Returning { .. } => "up",
        }
    }

    /// Whether nobody should be sent there who could as well go elsewhere.
    pub(crate) fn is_down(&self) -> bool {
        matches!(self.state.lock().condition, Condition::Down { .. } | Condition::Tried { .. })
    }

    fn succeeded(&self, now: Instant) -> Option<Turn> {
        let mut state = self.state.lock();
        state.met.clear();
        state.looks_failed = 0;
        self.back(&mut state, now)
    }

    fn failed(&self, met: Met, trial: bool, now: Instant) -> Option<Turn> {
        let mut state = self.state.lock();
        if let (Condition::Tried { rest }, true) = (state.condition, trial) {
            self.down(&mut state, self.longer(rest), now);
            return None;
        }
        let window = self.settings.window;
        state.met.retain(|(at, _)| now.saturating_duration_since(*at) < window);
        // The same again adds nothing.
        if !state.met.iter().any(|(_, known)| known.user == met.user && known.client == met.client)
        {
            if state.met.len() >= REMEMBERED {
                state.met.remove(0);
            }
            state.met.push((now, met));
        }
        let up = matches!(state.condition, Condition::Up | Condition::Returning { .. });
        if up && self.is_enough(&state.met) {
            self.down(&mut state, self.settings.rest, now);
            return Some(Turn::Down);
        }
        None
    }

    /// Whether what was met is the back end's doing, and not how it treats somebody.
    fn is_enough(&self, met: &[(Instant, Met)]) -> bool {
        let unseen = met.iter().filter(|(_, met)| !knows_client(met.reason));
        let unseen: HashSet<_> = unseen.map(|(_, met)| met.user).collect();
        let enough = self.settings.failures.max(1);
        unseen.len() >= enough || strangers(met) >= enough
    }

    fn down(&self, state: &mut State, rest: Duration, now: Instant) {
        state.condition = Condition::Down { until: now + rest, rest };
        state.met.clear();
    }

    fn longer(&self, rest: Duration) -> Duration {
        (rest * 2).min(self.settings.longest_rest.max(self.settings.rest))
    }

    fn back(&self, state: &mut State, now: Instant) -> Option<Turn> {
        match state.condition {
            Condition::Down { .. } | Condition::Tried { .. } => {
                state.condition = Condition::Returning { since: now };
                Some(Turn::Up)
            }
            Condition::Up | Condition::Returning { .. } => None,
        }
    }
}

/// How many of those who met a failure have neither client nor user in common with each other: all users of
/// one banned client, and all clients of one banned user, are one. It is the size of a maximum matching, found
/// by augmenting paths.
fn strangers(met: &[(Instant, Met)]) -> usize {
    let mut users: HashMap<IpAddr, Vec<u64>> = HashMap::new();
    for (_, met) in met {
        users.entry(met.client).or_default().push(met.user);
    }
    let mut client_of = HashMap::new();
    let matched = |client: &&IpAddr| {
        let mut seen = HashSet::new();
        find_partner(**client, &users, &mut client_of, &mut seen)
    };
    users.keys().filter(matched).count()
}

fn find_partner(
    client: IpAddr,
    users: &HashMap<IpAddr, Vec<u64>>,
    client_of: &mut HashMap<u64, IpAddr>,
    seen: &mut HashSet<u64>,
) -> bool {
    for user in users.get(&client).into_iter().flatten() {
        if !seen.insert(*user) {
            continue;
        }
        let free = match client_of.get(user).copied() {
            None => true,
            Some(other) => find_partner(other, users, client_of, seen),
        };
        if free {
            client_of.insert(*user, client);
            return true;
        }
    }
    false
}

/// Whether a back end that fails so may have been told by then who the client is.
fn knows_client(reason: Reason) -> bool {
    // A PROXY header goes before TLS.
    !matches!(reason, Reason::BackendConnect | Reason::BackendName)
}

impl Permit<'_> {
    /// The back end let somebody in, or refused him as one that works does.
    pub(crate) fn succeeded(mut self, now: Instant) -> Option<Turn> {
        self.trial = false;
        self.health.succeeded(now)
    }

    /// The back end failed.
    pub(crate) fn failed(mut self, met: Met, now: Instant) -> Option<Turn> {
        let trial = std::mem::take(&mut self.trial);
        self.health.failed(met, trial, now)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.trial {
            return;
        }
        // Nothing was learned: the next one may try at once.
        let mut state = self.health.state.lock();
        if let Condition::Tried { rest } = state.condition {
            state.condition = Condition::Down { until: Instant::now(), rest };
        }
    }
}

/// How often a login may be tried again elsewhere: for each tenth login once, so that a back end that fails
/// does not double the load of the others.
#[derive(Debug)]
pub(crate) struct RetryBudget(Mutex<u32>);

/// Retries that can be saved up.
const SAVED_RETRIES: u32 = 10;
/// Logins that earn one.
const LOGINS_PER_RETRY: u32 = 10;

impl RetryBudget {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(SAVED_RETRIES * LOGINS_PER_RETRY))
    }

    /// A login begins.
    pub(crate) fn earn(&self) {
        let mut tenths = self.0.lock();
        *tenths = (*tenths + 1).min(SAVED_RETRIES * LOGINS_PER_RETRY);
    }

    /// Whether it may be tried once more.
    pub(crate) fn spend(&self) -> bool {
        let mut tenths = self.0.lock();
        let left = tenths.checked_sub(LOGINS_PER_RETRY);
        *tenths = left.unwrap_or(*tenths);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn health() -> Health {
        Health::new(HealthSettings::default())
    }

    fn met(client: u8, user: u64, reason: Reason) -> Met {
        Met { client: IpAddr::from([192, 0, 2, client]), user, reason }
    }

    fn fail(health: &Health, met: Met, now: Instant) -> Option<Turn> {
        health.permit(now).unwrap().failed(met, now)
    }

    fn take_down(health: &Health, now: Instant) {
        for user in 0..3 {
            fail(health, met(1, user, Reason::BackendConnect), now);
        }
        assert!(health.is_down());
    }

    #[test]
    fn one_client_that_is_banned_never_marks_a_back_end_down() {
        let (health, now) = (health(), Instant::now());
        for user in 0..100 {
            assert_eq!(fail(&health, met(1, user, Reason::BackendLost), now), None);
        }
        for client in 0..100 {
            assert_eq!(fail(&health, met(client, 7, Reason::BackendBye), now), None);
        }
        assert_eq!(health.word(now), "up");
    }

    #[test]
    fn what_several_clients_and_users_meet_in_a_row_is_the_back_end_s_doing() {
        let (health, now) = (health(), Instant::now());
        assert_eq!(fail(&health, met(1, 1, Reason::BackendLost), now), None);
        assert_eq!(fail(&health, met(2, 2, Reason::BackendLost), now), None);
        health.permit(now).unwrap().succeeded(now);
        assert_eq!(fail(&health, met(3, 3, Reason::BackendLost), now), None);
        assert_eq!(fail(&health, met(4, 4, Reason::BackendLost), now), None);
        assert_eq!(fail(&health, met(5, 5, Reason::BackendLost), now), Some(Turn::Down));
        assert!(health.permit(now).is_none());
    }

    #[test]
    fn who_the_client_is_does_not_matter_where_nobody_answers() {
        let now = Instant::now();
        let health = health();
        assert_eq!(fail(&health, met(1, 1, Reason::BackendConnect), now), None);
        assert_eq!(fail(&health, met(1, 2, Reason::BackendConnect), now), None);
        assert_eq!(fail(&health, met(1, 3, Reason::BackendConnect), now), Some(Turn::Down));
    }

    #[test]
    fn failures_of_long_ago_do_not_count() {
        let (health, now) = (health(), Instant::now());
        for round in 0..10 {
            let at = now + 6 * SECOND * round;
            let user = u64::from(round);
            assert_eq!(fail(&health, met(1, user, Reason::BackendConnect), at), None);
        }
    }

    #[test]
    fn one_login_at_a_time_tries_whether_it_is_back_after_longer_and_longer_rests() {
        let (health, mut now) = (health(), Instant::now());
        take_down(&health, now);
        for rest in [1, 2, 4, 8, 16, 30, 30] {
            assert!(health.permit(now + SECOND * rest - SECOND / 2).is_none(), "{rest}");
            now += SECOND * rest;
            let trial = health.permit(now).unwrap();
            assert!(health.permit(now).is_none());
            assert_eq!(trial.failed(met(1, 1, Reason::BackendConnect), now), None);
        }
        now += 30 * SECOND;
        let given_up = health.permit(now).unwrap();
        drop(given_up);
        assert_eq!(
            health.permit(Instant::now() + 600 * SECOND).unwrap().succeeded(now),
            Some(Turn::Up)
        );
        assert_eq!(health.word(now), "returning");
    }

    #[test]
    fn looks_that_fail_do_not_keep_a_login_from_trying() {
        let (health, now) = (health(), Instant::now());
        for _ in 0..3 {
            health.looked(false, now);
        }
        assert!(health.is_down());
        for second in 1..100 {
            health.looked(false, now + SECOND * second);
        }
        let trial = health.permit(now + 100 * SECOND).unwrap();
        assert_eq!(trial.succeeded(now + 100 * SECOND), Some(Turn::Up));
    }

    #[test]
    fn a_client_that_a_proxy_header_may_have_told_of_counts_as_known() {
        let (health, now) = (health(), Instant::now());
        for user in 0..10 {
            assert_eq!(fail(&health, met(1, user, Reason::BackendTls), now), None);
        }
    }

    #[test]
    fn who_returns_gets_its_logins_step_by_step() {
        let (health, now) = (health(), Instant::now());
        assert_eq!(health.share(100, now), 100);
        take_down(&health, now);
        assert_eq!(health.looked(true, now), Some(Turn::Up));
        assert_eq!(health.share(100, now), 10);
        assert_eq!(health.share(5, now), 1);
        assert_eq!(health.share(100, now + 15 * SECOND), 50);
        assert_eq!(health.share(100, now + 30 * SECOND), 100);
        assert_eq!(health.word(now + 31 * SECOND), "up");
    }

    #[test]
    fn several_looks_in_a_row_must_fail() {
        let (health, now) = (health(), Instant::now());
        assert_eq!(health.looked(false, now), None);
        assert_eq!(health.looked(false, now), None);
        assert_eq!(health.looked(true, now), None);
        assert_eq!(health.looked(false, now), None);
        assert_eq!(health.looked(false, now), None);
        assert_eq!(health.looked(false, now), Some(Turn::Down));
        assert_eq!(health.looked(true, now), Some(Turn::Up));
    }

    #[test]
    fn retries_are_a_tenth_of_the_logins_and_a_few_that_were_saved() {
        let budget = RetryBudget::new();
        assert_eq!((0..100).filter(|_| budget.spend()).count(), 10);
        let retried = (0..1000).filter(|_| {
            budget.earn();
            budget.spend()
        });
        assert_eq!(retried.count(), 100);
    }

    proptest! {
        #[test]
        fn nobody_enters_a_back_end_that_is_down_but_one_to_try_it(
            acts in proptest::collection::vec((0..4_u8, 0..4_u8, 0..4_u64, 0..3_u64), 0..200),
        ) {
            let health = health();
            let mut now = Instant::now();
            for (act, client, user, wait) in acts {
                now += SECOND * u32::try_from(wait).unwrap();
                let down = health.is_down();
                match act {
                    0 => drop(health.looked(user == 0, now)),
                    1 => if let Some(permit) = health.permit(now) {
                        prop_assert!(!down || health.permit(now).is_none());
                        permit.succeeded(now);
                        prop_assert!(!health.is_down());
                    },
                    _ => if let Some(permit) = health.permit(now) {
                        prop_assert!(!down || health.permit(now).is_none());
                        permit.failed(met(client, user, Reason::BackendLost), now);
                        prop_assert!(!down || health.is_down());
                    },
                }
                prop_assert!(health.share(10, now) >= 1);
            }
        }
    }
}
