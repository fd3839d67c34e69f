//! What `explain` says, as a record: `--json` prints it, and the text is made of nothing else.
//! Field names are kept from version to version; each is what it is called.

use std::{net::IpAddr, path::PathBuf};

use serde::Serialize;

/// The nine steps of a connection, and what two other clients would get.
#[derive(Debug, Serialize)]
pub struct Explanation {
    pub url: String,
    pub config: PathBuf,
    /// `host-first` or `http.sys`.
    pub order: String,
    /// Whether a site answers the request.
    pub answered: bool,
    /// What keeps a server from starting with this configuration.
    pub problems: Vec<String>,
    pub resolve: Resolve,
    pub connect: Connect,
    pub hello: Hello,
    pub decide: Decide,
    pub certificate: Option<CertificateStep>,
    pub policy: Option<Policy>,
    pub handshake: Option<Handshake>,
    pub request: Option<Request>,
    pub answer: Option<Answer>,
    /// What a client gets that does not name the server; absent where this one does not.
    pub without_sni: Option<Outcome>,
    /// What the other order would give to this client.
    pub other_order: Option<OtherOrder>,
    /// What some Windows would do, where that is asked for.
    pub windows: Option<AsWindows>,
    /// The folder of the configuration, to shorten paths by.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// Step 1.
#[derive(Debug, Serialize)]
pub struct Resolve {
    pub name: Option<String>,
    /// Where the address is from: `resolver`, `literal`, `option`, `binding` or `assumed`.
    pub by: &'static str,
    pub addresses: Vec<IpAddr>,
    /// The one that is explained.
    pub used: IpAddr,
    pub error: Option<String>,
}

/// Step 2.
#[derive(Debug, Serialize)]
pub struct Connect {
    pub address: String,
    /// The socket that takes the connection; none when it is refused.
    pub socket: Option<String>,
    /// What is spoken there.
    pub protocol: Option<String>,
    pub problem: Option<String>,
}

/// Step 3.
#[derive(Debug, Serialize)]
pub struct Hello {
    pub server_name: Option<String>,
    /// Why there is no name, or no hello.
    pub why: Option<String>,
}

/// Step 4.
#[derive(Debug, Default, Serialize)]
pub struct Decide {
    /// Every key in the order in which it is tried.
    pub keys: Vec<Key>,
    pub winner: Option<Winner>,
}

/// A key of step 4.
#[derive(Debug, Serialize)]
pub struct Key {
    pub rule: u8,
    pub key: String,
    pub binding: Option<String>,
    pub site: Option<String>,
    /// `wins`, `lost`, `refused` or `not-held`.
    pub verdict: &'static str,
    pub why: String,
}

/// A binding that answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Winner {
    pub rule: u8,
    pub rule_text: String,
    pub binding: String,
    pub site: String,
}

/// Step 5.
#[derive(Debug, Serialize)]
pub struct CertificateStep {
    pub shown: Option<Shown>,
    /// What is wrong with it, or why there is none.
    pub problems: Vec<String>,
}

/// A certificate that is shown.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// What the configuration calls it.
    pub name: Option<String>,
    pub file: PathBuf,
    pub subject: String,
    pub issuer: String,
    pub names: Vec<String>,
    pub key: String,
    pub not_before: String,
    pub not_after: String,
    pub days_left: i64,
    pub thumbprint: String,
    pub fingerprint: String,
    pub chain_length: usize,
    /// Why this one.
    pub why: String,
}

/// Step 6.
#[derive(Debug, Serialize)]
pub struct Policy {
    pub minimum: String,
    pub maximum: String,
    pub alpn: Vec<&'static str>,
    /// `off`, `optional` or `require`.
    pub client_certificate: &'static str,
    pub client_ca: Option<PathBuf>,
    pub resumption: bool,
    pub problem: Option<String>,
}

/// Step 7: what is negotiated with a client that can do all of it, or the alert it gets.
#[derive(Debug, Default, Serialize)]
pub struct Handshake {
    pub version: Option<String>,
    pub group: Option<String>,
    pub signature: Option<String>,
    pub alert: Option<&'static str>,
    pub why: Option<String>,
}

