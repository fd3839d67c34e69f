//! A file of names and hashes of passwords, as htpasswd writes it: read, and asked.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
};

use argon2::{Argon2, Params, PasswordVerifier as _, password_hash::phc::PasswordHash};
use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{SHA1_FOR_LEGACY_USE_ONLY, digest},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bcrypt::HashParts;

use super::apr1;
use crate::limits::{ARGON2_KIB_MAX, ARGON2_WORK_KIB_MAX, BCRYPT_COST_MAX};

/// The names of a file and their hashes.
pub(crate) struct Users {
    by_name: HashMap<Box<[u8]>, Arc<StoredHash>>,
    /// The same hashes, for names that are not there.
    all: Vec<Arc<StoredHash>>,
    decoys: RandomState,
}

/// A line that is not used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnusedLine {
    /// Its number, from 1.
    pub(crate) line: usize,
    pub(crate) reason: &'static str,
}

/// The hash of a password.
pub(crate) struct StoredHash {
    /// As the file has it.
    text: Box<str>,
    kind: Kind,
}

/// No hash stands in a log.
impl fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredHash")
    }
}

enum Kind {
    Argon2(Box<PasswordHash>),
    Bcrypt,
    Apr1 { salt: Box<str>, digits: Box<str> },
    Sha1([u8; 20]),
}

impl Users {
    /// Reads a file. A line that cannot be used lets nobody in and does not keep others from it.
    pub(crate) fn read(text: &[u8]) -> (Self, Vec<UnusedLine>) {
        let mut by_name = HashMap::new();
        let mut unused = Vec::new();
        for (place, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii_end();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let mut refuse = |reason| unused.push(UnusedLine { line: place + 1, reason });
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                refuse("it is not name:hash");
                continue;
            };
            let (name, hash) = line.split_at(colon);
            let hash = hash.get(1..).and_then(|hash| std::str::from_utf8(hash).ok());
            match StoredHash::new(hash.unwrap_or_default()) {
                // The first of a name holds, as in Apache.
                Ok(_) if by_name.contains_key(name) => refuse("the name has a line before it"),
                Ok(hash) => {
                    by_name.insert(name.into(), Arc::new(hash));
                }
                Err(reason) => refuse(reason),
            }
        }
        let all = by_name.values().cloned().collect();
        (Self { by_name, all, decoys: RandomState::new() }, unused)
    }

    /// The hash of a name.
    pub(crate) fn find(&self, name: &[u8]) -> Option<&Arc<StoredHash>> {
        self.by_name.get(name)
    }

    /// The hash of somebody, for a name that is not there: it takes as long to find out that it is
    /// not the right one, always the same for the same name. Otherwise the time would tell which
    /// names there are.
    #[allow(clippy::cast_possible_truncation, reason = "a remainder of the length")]
    pub(crate) fn decoy(&self, name: &[u8]) -> Option<&Arc<StoredHash>> {
        let place = self.decoys.hash_one(name).checked_rem(self.all.len() as u64)?;
        self.all.get(place as usize)
    }
}

impl StoredHash {
    fn new(text: &str) -> Result<Self, &'static str> {
        let kind = if text.starts_with("$argon2id$") {
            argon2(text)?
        } else if ["$2y$", "$2b$", "$2a$"].iter().any(|begin| text.starts_with(begin)) {
            let parts: HashParts = text.parse().map_err(|_| "it is no hash of bcrypt")?;
            if parts.get_cost() > BCRYPT_COST_MAX {
                return Err("the hash costs too much");
            }
            Kind::Bcrypt
        } else if let Some(rest) = text.strip_prefix("$apr1$") {
            let (salt, digits) = rest.split_once('$').ok_or("it is no hash of apr1")?;
            if salt.len() > 8 || digits.len() != 22 {
                return Err("it is no hash of apr1");
            }
            Kind::Apr1 { salt: salt.into(), digits: digits.into() }
        } else if let Some(rest) = text.strip_prefix("{SHA}") {
            let digest = STANDARD.decode(rest).ok().and_then(|digest| digest.try_into().ok());
            Kind::Sha1(digest.ok_or("it is no hash of SHA-1")?)
        } else {
            return Err("the hash is not argon2id, bcrypt, apr1 or {SHA}");
        };
        Ok(Self { text: text.into(), kind })
    }

    /// As the file has it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether this is the password. Takes its time, on a thread where that may be.
    pub(crate) fn verify(&self, password: &[u8]) -> bool {
        let equal = |one: &[u8], two: &[u8]| verify_slices_are_equal(one, two).is_ok();
        match &self.kind {
            Kind::Argon2(hash) => Argon2::default().verify_password(password, &**hash).is_ok(),
            Kind::Bcrypt => bcrypt::verify(password, &self.text).unwrap_or(false),
            Kind::Apr1 { salt, digits } => {
                equal(apr1::hash(password, salt.as_bytes()).as_bytes(), digits.as_bytes())
            }
            Kind::Sha1(own) => equal(digest(&SHA1_FOR_LEGACY_USE_ONLY, password).as_ref(), own),
        }
    }
}

