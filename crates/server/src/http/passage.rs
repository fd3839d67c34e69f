//! A request on its way through the rules of its route. The steps, in their order:
//!
//! 1. how many requests the site has under way ([`rules::site`])
//! 2. who is let in ([`rules::access`]), and whether without TLS
//! 3. how often ([`rules::rate`])
//! 4. what a preflight is told ([`rules::cors`]): browsers send no password with it, and follow no
//!    redirect
//! 5. who it is ([`rules::auth`])
//! 6. redirects ([`rules::redirect`])
//! 7. rewrites ([`rules::rewrite`]), each rule once at most; where they lead to another route, steps
//!    2 to 5 of that one, and its rules from there on
//! 8. how long the content may be
//! 9. changes to the request's fields ([`rules::headers`])
//! 10. the handler
//! 11. the page of an error ([`rules::error_pages`])
//! 12. CORS, changes to the answer's fields, Strict-Transport-Security, compression
//!
//! Each step that can be done at once is; only a password, a look for a file, the handler and a
//! page that is not in memory may have to wait.

use std::{borrow::Cow, net::IpAddr, ops::ControlFlow, sync::Arc, time::Instant};

use bindery_model::decide::{condition::Asked, rewrite::Replacement, route::decoded_path};
use http::{Method, Response, header::STRICT_TRANSPORT_SECURITY, request::Parts};

use super::{
    accept::Coding,
    body::Body,
    compress::Compression,
    content::Content,
    dispatch::{ConnInfo, Remembered, note},
    error::RequestError,
    page,
    user::User,
};
use crate::{
    handler::{RouteRuntime, SiteRuntime, static_files::probe::Probe},
    log::substatus::Substatus,
    rules::{
        self, RulesRuntime,
        auth::{Attempt, Gate, Verdict},
        cors::Grant,
        error_pages::ErrorPage,
        headers,
        rewrite::{OriginalUri, Rewritten},
        site::{LimitedSite, Share},
    },
};

/// A request on its way.
pub(super) struct Passage {
    site: Arc<Remembered>,
    /// The place of the route whose rules hold.
    place: usize,
    /// That of the route that was asked for, where a rewrite leads to another.
    came_from: Option<usize>,
    /// Whether a rule has given it another path.
    is_rewritten: bool,
    client: IpAddr,
    https: bool,
    share: Option<Share>,
    grant: Grant,
    coding: Option<Coding>,
}

/// Where it is.
pub(super) enum Stage {
    /// Its password is to be verified.
    Verify(Attempt),
    /// This rule may be for it: that depends on whether a file or a folder is there.
    Look(Rule),
    /// The handler may have it.
    Handler,
    /// It is answered.
    Answered(Result<Response<Body>, RequestError>),
    /// It is answered with this page, which must be read.
    Page(RequestError, Arc<ErrorPage>),
}

/// A rule that sends or rewrites, by its place among those of its route.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    Redirect(usize),
    Rewrite(usize),
}

/// The answer of a redirect; none where it leaves the request where it is.
type Redirected = Option<Result<Response<Body>, RequestError>>;

/// What the rules of a list come to.
enum Found<T> {
    /// This one is for the request, and leads there.
    Rule(T),
    /// One is for it, if what it asks for is there.
    Look(Rule),
    /// None is.
    Nothing,
}

impl From<RequestError> for Stage {
    fn from(error: RequestError) -> Self {
        Self::Answered(Err(error))
    }
}

impl Passage {
    /// Takes a request as far as it can go without waiting.
    pub(super) fn begin(
        site: Arc<Remembered>,
        place: usize,
        request: &mut Parts,
        info: &ConnInfo,
    ) -> (Box<Self>, Stage) {
        let (client, https) = rules::client(request, info, &site.runtime);
        let share = site.runtime.limits().map(LimitedSite::begin).transpose();
        let (share, busy) = match share {
            Ok(share) => (share, None),
            Err(error) => (None, Some(error)),
        };
        let (grant, coding) = (Grant::Nothing, None);
        let mut passage = Box::new(Self {
            site,
            place,
            came_from: None,
            is_rewritten: false,
            client,
            https,
            share,
            grant,
            coding,
        });
        let stage = match busy {
            Some(error) => error.into(),
            None => passage.enter(request, info),
        };
        (passage, stage)
    }

    pub(super) fn remembered(&self) -> &Remembered {
        &self.site
    }

    pub(super) fn site(&self) -> &SiteRuntime {
        &self.site.runtime
    }

    pub(super) fn route(&self) -> &RouteRuntime {
        self.site.runtime.route_at(self.place)
    }

    fn rules(&self) -> Option<&RulesRuntime> {
        self.route().rules.as_deref()
    }

