//! What happens around the answer of a route: who is let in, where requests are sent or rewritten,
//! which fields are added, what is compressed. The order of the steps is in
//! [`crate::http::passage`]; each step is a module here, and knows nothing of the others.

pub(crate) mod access;
mod apr1;
pub(crate) mod auth;
pub(crate) mod cors;
pub(crate) mod error_pages;
mod file;
pub(crate) mod headers;
mod htpasswd;
pub(crate) mod rate;
pub(crate) mod redirect;
pub mod rewrite;
pub(crate) mod site;

use std::{net::IpAddr, time::Duration};

use bindery_model::{
    rules::{RateLimit, Rules},
    site::SiteId,
};
use http::{HeaderValue, request::Parts};

use self::{
    access::Access, auth::PasswordGuard, cors::CorsPolicy, error_pages::ErrorPages,
    headers::Change, rate::Bucket, redirect::Redirect, rewrite::Rewrite,
};
use crate::{
    handler::SiteRuntime,
    http::{client, compress::Compression, dispatch::ConnInfo, error::RequestError},
};

/// The rules of a route, made ready.
pub(crate) struct RulesRuntime {
    pub(crate) access: Option<Access>,
    pub(crate) https_only: bool,
    pub(crate) rate: Option<Rate>,
    pub(crate) guard: Option<PasswordGuard>,
    pub(crate) redirects: Vec<Redirect>,
    pub(crate) rewrites: Vec<Rewrite>,
    pub(crate) request_bytes_max: Option<u64>,
    pub(crate) cors: Option<CorsPolicy>,
    pub(crate) request_changes: Vec<Change>,
    pub(crate) response_changes: Vec<Change>,
    pub(crate) hsts: Option<HeaderValue>,
    pub(crate) compression: Option<Compression>,
    pub(crate) error_pages: Option<ErrorPages>,
}

/// How many requests a client may make. Routes of a site with the same numbers count together.
pub(crate) struct Rate {
    /// What is counted under, also after a change of the configuration.
    pub(crate) rule: (SiteId, [u32; 3]),
    pub(crate) bucket: Bucket,
}

impl RulesRuntime {
    /// `None` where nothing happens around the answer.
    pub(crate) fn new(rules: &Rules, site: SiteId) -> Option<Self> {
        if *rules == Rules::default() {
            return None;
        }
        let rate = |RateLimit { requests, seconds, burst }: RateLimit| Rate {
            rule: (site, [requests, seconds, burst]),
            bucket: Bucket::new(requests, seconds, burst),
        };
        Some(Self {
            access: Access::new(&rules.access),
            https_only: rules.https_only,
            rate: rules.rate_limit.map(rate),
            guard: rules.basic_auth.as_ref().map(PasswordGuard::new),
            redirects: rules.redirects.iter().filter_map(Redirect::new).collect(),
            rewrites: rules.rewrites.iter().filter_map(Rewrite::new).collect(),
            request_bytes_max: rules.request_bytes_max,
            cors: rules.cors.as_ref().map(CorsPolicy::new),
            request_changes: headers::changes(&rules.request_headers),
            response_changes: headers::changes(&rules.response_headers),
            hsts: rules.hsts.and_then(headers::hsts),
            compression: rules.compress.as_ref().map(Compression::new),
            error_pages: ErrorPages::new(&rules.error_pages),
        })
    }
}

/// Who asks, and whether by https. The one place that says so for rules.
pub(crate) fn client(request: &Parts, info: &ConnInfo, site: &SiteRuntime) -> (IpAddr, bool) {
    let (peer, https) = (info.connection.peer, info.tls.is_some());
    let client = client::client(peer, https, "", &request.headers, &site.trusted_proxies);
    (client.address, client.https)
}

/// The answer to who came too often.
pub(crate) fn too_many(wait: Duration) -> RequestError {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let retry_after_seconds = u32::try_from(seconds).unwrap_or(u32::MAX).max(1);
    RequestError::TooManyRequests { retry_after_seconds }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_without_rules_has_none() {
        assert!(RulesRuntime::new(&Rules::default(), SiteId(1)).is_none());
        let rules = Rules { request_bytes_max: Some(1), ..Rules::default() };
        assert!(RulesRuntime::new(&rules, SiteId(1)).is_some());
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds() {
        for (milliseconds, expected) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (u64::MAX, u32::MAX)]
        {
            match too_many(Duration::from_millis(milliseconds)) {
                RequestError::TooManyRequests { retry_after_seconds } => {
                    assert_eq!(retry_after_seconds, expected);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
