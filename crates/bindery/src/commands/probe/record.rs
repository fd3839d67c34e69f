//! What `probe` saw, as a record: `--json` prints it, and the text is made of nothing else. Times
//! are in milliseconds.

use serde::Serialize;

/// The nine steps of a connection.
#[derive(Debug, Default, Serialize)]
pub(super) struct Probe {
    pub(super) url: String,
    /// Whether an answer came, over a certificate that is trusted, as it was explained.
    pub(super) good: bool,
    pub(super) total_ms: f64,
    pub(super) resolve: Resolve,
    pub(super) connect: Connect,
    pub(super) hello: Option<Hello>,
    pub(super) server_hello: Option<ServerHello>,
    pub(super) certificates: Vec<Shown>,
    pub(super) verification: Option<Verification>,
    pub(super) handshake: Option<Handshake>,
    pub(super) request: Option<Request>,
    pub(super) answer: Option<Answer>,
    /// Why it ended early.
    pub(super) error: Option<String>,
    /// The alert that the server sent.
    pub(super) alert: Option<String>,
    /// Absent where no configuration is at hand.
    pub(super) explained: Option<Explained>,
}

/// Step 1.
#[derive(Debug, Default, Serialize)]
pub(super) struct Resolve {
    pub(super) ms: f64,
    pub(super) addresses: Vec<String>,
    /// `resolver`, `literal` or `option`.
    pub(super) by: &'static str,
}

/// Step 2.
#[derive(Debug, Default, Serialize)]
pub(super) struct Connect {
    pub(super) ms: f64,
    pub(super) address: String,
    pub(super) from: Option<String>,
}

/// Step 3.
#[derive(Debug, Serialize)]
pub(super) struct Hello {
    pub(super) ms: f64,
    pub(super) bytes: usize,
    pub(super) server_name: Option<String>,
    pub(super) alpn: Vec<String>,
}

/// Step 4.
#[derive(Debug, Serialize)]
pub(super) struct ServerHello {
    pub(super) ms: f64,
    pub(super) bytes: usize,
    pub(super) version: Option<String>,
    pub(super) cipher: Option<String>,
    pub(super) group: Option<String>,
    pub(super) retried: bool,
}

/// A certificate of step 5.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    pub(super) bytes: usize,
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) names: Vec<String>,
    pub(super) key: String,
    pub(super) not_before: String,
    pub(super) not_after: String,
    pub(super) days_left: i64,
    pub(super) thumbprint: String,
    pub(super) fingerprint: String,
}

/// Step 6.
#[derive(Debug, Serialize)]
pub(super) struct Verification {
    pub(super) ms: f64,
    /// Whether it was tried at all.
    pub(super) tried: bool,
    pub(super) good: bool,
    pub(super) why: Option<String>,
}

/// Step 7.
#[derive(Debug, Serialize)]
pub(super) struct Handshake {
    pub(super) ms: f64,
    pub(super) sent: usize,
    pub(super) received: usize,
    /// What the server chooses of h2 and http/1.1; absent when that was not tried.
    pub(super) alpn: Option<String>,
    pub(super) client_certificate_asked: bool,
}

/// Step 8.
#[derive(Debug, Serialize)]
pub(super) struct Request {
    pub(super) ms: f64,
    pub(super) bytes: usize,
    pub(super) line: String,
}

/// Step 9.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    pub(super) first_byte_ms: f64,
    pub(super) ms: f64,
    pub(super) bytes: usize,
    pub(super) status: u16,
    pub(super) status_line: String,
    pub(super) location: Option<String>,
}

/// Whether it is what `explain` says.
#[derive(Debug, Serialize)]
pub(super) struct Explained {
    pub(super) config: String,
    pub(super) same: bool,
    pub(super) differences: Vec<String>,
}
