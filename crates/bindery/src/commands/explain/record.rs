//! What `explain` says, as a record: `--json` prints it, and the text is made of nothing else.
//! Field names are kept from version to version.

use std::{net::IpAddr, path::PathBuf};

use serde::Serialize;

/// The nine steps of a connection, and what two other clients would get.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    pub(crate) url: String,
    pub(crate) config: PathBuf,
    /// `host-first` or `http.sys`.
    pub(crate) order: String,
    /// Whether a site answers the request.
    pub(crate) answered: bool,
    /// What keeps a server from starting with this configuration.
    pub(crate) problems: Vec<String>,
    pub(crate) resolve: Resolve,
    pub(crate) connect: Connect,
    pub(crate) hello: Hello,
    pub(crate) decide: Decide,
    pub(crate) certificate: Option<CertificateStep>,
    pub(crate) policy: Option<Policy>,
    pub(crate) handshake: Option<Handshake>,
    pub(crate) request: Option<Request>,
    pub(crate) answer: Option<Answer>,
    /// What a client gets that does not name the server; absent where this one does not.
    pub(crate) without_sni: Option<Outcome>,
    /// What the other order would give to this client.
    pub(crate) other_order: Option<OtherOrder>,
    /// What some Windows would do, where that is asked for.
    pub(crate) windows: Option<AsWindows>,
    /// The folder of the configuration, to shorten paths by.
    #[serde(skip)]
    pub(crate) folder: PathBuf,
}

/// Step 1.
#[derive(Debug, Serialize)]
pub(crate) struct Resolve {
    pub(crate) name: Option<String>,
    /// Where the address is from: `resolver`, `literal`, `option`, `binding` or `assumed`.
    pub(crate) by: &'static str,
    pub(crate) addresses: Vec<IpAddr>,
    /// The one that is explained.
    pub(crate) used: IpAddr,
    pub(crate) error: Option<String>,
}

/// Step 2.
#[derive(Debug, Serialize)]
pub(crate) struct Connect {
    pub(crate) address: String,
    /// The socket that takes the connection; none when it is refused.
    pub(crate) socket: Option<String>,
    /// What is spoken there.
    pub(crate) protocol: Option<String>,
    pub(crate) problem: Option<String>,
}

/// Step 3.
#[derive(Debug, Serialize)]
pub(crate) struct Hello {
    pub(crate) server_name: Option<String>,
    /// Why there is no name, or no hello.
    pub(crate) why: Option<String>,
}

/// Step 4.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Decide {
    /// Every key in the order in which it is tried.
    pub(crate) keys: Vec<Key>,
    pub(crate) winner: Option<Winner>,
}

/// A key of step 4.
#[derive(Debug, Serialize)]
pub(crate) struct Key {
    pub(crate) rule: u8,
    pub(crate) key: String,
    pub(crate) binding: Option<String>,
    pub(crate) site: Option<String>,
    /// `wins`, `lost`, `refused` or `not-held`.
    pub(crate) verdict: &'static str,
    pub(crate) why: String,
}

/// A binding that answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Winner {
    pub(crate) rule: u8,
    pub(crate) rule_text: String,
    pub(crate) binding: String,
    pub(crate) site: String,
}

/// Step 5.
#[derive(Debug, Serialize)]
pub(crate) struct CertificateStep {
    pub(crate) shown: Option<Shown>,
    /// What is wrong with it, or why there is none.
    pub(crate) problems: Vec<String>,
}

/// A certificate that is shown.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    /// What the configuration calls it.
    pub(crate) name: Option<String>,
    pub(crate) file: PathBuf,
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) names: Vec<String>,
    pub(crate) key: String,
    pub(crate) not_before: String,
    pub(crate) not_after: String,
    pub(crate) days_left: i64,
    pub(crate) thumbprint: String,
    pub(crate) fingerprint: String,
    pub(crate) chain_length: usize,
    /// Why this one.
    pub(crate) why: String,
}

