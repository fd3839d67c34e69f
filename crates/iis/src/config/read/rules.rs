//! From sections to what Bindery serves: options of files, and rules.

use std::{path::PathBuf, rc::Rc, sync::Arc};

use bindery_model::{
    rules::{HeaderRule, Hsts, Rules},
    site::{Files, RouteAction, Site, Symlinks, UnknownTypes},
};
use hashbrown::{HashMap, HashSet};

use super::{super::SERVER_FIELD, sections::Sections};

/// So many rules of other sites are compared with new ones: where more differ, little is shared.
const COMPARED_MAX: usize = 64;

/// What sections come to, without what depends on a folder.
#[derive(Clone)]
pub(super) struct Ruled {
    pub(super) files: Files,
    pub(super) rules: Arc<Rules>,
}

/// Makes each once: ten thousand sites that say nothing of their own share one.
#[derive(Default)]
pub(super) struct Ruler<'a> {
    /// Sites that were read of another text: what they share is shared by those that are read now.
    pub(super) sites: &'a [Arc<Site>],
    shared: Option<SharedBySites<'a>>,
    /// By the address of the sections, which are kept alive here.
    made: HashMap<*const Sections, Made>,
}

/// What sections came to, by what sites say of hsts.
struct Made {
    /// Kept, so that no others come to stand there.
    _sections: Rc<Sections>,
    ruled: Vec<(Option<Hsts>, Ruled)>,
}

/// Media types by the ending of a file.
type MediaTypes = Arc<[(String, String)]>;

/// What sites have, each once.
#[derive(Default)]
struct SharedBySites<'a> {
    rules: Vec<&'a Arc<Rules>>,
    media_types: Vec<&'a MediaTypes>,
}

impl<'a> SharedBySites<'a> {
    fn of(sites: &'a [Arc<Site>]) -> Self {
        let mut shared = Self::default();
        let (mut rules, mut media_types) = (HashSet::new(), HashSet::new());
        for route in sites.iter().flat_map(|site| site.all_routes()) {
            if rules.insert(Arc::as_ptr(&route.rules)) {
                shared.rules.push(&route.rules);
            }
            if let RouteAction::Files(files) = &route.action
                && media_types.insert(Arc::as_ptr(&files.media_types))
            {
                shared.media_types.push(&files.media_types);
            }
            if rules.len().max(media_types.len()) >= COMPARED_MAX {
                break;
            }
        }
        shared
    }
}

impl Ruler<'_> {
    /// What sections come to at a site. `file_of` says where a path of the site is.
    pub(super) fn rule(
        &mut self,
        sections: &Rc<Sections>,
        hsts: Option<Hsts>,
        file_of: impl Fn(&str) -> Option<PathBuf>,
    ) -> Ruled {
        if sections.errors.depend_on_site() {
            return self.share(make(sections, hsts, file_of));
        }
        let fresh = || Made { _sections: Rc::clone(sections), ruled: Vec::new() };
        let made = self.made.get(&Rc::as_ptr(sections)).into_iter().flat_map(|made| &made.ruled);
        if let Some((_, ruled)) = made.into_iter().find(|(own, _)| *own == hsts) {
            return ruled.clone();
        }
        let ruled = self.share(make(sections, hsts, file_of));
        let made = self.made.entry(Rc::as_ptr(sections)).or_insert_with(fresh);
        made.ruled.push((hsts, ruled.clone()));
        ruled
    }

    /// The same, by what sites of another text have already where they have it.
    fn share(&mut self, mut ruled: Ruled) -> Ruled {
        let sites = self.sites;
        let shared = self.shared.get_or_insert_with(|| SharedBySites::of(sites));
        if let Some(same) = shared.rules.iter().find(|own| ***own == ruled.rules) {
            ruled.rules = Arc::clone(same);
        }
        let types = &mut ruled.files.media_types;
        if let Some(same) = shared.media_types.iter().find(|own| ***own == *types) {
            *types = Arc::clone(same);
        }
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
    let refused = sections.filtering.denied.rules().into_iter();
    let rewritten = sections.rules.redirects().into_iter();
    let rules = Rules {
        access: sections.access_rules(),
        https_only: sections.access.https_only(),
        redirects: refused
            .chain(rewritten)
            .chain(sections.redirect.rules.iter().cloned())
            .collect(),
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
