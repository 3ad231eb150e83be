//! How often somebody may log in: by address and by user, each with a growing delay.

use std::{net::IpAddr, time::Duration, time::Instant};

use model::{CanonicalUser, Reason};
use parking_lot::Mutex;

use crate::{
    Limits,
    limits::network,
    pace::{Queues, Rate, TooLong},
};

/// Seconds' worth of logins that may come at once before the rate counts.
const BURST_SECONDS: u32 = 20;

/// The queues of those who log in.
#[derive(Debug)]
pub(crate) struct Throttle {
    addresses: Option<Mutex<Queues<IpAddr>>>,
    users: Option<Mutex<Queues<CanonicalUser>>>,
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

    /// How long a login by this user has to wait.
    ///
    /// # Errors
    /// The reason for its refusal, where that would be too long.
    pub(crate) fn user(&self, user: &CanonicalUser, now: Instant) -> Result<Duration, Reason> {
        let Some(queues) = &self.users else { return Ok(Duration::ZERO) };
        queues.lock().enter(user.clone(), now).map_err(|TooLong| Reason::LimitLogins)
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

    fn user(name: &str) -> CanonicalUser {
        CanonicalUser::declare(UserName::new(name).unwrap())
    }

    #[test]
    fn a_user_who_logs_in_too_often_waits_and_then_is_refused_and_others_are_not() {
        let throttle = Throttle::new(&limits(0, 1));
        let now = Instant::now();
        let login = |name: &str| throttle.user(&user(name), now);
        let burst = (0..BURST_SECONDS).all(|_| login("anna") == Ok(Duration::ZERO));
        assert!(burst);
        assert_eq!(login("anna"), Ok(Duration::from_secs(1)));
        assert_eq!(login("anna"), Ok(Duration::from_secs(2)));
        assert_eq!(login("anna"), Err(Reason::LimitLogins));
        assert_eq!(login("ben"), Ok(Duration::ZERO));
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
        assert!((0..10_000).all(|_| throttle.user(&user("anna"), now) == Ok(Duration::ZERO)));
    }
}
