//! A site: a name, a state, and what it does with a request at each of its paths.

use std::{fmt, path::PathBuf, sync::Arc};

use crate::{rules::Rules, upstream::Proxy};

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
    /// How much of the machine it may take.
    pub limits: SiteLimits,
    /// Whether its requests are written to the access log, where one is configured.
    pub access_log: bool,
    /// Whether the paths of routes are found without regard to case (of ASCII letters), as IIS finds
    /// them. Names of files are not.
    pub ignore_case: bool,
    /// What answers at the path `/` and everywhere no other route does.
    pub root: Route,
    /// What answers elsewhere: applications and virtual directories. No path twice, none is `/`.
    pub routes: Vec<Route>,
}

impl Site {
    /// Every route, that of `/` first.
    pub fn all_routes(&self) -> impl Iterator<Item = &Route> {
        std::iter::once(&self.root).chain(&self.routes)
    }
}

/// How much of the machine a site may take, as the limits of an IIS site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteLimits {
    /// Requests under way at once; further ones are answered 503. IIS's `maxConnections`.
    pub requests_max: Option<u32>,
    /// Bytes of content sent a second, all its answers together. IIS's `maxBandwidth`.
    pub bytes_per_second_max: Option<u64>,
}

/// What a route is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouteKind {
    /// An application; the root of a site is one.
    Application,
    /// A virtual directory: a folder.
    VirtualDirectory,
}

/// What answers below a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// What it is called: only configurations and tools tell the two apart.
    pub kind: RouteKind,
    /// Where it begins: `/`, or segments without a slash at the end, as `/shop/images`.
    /// It covers itself and what follows after a slash.
    pub path: String,
    /// What answers.
    pub action: RouteAction,
    /// What happens around it; shared with the site where the route says nothing of its own.
    pub rules: Arc<Rules>,
    /// The application pool that it is put into, of applications; `None` for the default one. Kept
    /// for who administers by pools: nothing comes of it.
    pub pool: Option<Arc<str>>,
}

/// What answers a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteAction {
    /// Files of a folder.
    Files(Files),
    /// Other servers that speak HTTP.
    Proxy(Box<Proxy>),
    /// Programs that speak FastCGI, PHP above all.
    FastCgi(Box<FastCgi>),
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

/// Files of a folder, and how they are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The folder.
    pub root: PathBuf,
    /// What is looked for when a folder is asked for, in this order.
    pub default_documents: Vec<String>,
    /// Whether a folder without any of them is listed. IIS's directory browsing.
    pub listing: bool,
    /// The path below the folder that answers where nothing is found, with 200: the one page of a
    /// single-page application, as `/index.html`.
    pub fallback: Option<String>,
    /// Which symbolic links are followed.
    pub symlinks: Symlinks,
    /// Whether `style.css.br`, `.zst` or `.gz` beside `style.css` is sent to who understands it.
    pub precompressed: bool,
    /// Media types of endings (lower case, without the dot), before the built-in table.
    pub media_types: Arc<[(String, String)]>,
    /// What is done with an ending that no table knows.
    pub unknown_types: UnknownTypes,
    /// Names of files and folders that are not there for clients, anywhere below the folder and
    /// without regard to case. IIS's hidden segments.
    pub hidden: Arc<[String]>,
    /// The `charset` of types that begin with `text/`; `None` for none.
    pub charset: Option<String>,
    /// `Cache-Control` by name of file; the first that fits.
    pub cache_control: Vec<CacheRule>,
}

impl Files {
    /// The files of a folder with the defaults of everything else.
    #[must_use]
    pub fn of(root: PathBuf) -> Self {
        Self {
            root,
            default_documents: DEFAULT_DOCUMENTS.map(str::to_owned).to_vec(),
            listing: false,
            fallback: None,
            symlinks: Symlinks::default(),
            precompressed: true,
            media_types: Arc::default(),
            unknown_types: UnknownTypes::default(),
            hidden: Arc::default(),
            charset: Some("utf-8".to_owned()),
            cache_control: Vec::new(),
        }
    }
}

/// What answers for a folder unless the configuration says otherwise, as IIS looks for them.
pub const DEFAULT_DOCUMENTS: [&str; 3] = ["index.html", "index.htm", "Default.htm"];

/// Which symbolic links below a root are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Symlinks {
    /// None.
    Refuse,
    /// Those that stay below the root.
    #[default]
    Inside,
    /// All.
    Follow,
}

/// What is done with a file whose ending no table knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownTypes {
    /// It is sent as `application/octet-stream`.
    #[default]
    Bytes,
    /// It is not found, as IIS does (404.3).
    Refuse,
    /// Not even the built-in table is asked: what [`Files::media_types`] has not is not found.
    Listed,
}

/// A `Cache-Control` field for some files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRule {
    /// Which: the path of the request.
    pub path: crate::rules::PathPattern,
    /// The field's value; empty for no field.
    pub value: String,
    /// The value of `Expires` beside it (RFC 9110, 5.6.7), where there is one.
    pub expires: Option<String>,
}

/// Programs that speak FastCGI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FastCgi {
    /// Where the program listens.
    pub server: crate::upstream::ServerAddress,
    /// Where scripts are, and every other file: those are sent as files.
    pub files: Files,
    /// Endings of scripts, lower case, without the dot. Whatever else is asked for is a file.
    pub extensions: Vec<String>,
    /// The script, below the root, that answers where neither a script nor a file is found:
    /// `/index.php` of most frameworks.
    pub front_controller: Option<String>,
    /// Further parameters.
    pub parameters: Vec<(String, String)>,
    /// Waiting and pooling.
    pub timeouts: crate::upstream::Timeouts,
    /// Connections kept open without a request.
    pub idle_connections_max: u32,
}

impl FastCgi {
    /// The ending of scripts, unless others are named.
    pub const EXTENSION: &str = "php";
    /// Few: a php-fpm child waits at each connection that is kept, and answers nobody else.
    pub const IDLE_CONNECTIONS: u32 = 8;

    /// Scripts of PHP among these files, run by a server, with the defaults of all else.
    #[must_use]
    pub fn to(server: crate::upstream::ServerAddress, files: Files) -> Self {
        Self {
            server,
            files,
            extensions: vec![Self::EXTENSION.to_owned()],
            front_controller: None,
            parameters: Vec::new(),
            timeouts: crate::upstream::Timeouts::default(),
            idle_connections_max: Self::IDLE_CONNECTIONS,
        }
    }
}
