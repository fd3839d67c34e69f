//! Keys for session tickets (RFC 5077, RFC 8446 section 4.6.1): a ring of two, which outlives
//! changes of the configuration. A ticket is bound to the binding that made it.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand,
};
use rustls::server::ProducesTickets;

use crate::limits::TICKET_BYTES_MAX;

/// How long a key makes tickets. After that it only opens them, for as long again.
pub const ROTATION_PERIOD: Duration = Duration::from_secs(6 * 60 * 60);

/// What clients are told of how long to keep a ticket, in seconds: the longest one can be of use.
const LIFETIME_SECONDS: u32 = 12 * 60 * 60;

const KEY_NAME_LEN: usize = 16;
const KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;

/// The system gives no random bytes, so there are no keys for tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes for ticket keys")]
pub struct NoRandomBytes;

/// The key that makes tickets and the one before it. Lives as long as the process.
pub struct TicketKeys {
    ring: RwLock<Arc<Ring>>,
}

struct Ring {
    current: Arc<Key>,
    previous: Option<Arc<Key>>,
    /// When `current` began to make tickets.
    since: SystemTime,
}

struct Key {
    name: [u8; KEY_NAME_LEN],
    aead: LessSafeKey,
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys").finish_non_exhaustive()
    }
}

impl TicketKeys {
    /// A ring with one new key.
    ///
    /// # Errors
    ///
    /// When the system gives no random bytes.
    pub fn new(now: SystemTime) -> Result<Self, NoRandomBytes> {
        let ring = Ring { current: Arc::new(Key::new()?), previous: None, since: now };
        Ok(Self { ring: RwLock::new(Arc::new(ring)) })
    }

    /// Begins a new key when the current one has made tickets for [`ROTATION_PERIOD`]. Call it
    /// every minute or so. True when there is a new key.
    ///
    /// # Errors
    ///
    /// When the system gives no random bytes. The old keys stay in use.
    pub fn rotate_if_due(&self, now: SystemTime) -> Result<bool, NoRandomBytes> {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        let age = match now.duration_since(ring.since) {
            Ok(age) => age,
            // The clock was set back: the age is unknown, and a new key is always right.
            Err(_) => ROTATION_PERIOD,
        };
        if age < ROTATION_PERIOD {
            return Ok(false);
        }
        // After a sleep of the machine even the youngest ticket may be older than clients were told.
        let previous = (age < 2 * ROTATION_PERIOD).then(|| Arc::clone(&ring.current));
        *ring = Arc::new(Ring { current: Arc::new(Key::new()?), previous, since: now });
        Ok(true)
    }

    fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Key {
    fn new() -> Result<Self, NoRandomBytes> {
        let mut name = [0; KEY_NAME_LEN];
        let mut secret = [0; KEY_LEN];
        rand::fill(&mut name).map_err(|_| NoRandomBytes)?;
        rand::fill(&mut secret).map_err(|_| NoRandomBytes)?;
        let key = UnboundKey::new(&AES_256_GCM, &secret).map_err(|_| NoRandomBytes)?;
        Ok(Self { name, aead: LessSafeKey::new(key) })
    }

    /// Name, nonce, ciphertext, tag. Nonces are random: at the rate of the fastest handshakes one
    /// key makes far fewer than the 2^32 tickets for which that is safe (NIST SP 800-38D, 8.3).
    fn seal(&self, plain: &[u8], binding: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let ticket_len = KEY_NAME_LEN + NONCE_LEN + plain.len() + TAG_LEN;
        if ticket_len > TICKET_BYTES_MAX {
            return None;
        }
        let mut ticket = Vec::with_capacity(ticket_len);
        ticket.extend_from_slice(&self.name);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(plain);
        let (_, text) = ticket.split_at_mut_checked(KEY_NAME_LEN + NONCE_LEN)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.aead.seal_in_place_separate_tag(nonce, Aad::from(binding), text).ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn open(&self, nonce: [u8; NONCE_LEN], sealed: &[u8], binding: &[u8]) -> Option<Vec<u8>> {
        let mut text = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let plain_len = self.aead.open_in_place(nonce, Aad::from(binding), &mut text).ok()?.len();
        text.truncate(plain_len);
        Some(text)
    }
}

/// The tickets of one binding. A ticket made by one binding is opened by no other, whatever names
/// the two answer for: rustls compares the name alone. Making one costs two counted references.
///
/// Bindings that ask for client certificates get none: a resumed handshake does not verify.
pub struct BoundTickets {
    keys: Arc<TicketKeys>,
    binding: Arc<[u8]>,
}

impl BoundTickets {
    /// Tickets of the binding with this identity: bytes that no other binding has. A binding that
    /// comes to ask for client certificates needs no other identity: it gets no tickets at all.
    #[must_use]
    pub fn new(keys: Arc<TicketKeys>, binding: Arc<[u8]>) -> Self {
        Self { keys, binding }
    }
}

impl fmt::Debug for BoundTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundTickets").finish_non_exhaustive()
    }
}

impl ProducesTickets for BoundTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME_SECONDS
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys.ring().current.seal(plain, &self.binding)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let (name, rest) = ticket.split_first_chunk::<KEY_NAME_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let ring = self.keys.ring();
        // The name is no secret, so comparing it may take any time.
        let key = [Some(&ring.current), ring.previous.as_ref()];
        let key = key.into_iter().flatten().find(|key| key.name == *name)?;
        key.open(*nonce, sealed, &self.binding)
    }
}

#[cfg(test)]
mod tests;
