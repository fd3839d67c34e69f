//! What happens around the answer of a route: who is let in, where requests are sent or rewritten,
//! which fields are added, what is compressed.

use std::{fmt, path::PathBuf, str::FromStr};

use ipnet::IpNet;

/// What happens around the answer. The order of the fields is the order in which they act.
/// The steps one by one are in `http::passage` of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Networks that are let in or not; the first that holds the client decides, and who is in
    /// none is let in unless the list has an `allow`.
    pub access: Vec<AccessRule>,
    /// Whether requests without TLS are refused (IIS: 403.4).
    pub https_only: bool,
    /// How many requests a client may make.
    pub rate_limit: Option<RateLimit>,
    /// Who may read, by password.
    pub basic_auth: Option<BasicAuth>,
    /// Other addresses for some requests; the first that fits answers.
    pub redirects: Vec<RedirectRule>,
    /// Other paths for some requests; the first that fits is taken, and rules behind it only where
    /// it goes on.
    pub rewrites: Vec<RewriteRule>,
    /// The most bytes of a request's content; more is answered 413.
    pub request_bytes_max: Option<u64>,
    /// Who may read the answers from pages of other origins. A preflight is answered before a
    /// password is asked for, for browsers send none with it.
    pub cors: Option<Cors>,
    /// Changes to the fields of the request before an upstream gets it.
    pub request_headers: Vec<HeaderRule>,
    /// Changes to the fields of the answer.
    pub response_headers: Vec<HeaderRule>,
    /// Strict-Transport-Security (RFC 6797), on https only.
    pub hsts: Option<Hsts>,
    /// Compression of answers that are not compressed yet.
    pub compress: Option<Compress>,
    /// Files with the content of error answers. Each a path of this machine. The page of a
    /// sub-status comes before that of its status.
    pub error_pages: Vec<(ErrorStatus, PathBuf)>,
}

/// Which errors a page is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorStatus {
    /// From 400 to 599.
    pub status: u16,
    /// By which IIS says more: 14 of 403.14, a folder that is not listed. `None` for all.
    pub sub: Option<u16>,
}

impl From<u16> for ErrorStatus {
    fn from(status: u16) -> Self {
        Self { status, sub: None }
    }
}

/// As `404` or `403.14`.
impl fmt::Display for ErrorStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sub {
            Some(sub) => write!(f, "{}.{sub}", self.status),
            None => write!(f, "{}", self.status),
        }
    }
}

impl FromStr for ErrorStatus {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (status, sub) = match text.split_once('.') {
            Some((status, sub)) => (status, Some(sub)),
            None => (text, None),
        };
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse::<u16>().map_err(drop),
            false => Err(()),
        };
        let status = number(status)?;
        let sub = sub.map(number).transpose()?;
        let known = (400..=599).contains(&status) && sub.is_none_or(|sub| sub < 1000);
        known.then_some(Self { status, sub }).ok_or(())
    }
}

/// Whether a network is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessRule {
    /// Which.
    pub network: IpNet,
    /// Whether it is let in; 403 otherwise.
    pub allow: bool,
}

/// How many requests a client may make: a bucket that holds `burst` and is filled with `requests`
/// in every `seconds`. A client is an IPv4 address or an IPv6 /64. Beyond it the answer is 429.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// So many requests,
    pub requests: u32,
    /// in so many seconds,
    pub seconds: u32,
    /// and so many at once.
    pub burst: u32,
}

/// Who may read, by password (RFC 7617).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    /// Lines of `name:hash`, hashes of argon2, bcrypt or Apache (`$apr1$`, `{SHA}`); as htpasswd
    /// writes it.
    pub file: PathBuf,
    /// What the browser shows.
    pub realm: String,
}

/// Which paths a rule is for. Compared with the decoded path of the request, without the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// This path.
    Exact(String),
    /// This path and all below it, on a segment border.
    Prefix(String),
    /// Paths that end so, as `.css`.
    Suffix(String),
    /// A regular expression, in the syntax of the `regex` crate, found anywhere unless anchored.
    /// It compiles within the bounds of [`regex`].
    Regex(String),
}

/// The most bytes of memory that a compiled regular expression may take.
pub const REGEX_BYTES_MAX: usize = 1024 * 1024;

/// Compiles a regular expression of a configuration.
///
/// # Errors
///
/// When it is none, or a larger one than is taken.
pub fn regex(text: &str) -> Result<regex::Regex, regex::Error> {
    regex::RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).build()
}

/// Sends some requests elsewhere, or refuses them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectRule {
    /// Which paths,
    pub path: PathPattern,
    /// and what else must be true of a request; all of it.
    pub when: Vec<Condition>,
    /// What becomes of them.
    pub to: RedirectTo,
    /// 301, 302, 303, 307 or 308; 400 to 599 for those that are refused.
    pub status: u16,
    /// Whether the query of the request is kept.
    pub keep_query: bool,
}

