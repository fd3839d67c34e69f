//! Who may read, by name and password (RFC 7617).
//!
//! A password is verified on the blocking pool, a few at a time, for a hash is made to be slow.
//! Who was right is remembered for some minutes by a keyed digest of name, password and hash, and
//! answered without waiting.

use std::{fmt, net::IpAddr, path::Path, sync::Arc, time::Instant};

use aws_lc_rs::{hmac, rand::SystemRandom};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bindery_model::rules::BasicAuth;
use http::{HeaderMap, header::AUTHORIZATION};
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;
use tracing::error;

use super::{
    file::WatchedFile,
    htpasswd::{StoredHash, Users},
    rate::{Bucket, RateTable},
};
use crate::{
    blocking,
    http::{error::RequestError, user::User},
    limits::{
        HTPASSWD_BYTES_MAX, HTPASSWD_CHECKED_FOR, PASSWORD_REMEMBERED_FOR, PASSWORDS_AT_ONCE_MAX,
        PASSWORDS_REMEMBERED_MAX, PASSWORDS_WAITING_MAX, WRONG_PASSWORD_INTERVAL_SECONDS,
        WRONG_PASSWORDS_MAX,
    },
};

/// The guard of a route.
pub(crate) struct PasswordGuard {
    realm: String,
    file: Arc<WatchedFile<Users>>,
}

/// What the guard says at once.
pub(crate) enum Verdict {
    /// It is who it says.
    Known(User),
    /// It must be verified.
    Verify(Attempt),
    /// The answer.
    Refused(RequestError),
}

/// A name and a password that are to be verified.
pub(crate) struct Attempt {
    name: String,
    password: Vec<u8>,
}

/// No password stands in a log.
impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PasswordGuard {
    pub(crate) fn new(auth: &BasicAuth) -> Self {
        let (path, bytes_max) = (auth.file.clone(), HTPASSWD_BYTES_MAX);
        let file = WatchedFile::new(path, bytes_max, HTPASSWD_CHECKED_FOR, read);
        Self { realm: auth.realm.clone(), file: Arc::new(file) }
    }

    /// Whether two guards ask for the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.file.path == other.file.path && self.realm == other.realm
    }

    /// Looks at a request without waiting.
    pub(crate) fn look(
        &self,
        fields: &HeaderMap,
        path: &str,
        passwords: &Passwords,
        now: Instant,
    ) -> Verdict {
        let attempt = match credentials(fields) {
            Ok(attempt) => attempt,
            Err(reason) => return Verdict::Refused(self.refuse(path, reason)),
        };
        if let Some(Ok(users)) = self.file.recent(now)
            && let Some(hash) = users.find(attempt.name.as_bytes())
            && passwords.remembers(&self.digest(passwords, &attempt, hash), now)
        {
            return Verdict::Known(User(attempt.name));
        }
        Verdict::Verify(attempt)
    }

    /// Verifies a password.
    ///
    /// # Errors
    ///
    /// 401 when it is wrong, 429 when there were too many wrong ones, 500 when the file cannot be
    /// read.
    pub(crate) async fn verify(
        &self,
        attempt: Attempt,
        path: &str,
        gate: &Gate<'_>,
    ) -> Result<User, RequestError> {
        let users = self
            .file
            .read(gate.now)
            .await
            .map_err(|(source, _)| RequestError::File { path: self.file.path.clone(), source })?;
        let name = attempt.name.as_bytes();
        let (hash, exists) = match users.find(name) {
            Some(hash) => (hash, true),
            None => match users.decoy(name) {
                Some(hash) => (hash, false),
                None => return Err(self.refuse(path, "there is no such name")),
            },
        };
        let digest = self.digest(gate.passwords, &attempt, hash);
        let user = User(attempt.name.clone());
        if exists && gate.passwords.remembers(&digest, gate.now) {
            return Ok(user);
        }
        let wrong = Bucket::new(1, WRONG_PASSWORD_INTERVAL_SECONDS, WRONG_PASSWORDS_MAX);
        let key = gate.rates.key("wrong passwords", gate.client);
        gate.rates.look(key, wrong, gate.now).map_err(super::too_many)?;
        let right = gate.passwords.verify(Arc::clone(hash), attempt.password).await?;
        if right && exists {
            gate.passwords.remember(digest, gate.now);
            return Ok(user);
        }
        // Counted when it has shown to be wrong; those under way together are few.
        gate.rates.take(key, wrong, gate.now).ok();
        Err(self.refuse(path, if exists { "a wrong password" } else { "there is no such name" }))
    }

    fn refuse(&self, path: &str, reason: &'static str) -> RequestError {
        RequestError::Unauthorized { path: path.to_owned(), realm: self.realm.clone(), reason }
    }

    /// With the hash in it, a password that is changed in the file is not remembered.
    fn digest(&self, passwords: &Passwords, attempt: &Attempt, hash: &StoredHash) -> Digest {
        passwords.digest(&[
            self.file.path.as_os_str().as_encoded_bytes(),
            attempt.name.as_bytes(),
            hash.text().as_bytes(),
            &attempt.password,
        ])
    }
}

