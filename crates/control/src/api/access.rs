//! Who may ask for what: peers of the socket by their user, others by their token.

use std::{fs, net::IpAddr};

use bindery_server::{blocking, text_of};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, HOST, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::{Deserialize, Serialize};

use super::{
    Shared,
    problem::{Kind, Problem},
    tokens::{Denied, Pass, Token, Tokens},
};
use crate::history::{Actor, Door};

/// By which door who asks at the socket was come to: `cli`, `appcmd` or `netsh`.
pub const DOOR: HeaderName = HeaderName::from_static("bindery-door");

/// What somebody may do. Each may what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look at everything.
    Read,
    /// Start and stop sites.
    Operate,
    /// Change everything.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Read, Self::Operate, Self::Admin];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

/// From where a request comes.
#[derive(Clone, Copy, Debug)]
pub enum Peer {
    /// The Unix socket, by a user.
    User(u32),
    /// A loopback address.
    Address(IpAddr),
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) actor: Actor,
    role: Role,
    /// The token that they were let in by, where it was one.
    pub(crate) pass: Option<Pass>,
}

impl Caller {
    /// Who sends a request with these fields.
    pub(crate) async fn of(
        shared: &Shared,
        peer: Option<Peer>,
        headers: &HeaderMap,
    ) -> Result<Self, Problem> {
        match peer {
            Some(Peer::User(user)) => Self::of_user(user, headers),
            Some(Peer::Address(address)) => {
                check_host(headers)?;
                Self::of_token(shared, address, headers).await
            }
            None => Err(Problem::new(Kind::Internal, "nobody knows who asks")),
        }
    }

    fn of_user(user: u32, headers: &HeaderMap) -> Result<Self, Problem> {
        let own = rustix::process::geteuid().as_raw();
        if user != 0 && user != own {
            let (user, own) = (user_name(user), user_name(own));
            let detail = format!("only root and {own} may ask here, and you are {user}");
            return Err(Problem::new(Kind::Forbidden, detail));
        }
        let door = match headers.get(DOOR).map(HeaderValue::as_bytes) {
            Some(b"cli") => Door::Cli,
            Some(b"appcmd") => Door::Appcmd,
            Some(b"netsh") => Door::Netsh,
            Some(_) => {
                let detail = format!("{DOOR} is cli, appcmd or netsh");
                return Err(Problem::new(Kind::Malformed, detail));
            }
            None => Door::Api,
        };
        Ok(Self { actor: Actor { name: user_name(user), door }, role: Role::Admin, pass: None })
    }

    async fn of_token(
        shared: &Shared,
        address: IpAddr,
        headers: &HeaderMap,
    ) -> Result<Self, Problem> {
        let Some(token) = bearer(headers) else {
            let detail = "send Authorization: Bearer TOKEN; `bindery token add` makes a token";
            return Err(challenge(Problem::new(Kind::Unauthorized, detail)));
        };
        let tokens = std::sync::Arc::clone(&shared.tokens);
        let found = blocking::run("a token", move || tokens.verify(&token, address)).await;
        let found = found.map_err(|error| Problem::new(Kind::Internal, error.to_string()))?;
        let (Token { name, role, .. }, pass) = found.map_err(not_let_in)?;
        Ok(Self { actor: Actor { name, door: Door::Api }, role, pass: Some(pass) })
    }

    /// The same caller as they are now: a request waits for its body and for others, and a token
    /// may be taken back meanwhile. Blocks.
    pub(crate) fn again(self, tokens: &Tokens) -> Result<Self, Problem> {
        let Some(pass) = &self.pass else { return Ok(self) };
        let Token { role, .. } = tokens.again(pass).map_err(not_let_in)?;
        Ok(Self { role, ..self })
    }

    /// That who asks may do what needs `role`.
    pub(crate) fn expect(&self, role: Role) -> Result<(), Problem> {
        if self.role >= role {
            return Ok(());
        }
        let Self { actor, role: own, .. } = self;
        let detail = format!(
            "the token {} has the role {}, and this needs {}",
            actor.name,
            own.word(),
            role.word()
        );
        Err(Problem::new(Kind::Forbidden, detail))
    }
}

fn not_let_in(denied: Denied) -> Problem {
    match denied {
        Denied::Wrong => {
            let detail = "the token is none, or was taken back, or its time is over; \
                          `bindery token list` shows those that there are";
            challenge(Problem::new(Kind::Unauthorized, detail))
        }
        Denied::TooMany { seconds } => {
            let detail = format!("too many wrong tokens; ask again in {seconds} s");
            let problem = Problem::new(Kind::TooMany, detail);
            problem.with_header(RETRY_AFTER, HeaderValue::from(seconds))
        }
        Denied::Unreadable(error) => {
            tracing::warn!(error = %text_of(&error), "the tokens cannot be read");
            let detail = "the tokens cannot be read; the log says why";
            Problem::new(Kind::Unavailable, detail)
        }
    }
}

fn challenge(problem: Problem) -> Problem {
    let value = HeaderValue::from_static("Bearer realm=\"bindery\"");
    problem.with_header(WWW_AUTHENTICATE, value)
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// A web page could have its own name lead here, and ask what its visitor's machine says.
fn check_host(headers: &HeaderMap) -> Result<(), Problem> {
    match is_local(headers) {
        true => Ok(()),
        false => Err(Problem::new(Kind::Forbidden, "ask by address, or as localhost")),
    }
}

/// Whether the host that was asked for is an address or `localhost`, so that no name of a web page
/// led here.
#[must_use]
pub fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    if host.parse::<std::net::SocketAddr>().is_ok() {
        return true;
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

/// What the local file of users calls a user; otherwise its number.
#[must_use]
pub fn user_name(user: u32) -> String {
    let text = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, uid) = (fields.next()?, fields.next()?, fields.next()?);
        (uid.parse() == Ok(user)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("user {user}"))
}
