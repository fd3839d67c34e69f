//! How often each client has come: a table of a fixed size, in which strangers can take places
//! only from those who have come least.
//!
//! Each entry is one time, that at which the client's bucket is empty again (the generic cell rate
//! algorithm). A place is found by a keyed hash, so nobody can choose whom to displace.

use std::{
    hash::{BuildHasher as _, Hash, RandomState},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{addresses::ClientNetwork, limits::RATE_CLIENTS_MAX};

/// Clients that meet in one place displace each other only when there are more of them.
const WAYS: usize = 8;
const SHARDS: usize = 64;
const SETS: usize = RATE_CLIENTS_MAX / WAYS / SHARDS;

/// How often clients have come.
pub(crate) struct RateTable {
    hasher: RandomState,
    started: Instant,
    /// Empty until its first entry.
    shards: [Mutex<Vec<[Entry; WAYS]>>; SHARDS],
}

#[derive(Clone, Copy, Default)]
struct Entry {
    key: u64,
    /// Nanoseconds since the table began. An entry of the past is as good as none.
    empty_at: u64,
}

/// What a client may do: a bucket that holds `depth` of time, of which each request takes
/// `interval`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    interval: u64,
    depth: u64,
}

impl Bucket {
    /// `requests` in every `seconds`, and `burst` at once. Each is at least one.
    pub(crate) fn new(requests: u32, seconds: u32, burst: u32) -> Self {
        let second = 1_000_000_000;
        let interval = u64::from(seconds.max(1)) * second / u64::from(requests.max(1));
        let interval = interval.max(1);
        Self { interval, depth: interval.saturating_mul(u64::from(burst.max(1))) }
    }
}

/// A client under a rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientKey(u64);

impl Default for RateTable {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            started: Instant::now(),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

impl RateTable {
    /// The key of a client under `rule`, whatever that is.
    pub(crate) fn key(&self, rule: impl Hash, client: IpAddr) -> ClientKey {
        ClientKey(self.hasher.hash_one((rule, ClientNetwork::of(client))))
    }

    /// Takes one request out of the client's bucket.
    ///
    /// # Errors
    ///
    /// How long it takes until there is one again.
    pub(crate) fn take(
        &self,
        key: ClientKey,
        bucket: Bucket,
        now: Instant,
    ) -> Result<(), Duration> {
        self.visit(key, bucket, now, true)
    }

    /// Whether [`Self::take`] would succeed.
    ///
    /// # Errors
    ///
    /// As there.
    pub(crate) fn look(
        &self,
        key: ClientKey,
        bucket: Bucket,
        now: Instant,
    ) -> Result<(), Duration> {
        self.visit(key, bucket, now, false)
    }

    fn visit(
        &self,
        ClientKey(key): ClientKey,
        bucket: Bucket,
        now: Instant,
        take: bool,
    ) -> Result<(), Duration> {
        let now = now.saturating_duration_since(self.started).as_nanos();
        // Enough for 584 years.
        let now = u64::try_from(now).unwrap_or(u64::MAX / 2);
        let mut shard = self.shard(key);
        let Some(entry) = place(&mut shard, key) else { return Ok(()) };
        let known = if entry.key == key { entry.empty_at } else { 0 };
        let empty_at = known.max(now).saturating_add(bucket.interval);
        let over = empty_at.saturating_sub(now).saturating_sub(bucket.depth);
        if over > 0 {
            return Err(Duration::from_nanos(over));
        }
        if take {
            *entry = Entry { key, empty_at };
        }
        Ok(())
    }

    #[allow(clippy::indexing_slicing, reason = "a remainder below SHARDS")]
    #[allow(clippy::cast_possible_truncation, reason = "a remainder below SHARDS")]
    fn shard(&self, key: u64) -> MutexGuard<'_, Vec<[Entry; WAYS]>> {
        let shard = &self.shards[(key >> 32) as usize % SHARDS];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if shard.is_empty() {
            *shard = vec![[Entry::default(); WAYS]; SETS];
        }
        shard
    }
}

