//! Tokens of those who ask on the loopback address: `tokens.json` in the state folder. The secret of
//! a token is shown once and kept nowhere; the file has its hash.

use std::{
    collections::HashMap,
    fmt, fs, io,
    net::IpAddr,
    os::unix::fs::{MetadataExt as _, lchown},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use argon2::{
    Argon2, PasswordHasher as _, PasswordVerifier as _, password_hash::phc::PasswordHash,
};
use aws_lc_rs::{
    digest::{SHA256, digest},
    rand,
};
use bindery_server::{blocking, clock};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::sleep};

use super::Role;
use crate::replace::{NotReplaced, Replacement};

/// Where tokens are, in the state folder.
const FILE: &str = "tokens.json";

/// More tokens are those of a script that makes one each time.
const TOKENS_MAX: usize = 1000;

/// Bytes of a secret: nobody guesses it, however fast they hash.
const SECRET_BYTES: usize = 32;

/// So long a token that was right is not hashed again. A hash takes some 20 ms, on purpose.
const VERIFIED_FOR: Duration = Duration::from_secs(60);

/// Where the kernel tells nothing of the file, a token that was taken back is found by then.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// So many wrong tokens of one address are looked at in [`FAILURES_WITHIN`].
const FAILURES_MAX: u32 = 10;

/// How long a wrong token counts.
const FAILURES_WITHIN: Duration = Duration::from_secs(60);

/// So many addresses that were wrong are remembered; a loopback interface has 16 million.
const ADDRESSES_MAX: usize = 1000;

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its name, which stands in the history.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it was made: seconds since 1970-01-01 UTC.
    pub created: u64,
    /// When it ends, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
}

impl Token {
    fn is_over(&self, now: u64) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }
}

/// A token as the file has it.
#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    #[serde(flatten)]
    token: Token,
    /// Argon2id, as a PHC string.
    hash: String,
}

impl Stored {
    fn let_in(&self) -> (Token, Pass) {
        (self.token.clone(), Pass(self.hash.as_str().into()))
    }
}

/// Why tokens cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The name is used already.
    #[error("there is a token {0} already; remove it first, or take another name")]
    Exists(String),
    /// No token has the name.
    #[error("there is no token {0}; `bindery token list` shows those that there are")]
    NotFound(String),
    /// The text is no name.
    #[error("{0:?} is no name of a token: write letters, digits, - and _, 64 of them at most")]
    Name(String),
    /// There are too many.
    #[error("there are {TOKENS_MAX} tokens already; remove some")]
    TooMany,
    /// The hash cannot be made.
    #[error("the token cannot be made: {0}")]
    Hash(String),
    /// The file cannot be read or written.
    #[error("{} cannot be used", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The tokens of a state folder.
#[derive(Clone, Debug)]
pub struct TokenFile {
    file: PathBuf,
}

impl TokenFile {
    /// Those of this state folder, which must be there.
    #[must_use]
    pub fn of(state_dir: &Path) -> Self {
        Self { file: state_dir.join(FILE) }
    }