/// What verifying needs beside the guard.
pub(crate) struct Gate<'a> {
    pub(crate) passwords: &'a Passwords,
    pub(crate) rates: &'a RateTable,
    pub(crate) client: IpAddr,
    pub(crate) now: Instant,
}

/// The name and password of a request (RFC 7617, 2).
fn credentials(fields: &HeaderMap) -> Result<Attempt, &'static str> {
    let mut all = fields.get_all(AUTHORIZATION).iter();
    let field = match (all.next(), all.next()) {
        (Some(field), None) => field.as_bytes(),
        (None, _) => return Err("none is given"),
        (Some(_), Some(_)) => return Err("several are given"),
    };
    let scheme_end = field.iter().position(|byte| *byte == b' ').unwrap_or(field.len());
    let (scheme, rest) = field.split_at(scheme_end);
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return Err("the scheme is not Basic");
    }
    let malformed = "they are malformed";
    let decoded = STANDARD.decode(rest.trim_ascii()).map_err(|_| malformed)?;
    let colon = decoded.iter().position(|byte| *byte == b':').ok_or(malformed)?;
    let (name, password) = decoded.split_at(colon);
    let name = std::str::from_utf8(name).map_err(|_| malformed)?;
    let password = password.get(1..).unwrap_or_default();
    if decoded.iter().any(u8::is_ascii_control) {
        return Err(malformed);
    }
    Ok(Attempt { name: name.to_owned(), password: password.to_vec() })
}

type Digest = [u8; 32];

/// What a process knows of passwords: those that were right, and how many are looked at now.
pub(crate) struct Passwords {
    /// New with each process.
    key: hmac::Key,
    /// Until when.
    remembered: Cache<Digest, Instant>,
    waiting: Arc<Semaphore>,
    at_once: Arc<Semaphore>,
}

impl Passwords {
    /// `None` when the system gives no random bytes.
    pub(crate) fn new() -> Option<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok()?;
        Some(Self {
            key,
            remembered: Cache::new(PASSWORDS_REMEMBERED_MAX),
            waiting: Arc::new(Semaphore::new(PASSWORDS_WAITING_MAX + PASSWORDS_AT_ONCE_MAX)),
            at_once: Arc::new(Semaphore::new(PASSWORDS_AT_ONCE_MAX)),
        })
    }

    fn digest(&self, parts: &[&[u8]]) -> Digest {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let mut digest = Digest::default();
        let tag = context.sign();
        digest.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        digest
    }

    fn remembers(&self, digest: &Digest, now: Instant) -> bool {
        self.remembered.get(digest).is_some_and(|until| now < until)
    }

    fn remember(&self, digest: Digest, now: Instant) {
        self.remembered.insert(digest, now + PASSWORD_REMEMBERED_FOR);
    }

    async fn verify(&self, hash: Arc<StoredHash>, password: Vec<u8>) -> Result<bool, RequestError> {
        let busy = RequestError::TooManyRequests { retry_after_seconds: 1 };
        let Ok(_place) = Arc::clone(&self.waiting).try_acquire_owned() else { return Err(busy) };
        let Ok(turn) = Arc::clone(&self.at_once).acquire_owned().await else { return Err(busy) };
        let verified = blocking::run("verifying a password", move || {
            let right = hash.verify(&password);
            // Given back when the work is done, even where nobody waits for it any more.
            drop(turn);
            right
        });
        verified.await.map_err(|_| RequestError::Panicked)
    }
}

/// Reads the names, and says which lines are not used.
fn read(path: &Path, text: &[u8]) -> Users {
    let (users, unused) = Users::read(text);
    for line in unused {
        let (file, number, reason) = (path.display(), line.line, line.reason);
        error!(%file, line = number, reason, "a line of names and passwords is not used");
    }
    users
}

#[cfg(test)]
mod tests;