/// Step 6.
#[derive(Debug, Serialize)]
pub(crate) struct Policy {
    pub(crate) minimum: String,
    pub(crate) maximum: String,
    pub(crate) alpn: Vec<&'static str>,
    /// `off`, `optional` or `require`.
    pub(crate) client_certificate: &'static str,
    pub(crate) client_ca: Option<PathBuf>,
    pub(crate) resumption: bool,
    pub(crate) problem: Option<String>,
}

/// Step 7: what is negotiated with a client that can do all of it, or the alert it gets.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Handshake {
    pub(crate) version: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) signature: Option<String>,
    pub(crate) alert: Option<&'static str>,
    pub(crate) why: Option<String>,
}

/// Step 8.
#[derive(Debug, Serialize)]
pub(crate) struct Request {
    pub(crate) host: String,
    pub(crate) winner: Option<Winner>,
    /// `started` or `stopped`.
    pub(crate) state: Option<&'static str>,
    /// The status of a refusal.
    pub(crate) status: Option<u16>,
    /// Where a request without TLS is sent.
    pub(crate) https_redirect: Option<String>,
    pub(crate) why: String,
}

/// Step 9.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    /// `files`, `proxy`, `fastcgi`, `redirect`, `respond`, `https-redirect`, or
    /// `none` for a path that is refused.
    pub(crate) handler: &'static str,
    /// The path of the site, application or virtual directory that answers.
    pub(crate) route: Option<String>,
    /// The path and query that it is asked for: those of the request, unless it is rewritten.
    pub(crate) target: String,
    /// The rules around the answer, in the order in which they act.
    pub(crate) rules: Vec<AppliedRule>,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) status: Option<u16>,
    pub(crate) location: Option<String>,
    pub(crate) text: String,
    pub(crate) problem: Option<String>,
}

impl Explanation {
    /// The status that every client gets; nothing where it depends on who asks, or on a file.
    pub(crate) fn sure_status(&self) -> Option<u16> {
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
pub(crate) struct AppliedRule {
    /// The key of the configuration.
    pub(crate) rule: &'static str,
    /// The path of the route whose rule it is.
    pub(crate) route: String,
    pub(crate) text: String,
    /// Where a redirect or rewrite leads.
    pub(crate) target: Option<String>,
}

/// What another client gets.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) winner: Option<Winner>,
    /// What the configuration calls the certificate.
    pub(crate) certificate: Option<String>,
    pub(crate) thumbprint: Option<String>,
    pub(crate) alert: Option<&'static str>,
    pub(crate) why: Option<String>,
}

/// What the same client gets in the other order.
#[derive(Debug, Serialize)]
pub(crate) struct OtherOrder {
    pub(crate) order: String,
    pub(crate) same: bool,
    pub(crate) winner: Option<Winner>,
    pub(crate) why: Option<String>,
}

/// What some Windows gives to the same client.
#[derive(Debug, Serialize)]
pub(crate) struct AsWindows {
    /// Which.
    pub(crate) version: String,
    /// The certificate; none without TLS, or where the connection ends.
    pub(crate) certificate: Option<WindowsCertificate>,
    /// What the certificate is: none without TLS.
    pub(crate) certificate_text: Option<String>,
    /// The site that answers; none where there is no connection, or the answer is 400.
    pub(crate) site: Option<String>,
    /// The same, said.
    pub(crate) site_text: String,
    /// What is different here; nothing where all is the same.
    pub(crate) differences: Vec<String>,
}

/// A certificate as Windows finds it.
#[derive(Debug, Serialize)]
pub(crate) struct WindowsCertificate {
    /// The key of the record.
    pub(crate) record: String,
    /// The first binding that the record stands for.
    pub(crate) binding: String,
    /// How many bindings share the record.
    pub(crate) sharing: usize,
    pub(crate) name: String,
    pub(crate) thumbprint: String,
    /// Whether it covers the host of the URL.
    pub(crate) covers: bool,
}