    /// All tokens, by their names.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn list(&self) -> Result<Vec<Token>, TokenError> {
        Ok(self.read()?.into_iter().map(|stored| stored.token).collect())
    }

    /// Makes a token, and gives what its owner sends. That is shown to nobody again.
    ///
    /// # Errors
    ///
    /// When the name is taken or none, or the file cannot be written.
    pub fn add(
        &self,
        name: &str,
        role: Role,
        expires: Option<SystemTime>,
    ) -> Result<String, TokenError> {
        let _lock = self.lock()?;
        let mut all = self.with_room_for(name)?;
        let (mut secret, mut salt) = ([0; SECRET_BYTES], [0; 16]);
        let unspecified = |_| TokenError::Hash("there is no randomness".to_owned());
        rand::fill(&mut secret).map_err(unspecified)?;
        rand::fill(&mut salt).map_err(unspecified)?;
        let secret = hex(&secret);
        let hash: PasswordHash = Argon2::default()
            .hash_password_with_salt(secret.as_bytes(), &salt)
            .map_err(|error| TokenError::Hash(error.to_string()))?;
        let (created, expires) = (seconds(clock::now()), expires.map(seconds));
        let token = Token { name: name.to_owned(), role, created, expires };
        all.push(Stored { token, hash: hash.to_string() });
        all.sort_by(|one, other| one.token.name.cmp(&other.token.name));
        self.write(&all)?;
        Ok(format!("{name}.{secret}"))
    }

    /// Takes a token back: from now on it is wrong.
    ///
    /// # Errors
    ///
    /// When there is none of this name, or the file cannot be written.
    pub fn remove(&self, name: &str) -> Result<(), TokenError> {
        let _lock = self.lock()?;
        let mut all = self.read()?;
        let before = all.len();
        all.retain(|stored| stored.token.name != name);
        if all.len() == before {
            return Err(TokenError::NotFound(name.to_owned()));
        }
        self.write(&all)
    }

    /// That a token of this name could be made now.
    ///
    /// # Errors
    ///
    /// As [`Self::add`].
    pub fn can_add(&self, name: &str) -> Result<(), TokenError> {
        self.with_room_for(name).map(drop)
    }

    /// That there is a token of this name to be taken back.
    ///
    /// # Errors
    ///
    /// As [`Self::remove`].
    pub fn can_remove(&self, name: &str) -> Result<(), TokenError> {
        match self.read()?.iter().any(|stored| stored.token.name == name) {
            true => Ok(()),
            false => Err(TokenError::NotFound(name.to_owned())),
        }
    }

    /// The tokens there are, where one of this name can come to them.
    fn with_room_for(&self, name: &str) -> Result<Vec<Stored>, TokenError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !(1..=64).contains(&name.len()) || !name.bytes().all(fits) {
            return Err(TokenError::Name(name.to_owned()));
        }
        let all = self.read()?;
        if all.iter().any(|stored| stored.token.name == name) {
            return Err(TokenError::Exists(name.to_owned()));
        }
        match all.len() >= TOKENS_MAX {
            true => Err(TokenError::TooMany),
            false => Ok(all),
        }
    }

    fn io(&self, source: io::Error) -> TokenError {
        TokenError::Io { file: self.file.clone(), source }
    }

    fn read(&self) -> Result<Vec<Stored>, TokenError> {
        match fs::read(&self.file) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| self.io(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(self.io(error)),
        }
    }

    fn write(&self, all: &[Stored]) -> Result<(), TokenError> {
        let text = serde_json::to_vec_pretty(all).map_err(|error| self.io(error.into()))?;
        let written = Replacement::prepare(&self.file, &text).and_then(|new| {
            new.commit(None, || Ok(())).map_err(|error| match error {
                NotReplaced::Io(error) => error,
                NotReplaced::Edited => io::Error::other("it was edited"),
            })
        });
        written.and_then(|()| self.give_to_owner()).map_err(|error| self.io(error))
    }

    /// What root makes belongs to the user whose folder it is: the server reads it.
    fn give_to_owner(&self) -> io::Result<()> {
        let (folder, own) = (fs::metadata(self.folder())?, fs::metadata(&self.file)?);
        let (wanted, has) = ((folder.uid(), folder.gid()), (own.uid(), own.gid()));
        match wanted == has {
            true => Ok(()),
            false => lchown(&self.file, Some(wanted.0), Some(wanted.1)),
        }
    }

    fn folder(&self) -> &Path {
        self.file.parent().unwrap_or_else(|| Path::new("/"))
    }

    /// Who changes the file waits for who does so already.
    fn lock(&self) -> Result<fs::File, TokenError> {
        let locked = fs::File::open(self.folder()).and_then(|folder| {
            flock(&folder, FlockOperation::LockExclusive)?;
            Ok(folder)
        });
        locked.map_err(|error| self.io(error))
    }

    /// What tells whether the file is another one.
    fn stamp(&self) -> io::Result<Option<Stamp>> {
        match fs::metadata(&self.file) {
            Ok(found) => Ok(Some((found.ino(), found.ctime(), found.ctime_nsec(), found.size()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

type Stamp = (u64, i64, i64, u64);

/// Which token somebody was let in by: another one of its name is not the same.
#[derive(Clone)]
pub(crate) struct Pass(Arc<str>);

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nobody guesses a secret by its hash, and nobody has to see it either.
        f.write_str("Pass")
    }
}

/// Why a token does not help.
#[derive(Debug)]
pub(crate) enum Denied {
    /// It is none.
    Wrong,
    /// Its address had too many wrong ones.
    TooMany {
        /// Until it may try again.
        seconds: u64,
    },
    /// Nobody can tell.
    Unreadable(TokenError),
}

/// The tokens as a server knows them. Changes of the file are seen at the next request.
pub(crate) struct Tokens {
    file: TokenFile,
    state: Mutex<State>,
    /// Held while a hash is made: each takes 19 MiB, and one after the other is enough.
    hashing: Mutex<()>,
    /// Told when the file may be another one.
    touched: watch::Sender<()>,
    /// Who tells; there is one from the first who waits on.
    kernel: OnceLock<Option<RecommendedWatcher>>,
}

#[derive(Default)]
struct State {
    stamp: Option<Stamp>,
    all: Arc<Vec<Stored>>,
    /// What was right, by SHA-256: the name, and when that was found.
    verified: HashMap<[u8; 32], (String, Instant)>,
    /// Addresses that were wrong: how often, and since when.
    failures: HashMap<IpAddr, (u32, Instant)>,
}

impl Tokens {
    pub(crate) fn of(state_dir: &Path) -> Self {
        Self {
            file: TokenFile::of(state_dir),
            state: Mutex::default(),
            hashing: Mutex::default(),
            touched: watch::Sender::default(),
            kernel: OnceLock::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token that was sent from `address`. Blocks.
    pub(crate) fn verify(&self, sent: &str, address: IpAddr) -> Result<(Token, Pass), Denied> {
        self.verify_at(sent, address, (Instant::now(), seconds(clock::now())))
    }

    /// The token that somebody was let in by, as it is now: it may have been taken back since.
    /// Blocks.
    pub(crate) fn again(&self, Pass(hash): &Pass) -> Result<Token, Denied> {
        let all = self.all().map_err(Denied::Unreadable)?;
        let mut all = all.iter().filter(|stored| *stored.hash == **hash);
        let found = all.find(|stored| !stored.token.is_over(seconds(clock::now())));
        found.map(|stored| stored.token.clone()).ok_or(Denied::Wrong)
    }

    /// Waits until somebody who was let in by this token would not be any more.
    pub(crate) async fn taken_back(self: Arc<Self>, pass: Pass) {
        let mut touched = self.touched.subscribe();
        self.kernel.get_or_init(|| self.watch());
        loop {
            let (tokens, own) = (Arc::clone(&self), pass.clone());
            let found = blocking::run("a token", move || tokens.again(&own)).await;
            let Ok(Ok(token)) = found else { return };
            let left = token.expires.map(|end| end.saturating_sub(seconds(clock::now())));
            let wait = left.map_or(LOOK_INTERVAL, |left| {
                LOOK_INTERVAL.min(Duration::from_secs(left) + Duration::from_millis(1))
            });
            tokio::select! {
                _ = touched.changed() => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// Has the kernel tell of the file; where it does not, looks at it find out.
    fn watch(&self) -> Option<RecommendedWatcher> {
        let touched = self.touched.clone();
        let own = |path: &PathBuf| path.file_name().is_some_and(|name| name == FILE);
        let tell = move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access() && event.paths.iter().any(own)) {
                touched.send_replace(());
            }
        };
        let mut watcher = notify::recommended_watcher(tell).ok()?;
        watcher.watch(self.file.folder(), RecursiveMode::NonRecursive).ok()?;
        Some(watcher)
    }

    fn verify_at(
        &self,
        sent: &str,
        address: IpAddr,
        (moment, now): (Instant, u64),
    ) -> Result<(Token, Pass), Denied> {
        let all = self.all().map_err(Denied::Unreadable)?;
        let key = sha256(sent);
        if let Some(found) = self.state().known(&key, moment) {
            return if found.0.is_over(now) { Err(Denied::Wrong) } else { Ok(found) };
        }
        self.state().expect_few_failures(address, moment)?;
        let (name, secret) = sent.split_once('.').unwrap_or_default();
        let found = all.iter().find(|one| one.token.name == name && !one.token.is_over(now));
        let is_right = found.is_some_and(|stored| {
            let _one = self.hashing.lock().unwrap_or_else(PoisonError::into_inner);
            let hash = PasswordHash::new(&stored.hash);
            hash.is_ok_and(|hash| {
                Argon2::default().verify_password(secret.as_bytes(), &hash).is_ok()
            })
        });
        let mut state = self.state();
        match found.filter(|_| is_right) {
            Some(stored) => {
                state.verified.retain(|_, (_, at)| moment.duration_since(*at) < VERIFIED_FOR);
                state.verified.insert(key, (stored.token.name.clone(), moment));
                Ok(stored.let_in())
            }
            None => {
                state.failed(address, moment);
                Err(Denied::Wrong)
            }
        }
    }

    /// The tokens of the file as it is now.
    fn all(&self) -> Result<Arc<Vec<Stored>>, TokenError> {
        let stamp = self.file.stamp().map_err(|error| self.file.io(error))?;
        let mut state = self.state();
        if state.stamp != stamp {
            state.all = Arc::new(self.file.read()?);
            state.verified.clear();
            state.stamp = stamp;
        }
        Ok(Arc::clone(&state.all))
    }
}

impl State {
    fn known(&self, key: &[u8; 32], moment: Instant) -> Option<(Token, Pass)> {
        let (name, at) = self.verified.get(key)?;
        if moment.duration_since(*at) >= VERIFIED_FOR {
            return None;
        }
        self.all.iter().find(|stored| stored.token.name == *name).map(Stored::let_in)
    }

    fn expect_few_failures(&self, address: IpAddr, moment: Instant) -> Result<(), Denied> {
        match self.failures.get(&address) {
            Some((count, since)) if *count >= FAILURES_MAX => {
                let left = FAILURES_WITHIN.saturating_sub(moment.duration_since(*since));
                match left.is_zero() {
                    true => Ok(()),
                    false => Err(Denied::TooMany { seconds: left.as_secs() + 1 }),
                }
            }
            _ => Ok(()),
        }
    }

    fn failed(&mut self, address: IpAddr, moment: Instant) {
        let is_old = |since: &Instant| moment.duration_since(*since) >= FAILURES_WITHIN;
        if self.failures.len() >= ADDRESSES_MAX {
            self.failures.retain(|_, (_, since)| !is_old(since));
        }
        if self.failures.len() >= ADDRESSES_MAX {
            // Whoever has so many addresses gets no more tries by having another one.
            self.failures.clear();
        }
        let (count, since) = self.failures.entry(address).or_insert((0, moment));
        if is_old(since) {
            (*count, *since) = (0, moment);
        }
        *count += 1;
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn sha256(text: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn folder() -> (tempfile::TempDir, TokenFile, Tokens) {
        let folder = tempfile::tempdir().unwrap();
        let (file, tokens) = (TokenFile::of(folder.path()), Tokens::of(folder.path()));
        (folder, file, tokens)
    }

    #[test]
    fn a_token_is_what_it_was_made_as_until_it_is_taken_back() {
        let (folder, file, tokens) = folder();
        let sent = file.add("backup", Role::Read, None).unwrap();
        let (found, pass) = tokens.verify(&sent, LOOPBACK).unwrap();
        assert_eq!(tokens.again(&pass).unwrap(), found);
        assert_eq!((found.name.as_str(), found.role), ("backup", Role::Read));
        assert!(matches!(file.add("backup", Role::Admin, None), Err(TokenError::Exists(_))));
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(!text.contains(sent.split_once('.').unwrap().1), "the secret is kept nowhere");
        let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for wrong in ["", ".", "backup", "backup.", "other.00", &sent[..sent.len() - 1]] {
            let denied = tokens.verify(wrong, LOOPBACK).unwrap_err();
            assert!(matches!(denied, Denied::Wrong), "{wrong}");
        }
        file.remove("backup").unwrap();
        assert!(matches!(tokens.verify(&sent, LOOPBACK).unwrap_err(), Denied::Wrong));
        assert!(matches!(file.remove("backup"), Err(TokenError::NotFound(_))));
        assert_eq!(file.list().unwrap(), []);
        file.add("backup", Role::Read, None).unwrap();
        let denied = tokens.again(&pass).unwrap_err();
        assert!(matches!(denied, Denied::Wrong), "another one of its name is not the same");
    }

    #[test]
    fn a_token_ends_even_while_it_is_remembered() {
        let (_folder, file, tokens) = folder();
        let end = clock::now() + Duration::from_secs(100);
        let sent = file.add("short", Role::Admin, Some(end)).unwrap();
        let moment = Instant::now();
        tokens.verify_at(&sent, LOOPBACK, (moment, seconds(end) - 1)).unwrap();
        let denied = tokens.verify_at(&sent, LOOPBACK, (moment, seconds(end))).unwrap_err();
        assert!(matches!(denied, Denied::Wrong));
    }

    #[test]
    fn who_is_wrong_too_often_waits_and_who_was_right_does_not() {
        let (_folder, file, tokens) = folder();
        let sent = file.add("right", Role::Read, None).unwrap();
        let other = file.add("other", Role::Read, None).unwrap();
        let (begin, now) = (Instant::now(), seconds(clock::now()));
        tokens.verify_at(&sent, LOOPBACK, (begin, now)).unwrap();
        for _ in 0..FAILURES_MAX {
            let denied = tokens.verify_at("nobody.0", LOOPBACK, (begin, now)).unwrap_err();
            assert!(matches!(denied, Denied::Wrong));
        }
        let later = begin + Duration::from_secs(1);
        let denied = tokens.verify_at(&other, LOOPBACK, (later, now)).unwrap_err();
        assert!(matches!(denied, Denied::TooMany { seconds: 60 }), "{denied:?}");
        tokens.verify_at(&sent, LOOPBACK, (later, now)).unwrap();
        tokens.verify_at(&other, "127.0.0.2".parse().unwrap(), (later, now)).unwrap();
        let end = begin + FAILURES_WITHIN;
        let third = file.add("third", Role::Read, None).unwrap();
        tokens.verify_at(&third, LOOPBACK, (end, now)).unwrap();
    }

    #[test]
    fn a_name_can_stand_in_a_token_and_in_a_history() {
        let (_folder, file, _) = folder();
        for name in ["", "a b", "a.b", "ä", &"x".repeat(65)] {
            assert!(matches!(file.add(name, Role::Read, None), Err(TokenError::Name(_))), "{name}");
        }
    }
}