/// The entry of `key`, or the one that it may have: that of the client who has come least.
fn place(sets: &mut [[Entry; WAYS]], key: u64) -> Option<&mut Entry> {
    #[allow(clippy::cast_possible_truncation, reason = "a remainder below SETS")]
    let set = sets.get_mut(key as usize % SETS)?;
    let own = set.iter().position(|entry| entry.key == key);
    match own {
        Some(own) => set.get_mut(own),
        None => set.iter_mut().min_by_key(|entry| entry.empty_at),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn client(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many of 100 requests at once are let through.
    fn burst(table: &RateTable, key: ClientKey, bucket: Bucket, now: Instant) -> usize {
        (0..100).filter(|_| table.take(key, bucket, now).is_ok()).count()
    }

    #[test]
    fn a_burst_is_let_through_and_then_what_the_time_gives() {
        let table = RateTable::default();
        let key = table.key("rule", client("192.0.2.1"));
        let bucket = Bucket::new(10, 1, 20);
        let mut now = Instant::now();
        assert_eq!(burst(&table, key, bucket, now), 20);
        let wait = table.take(key, bucket, now).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        now += wait;
        assert_eq!(burst(&table, key, bucket, now), 1);
        now += Duration::from_secs(1);
        assert_eq!(burst(&table, key, bucket, now), 10);
        now += Duration::from_secs(3600);
        assert_eq!(burst(&table, key, bucket, now), 20, "a bucket holds no more than its burst");
    }

    #[test]
    fn a_look_takes_nothing() {
        let table = RateTable::default();
        let key = table.key("rule", client("192.0.2.1"));
        let (bucket, now) = (Bucket::new(1, 1, 1), Instant::now());
        for _ in 0..10 {
            table.look(key, bucket, now).unwrap();
        }
        table.take(key, bucket, now).unwrap();
        assert!(table.look(key, bucket, now).is_err());
    }

    #[test]
    fn clients_and_rules_do_not_share_a_bucket_and_one_network_of_ipv6_does() {
        let table = RateTable::default();
        let (bucket, now) = (Bucket::new(1, 1, 1), Instant::now());
        let take = |rule: &str, who: &str| table.take(table.key(rule, client(who)), bucket, now);
        assert!(take("a", "192.0.2.1").is_ok());
        assert!(take("a", "192.0.2.2").is_ok());
        assert!(take("b", "192.0.2.1").is_ok());
        assert!(take("a", "192.0.2.1").is_err());
        assert!(take("a", "::ffff:192.0.2.1").is_err());
        assert!(take("a", "2001:db8:0:1::1").is_ok());
        assert!(take("a", "2001:db8:0:1:ffff::2").is_err());
        assert!(take("a", "2001:db8:0:2::1").is_ok());
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_memory_and_locks_nobody_out() {
        let table = RateTable::default();
        let bucket = Bucket::new(1, 1, 50);
        let now = Instant::now();
        let busy = table.key("rule", client("192.0.2.1"));
        assert_eq!(burst(&table, busy, bucket, now), 50);
        for number in 0..1_000_000_u128 {
            let address = IpAddr::V6(Ipv6Addr::from(number << 64));
            table.take(table.key("rule", address), bucket, now).unwrap();
        }
        let entries: usize = table.shards.iter().map(|one| one.lock().unwrap().len() * WAYS).sum();
        assert!(entries <= RATE_CLIENTS_MAX);
        assert_eq!(burst(&table, busy, bucket, now), 0, "who comes most is not forgotten");
        let newcomer = table.key("rule", client("192.0.2.2"));
        assert_eq!(burst(&table, newcomer, bucket, now), 50);
    }

    #[test]
    fn extreme_rules_are_rules() {
        let table = RateTable::default();
        let now = Instant::now();
        for (place, (requests, seconds, per_burst)) in
            [(0, 0, 0), (u32::MAX, 1, u32::MAX), (1, u32::MAX, u32::MAX), (u32::MAX, u32::MAX, 1)]
                .into_iter()
                .enumerate()
        {
            let key = table.key(place, client("192.0.2.1"));
            assert!(table.take(key, Bucket::new(requests, seconds, per_burst), now).is_ok());
        }
    }
}