/// What becomes of a request that a [`RedirectRule`] is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectTo {
    /// It is sent to a path or an http(s) URL. `$1` and `${name}` stand for captures of regular
    /// expressions, that of the path and those of conditions; `${host}`, `${authority}`,
    /// `${scheme}`, `${path}` and `${query}` for what was asked for. For a prefix, what follows it
    /// is appended.
    Target(String),
    /// It is refused with the status.
    Refused,
    /// It stays: no later redirect is for it.
    Here,
}

/// Gives some requests another path, before a handler sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewriteRule {
    /// Which paths,
    pub path: PathPattern,
    /// and what else must be true of a request; all of it.
    pub when: Vec<Condition>,
    /// What becomes of them.
    pub to: RewriteTo,
}

/// What becomes of a request that a [`RewriteRule`] is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RewriteTo {
    /// It is for another path.
    Path {
        /// The path, and query where it has a `?`; captures as in [`RedirectTo::Target`].
        to: String,
        /// Whether the query of the request is kept behind that.
        keep_query: bool,
        /// With which rule behind this one it goes on, which sees the new path: 1 for the next. 0
        /// where no later rule is for it.
        next: u16,
    },
    /// It is answered as a [`RedirectRule`] would: where a rewrite before has gone on, which
    /// redirects come too early for.
    Answer {
        /// Where it is sent, unless it is refused.
        to: Option<String>,
        /// As in [`RedirectRule`].
        status: u16,
        /// Whether the query of the request is kept.
        keep_query: bool,
    },
    /// It stays as it is: no later rewrite is for it.
    Here,
}

impl RewriteTo {
    /// Another path, with the query of the request and without later rules.
    #[must_use]
    pub fn path(to: impl Into<String>) -> Self {
        Self::Path { to: to.into(), keep_query: true, next: 0 }
    }

    /// Where it leads, if anywhere.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        match self {
            Self::Path { to, .. } => Some(to),
            Self::Answer { to, .. } => to.as_deref(),
            Self::Here => None,
        }
    }

    /// Whether the query of the request is kept behind that of the target.
    #[must_use]
    pub fn keeps_query(&self) -> bool {
        match self {
            Self::Path { keep_query, .. } | Self::Answer { keep_query, .. } => *keep_query,
            Self::Here => true,
        }
    }
}

/// What must be true of a request for a rule to be for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Condition {
    /// What is looked at.
    pub test: Test,
    /// Whether the opposite must be true.
    pub negate: bool,
}

/// What a condition looks at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Test {
    /// Whether it came by https.
    Https,
    /// Whether a file is at its path. Files and FastCGI alone know; elsewhere there is none.
    File,
    /// Whether a folder is there.
    Folder,
    /// Whether a regular expression is found in a part of it.
    Text {
        /// Which part.
        of: Part,
        /// As in [`PathPattern::Regex`].
        regex: String,
    },
}

/// A part of a request that conditions look at. One that it has not is empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The host that is asked for, lower case, without a port.
    Host,
    /// The port that the request came to.
    Port,
    /// The path, decoded.
    Path,
    /// The query as it was sent, without its question mark.
    Query,
    /// The decoded path, and behind a question mark the query, where there is one.
    Uri,
    /// The method.
    Method,
    /// The address of the client.
    Client,
    /// The first field of this name.
    Field(String),
    /// A text with variables, as targets have them: `${host}${path}`. Groups are those of the
    /// path's regular expression.
    Template(String),
}

/// A change to the fields of a request or an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderRule {
    /// The field has this value, whatever it had.
    Set(String, String),
    /// One more field of this name.
    Add(String, String),
    /// No field of this name.
    Remove(String),
}

/// Strict-Transport-Security (RFC 6797).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hsts {
    /// How long, in seconds.
    pub max_age: u64,
    /// Also for all names below.
    pub include_subdomains: bool,
    /// Whether the name may be built into browsers.
    pub preload: bool,
}

/// Who may read the answers from pages of other origins (the Fetch standard's CORS protocol).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Origins, as `https://app.example.com`; empty for all.
    pub origins: Vec<String>,
    /// Methods that a preflight grants.
    pub methods: Vec<String>,
    /// Request fields that a preflight grants; empty for those that it asks for.
    pub headers: Vec<String>,
    /// Whether cookies and passwords are sent along. Not with all origins.
    pub credentials: bool,
    /// How long a preflight is remembered, in seconds.
    pub max_age: u32,
}

/// Compression of answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compress {
    /// Smaller answers stay as they are, in bytes.
    pub bytes_min: u64,
    /// Types that are compressed: `text/css`, or `text/*`.
    pub types: Vec<String>,
}
