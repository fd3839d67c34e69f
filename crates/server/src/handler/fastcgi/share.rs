//! How much content without a length may be gathered at once: by one client, so that it does not
//! take the room of others, and by all of them, so that it does not fill the disk.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    addresses::ClientNetwork,
    http::error::{RequestError, Whose},
    limits::{FASTCGI_GATHERED_BYTES_MAX, FASTCGI_GATHERED_BYTES_PER_CLIENT_MAX},
};

/// What is gathered now. One lock for all, held for a few instructions and by uploads without a
/// length alone.
#[derive(Debug, Default)]
pub(super) struct Gathered(Mutex<Bytes>);

#[derive(Debug, Default)]
struct Bytes {
    all: u64,
    /// Of clients that have any.
    clients: HashMap<ClientNetwork, u64>,
}

impl Gathered {
    /// The share of a request of a client, with nothing in it.
    pub(super) fn share(self: &Arc<Self>, client: IpAddr) -> Share {
        Share { all: Arc::clone(self), client: ClientNetwork::of(client), bytes: 0 }
    }

    fn bytes(&self) -> MutexGuard<'_, Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one request has gathered, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    all: Arc<Gathered>,
    client: ClientNetwork,
    bytes: u64,
}

impl Share {
    /// What is in it.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// So many bytes more, or none of them.
    ///
    /// # Errors
    ///
    /// `LengthRequired` when that is more than the client may ever have, and `NoRoom` when other
    /// requests take the room.
    pub(super) fn grow(&mut self, more: u64) -> Result<(), RequestError> {
        let wanted = self.bytes.saturating_add(more);
        if wanted > FASTCGI_GATHERED_BYTES_PER_CLIENT_MAX {
            return Err(RequestError::LengthRequired);
        }
        let mut gathered = self.all.bytes();
        let own = gathered.clients.get(&self.client).copied().unwrap_or_default();
        let others_own = own.saturating_sub(self.bytes);
        let others = gathered.all.saturating_sub(self.bytes);
        if wanted + others_own > FASTCGI_GATHERED_BYTES_PER_CLIENT_MAX {
            return Err(RequestError::NoRoom { whose: Whose::Client, bytes: others_own });
        }
        if wanted + others > FASTCGI_GATHERED_BYTES_MAX {
            return Err(RequestError::NoRoom { whose: Whose::All, bytes: others });
        }
        if more > 0 {
            gathered.all += more;
            gathered.clients.insert(self.client, own + more);
            self.bytes = wanted;
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut gathered = self.all.bytes();
        gathered.all = gathered.all.saturating_sub(self.bytes);
        if let Entry::Occupied(mut own) = gathered.clients.entry(self.client) {
            *own.get_mut() = own.get().saturating_sub(self.bytes);
            if *own.get() == 0 {
                own.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u64 = FASTCGI_GATHERED_BYTES_PER_CLIENT_MAX;

    fn share(all: &Arc<Gathered>, client: &str) -> Share {
        all.share(client.parse().unwrap())
    }

    #[track_caller]
    fn refused(share: &mut Share, more: u64, expected: &str) {
        let before = share.bytes();
        let error = share.grow(more).unwrap_err();
        let found = match error {
            RequestError::LengthRequired => "its own",
            RequestError::NoRoom { whose: Whose::Client, .. } => "the client's",
            RequestError::NoRoom { whose: Whose::All, .. } => "all",
            other => panic!("{other}"),
        };
        assert_eq!((found, share.bytes()), (expected, before), "{error}");
    }

    #[test]
    fn a_client_has_its_part_and_leaves_the_others_theirs() {
        let all = Arc::default();
        let (mut one, mut two) = (share(&all, "192.0.2.1"), share(&all, "::ffff:192.0.2.1"));
        one.grow(MOST - 10).unwrap();
        two.grow(10).unwrap();
        refused(&mut two, 1, "the client's");
        refused(&mut one, 1, "the client's");
        refused(&mut one, 11, "its own");
        refused(&mut two, u64::MAX, "its own");
        let mut other = share(&all, "192.0.2.2");
        other.grow(MOST).unwrap();
        refused(&mut other, 1, "its own");
        drop(one);
        two.grow(MOST - 10).unwrap();
        drop((two, other));
        let left = all.bytes();
        assert!(left.all == 0 && left.clients.is_empty(), "{left:?}");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let all = Arc::default();
        let mut one = share(&all, "2001:db8:0:1::1");
        one.grow(MOST).unwrap();
        refused(&mut share(&all, "2001:db8:0:1:ffff::2"), 1, "the client's");
        share(&all, "2001:db8:0:2::1").grow(MOST).unwrap();
    }

    #[test]
    fn all_clients_together_have_a_bound_too() {
        let all = Arc::default();
        let clients = FASTCGI_GATHERED_BYTES_MAX / MOST;
        let mut shares: Vec<_> =
            (0..clients).map(|number| share(&all, &format!("192.0.2.{number}"))).collect();
        for share in &mut shares {
            share.grow(MOST).unwrap();
        }
        let mut late = share(&all, "198.51.100.1");
        refused(&mut late, 1, "all");
        shares.pop();
        late.grow(MOST).unwrap();
    }
}
