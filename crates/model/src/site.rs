//! A site: a name, a state and what it does with a request.

use std::{fmt, path::PathBuf};

/// The number of a site, as IIS numbers them: 1 and up, unique, kept for the life of the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SiteId(pub u32);

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether a site answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SiteState {
    /// It answers.
    #[default]
    Started,
    /// Its bindings stay; every request is answered with 503.
    Stopped,
}

/// A named set of bindings and what answers on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its number.
    pub id: SiteId,
    /// Its name, unique without regard to case.
    pub name: String,
    /// Whether it answers.
    pub state: SiteState,
    /// Whether a request on a plain binding is sent to the https binding of the same host, where
    /// the site has one.
    pub https_redirect: bool,
    /// What answers.
    pub action: RouteAction,
}

/// What answers a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteAction {
    /// Files of a folder.
    Files {
        /// The folder.
        root: PathBuf,
        /// What is looked for when a folder is asked for, in this order.
        default_documents: Vec<String>,
    },
    /// Another address.
    Redirect {
        /// Where to: an absolute URL without a path gets the path and query of the request.
        to: String,
        /// 301, 302, 303, 307 or 308.
        status: u16,
    },
    /// One answer to everything.
    Respond {
        /// The status, 200 to 599.
        status: u16,
        /// The content, as it is.
        body: String,
        /// Its type.
        content_type: String,
    },
}