/// Step 8.
#[derive(Debug, Serialize)]
pub struct Request {
    pub host: String,
    pub winner: Option<Winner>,
    /// `started` or `stopped`.
    pub state: Option<&'static str>,
    /// The status of a refusal.
    pub status: Option<u16>,
    /// Where a request without TLS is sent.
    pub https_redirect: Option<String>,
    pub why: String,
}

/// Step 9.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// `files`, `proxy`, `fastcgi`, `redirect`, `respond`, `https-redirect`, or
    /// `none` for a path that is refused.
    pub handler: &'static str,
    /// The path of the site, application or virtual directory that answers.
    pub route: Option<String>,
    /// The path and query that it is asked for: those of the request, unless it is rewritten.
    pub target: String,
    /// The rules around the answer, in the order in which they act.
    pub rules: Vec<AppliedRule>,
    pub folder: Option<PathBuf>,
    /// What a GET finds in the folder now, where files answer.
    pub found: Option<Found>,
    pub status: Option<u16>,
    pub location: Option<String>,
    pub text: String,
    pub problem: Option<String>,
}

/// What is sent of a folder, or why nothing is.
#[derive(Debug, Serialize)]
pub struct Found {
    pub status: u16,
    /// As the access log has it.
    pub substatus: u8,
    /// The file that is sent.
    pub file: Option<PathBuf>,
    pub content_type: Option<String>,
    pub bytes: Option<u64>,
    /// The codings of the siblings that are sent in its place to who takes them.
    pub codings: Vec<&'static str>,
    pub text: String,
}

impl Explanation {
    /// The status that every client gets; nothing where it depends on who asks, or on a file.
    pub fn sure_status(&self) -> Option<u16> {
        let refusal = self.request.as_ref().and_then(|request| request.status);
        let depends = ["limits", "access", "rate_limit", "basic_auth"];
        let answer = self.answer.as_ref();
        let answer =
            answer.filter(|own| own.rules.iter().all(|rule| !depends.contains(&rule.rule)));
        refusal.or_else(|| answer.and_then(|answer| answer.status))
    }
}

/// A rule that acts on a request or its answer.
#[derive(Debug, Serialize)]
pub struct AppliedRule {
    /// The key of the configuration.
    pub rule: &'static str,
    /// The path of the route whose rule it is.
    pub route: String,
    pub text: String,
    /// Where a redirect or rewrite leads.
    pub target: Option<String>,
}

/// What another client gets.
#[derive(Debug, Serialize)]
pub struct Outcome {
    pub winner: Option<Winner>,
    /// What the configuration calls the certificate.
    pub certificate: Option<String>,
    pub thumbprint: Option<String>,
    pub alert: Option<&'static str>,
    pub why: Option<String>,
}

/// What the same client gets in the other order.
#[derive(Debug, Serialize)]
pub struct OtherOrder {
    pub order: String,
    pub same: bool,
    pub winner: Option<Winner>,
    pub why: Option<String>,
}

/// What some Windows gives to the same client.
#[derive(Debug, Serialize)]
pub struct AsWindows {
    /// Which.
    pub version: String,
    /// The certificate; none without TLS, or where the connection ends.
    pub certificate: Option<WindowsCertificate>,
    /// What the certificate is: none without TLS.
    pub certificate_text: Option<String>,
    /// The site that answers; none where there is no connection, or the answer is 400.
    pub site: Option<String>,
    /// The same, said.
    pub site_text: String,
    /// What is different here; nothing where all is the same.
    pub differences: Vec<String>,
}

/// A certificate as Windows finds it.
#[derive(Debug, Serialize)]
pub struct WindowsCertificate {
    /// The key of the record.
    pub record: String,
    /// The first binding that the record stands for, where it stands for any.
    pub binding: Option<String>,
    /// How many bindings share the record.
    pub sharing: usize,
    pub name: String,
    pub thumbprint: String,
    /// Whether it covers the host of the URL.
    pub covers: bool,
}
