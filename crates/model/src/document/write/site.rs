//! Writes sites, their bindings and routes.

use std::path::PathBuf;

use super::{Keys, action, rules};
use crate::{
    binding::{Binding, Protocol},
    certificate::{CertificateChoice, CertificateReference},
    change::{Fields, Value},
    document::files,
    rules::Rules,
    site::{Route, RouteAction, RouteKind, Site, SiteLimits, SiteState},
    table::MemoryTable,
    tls::{ClientCertificate, TlsPolicy},
};

/// The keys of the site at a place of its table, as [`fields`](super::fields) has them.
#[must_use]
pub fn site(table: &MemoryTable, place: u32) -> Fields {
    let Some(site) = table.sites.get(place as usize) else { return Fields::new() };
    let mut keys = Keys(own(site));
    let bindings: Vec<_> =
        table.bindings_of(place).map(|binding| binding_value(table, binding)).collect();
    if !bindings.is_empty() {
        keys.put("bindings", bindings);
    }
    for kind in [RouteKind::Application, RouteKind::VirtualDirectory] {
        let routes = site.routes.iter().filter(|route| route.kind == kind);
        let routes: Vec<_> = routes
            .map(|own| {
                let mut keys = Keys(route(site, own));
                keys.put("path", own.path.as_str());
                Value::from(keys.0)
            })
            .collect();
        if !routes.is_empty() {
            keys.put(kind.key(), routes);
        }
    }
    keys.0
}

/// The keys of a site without its bindings and further routes.
pub(super) fn own(site: &Site) -> Fields {
    let Site {
        id,
        name: _,
        state,
        https_redirect,
        limits,
        access_log,
        ignore_case,
        root,
        routes: _,
    } = site;
    let mut keys = Keys::default();
    keys.put("id", id.0);
    keys.put_other("state", (*state, SiteState::Started), |_| "stopped");
    keys.put_other("https_redirect", (*https_redirect, true), |own| own);
    keys.put_other("access_log", (*access_log, true), |own| own);
    keys.put_other("ignore_case", (*ignore_case, false), |own| own);
    keys.put_some("application_pool", root.pool.as_deref());
    let SiteLimits { requests_max, bytes_per_second_max } = limits;
    let mut own = Keys::default();
    own.put_some("requests_max", *requests_max);
    own.put_some("bytes_per_second_max", *bytes_per_second_max);
    if !own.0.is_empty() {
        keys.put("limits", own.0);
    }
    action::put(&mut keys, &root.action, &files::standard());
    rules::put(&mut keys, &root.rules, &Rules::default());
    keys.0
}

/// The keys of a route that it does not inherit from its site, without its path.
pub(super) fn route(site: &Site, route: &Route) -> Fields {
    let standard;
    let inherited = match &site.root.action {
        RouteAction::Files(files) => files,
        RouteAction::FastCgi(program) => &program.files,
        RouteAction::Proxy(_) | RouteAction::Redirect { .. } | RouteAction::Respond { .. } => {
            standard = files::standard();
            &standard
        }
    };
    let mut keys = Keys::default();
    keys.put_some("application_pool", route.pool.as_deref());
    action::put(&mut keys, &route.action, inherited);
    if !std::sync::Arc::ptr_eq(&route.rules, &site.root.rules) {
        rules::put(&mut keys, &route.rules, &site.root.rules);
    }
    keys.0
}

/// A binding in the list of its site: its text, or a table where there is more to say.
fn binding_value(table: &MemoryTable, own: &Binding) -> Value {
    let on = own.information.to_string();
    let mut keys = Keys(binding(table, own));
    if keys.0.is_empty() {
        return on.into();
    }
    keys.put("on", on);
    keys.0.into()
}

/// The keys of a binding beside its text; none for http, where they have no meaning.
#[must_use]
pub fn binding(table: &MemoryTable, binding: &Binding) -> Fields {
    let Binding { information, tls, certificate, site: _ } = binding;
    let mut keys = Keys::default();
    if information.protocol == Protocol::Https {
        keys.put_some("certificate", choice(table, certificate));
        let tls = policy(tls);
        if !tls.is_empty() {
            keys.put("tls", tls);
        }
    }
    keys.0
}

fn choice(table: &MemoryTable, choice: &CertificateChoice) -> Option<Value> {
    match choice {
        CertificateChoice::Best => None,
        CertificateChoice::Central => Some("central".into()),
        CertificateChoice::None => Some("none".into()),
        CertificateChoice::Listed(listed) => {
            let mut texts = listed.iter().map(|one| reference(table, one));
            match (texts.next(), listed.len()) {
                (Some(only), 1) => Some(only.into()),
                (first, _) => Some(Value::texts(first.into_iter().chain(texts))),
            }
        }
    }
}

/// The name of a certificate, or its digest in hex.
fn reference(table: &MemoryTable, reference: &CertificateReference) -> String {
    if let CertificateReference::Source(id) = reference
        && let Some(source) = table.certificate(*id)
    {
        return source.name.clone();
    }
    reference.to_string()
}

fn policy(tls: &TlsPolicy) -> Fields {
    let standard = TlsPolicy::default();
    let TlsPolicy { minimum, maximum, http2, client_certificate } = tls;
    let mut keys = Keys::default();
    keys.put_other("minimum", (*minimum, standard.minimum), |own| own.to_string());
    keys.put_other("maximum", (*maximum, standard.maximum), |own| own.to_string());
    keys.put_other("http2", (*http2, standard.http2), |own| own);
    let asks = match client_certificate {
        ClientCertificate::Off => None,
        ClientCertificate::Optional { .. } => Some("optional"),
        ClientCertificate::Required { .. } => Some("require"),
    };
    keys.put_some("client_certificate", asks);
    keys.put_some("client_ca", client_certificate.ca().map(PathBuf::as_path));
    keys.0
}