fn argon2(text: &str) -> Result<Kind, &'static str> {
    let no_hash = "it is no hash of argon2";
    let hash = PasswordHash::new(text).map_err(|_| no_hash)?;
    let params = Params::try_from(&hash).map_err(|_| no_hash)?;
    if hash.hash.is_none() || hash.salt.is_none() {
        return Err(no_hash);
    }
    let work = params.m_cost().saturating_mul(params.t_cost());
    if params.m_cost() > ARGON2_KIB_MAX || work > ARGON2_WORK_KIB_MAX {
        return Err("the hash costs too much");
    }
    Ok(Kind::Argon2(Box::new(hash)))
}

#[cfg(test)]
mod tests {
    use bindery_testkit::programs::run;
    use proptest::prelude::*;

    use super::*;

    // The password of each is "secret"; argon2 and bcrypt with the least that they can cost.
    const FILE: &str = "# staff\n\
        \n\
        sha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\r\n\
        plain:secret\n\
        no colon\n\
        crypt:rqXexS6ZhobKA\n\
        sha:{SHA}AAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\
        short:{SHA}5en6\n\
        empty:\n\
        dear:$2y$31$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyzabcde\n\
        large:$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA\n\
        long:$argon2id$v=19$m=65536,t=1000,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA\n\
        cut:$argon2id$v=19$m=8,t=1,p=1\n\
        other:$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA\n\
        apr:$apr1$saltsalt$short\n\
        x:$2x$04$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyzabcde\n";

    #[test]
    fn lines_that_cannot_be_used_are_named_and_let_nobody_in() {
        let (users, unused) = Users::read(FILE.as_bytes());
        let lines: Vec<_> = unused.iter().map(|unused| unused.line).collect();
        assert_eq!(lines, (4..=16).collect::<Vec<_>>());
        assert_eq!(users.by_name.len(), 1);
        assert!(users.find(b"sha").unwrap().verify(b"secret"));
        assert!(!users.find(b"sha").unwrap().verify(b"Secret"));
        assert!(users.find(b"plain").is_none());
        let reason = |line| unused.iter().find(|unused| unused.line == line).unwrap().reason;
        assert_eq!(reason(4), "the hash is not argon2id, bcrypt, apr1 or {SHA}");
        assert_eq!(reason(10), "the hash costs too much");
        assert_eq!(reason(12), "the hash costs too much");
    }

    #[tokio::test]
    async fn what_htpasswd_writes_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("htpasswd");
        std::fs::write(&file, "").unwrap();
        let passwords = ["secret", "", "pass word: with §", &"long ".repeat(14)];
        let options = [("bcrypt", &["-bB", "-C", "4"][..]), ("apr1", &["-bm"]), ("sha1", &["-bs"])];
        for (kind, options) in options {
            for (place, password) in passwords.iter().enumerate() {
                let name = format!("{kind}{place}");
                let operands = [file.to_str().unwrap(), &name, *password];
                let Some(said) = run("htpasswd", &[options, &operands].concat(), "").await else {
                    return;
                };
                assert!(said.ok(), "{said:?}");
            }
        }
        let (users, unused) = Users::read(&std::fs::read(&file).unwrap());
        assert_eq!(unused, []);
        for name in ["bcrypt", "apr1", "sha1"] {
            for (place, password) in passwords.iter().enumerate() {
                let hash = users.find(format!("{name}{place}").as_bytes()).unwrap();
                assert!(hash.verify(password.as_bytes()), "{name} {password}");
                assert!(!hash.verify(format!("{password}x").as_bytes()), "{name} {password}");
                assert!(!hash.verify(b"other"), "{name}");
            }
        }
    }

    #[test]
    fn what_argon2_writes_is_read() {
        // By `echo -n secret | argon2 saltsalt -id -t 1 -k 64 -p 1 -l 16 -e`.
        use argon2::{Algorithm, PasswordHasher as _, Version};
        let params = Params::new(64, 1, 1, Some(16)).unwrap();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash: PasswordHash = argon2.hash_password_with_salt(b"secret", b"saltsalt").unwrap();
        let (users, unused) = Users::read(format!("a:{hash}\n").as_bytes());
        assert_eq!(unused, []);
        assert!(users.find(b"a").unwrap().verify(b"secret"));
        assert!(!users.find(b"a").unwrap().verify(b"secre"));
    }

    #[test]
    fn a_name_that_is_not_there_has_always_the_same_decoy() {
        let (users, _) = Users::read(FILE.as_bytes());
        assert!(Arc::ptr_eq(users.decoy(b"nobody").unwrap(), users.decoy(b"nobody").unwrap()));
        assert!(Users::read(b"").0.decoy(b"nobody").is_none());
    }

    #[test]
    fn no_hash_is_printed() {
        let (users, _) = Users::read(FILE.as_bytes());
        assert!(!format!("{:?}", users.find(b"sha").unwrap()).contains("5en6"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_no_line_is_lost(
            lines in proptest::collection::vec(
                "([a-c]{1,2}:)?(\\$(argon2id|2y|apr1)\\$|\\{SHA\\})?[ -~]{0,40}", 0..8),
        ) {
            let (users, unused) = Users::read(lines.join("\n").as_bytes());
            let ignored = |line: &&String| {
                let line = line.trim_ascii_end();
                line.is_empty() || line.starts_with('#')
            };
            let ignored = lines.iter().filter(ignored).count();
            prop_assert_eq!(users.by_name.len() + unused.len() + ignored, lines.len());
        }

        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            Users::read(&bytes);
        }
    }
}
