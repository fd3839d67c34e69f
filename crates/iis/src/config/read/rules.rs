//! From sections to what Bindery serves: options of files, and rules.

use std::{path::PathBuf, rc::Rc, sync::Arc};

use bindery_model::{
    rules::{HeaderRule, Hsts, Rules},
    site::{Files, Symlinks, UnknownTypes},
};
use hashbrown::HashMap;

use super::{super::SERVER_FIELD, sections::Sections};

/// What sections come to, without what depends on a folder.
#[derive(Clone)]
pub(super) struct Ruled {
    pub(super) files: Files,
    pub(super) rules: Arc<Rules>,
}

/// Makes each once: ten thousand sites that say nothing of their own share one.
#[derive(Default)]
pub(super) struct Ruler {
    /// By the address of the sections, which are kept alive here.
    made: HashMap<*const Sections, Made>,
}

/// What sections came to, by what sites say of hsts.
struct Made {
    /// Kept, so that no others come to stand there.
    _sections: Rc<Sections>,
    ruled: Vec<(Option<Hsts>, Ruled)>,
}

impl Ruler {
    /// What sections come to at a site. `file_of` says where a path of the site is.
    pub(super) fn rule(
        &mut self,
        sections: &Rc<Sections>,
        hsts: Option<Hsts>,
        file_of: impl Fn(&str) -> Option<PathBuf>,
    ) -> Ruled {
        if sections.errors.depend_on_site() {
            return make(sections, hsts, file_of);
        }
        let fresh = || Made { _sections: Rc::clone(sections), ruled: Vec::new() };
        let made = self.made.entry(Rc::as_ptr(sections)).or_insert_with(fresh);
        if let Some((_, ruled)) = made.ruled.iter().find(|(own, _)| *own == hsts) {
            return ruled.clone();
        }
        let ruled = make(sections, hsts, file_of);
        made.ruled.push((hsts, ruled.clone()));
        ruled
    }
}

fn make(
    sections: &Sections,
    hsts: Option<Hsts>,
    file_of: impl Fn(&str) -> Option<PathBuf>,
) -> Ruled {
    let server = sections.filtering.is_server_hidden;
    let server = server.then(|| HeaderRule::Remove(SERVER_FIELD.to_owned()));
    let headers = sections.headers.iter().cloned();
    let headers = headers.map(|(name, value)| HeaderRule::Set(name, value));
    let rewritten = sections.rules.redirects().into_iter();
    let rules = Rules {
        access: sections.access_rules(),
        https_only: sections.access.https_only(),
        redirects: rewritten.chain(sections.redirect.rules.iter().cloned()).collect(),
        rewrites: sections.rules.rewrites(),
        request_bytes_max: sections.filtering.bytes_max(),
        response_headers: server.into_iter().chain(headers).collect(),
        hsts,
        compress: sections.compress(),
        error_pages: sections.errors.pages(file_of),
        ..Rules::default()
    };
    let files = Files {
        default_documents: sections.default_documents(),
        listing: sections.listing,
        fallback: None,
        // Who makes a link on Windows needs a privilege; here everybody can.
        symlinks: Symlinks::Inside,
        precompressed: false,
        media_types: sections.media_types(),
        unknown_types: match sections.any_type {
            true => UnknownTypes::Bytes,
            false => UnknownTypes::Listed,
        },
        hidden: sections.filtering.hidden(),
        charset: None,
        cache_control: sections.cache_control(),
        ..Files::of(PathBuf::new())
    };
    Ruled { files, rules: Arc::new(rules) }
}
