use std::{cell::Cell, fs, time::Duration};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// `secret` under the cheapest hash.
const SECRET: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

struct Case {
    folder: TempDir,
    guard: PasswordGuard,
    passwords: Passwords,
    rates: RateTable,
    now: Instant,
}

impl Case {
    fn new(file: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("htpasswd");
        fs::write(&path, file).unwrap();
        let guard = PasswordGuard::new(&BasicAuth { file: path, realm: "staff".to_owned() });
        let (passwords, rates) = (Passwords::new().unwrap(), RateTable::default());
        Self { folder, guard, passwords, rates, now: Instant::now() }
    }

    fn write(&self, file: &str) {
        fs::write(self.folder.path().join("htpasswd"), file).unwrap();
    }

    fn look(&self, name: &str, password: &str) -> Verdict {
        let fields =
            authorization(&format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))));
        self.guard.look(&fields, "/path", &self.passwords, self.now)
    }

    /// What comes out for a name and a password in the end.
    async fn ask(&self, name: &str, password: &str) -> Result<String, RequestError> {
        let attempt = match self.look(name, password) {
            Verdict::Known(User(name)) => return Ok(name),
            Verdict::Refused(error) => return Err(error),
            Verdict::Verify(attempt) => attempt,
        };
        let gate = Gate {
            passwords: &self.passwords,
            rates: &self.rates,
            client: "192.0.2.1".parse().unwrap(),
            now: self.now,
        };
        self.guard.verify(attempt, "/path", &gate).await.map(|User(name)| name)
    }

    async fn status(&self, name: &str, password: &str) -> u16 {
        match self.ask(name, password).await {
            Ok(_) => 200,
            Err(error) => error.status().as_u16(),
        }
    }
}

fn authorization(value: &str) -> HeaderMap {
    let mut fields = HeaderMap::new();
    fields.insert(AUTHORIZATION, value.parse().unwrap());
    fields
}

