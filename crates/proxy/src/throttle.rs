//! How often somebody may log in: by address, and by user from one address, each with a growing delay.
//!
//! What strangers do never keeps a user out: a name is counted for each address apart, and what all
//! addresses together got wrong only delays.

use std::{net::IpAddr, time::Duration, time::Instant};

use model::{CanonicalUser, Reason, network};
use parking_lot::Mutex;

use crate::{
    Limits,
    pace::{Queues, Rate, TooLong},
};

/// Seconds' worth of logins that may come at once before the rate counts.
const BURST_SECONDS: u32 = 20;
/// How many addresses' worth of failures a user may have: those who guess from many addresses are slowed down
/// too, and nobody can have so many from one.
const ADDRESSES: u32 = 10;

/// The queues of those who log in.
#[derive(Debug)]
pub(crate) struct Throttle {
    addresses: Option<Mutex<Queues<IpAddr>>>,
    /// Logins of a user from one address.
    users: Option<Mutex<Queues<(CanonicalUser, IpAddr)>>>,
    /// Failed logins of a user from everywhere.
    failures: Option<Mutex<Queues<CanonicalUser>>>,
    longest: Duration,
}

impl Throttle {
    pub(crate) fn new(limits: &Limits) -> Self {
        let rate = |per_second: u32| {
            let burst = per_second.saturating_mul(BURST_SECONDS);
            (per_second > 0).then(|| Rate::per_second(per_second, burst))
        };
        let longest = limits.longest_wait;
        Self {
            addresses: rate(limits.logins_per_address)
                .map(|rate| Mutex::new(Queues::new(rate, longest))),
            users: rate(limits.logins_per_user).map(|rate| Mutex::new(Queues::new(rate, longest))),
            failures: rate(limits.logins_per_user.saturating_mul(ADDRESSES))
                .map(|rate| Mutex::new(Queues::new(rate, longest))),
            longest,
        }
    }

    /// How long a login from this address has to wait.
    ///
    /// # Errors
    /// The reason for its refusal, where that would be too long.
    pub(crate) fn address(&self, client: IpAddr, now: Instant) -> Result<Duration, Reason> {
        let Some(queues) = &self.addresses else { return Ok(Duration::ZERO) };
        queues.lock().enter(network(client), now).map_err(|TooLong| Reason::LimitLogins)
    }

    /// How long a login by this user from this address has to wait.
    ///
    /// # Errors
    /// The reason for its refusal, where that would be too long.
    pub(crate) fn user(
        &self,
        user: &CanonicalUser,
        client: IpAddr,
        now: Instant,
    ) -> Result<Duration, Reason> {
        let (Some(queues), Some(failures)) = (&self.users, &self.failures) else {
            return Ok(Duration::ZERO);
        };
        let key = (user.clone(), network(client));
        let wait = queues.lock().enter(key, now).map_err(|TooLong| Reason::LimitLogins)?;
        Ok(wait.max(failures.lock().wait(user, now).min(self.longest)))
    }

    /// Counts a failed login.
    pub(crate) fn failed(&self, user: &CanonicalUser, now: Instant) {
        if let Some(failures) = &self.failures {
            // One too many does not count: then the user waits as long as may be.
            let _ = failures.lock().enter(user.clone(), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use model::UserName;

    use super::*;

    fn limits(logins_per_address: u32, logins_per_user: u32) -> Limits {
        let longest_wait = Duration::from_secs(2);
        let limits = Limits::with_connections(1);
        Limits { logins_per_address, logins_per_user, longest_wait, ..limits }
    }

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn user(name: &str) -> CanonicalUser {
        CanonicalUser::declare(UserName::new(name).unwrap())
    }

    #[test]
    fn a_user_who_logs_in_too_often_waits_and_then_is_refused_and_others_are_not() {
        let throttle = Throttle::new(&limits(0, 1));
        let now = Instant::now();
        let login = |name: &str| throttle.user(&user(name), HERE, now);
        let burst = (0..BURST_SECONDS).all(|_| login("anna") == Ok(Duration::ZERO));
        assert!(burst);
        assert_eq!(login("anna"), Ok(Duration::from_secs(1)));
        assert_eq!(login("anna"), Ok(Duration::from_secs(2)));
        assert_eq!(login("anna"), Err(Reason::LimitLogins));
        assert_eq!(login("ben"), Ok(Duration::ZERO));
    }

    #[test]
    fn a_stranger_who_guesses_keeps_himself_out_and_not_the_user() {
        let throttle = Throttle::new(&limits(0, 1));
        let now = Instant::now();
        let anna = user("anna");
        let stranger = IpAddr::from([192, 0, 2, 66]);
        while throttle.user(&anna, stranger, now).is_ok() {
            throttle.failed(&anna, now);
        }
        assert_eq!(throttle.user(&anna, HERE, now), Ok(Duration::ZERO));
    }

    #[test]
    fn guesses_from_many_addresses_are_slowed_down_and_the_user_is_delayed_and_never_refused() {
        let throttle = Throttle::new(&limits(0, 1));
        let now = Instant::now();
        let anna = user("anna");
        for guess in 0..10_000_u32 {
            let stranger = IpAddr::from(guess.to_be_bytes());
            assert!(throttle.user(&anna, stranger, now).is_ok());
            throttle.failed(&anna, now);
        }
        let wait = throttle.user(&anna, HERE, now).unwrap();
        assert!(Duration::ZERO < wait && wait <= limits(0, 1).longest_wait, "{wait:?}");
        // It is over as soon as they are gone.
        let later = now + 2 * limits(0, 1).longest_wait;
        assert_eq!(throttle.user(&anna, HERE, later), Ok(Duration::ZERO));
    }

    #[test]
    fn an_ipv6_network_shares_its_rate() {
        let throttle = Throttle::new(&limits(1, 0));
        let now = Instant::now();
        let login = |address: &str| throttle.address(address.parse().unwrap(), now);
        for _ in 0..BURST_SECONDS {
            assert_eq!(login("2001:db8:0:1::1"), Ok(Duration::ZERO));
        }
        assert!(login("2001:db8:0:1::2").unwrap() > Duration::ZERO);
        assert_eq!(login("2001:db8:0:2::1"), Ok(Duration::ZERO));
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        let throttle = Throttle::new(&limits(0, 0));
        let now = Instant::now();
        let waits = |_| throttle.user(&user("anna"), HERE, now) == Ok(Duration::ZERO);
        assert!((0..10_000).all(waits));
    }
}
