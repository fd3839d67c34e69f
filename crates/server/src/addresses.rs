//! How many connections each client has: one address of IPv4, or the /64 of IPv6 that one customer
//! is given.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// So many tables, that cores seldom meet.
const SHARDS: usize = 16;

/// The clients that have connections. As many as there are connections, at most.
#[derive(Default)]
pub(crate) struct Addresses {
    shards: [Mutex<HashMap<ClientNetwork, u32>>; SHARDS],
    refused: AtomicU64,
}

/// What counts as one client, wherever clients are counted: an address of IPv4, or a network of 64
/// bits of IPv6, for that is what one customer has of it (RFC 6177).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClientNetwork(u64);

impl ClientNetwork {
    /// That of an address.
    pub(crate) fn of(address: IpAddr) -> Self {
        // IPv4 addresses are below all that IPv6 gives out.
        Self(match address.to_canonical() {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            IpAddr::V6(address) => u64::try_from(address.to_bits() >> 64).unwrap_or(0),
        })
    }
}

/// A connection that counts, until it is dropped.
pub(crate) struct Place<'a> {
    all: &'a Addresses,
    client: ClientNetwork,
}

impl Addresses {
    /// One connection more from `address`, unless it has `max` already.
    pub(crate) fn enter(&self, address: IpAddr, max: u32) -> Option<Place<'_>> {
        let client = ClientNetwork::of(address);
        let mut shard = self.shard(client);
        let count = shard.entry(client).or_default();
        if *count >= max {
            if *count == 0 {
                shard.remove(&client);
            }
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *count += 1;
        Some(Place { all: self, client })
    }

    /// Connections that were one too many.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn shard(&self, client: ClientNetwork) -> MutexGuard<'_, HashMap<ClientNetwork, u32>> {
        // Neighbours differ in their last bits, in either family.
        let folded = client.0 ^ (client.0 >> 32);
        let at = usize::try_from(folded % SHARDS as u64).unwrap_or(0);
        #[allow(clippy::indexing_slicing, reason = "a remainder below SHARDS")]
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.all.shard(self.client).entry(self.client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn enters<'a>(all: &'a Addresses, address: &str, may: bool) -> Option<Place<'a>> {
        let place = all.enter(address.parse().unwrap(), 2);
        assert_eq!(place.is_some(), may, "{address}");
        place
    }

    #[test]
    fn one_client_has_so_many_connections_and_no_more() {
        let all = Addresses::default();
        let one = enters(&all, "192.0.2.1", true);
        let two = enters(&all, "::ffff:192.0.2.1", true);
        enters(&all, "192.0.2.1", false);
        let other = enters(&all, "192.0.2.2", true);
        drop(one);
        let again = enters(&all, "192.0.2.1", true);
        enters(&all, "192.0.2.1", false);
        assert_eq!(all.refused(), 2);
        drop((two, other, again));
        assert!(all.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let all = Addresses::default();
        let _one = enters(&all, "2001:db8:0:1::1", true);
        let _two = enters(&all, "2001:db8:0:1:ffff::2", true);
        enters(&all, "2001:db8:0:1::3", false);
        enters(&all, "2001:db8:0:2::3", true);
    }
}