    /// Steps 2 to 5.
    fn enter(&mut self, request: &mut Parts, info: &ConnInfo) -> Stage {
        let site = Arc::clone(&self.site);
        let Some(rules) = site.runtime.route_at(self.place).rules.as_deref() else {
            return Stage::Handler;
        };
        let process = &info.shared().process;
        let before = self.came_from.and_then(|from| site.runtime.route_at(from).rules.as_deref());
        if let Some(cors) = &rules.cors {
            self.grant = cors.grant(request);
        }
        if rules.compression.is_some() {
            self.coding = Compression::choose(&mut request.headers);
        }
        let path = request.uri.path();
        if rules.access.as_ref().is_some_and(|access| !access.admits(self.client)) {
            let reason = "the client's network is not let in";
            return RequestError::Forbidden { path: path.to_owned(), reason, sub: 6 }.into();
        }
        if rules.https_only && !self.https {
            return RequestError::TlsRequired { path: path.to_owned() }.into();
        }
        if let Some(rate) = &rules.rate {
            let counted = before.and_then(|rules| rules.rate.as_ref());
            let key = process.rates.key(rate.rule, self.client);
            if counted.is_none_or(|counted| counted.rule != rate.rule)
                && let Err(wait) = process.rates.take(key, rate.bucket, Instant::now())
            {
                return rules::too_many(wait).into();
            }
        }
        if let Some(response) = rules.cors.as_ref().and_then(|cors| cors.preflight(request)) {
            return Stage::Answered(Ok(response));
        }
        if let Some(guard) = &rules.guard {
            let passed = before.and_then(|rules| rules.guard.as_ref());
            if passed.is_none_or(|passed| !passed.is_same(guard)) {
                match guard.look(&request.headers, path, &process.passwords, Instant::now()) {
                    Verdict::Known(user) => drop(request.extensions.insert(user)),
                    Verdict::Verify(attempt) => return Stage::Verify(attempt),
                    Verdict::Refused(error) => return error.into(),
                }
            }
        }
        self.redirect(0, request, info)
    }

    /// Step 5, where it takes time, and on.
    pub(super) async fn verify(
        &mut self,
        attempt: Attempt,
        request: &mut Parts,
        info: &ConnInfo,
    ) -> Stage {
        let user = {
            let Some(guard) = self.rules().and_then(|rules| rules.guard.as_ref()) else {
                return Stage::Handler;
            };
            let process = &info.shared().process;
            let gate = Gate {
                passwords: &process.passwords,
                rates: &process.rates,
                client: self.client,
                now: Instant::now(),
            };
            guard.verify(attempt, request.uri.path(), &gate).await
        };
        match user {
            Ok(user) => {
                request.extensions.insert::<User>(user);
                self.redirect(0, request, info)
            }
            Err(error) => error.into(),
        }
    }

