//! Requests under way.

use std::{collections::HashMap, net::IpAddr};

use axum::response::Response;
use bindery_server::running::RunningRequest;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{
    Call, Page,
    problem::{Kind, Problem},
    things::page_of,
};
use crate::things::is_same;

/// A request under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// No other request under way has it.
    pub id: String,
    /// The number of its site.
    pub site_id: u32,
    /// The name of its site; nothing where the site is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// How it asks.
    pub method: String,
    /// The host that it asks for.
    pub host: String,
    /// Path and query as the client wrote them.
    pub url: String,
    /// Who asks.
    pub client: IpAddr,
    /// How long it is under way, in milliseconds.
    pub elapsed_ms: u64,
}

pub(super) fn list(call: &Call) -> Result<Response, Problem> {
    let Some(server) = call.shared.applier.server() else {
        return Err(Problem::new(Kind::Unavailable, "no server runs yet"));
    };
    let current = call.current();
    let sites = &current.configuration.table.sites;
    let site = call.query.text("site");
    let search = call.query.text("search").map(str::to_lowercase);
    let least = call.query.number("elapsed_ms").unwrap_or_default();
    let names: HashMap<_, _> = sites.iter().map(|site| (site.id, &site.name)).collect();
    let record = |own: RunningRequest| {
        let name = names.get(&own.site).map(|name| (*name).clone());
        RequestRecord {
            id: format!("{:016x}", own.id),
            site_id: own.site.0,
            site: name,
            method: own.method.to_string(),
            host: own.host,
            url: own.url,
            client: own.client,
            elapsed_ms: u64::try_from(own.elapsed.as_millis()).unwrap_or(u64::MAX),
        }
    };
    let fits = |own: &RequestRecord| {
        own.elapsed_ms >= least
            && site.is_none_or(|site| own.site.as_deref().is_some_and(|own| is_same(own, site)))
            && search.as_deref().is_none_or(|search| {
                own.host.to_lowercase().contains(search) || own.url.to_lowercase().contains(search)
            })
    };
    let all = server.running().into_iter().map(record).filter(fits);
    let (found, next) = page_of(call, all.map(|own| (own.id.clone(), own)).collect())?;
    let items: Vec<_> = found.into_iter().map(|(_, own)| own).collect();
    super::json(StatusCode::OK, &Page { items, next })
}
