//! How something wrong with a configuration is said: a code that does not change, the place, what
//! is wrong, and what to do about it.

use std::{fmt, ops::Range};

use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Hint,
    /// It serves, and probably not as meant.
    Warning,
    /// It cannot be served.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hint => "hint",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// A place in a text: bytes from the beginning.
pub type Span = Range<usize>;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind of thing.
    pub code: Code,
    /// Where.
    pub span: Span,
    /// What, with the names of the objects. Lower case, no full stop.
    pub message: String,
    /// What to do about it; empty where the message says all.
    pub help: String,
    /// Other places that belong to it, each with a word on why.
    pub related: Vec<(Span, String)>,
    /// Ways out, each of which will do, where there are commands for them.
    pub ways: Vec<Way>,
}

/// A way out of a problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// What it does.
    pub what: String,
    /// What to type, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
}

impl Problem {
    /// A problem without other places.
    #[must_use]
    pub fn new(
        code: Code,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let (message, help) = (message.into(), help.into());
        Self { code, span, message, help, related: Vec::new(), ways: Vec::new() }
    }

    /// The same, with ways out.
    #[must_use]
    pub fn with_ways(mut self, ways: impl IntoIterator<Item = Way>) -> Self {
        self.ways.extend(ways);
        self
    }

    /// The same, pointing at one more place.
    #[must_use]
    pub fn with_related(mut self, span: Span, why: impl Into<String>) -> Self {
        self.related.push((span, why.into()));
        self
    }

    /// Says that commands come when it is out of the file: as long as the file has it, none is
    /// obeyed.
    pub fn stands_in_file(&mut self) {
        for way in self.ways.iter_mut().filter(|way| !way.commands.is_empty()) {
            way.what.push_str("; take it out of the file, and then type");
        }
    }

    /// How bad it is: a matter of its kind.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])+ $name:ident = $text:literal, $severity:ident;)+) => {
        /// The kinds of problems. Their texts are part of the interface: scripts match on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[$doc])+ $name,)+ }

        impl Code {
            /// Every code, for documentation and its test.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stable text.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// How bad a problem of this kind is.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)+ }
            }
        }
    };
}

codes! {
    /// The text is not of its form, TOML or XML.
    Syntax = "syntax", Error;
    /// The file is larger than is read.
    TooLarge = "too-large", Error;
    /// `version` is missing or not one that is understood.
    Version = "version", Error;
    /// A key that means nothing here.
    UnknownKey = "unknown-key", Error;
    /// A key that must be there.
    MissingKey = "missing-key", Error;
    /// A value of another type than the key takes.
    WrongType = "wrong-type", Error;
    /// A value outside of what the key takes.
    BadValue = "bad-value", Error;
    /// Known to Bindery, and not served by this version.
    NotSupported = "not-supported", Error;
    /// Keys that exclude each other.
    Exclusive = "exclusive", Error;
    /// A binding's text is not `protocol/address:port:host`.
    BadBinding = "bad-binding", Error;
    /// A host that is no host name.
    BadHost = "bad-host", Error;
    /// A wildcard that is not the whole left-most label.
    BadWildcard = "bad-wildcard", Error;
    /// Two bindings hold the same key.
    DuplicateBinding = "duplicate-binding", Error;
    /// http and https on one address and port.
    MixedProtocols = "mixed-protocols", Error;
    /// Two sites have one name or number.
    DuplicateSite = "duplicate-site", Error;
    /// Two certificates have one name.
    DuplicateCertificate = "duplicate-certificate", Error;
    /// Two listeners stand for one address and port.
    DuplicateListener = "duplicate-listener", Error;
    /// A binding names a certificate that is not there.
    UnknownCertificate = "unknown-certificate", Error;
    /// Two applications or virtual directories of a site have one path.
    DuplicateRoute = "duplicate-route", Error;
    /// A regular expression that is none, or is too large.
    BadRegex = "bad-regex", Error;
    /// A text that is no network.
    BadNetwork = "bad-network", Error;
    /// A setting for TLS on a binding without it.
    TlsWithoutHttps = "tls-without-https", Error;
    /// A binding uses the central store, and none is configured.
    NoCentralStore = "no-central-store", Error;
    /// Something that IIS does and Bindery does not; it stays in the file.
    NotSupportedHere = "not-supported-here", Hint;
    /// A folder of Windows, and nothing says where it is here.
    UnmappedPath = "unmapped-path", Warning;
    /// Flags of a binding that do not go together.
    BadSslFlags = "bad-ssl-flags", Warning;
    /// A setting in a `web.config` that the server's configuration has locked.
    LockedSection = "locked-section", Warning;
    /// A `web.config` that is wrong; IIS answers 500.19 where it is.
    BadWebConfig = "bad-web-config", Warning;
    /// A protection that cannot be given: what it protects is not served.
    NotEnforced = "not-enforced", Warning;
    /// A site without a binding.
    NoBinding = "no-binding", Warning;
    /// A listener without a binding.
    IdleListener = "idle-listener", Warning;
    /// A setting that changes nothing.
    NoEffect = "no-effect", Warning;
    /// A secret or a log inside of a folder whose files are served.
    SecretServed = "secret-served", Warning;
    /// Two paths of a site that differ in case only.
    CaseDiffers = "case-differs", Hint;
    /// A certificate that nothing uses.
    UnusedCertificate = "unused-certificate", Hint;
    /// A binding that no client can reach.
    Unreachable = "unreachable-binding", Warning;
    /// A name that HTTP.SYS's order would give to another binding.
    OrderDiffers = "order-differs", Hint;
    /// No catch-all for clients without a server name.
    NoCatchAll = "no-catch-all", Hint;
    /// A file cannot be read.
    UnreadableFile = "unreadable-file", Error;
    /// A folder cannot be read.
    UnreadableFolder = "unreadable-folder", Error;
    /// A folder that cannot be written to.
    UnwritableFolder = "unwritable-folder", Error;
    /// A socket of another server that is not there.
    NoSocket = "no-socket", Warning;
    /// A certificate file that holds no usable certificate.
    BadCertificate = "bad-certificate", Error;
    /// A certificate and a key that do not belong together.
    KeyMismatch = "key-mismatch", Error;
    /// A certificate whose time is over.
    Expired = "certificate-expired", Error;
    /// A certificate whose time has not come.
    NotYetValid = "certificate-not-yet-valid", Error;
    /// A certificate that ends within two weeks.
    ExpiresSoon = "certificate-expires-soon", Warning;
    /// A certificate that names its hosts in its subject only, where clients no longer look.
    CommonNameOnly = "common-name-only", Warning;
    /// A certificate that does not cover the binding's host.
    NotCovered = "name-not-covered", Error;
    /// A binding without server name indication shows a certificate that is another binding's: that
    /// of the address and port, which it shares.
    SharedRecord = "shared-record", Error;
    /// Bindings that ask for no server name indication on an address and port without a
    /// certificate record: the name chooses all the same.
    ChosenByName = "chosen-by-name", Warning;
    /// No certificate covers the binding's host.
    NoCertificate = "no-certificate", Error;
    /// A binding that is to have no certificate.
    WithoutCertificate = "without-certificate", Warning;
    /// An address that this machine does not have.
    AddressNotLocal = "address-not-local", Error;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