    /// What conditions and targets have of the request.
    fn asked<'a>(
        &'a self,
        path: &'a [u8],
        request: &'a Parts,
        info: &ConnInfo,
        field: &'a dyn Fn(&str) -> Option<Cow<'a, str>>,
    ) -> Asked<'a> {
        Asked {
            path,
            query: request.uri.query(),
            authority: &self.site.authority,
            https: self.https,
            port: info.connection.local.port(),
            method: request.method.as_str(),
            client: Some(self.client),
            field,
        }
    }

    /// The place of the route whose files are at the path: a rewrite may have left its own.
    fn route_of_files(&self, request: &Parts) -> Result<usize, RequestError> {
        match self.is_rewritten {
            true => self.site.runtime.place(request.uri.path()),
            false => Ok(self.place),
        }
    }

    /// Whether files are known that a rule asks for: it is to be looked for them then. Elsewhere
    /// nothing is there.
    fn looks(
        &self,
        replacement: &Replacement,
        request: &Parts,
    ) -> Result<Option<bool>, RequestError> {
        if !replacement.looks_for_files() {
            return Ok(Some(false));
        }
        let route = self.site.runtime.route_at(self.route_of_files(request)?);
        let files = route.handler.files().is_some();
        Ok((files || replacement.admits(false, false)).then_some(files))
    }

    /// Step 6 from a rule on, and on.
    fn redirect(&mut self, from: usize, request: &mut Parts, info: &ConnInfo) -> Stage {
        match self.find_redirect(from, request, info) {
            Ok(Found::Rule(Some(answer))) => Stage::Answered(answer),
            Ok(Found::Rule(None) | Found::Nothing) => self.rewrite(0, request, info),
            Ok(Found::Look(rule)) => Stage::Look(rule),
            Err(error) => error.into(),
        }
    }

    fn find_redirect(
        &self,
        from: usize,
        request: &Parts,
        info: &ConnInfo,
    ) -> Result<Found<Redirected>, RequestError> {
        let rules = self.rules().filter(|rules| rules.redirects.len() > from);
        let Some(rules) = rules.filter(|_| self.came_from.is_none()) else {
            return Ok(Found::Nothing);
        };
        let path = decoded(request)?;
        let field = |name: &str| field(request, name);
        let asked = self.asked(&path, request, info, &field);
        for (place, rule) in rules.redirects.iter().enumerate().skip(from) {
            let Some(target) = rule.target(&asked) else { continue };
            match self.looks(rule.replacement(), request)? {
                Some(true) => return Ok(Found::Look(Rule::Redirect(place))),
                Some(false) => return Ok(Found::Rule(rule.answer(&target, request.uri.path()))),
                None => {}
            }
        }
        Ok(Found::Nothing)
    }

    /// Step 7 from a rule on, and on. Rules lead to later ones only.
    fn rewrite(&mut self, from: usize, request: &mut Parts, info: &ConnInfo) -> Stage {
        let mut from = from;
        loop {
            let (place, rewritten) = match self.find_rewrite(from, request, info) {
                Ok(Found::Rule(found)) => found,
                Ok(Found::Nothing) => return self.arrive(request, info),
                Ok(Found::Look(rule)) => return Stage::Look(rule),
                Err(error) => return error.into(),
            };
            match self.rewritten(place, rewritten, request, info) {
                ControlFlow::Continue(next) => from = next,
                ControlFlow::Break(stage) => return stage,
            }
        }
    }

    /// What a rule at a place comes to: the place where it goes on.
    fn rewritten(
        &mut self,
        place: usize,
        rewritten: Rewritten,
        request: &mut Parts,
        info: &ConnInfo,
    ) -> ControlFlow<Stage, usize> {
        match rewritten {
            Rewritten::To(uri, next) => {
                let asked = std::mem::replace(&mut request.uri, uri);
                if !self.is_rewritten {
                    request.extensions.insert(OriginalUri(asked));
                }
                self.is_rewritten = true;
                match next {
                    0 => ControlFlow::Break(self.arrive(request, info)),
                    next => ControlFlow::Continue(place.saturating_add(next)),
                }
            }
            Rewritten::Answer(answer) => ControlFlow::Break(Stage::Answered(answer)),
            Rewritten::Here => ControlFlow::Break(self.arrive(request, info)),
        }
    }

    fn find_rewrite(
        &self,
        from: usize,
        request: &Parts,
        info: &ConnInfo,
    ) -> Result<Found<(usize, Rewritten)>, RequestError> {
        let may = self.came_from.is_none();
        let rules = self.rules().filter(|rules| may && rules.rewrites.len() > from);
        let Some(rules) = rules else { return Ok(Found::Nothing) };
        let path = decoded(request)?;
        let field = |name: &str| field(request, name);
        let asked = self.asked(&path, request, info, &field);
        for (place, rule) in rules.rewrites.iter().enumerate().skip(from) {
            // A tunnel is opened by who was asked for it, and by nobody else.
            if request.method == Method::CONNECT && rule.leads_elsewhere() {
                continue;
            }
            let Some(rewritten) = rule.target(&asked, &request.uri) else { continue };
            match self.looks(rule.replacement(), request)? {
                Some(true) => return Ok(Found::Look(Rule::Rewrite(place))),
                Some(false) => return Ok(Found::Rule((place, rewritten))),
                None => {}
            }
        }
        Ok(Found::Nothing)
    }

    /// Whether a rule that asks for files is for the request, and on.
    pub(super) async fn look(&mut self, rule: Rule, request: &mut Parts, info: &ConnInfo) -> Stage {
        let path = match decoded(request) {
            Ok(path) => path.into_owned(),
            Err(error) => return error.into(),
        };
        let site = Arc::clone(&self.site);
        let route = match self.route_of_files(request) {
            Ok(place) => site.runtime.route_at(place),
            Err(error) => return error.into(),
        };
        let below = path.get(route.path.trim_end_matches('/').len()..);
        let below = below.filter(|below| !below.is_empty()).unwrap_or(b"/");
        let found = match route.handler.files() {
            Some(files) => files.probe(below).await,
            None => Ok(Probe::Nothing),
        };
        let admits = |replacement: &Replacement| {
            // Of what may not be read nobody knows what it is: the handler says so.
            found.as_ref().is_ok_and(|found| {
                replacement.admits(*found == Probe::File, *found == Probe::Folder)
            })
        };
        let field = |name: &str| field(request, name);
        let asked = self.asked(&path, request, info, &field);
        let rules = self.rules();
        match rule {
            Rule::Redirect(place) => {
                let rule = rules.and_then(|rules| rules.redirects.get(place));
                let target = rule.filter(|rule| admits(rule.replacement()));
                let target = target.and_then(|rule| Some((rule, rule.target(&asked)?)));
                match target.map(|(rule, target)| rule.answer(&target, request.uri.path())) {
                    Some(Some(answer)) => Stage::Answered(answer),
                    Some(None) => self.rewrite(0, request, info),
                    None => self.redirect(place + 1, request, info),
                }
            }
            Rule::Rewrite(place) => {
                let rule = rules.and_then(|rules| rules.rewrites.get(place));
                let rule = rule.filter(|rule| admits(rule.replacement()));
                let from = match rule.and_then(|rule| rule.target(&asked, &request.uri)) {
                    Some(rewritten) => match self.rewritten(place, rewritten, request, info) {
                        ControlFlow::Continue(next) => next,
                        ControlFlow::Break(stage) => return stage,
                    },
                    None => place + 1,
                };
                self.rewrite(from, request, info)
            }
        }
    }

    /// The end of step 7: the route that answers, where the path is another.
    fn arrive(&mut self, request: &mut Parts, info: &ConnInfo) -> Stage {
        if !self.is_rewritten || self.came_from.is_some() {
            return self.last_steps(request);
        }
        let before = self.place;
        match self.site.runtime.place(request.uri.path()) {
            Ok(place) => self.place = place,
            Err(error) => return error.into(),
        }
        self.came_from = Some(before);
        match self.place == before {
            true => self.last_steps(request),
            false => self.enter(request, info),
        }
    }

    /// Step 9. Step 8 needs the content.
    fn last_steps(&mut self, request: &mut Parts) -> Stage {
        if let Some(rules) = self.rules() {
            headers::apply_to_request(&rules.request_changes, &mut request.headers);
        }
        Stage::Handler
    }

    /// Step 8. What goes through a tunnel is no content.
    pub(super) fn limit(&self, request: &Parts, content: &mut Content) -> Result<(), RequestError> {
        let rules = self.rules().filter(|_| request.method != Method::CONNECT);
        match rules.and_then(|rules| rules.request_bytes_max) {
            Some(bytes_max) if !content.limit(bytes_max) => {
                Err(RequestError::ContentTooLarge { bytes_max })
            }
            _ => Ok(()),
        }
    }

    /// Step 11, where the page is in memory or there is none.
    pub(super) fn page(
        &self,
        answer: Result<Response<Body>, RequestError>,
        request: &Parts,
        info: &ConnInfo,
    ) -> Stage {
        let error = match answer {
            Ok(response) => return Stage::Answered(Ok(response)),
            Err(error) => error,
        };
        let pages = self.rules().and_then(|rules| rules.error_pages.as_ref());
        let Some(page) =
            pages.and_then(|pages| pages.page(error.status(), Substatus::of(&error).sub))
        else {
            return error.into();
        };
        match page.recent(Instant::now()) {
            None => Stage::Page(error, Arc::clone(page)),
            Some(None) => error.into(),
            Some(Some(content)) => Stage::Answered(Ok(own(&error, page, content, request, info))),
        }
    }

    /// Step 12.
    pub(super) fn dress(&self, response: &mut Response<Body>, request: &Parts, info: &ConnInfo) {
        let Some(rules) = self.rules() else { return };
        if let Some(cors) = &rules.cors {
            cors.dress(&self.grant, response.headers_mut());
        }
        headers::apply(&rules.response_changes, response.headers_mut());
        if let Some(hsts) = rules.hsts.as_ref().filter(|_| self.https) {
            response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
        if let Some(compression) = &rules.compression {
            let compressions = &info.shared().process.compressions;
            let asked = (&request.method, &request.headers);
            compression.dress(self.coding, asked, response, compressions);
        }
    }

    /// The part of the request in the load of its site.
    pub(super) fn into_share(self) -> Option<Box<Share>> {
        self.share.map(Box::new)
    }
}

/// Reads the page of an error; our own where it cannot be used.
pub(super) async fn read_page(
    error: RequestError,
    page: &ErrorPage,
    request: &Parts,
    info: &ConnInfo,
) -> Result<Response<Body>, RequestError> {
    match page.read(Instant::now()).await {
        Some(content) => Ok(own(&error, page, content, request, info)),
        None => Err(error),
    }
}

/// The answer to an error with a page of the administrator's.
fn own(
    error: &RequestError,
    page: &ErrorPage,
    content: bytes::Bytes,
    request: &Parts,
    info: &ConnInfo,
) -> Response<Body> {
    note(error, request, info);
    let mut response = page::response(error);
    // For the access log, which is told of an error no other way.
    response.extensions_mut().insert(Substatus::of(error));
    page.dress(content, &mut response);
    response
}

/// The first field of a name, as far as it is text.
fn field<'a>(request: &'a Parts, name: &str) -> Option<Cow<'a, str>> {
    let value = request.headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()))
}

fn decoded(request: &Parts) -> Result<Cow<'_, [u8]>, RequestError> {
    decoded_path(request.uri.path()).map_err(|reason| RequestError::BadRequest { reason })
}
