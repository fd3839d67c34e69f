//! Everything that can be asked. The router, the rights and the OpenAPI document are made of this
//! one table.

use axum::{response::Response, routing::MethodFilter};

use super::{
    Call, Role, backups, certificates, events, openapi, problem::Problem, requests, things, whole,
};

/// What is done with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Verb {
    pub(crate) fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }

    /// As OpenAPI writes it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Put => "put",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// A parameter.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) about: &'static str,
}

/// What a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    /// How many things: 1 to 1,000.
    Count,
    Yes,
}

const fn text(name: &'static str, about: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Text, about }
}

const fn number(name: &'static str, about: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Number, about }
}

const fn yes(name: &'static str, about: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Yes, about }
}

/// What the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    Nothing,
    /// JSON of this schema.
    Json(&'static str),
    /// The text of a configuration.
    Text,
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gives {
    /// JSON of this schema.
    Json(&'static str),
    /// The same, of something that came to be beside the configuration.
    New(&'static str),
    /// A page of JSON of this schema.
    Page(&'static str),
    /// What a change came to.
    Outcome,
    /// The same; something came to be.
    Created,
    /// The text of a configuration.
    Text,
    /// Server-sent events.
    Events,
}

/// Something that can be asked.
pub(crate) struct Operation {
    pub(crate) verb: Verb,
    pub(crate) path: &'static str,
    pub(crate) id: &'static str,
    pub(crate) role: Role,
    pub(crate) about: &'static str,
    pub(crate) parameters: &'static [Parameter],
    pub(crate) takes: Takes,
    pub(crate) gives: Gives,
    pub(crate) run: fn(&Call) -> Result<Response, Problem>,
}

impl Operation {
    /// Whether it is about the configuration, so that its answer has the revision as its tag.
    pub(crate) fn is_change(&self) -> bool {
        matches!(self.gives, Gives::Outcome | Gives::Created)
    }
}

const CHANGE: &[Parameter] = &[
    yes("dry_run", "Do everything but make the change."),
    yes("force", "Make it even if files, certificates or addresses are not there or do not fit."),
];

const AFTER: Parameter = text("after", "Those that follow this one: `next` of the last page.");
const LIMIT: Parameter = Parameter {
    name: "limit",
    kind: Kind::Count,
    about: "So many at most: 1 to 1,000; 100 where it is absent.",
};
const PAGE: &[Parameter] = &[AFTER, LIMIT];
const SEARCH: Parameter = text("search", "Those whose name or host has this in it.");

const fn get(path: &'static str, id: &'static str, about: &'static str) -> Operation {
    Operation {
        verb: Verb::Get,
        path,
        id,
        role: Role::Read,
        about,
        parameters: &[],
        takes: Takes::Nothing,
        gives: Gives::Json("Fields"),
        run: whole::status,
    }
}

const fn change(
    verb: Verb,
    path: &'static str,
    id: &'static str,
    about: &'static str,
) -> Operation {
    Operation {
        verb,
        role: Role::Admin,
        parameters: CHANGE,
        gives: Gives::Outcome,
        ..get(path, id, about)
    }
}

const SITES: &str = "/v1/sites";
const SITE: &str = "/v1/sites/{site}";
const BINDINGS: &str = "/v1/sites/{site}/bindings";
const BINDING: &str = "/v1/sites/{site}/bindings/{binding}";
const APPLICATIONS: &str = "/v1/sites/{site}/applications";
const APPLICATION: &str = "/v1/sites/{site}/applications/{path}";
const DIRECTORIES: &str = "/v1/sites/{site}/virtual_directories";
const DIRECTORY: &str = "/v1/sites/{site}/virtual_directories/{path}";
const CERTIFICATES: &str = "/v1/certificates";
const CERTIFICATE: &str = "/v1/certificates/{certificate}";
const LISTENERS: &str = "/v1/listeners";
const LISTENER: &str = "/v1/listeners/{listener}";
const BACKUPS: &str = "/v1/backups";
const BACKUP: &str = "/v1/backups/{backup}";

/// All operations.
pub(crate) static OPERATIONS: &[Operation] = &[
    Operation {
        gives: Gives::Json("About"),
        run: whole::about,
        ..get("/v1", "get_about", "Which server this is, and which revision is in force.")
    },
    Operation {
        parameters: &[SEARCH, AFTER, LIMIT],
        gives: Gives::Page("Site"),
        run: things::sites,
        ..get(SITES, "list_sites", "Sites, in the order of their numbers.")
    },
    Operation {
        takes: Takes::Json("Site"),
        gives: Gives::Created,
        run: things::add_site,
        ..change(Verb::Post, SITES, "add_site", "Add a site.")
    },
    Operation {
        gives: Gives::Json("Site"),
        run: things::show,
        ..get(SITE, "get_site", "A site with all that belongs to it.")
    },
    Operation {
        takes: Takes::Json("Settings"),
        run: things::set,
        ..change(Verb::Patch, SITE, "set_site", "Set keys of a site; null takes one out.")
    },
    Operation {
        run: things::remove,
        ..change(Verb::Delete, SITE, "remove_site", "Remove a site with all that belongs to it.")
    },
    Operation {
        role: Role::Operate,
        run: things::start,
        ..change(Verb::Post, "/v1/sites/{site}/start", "start_site", "Start a site.")
    },
    Operation {
        role: Role::Operate,
        run: things::stop,
        ..change(
            Verb::Post,
            "/v1/sites/{site}/stop",
            "stop_site",
            "Stop a site: its bindings stay and answer 503.",
        )
    },
    Operation {
        parameters: PAGE,
        gives: Gives::Page("Binding"),
        run: things::bindings,
        ..get(BINDINGS, "list_bindings", "The bindings of a site.")
    },
    Operation {
        takes: Takes::Json("Binding"),
        gives: Gives::Created,
        run: things::add_binding,
        ..change(Verb::Post, BINDINGS, "add_binding", "Add a binding to a site.")
    },
    Operation {
        gives: Gives::Json("Binding"),
        run: things::show,
        ..get(BINDING, "get_binding", "A binding, by its text.")
    },
    Operation {
        takes: Takes::Json("Settings"),
        run: things::set,
        ..change(Verb::Patch, BINDING, "set_binding", "Set keys of a binding.")
    },
    Operation {
        run: things::remove,
        ..change(Verb::Delete, BINDING, "remove_binding", "Remove a binding.")
    },
    Operation {
        parameters: PAGE,
        gives: Gives::Page("Route"),
        run: things::routes,
        ..get(APPLICATIONS, "list_applications", "The applications of a site.")
    },
    Operation {
        takes: Takes::Json("Route"),
        gives: Gives::Created,
        run: things::add_route,
        ..change(Verb::Post, APPLICATIONS, "add_application", "Add an application to a site.")
    },
    Operation {
        gives: Gives::Json("Route"),
        run: things::show,
        ..get(APPLICATION, "get_application", "An application, by its path.")
    },
    Operation {
        takes: Takes::Json("Settings"),
        run: things::set,
        ..change(Verb::Patch, APPLICATION, "set_application", "Set keys of an application.")
    },
    Operation {
        run: things::remove,
        ..change(Verb::Delete, APPLICATION, "remove_application", "Remove an application.")
    },
    Operation {
        parameters: PAGE,
        gives: Gives::Page("Route"),
        run: things::routes,
        ..get(DIRECTORIES, "list_virtual_directories", "The virtual directories of a site.")
    },
    Operation {
        takes: Takes::Json("Route"),
        gives: Gives::Created,
        run: things::add_route,
        ..change(
            Verb::Post,
            DIRECTORIES,
            "add_virtual_directory",
            "Add a virtual directory to a site.",
        )
    },
    Operation {
        gives: Gives::Json("Route"),
        run: things::show,
        ..get(DIRECTORY, "get_virtual_directory", "A virtual directory, by its whole path.")
    },
    Operation {
        takes: Takes::Json("Settings"),
        run: things::set,
        ..change(
            Verb::Patch,
            DIRECTORY,
            "set_virtual_directory",
            "Set keys of a virtual directory.",
        )
    },
    Operation {
        run: things::remove,
        ..change(Verb::Delete, DIRECTORY, "remove_virtual_directory", "Remove a virtual directory.")
    },
    Operation {
        parameters: &[SEARCH, AFTER, LIMIT],
        gives: Gives::Page("CertificateRecord"),
        run: certificates::list,
        ..get(
            CERTIFICATES,
            "list_certificates",
            "Certificates with what is in them and which bindings show them.",
        )
    },
    Operation {
        takes: Takes::Json("Certificate"),
        gives: Gives::Created,
        run: things::add_certificate,
        ..change(
            Verb::Post,
            CERTIFICATES,
            "add_certificate",
            "Name a certificate whose files are there.",
        )
    },
    Operation {
        gives: Gives::Json("CertificateRecord"),
        run: certificates::show,
        ..get(CERTIFICATE, "get_certificate", "A certificate.")
    },
    Operation {
        takes: Takes::Json("Settings"),
        run: things::set,
        ..change(Verb::Patch, CERTIFICATE, "set_certificate", "Set keys of a certificate.")
    },
    Operation {
        run: things::remove,
        ..change(
            Verb::Delete,
            CERTIFICATE,
            "remove_certificate",
            "Forget a certificate. Its files stay.",
        )
    },
    Operation {
        parameters: PAGE,
        gives: Gives::Page("Listener"),
        run: things::listeners,
        ..get(LISTENERS, "list_listeners", "Listeners that have rules of their own.")
    },
    Operation {
        takes: Takes::Json("Listener"),
        gives: Gives::Created,
        run: things::add_listener,
        ..change(
            Verb::Post,
            LISTENERS,
            "add_listener",
            "Give an address and port rules of its own.",
        )
    },
    Operation {
        gives: Gives::Json("Listener"),
        run: things::show,
        ..get(LISTENER, "get_listener", "A listener, by its text.")
    },
    Operation {
        takes: Takes::Json("Settings"),
        run: things::set,
        ..change(Verb::Patch, LISTENER, "set_listener", "Set keys of a listener.")
    },
    Operation {
        run: things::remove,
        ..change(Verb::Delete, LISTENER, "remove_listener", "Take the rules of a listener away.")
    },
    Operation {
        run: things::show,
        ..get("/v1/server", "get_server", "What holds for the whole server.")
    },
    Operation {
        takes: Takes::Json("Settings"),
        run: things::set,
        ..change(Verb::Patch, "/v1/server", "set_server", "Set what holds for the whole server.")
    },
    Operation {
        gives: Gives::Json("Records"),
        run: whole::records,
        ..get("/v1/records", "list_records", "Certificate records, as `netsh` has them.")
    },
    Operation {
        takes: Takes::Json("Changes"),
        run: whole::changes,
        ..change(
            Verb::Post,
            "/v1/changes",
            "change",
            "Make several changes, of certificate records too, as one.",
        )
    },
    Operation {
        gives: Gives::Text,
        run: whole::text,
        ..get("/v1/configuration", "get_configuration", "The text of the configuration.")
    },
    Operation {
        takes: Takes::Text,
        run: whole::put_text,
        ..change(
            Verb::Put,
            "/v1/configuration",
            "put_configuration",
            "Put another text in the place of the whole configuration.",
        )
    },
    Operation {
        run: whole::reload,
        ..change(
            Verb::Post,
            "/v1/reload",
            "reload",
            "Read the configuration again, with every file that it names.",
        )
    },
    Operation {
        parameters: &[
            text("url", "What a client opens: https://shop.example.com/path."),
            text("ip", "The address that the client comes to."),
            number("port", "The port, where it is not that of the URL."),
            text("sni", "The server name in the hello, where it is not the host of the URL."),
            yes("no_sni", "The client sends no server name."),
            text("as", "Explain as host-first, http.sys, iis7 or iis instead."),
        ],
        gives: Gives::Json("Explanation"),
        run: whole::explain,
        ..get("/v1/explain", "explain", "Who would answer a client, and why.")
    },
    Operation {
        gives: Gives::Json("Status"),
        run: whole::status,
        ..get("/v1/status", "get_status", "What the server does.")
    },
    Operation {
        parameters: &[
            number("elapsed_ms", "Those that are under way for so many milliseconds or longer."),
            text("site", "Those of the site of this name."),
            text("search", "Those whose host or URL has this in it."),
            AFTER,
            LIMIT,
        ],
        gives: Gives::Page("RunningRequest"),
        run: requests::list,
        ..get(
            "/v1/requests",
            "list_requests",
            "Requests under way that take time: those that wait for another server, a program, a \
             disk or their client, and tunnels.",
        )
    },
    Operation {
        parameters: &[
            number("before", "Those before this revision: `next` of the last page."),
            LIMIT,
        ],
        gives: Gives::Page("Record"),
        run: whole::history,
        ..get("/v1/history", "list_history", "Who changed what, newest first.")
    },
    Operation {
        gives: Gives::Json("Revision"),
        run: whole::revision,
        ..get("/v1/history/{revision}", "get_revision", "A change, with the text that it made.")
    },
    Operation {
        parameters: &[number("from", "The other one; the one before where it is absent.")],
        gives: Gives::Json("RevisionDifference"),
        run: whole::difference,
        ..get(
            "/v1/history/{revision}/difference",
            "get_difference",
            "What differs between two revisions.",
        )
    },
    Operation {
        takes: Takes::Json("Undo"),
        run: whole::undo,
        ..change(
            Verb::Post,
            "/v1/undo",
            "undo",
            "Bring the text of an earlier revision back, and its certificate records.",
        )
    },
    Operation {
        gives: Gives::Page("Backup"),
        run: backups::list,
        ..get(BACKUPS, "list_backups", "What was kept under names.")
    },
    Operation {
        verb: Verb::Post,
        role: Role::Admin,
        takes: Takes::Json("Backup"),
        gives: Gives::New("Backup"),
        run: backups::add,
        ..get(
            BACKUPS,
            "add_backup",
            "Keep the configuration in force and its certificate records under a name.",
        )
    },
    Operation {
        verb: Verb::Delete,
        role: Role::Admin,
        gives: Gives::Json("Backup"),
        run: backups::remove,
        ..get(BACKUP, "remove_backup", "Take away what was kept under a name.")
    },
    Operation {
        run: backups::restore,
        ..change(
            Verb::Post,
            "/v1/backups/{backup}/restore",
            "restore_backup",
            "Bring back what was kept under a name, as one change.",
        )
    },
    Operation {
        gives: Gives::Events,
        run: events::stream,
        ..get(
            "/v1/events",
            "events",
            "Changes as they are made, as server-sent events; after Last-Event-ID where that is \
             sent.",
        )
    },
    Operation {
        gives: Gives::Json("OpenApi"),
        run: openapi::show,
        ..get("/v1/openapi.json", "get_openapi", "This document.")
    },
];