#[tokio::test]
async fn only_who_has_the_password_is_let_in() {
    let case = Case::new(&format!("ann:{SECRET}\nplain:secret\n"));
    assert_eq!(case.ask("ann", "secret").await.unwrap(), "ann");
    for (name, password) in [
        ("ann", "wrong"),
        ("ann", ""),
        ("Ann", "secret"),
        ("bob", "secret"),
        ("", "secret"),
        ("plain", "secret"),
        ("ann", SECRET),
    ] {
        assert_eq!(case.status(name, password).await, 401, "{name}:{password}");
    }
    match case.ask("ann", "wrong").await {
        Err(error @ RequestError::Unauthorized { .. }) => {
            let text = format!("{error} {error:?}");
            assert!(text.contains("staff") && text.contains("/path"), "{text}");
            assert!(!text.contains("wrong\"") && !text.contains("5en6"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_was_right_is_answered_at_once_for_a_while_and_who_was_wrong_never() {
    let mut case = Case::new(&format!("ann:{SECRET}\n"));
    assert!(matches!(case.look("ann", "secret"), Verdict::Verify(_)));
    case.ask("ann", "secret").await.unwrap();
    assert!(matches!(case.look("ann", "secret"), Verdict::Known(_)));
    assert!(matches!(case.look("ann", "wrong"), Verdict::Verify(_)));
    assert_eq!(case.status("ann", "wrong").await, 401);
    assert!(matches!(case.look("ann", "wrong"), Verdict::Verify(_)));
    // The file is looked at again, and the password need not be verified.
    case.now += HTPASSWD_CHECKED_FOR;
    assert!(matches!(case.look("ann", "secret"), Verdict::Verify(_)));
    case.ask("ann", "secret").await.unwrap();
    assert!(matches!(case.look("ann", "secret"), Verdict::Known(_)));
    case.now += PASSWORD_REMEMBERED_FOR;
    assert!(!case.passwords.remembers(
        &case.guard.digest(
            &case.passwords,
            &Attempt { name: "ann".to_owned(), password: b"secret".to_vec() },
            case.guard.file.read(case.now).await.unwrap().find(b"ann").unwrap()
        ),
        case.now
    ));
    assert_eq!(case.status("ann", "secret").await, 200);
}

#[tokio::test]
async fn a_file_that_changes_holds_within_a_second() {
    let mut case = Case::new(&format!("ann:{SECRET}\n"));
    assert_eq!(case.status("ann", "secret").await, 200);
    case.write("ann:{SHA}AAAAAAAAAAAAAAAAAAAAAAAAAAA=\n");
    case.now += HTPASSWD_CHECKED_FOR;
    assert_eq!(case.status("ann", "secret").await, 401, "a changed password is not remembered");
    case.write(&format!("bob:{SECRET}\n"));
    case.now += HTPASSWD_CHECKED_FOR;
    assert_eq!(case.status("ann", "secret").await, 401);
    assert_eq!(case.status("bob", "secret").await, 200);
}

#[tokio::test]
async fn without_the_file_nobody_is_let_in() {
    let mut case = Case::new(&format!("ann:{SECRET}\n"));
    assert_eq!(case.status("ann", "secret").await, 200);
    let path = case.folder.path().join("htpasswd");
    fs::remove_file(&path).unwrap();
    case.now += HTPASSWD_CHECKED_FOR;
    assert_eq!(case.status("ann", "secret").await, 500);
    fs::create_dir(&path).unwrap();
    case.now += HTPASSWD_CHECKED_FOR;
    assert_eq!(case.status("ann", "secret").await, 500);
    fs::remove_dir(&path).unwrap();
    let large = "# a line\n".repeat(usize::try_from(HTPASSWD_BYTES_MAX / 9 + 1).unwrap());
    for (content, status) in [
        (format!("ann:{SECRET}\n{large}"), 500),
        (String::new(), 401),
        (format!("ann:{SECRET}\n"), 200),
    ] {
        case.write(&content);
        case.now += HTPASSWD_CHECKED_FOR;
        assert_eq!(case.status("ann", "secret").await, status);
    }
}

#[tokio::test]
async fn who_guesses_is_stopped_and_who_is_remembered_is_not() {
    let mut case = Case::new(&format!("ann:{SECRET}\n"));
    assert_eq!(case.status("ann", "secret").await, 200);
    for _ in 0..WRONG_PASSWORDS_MAX {
        assert_eq!(case.status("ann", "wrong").await, 401);
    }
    assert_eq!(case.status("ann", "wrong").await, 429);
    assert_eq!(case.status("nobody", "wrong").await, 429);
    assert_eq!(case.status("ann", "secret").await, 200);
    case.now += Duration::from_secs(u64::from(WRONG_PASSWORD_INTERVAL_SECONDS));
    assert_eq!(case.status("ann", "wrong").await, 401);
    assert_eq!(case.status("ann", "wrong").await, 429);
}

#[tokio::test]
async fn a_flood_of_passwords_waits_in_a_line_of_bounded_length() {
    let case = Case::new(&format!("ann:{SECRET}\n"));
    let turns = Arc::clone(&case.passwords.at_once).acquire_many_owned(2).await.unwrap();
    let refused = Cell::new(0);
    let ask = || async {
        let status = case.status("ann", "secret").await;
        refused.set(refused.get() + usize::from(status == 429));
        status
    };
    let asks = PASSWORDS_WAITING_MAX + PASSWORDS_AT_ONCE_MAX + 3;
    let all = futures_util::future::join_all((0..asks).map(|_| ask()));
    let ((), statuses) = tokio::join!(
        async {
            // Those beyond the line are told so while all others wait in it.
            while refused.get() < 3 {
                tokio::task::yield_now().await;
            }
            assert_eq!(case.passwords.waiting.available_permits(), 0);
            drop(turns);
        },
        all
    );
    assert_eq!(refused.get(), 3);
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), asks - 3);
}

#[test]
fn credentials_are_read_as_the_rfc_writes_them() {
    let read = |value: &str| {
        credentials(&authorization(value)).map(|attempt| (attempt.name, attempt.password)).ok()
    };
    let pair = |name: &str, password: &str| Some((name.to_owned(), password.as_bytes().to_vec()));
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
    // The examples of RFC 7617, 2 and 2.1.
    assert_eq!(read("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), pair("Aladdin", "open sesame"));
    assert_eq!(read("Basic dGVzdDoxMjPCow=="), pair("test", "123£"));
    assert_eq!(read("basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), pair("Aladdin", "open sesame"));
    assert_eq!(read("BASIC   QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), pair("Aladdin", "open sesame"));
    assert_eq!(read(&basic("a:b:c")), pair("a", "b:c"));
    assert_eq!(read(&basic(":")), pair("", ""));
    for value in ["", "Basic", "Basic ", "Basic !", "Bearer YTpi", "Basic YTpi YTpi", "BasicYTpi"] {
        assert_eq!(read(value), None, "{value}");
    }
    assert_eq!(read(&basic("no colon")), None);
    for text in ["a\0:b", "a\n:b", "a:b\r", "a:\x7f"] {
        assert_eq!(read(&basic(text)), None, "{text:?}");
    }
    assert_eq!(credentials(&HeaderMap::new()).unwrap_err(), "none is given");
    let mut twice = authorization(&basic("a:b"));
    twice.append(AUTHORIZATION, basic("c:d").parse().unwrap());
    assert_eq!(credentials(&twice).unwrap_err(), "several are given");
}

#[test]
fn no_password_is_printed() {
    let attempt = credentials(&authorization("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")).unwrap();
    assert!(!format!("{attempt:?}").contains("sesame"));
}

proptest! {
    #[test]
    fn any_field_is_read_or_refused(value in "[ -~]{0,60}", inner in ".{0,30}") {
        for value in [value, format!("Basic {}", STANDARD.encode(inner))] {
            if let Ok(attempt) = credentials(&authorization(&value)) {
                prop_assert!(!attempt.name.contains(':'));
                prop_assert!(!attempt.name.bytes().any(|byte| byte.is_ascii_control()));
            }
        }
    }
}
