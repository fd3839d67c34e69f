//! Rules of the URL Rewrite module as rules of ours: redirects, rewrites, requests that are refused or
//! left alone, and servers that requests are handed to.
//!
//! A rule is taken apart until each part can be said here: one for each of several conditions of
//! which one is enough, one for each scheme where it speaks of it, one for each entry of a map. What
//! is then the same for every request is reckoned out at once.

mod expression;
mod rule;

use std::{collections::BTreeMap, rc::Rc};

use bindery_model::{
    problem::Code,
    rules::{Condition, PathPattern, RedirectRule, RedirectTo, RewriteRule, RewriteTo},
    upstream::{Proxy, UpstreamHost},
};

use self::{expression::literal_start, rule::Rule};
use super::{
    redirect::escape,
    sections::{Sections, Shared, Written},
    value::boolean,
};
use crate::xml::Element;

/// `rewriteMaps`, by name in lower case.
pub(super) type Maps = BTreeMap<String, Map>;

/// A map.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Map {
    default: String,
    entries: Vec<(String, String)>,
}

impl Map {
    fn find(&self, key: &str) -> &str {
        let found = self.entries.iter().find(|(own, _)| own.eq_ignore_ascii_case(key));
        found.map_or(self.default.as_str(), |(_, value)| value)
    }
}

/// `rewrite/rules`, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rules(Vec<(String, Vec<Outcome>)>);

/// What a rule comes to.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Redirect(RedirectRule),
    /// `next` is 1 where the next rule sees the new path.
    Rewrite(RewriteRule),
    /// What the rule is for stays as it is.
    Stay(PathPattern, Vec<Condition>),
    /// Requests below a path are handed to another server.
    Proxy(Box<Handed>),
}

/// What is handed to another server.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Handed {
    /// Below which path of the site.
    pub(super) path: String,
    pub(super) proxy: Proxy,
    /// Paths below that stay: their files are served here.
    pub(super) except: Vec<String>,
}

impl Handed {
    fn pattern(&self) -> PathPattern {
        PathPattern::Regex(format!("(?i)^{}(?:/|$)", escape(self.path.trim_end_matches('/'))))
    }

    /// How a path below its own is handed on.
    pub(super) fn at(&self, path: &str) -> Option<Proxy> {
        let own = self.path.trim_end_matches('/');
        let (head, rest) = path.split_at_checked(own.len())?;
        let covers = head.eq_ignore_ascii_case(own) && (rest.is_empty() || rest.starts_with('/'));
        let mut proxy = self.proxy.clone();
        proxy.path = proxy.path.map(|own| format!("{}{rest}", own.trim_end_matches('/')));
        proxy.path = proxy.path.map(|own| if own.is_empty() { "/".to_owned() } else { own });
        covers.then_some(proxy)
    }
}

impl Rules {
    /// Those that redirect or refuse, up to where a rewrite goes on. Where an earlier rule does
    /// something else with a request, a later one is not for it.
    pub(super) fn redirects(&self) -> Vec<RedirectRule> {
        let mut redirects: Vec<RedirectRule> = Vec::new();
        let mut before: Vec<RedirectRule> = Vec::new();
        for outcome in self.outcomes() {
            let (path, when) = match outcome {
                Outcome::Redirect(rule) => {
                    redirects.append(&mut before);
                    redirects.push(rule.clone());
                    continue;
                }
                Outcome::Rewrite(rule) if goes_on(rule) => break,
                Outcome::Rewrite(RewriteRule { path, when, .. }) | Outcome::Stay(path, when) => {
                    (path.clone(), when.clone())
                }
                Outcome::Proxy(handed) => (handed.pattern(), Vec::new()),
            };
            let to = RedirectTo::Here;
            before.push(RedirectRule { path, when, to, status: 308, keep_query: true });
        }
        redirects
    }

    /// Those that rewrite, and from the first that goes on all others, too.
    pub(super) fn rewrites(&self) -> Vec<RewriteRule> {
        let mut rewrites: Vec<(usize, RewriteRule)> = Vec::new();
        let mut before: Vec<(usize, RewriteRule)> = Vec::new();
        let mut gone_on = false;
        let each = self.0.iter().enumerate();
        for (source, outcome) in
            each.flat_map(|(at, (_, all))| all.iter().map(move |one| (at, one)))
        {
            let stay = |path: PathPattern, when| RewriteRule { path, when, to: RewriteTo::Here };
            let rule = match outcome {
                Outcome::Rewrite(rule) => {
                    gone_on |= goes_on(rule);
                    rule.clone()
                }
                Outcome::Redirect(RedirectRule { path, when, to, status, keep_query }) => {
                    if !gone_on {
                        continue;
                    }
                    let to = match to {
                        RedirectTo::Target(to) => Some(to.clone()),
                        RedirectTo::Refused | RedirectTo::Here => None,
                    };
                    let (status, keep_query) = (*status, *keep_query);
                    let to = RewriteTo::Answer { to, status, keep_query };
                    RewriteRule { path: path.clone(), when: when.clone(), to }
                }
                Outcome::Stay(path, when) => {
                    before.push((source, stay(path.clone(), when.clone())));
                    continue;
                }
                Outcome::Proxy(handed) => {
                    before.push((source, stay(handed.pattern(), Vec::new())));
                    continue;
                }
            };
            rewrites.append(&mut before);
            rewrites.push((source, rule));
        }
        let sources: Vec<_> = rewrites.iter().map(|(source, _)| *source).collect();
        let rules = rewrites.into_iter().enumerate().map(|(at, (own, mut rule))| {
            if let RewriteTo::Path { next: next @ 1, .. } = &mut rule.to {
                // Behind what else came of the same rule: it is for a request once.
                let behind = sources.iter().skip(at).position(|source| *source != own);
                *next = behind.and_then(|next| u16::try_from(next).ok()).unwrap_or_default();
            }
            rule
        });
        rules.collect()
    }

    /// What is handed to other servers.
    pub(super) fn handed(&self) -> impl Iterator<Item = &Handed> {
        self.outcomes().filter_map(|outcome| match outcome {
            Outcome::Proxy(handed) => Some(&**handed),
            Outcome::Redirect(_) | Outcome::Rewrite(_) | Outcome::Stay(..) => None,
        })
    }

    fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.0.iter().flat_map(|(_, outcomes)| outcomes)
    }

    /// The paths below another that rules before keep here, where it can be said of all of them.
    fn kept_below(&self, path: &str) -> Option<Vec<String>> {
        let path = format!("{}/", path.trim_end_matches('/')).to_lowercase();
        let mut kept = Vec::new();
        for outcome in self.outcomes() {
            let (pattern, when) = match outcome {
                Outcome::Rewrite(rule) => (&rule.path, None),
                Outcome::Stay(path, when) => (path, Some(when)),
                Outcome::Redirect(_) | Outcome::Proxy(_) => continue,
            };
            let PathPattern::Regex(text) = pattern else { return None };
            let (start, is_whole) = literal_start(text);
            let start = start.to_lowercase();
            if !start.starts_with(&path) && !path.starts_with(&start) {
                continue;
            }
            let whole = is_whole && start.len() > path.len() && when.is_some_and(Vec::is_empty);
            let folder = start.strip_suffix('/').filter(|_| whole)?;
            kept.push(folder.to_owned());
        }
        Some(kept)
    }
}

impl Sections {
    pub(super) fn read_rules(&mut self, written: &Written<'_, '_>, shared: &mut Shared<'_>) {
        let maps = Rc::clone(&self.maps);
        let keep_host = self.keep_host;
        let rules = Rc::make_mut(&mut self.rules);
        for entry in written.children() {
            let name = entry.value("name").unwrap_or_default().into_owned();
            match entry.name() {
                "clear" => rules.0.clear(),
                "remove" => rules.0.retain(|(own, _)| *own != name),
                "rule" => {
                    if entry.value("enabled").and_then(|text| boolean(&text)) == Some(false) {
                        continue;
                    }
                    if rules.0.iter().any(|(own, _)| *own == name && !name.is_empty()) {
                        written.twice(entry, &format!("the rule {name:?}"), shared);
                        rules.0.retain(|(own, _)| *own != name);
                    }
                    let read = Rule::read(entry, written.level.path);
                    let read = read.and_then(|rule| rule.outcomes(&maps));
                    let read = read.and_then(|mut outcomes| {
                        for outcome in &mut outcomes {
                            if let Outcome::Proxy(handed) = outcome {
                                let kept = rules.kept_below(&handed.path);
                                handed.except = kept.ok_or("it hands requests to another server, and rules before it keep some here")?;
                                if keep_host {
                                    handed.proxy.host = UpstreamHost::Keep;
                                }
                            }
                        }
                        Ok(outcomes)
                    });
                    match read {
                        Ok(outcomes) => rules.0.push((name, outcomes)),
                        Err(why) => not_done(written, entry, &why, shared),
                    }
                }
                _ => written.unknown(entry, shared),
            }
        }
    }

    pub(super) fn read_maps(&mut self, written: &Written<'_, '_>, shared: &mut Shared<'_>) {
        let maps = Rc::make_mut(&mut self.maps);
        for entry in written.children() {
            let name = entry.value("name").unwrap_or_default().to_lowercase();
            match entry.name() {
                "clear" => maps.clear(),
                "remove" => drop(maps.remove(&name)),
                "rewriteMap" => {
                    let map = maps.entry(name).or_default();
                    if let Some(default) = entry.value("defaultValue") {
                        map.default = default.into_owned();
                    }
                    for pair in entry.children() {
                        let key = pair.value("key").unwrap_or_default().into_owned();
                        let same = |(own, _): &(String, String)| own.eq_ignore_ascii_case(&key);
                        match pair.name() {
                            "clear" => map.entries.clear(),
                            "remove" => map.entries.retain(|own| !same(own)),
                            "add" => {
                                if map.entries.iter().any(same) {
                                    written.twice(pair, &format!("the key {key:?}"), shared);
                                    map.entries.retain(|own| !same(own));
                                }
                                let value = pair.value("value").unwrap_or_default().into_owned();
                                map.entries.push((key, value));
                            }
                            _ => written.unknown(pair, shared),
                        }
                    }
                }
                _ => written.unknown(entry, shared),
            }
        }
    }

    /// `proxy`, of Application Request Routing.
    pub(super) fn read_proxy(&mut self, written: &Written<'_, '_>, shared: &mut Shared<'_>) {
        if let Some(keep) = written.values(shared).boolean("preserveHostHeader") {
            self.keep_host = keep;
        }
    }
}

/// Reports a rule that is not done: what one refuses is served, which must not stay unseen.
fn not_done(written: &Written<'_, '_>, rule: Element<'_>, why: &str, shared: &mut Shared<'_>) {
    let name = rule.value("name").unwrap_or_default();
    let message = format!("the rewrite rule {name:?} is not done: {why}");
    let refuses = rule.child("action").and_then(|action| {
        let kind = action.value("type")?.to_ascii_lowercase();
        let status = action.value("statusCode").and_then(|text| text.trim().parse::<u16>().ok());
        Some(kind == "abortrequest" || kind == "customresponse" && status >= Some(400))
    });
    if refuses != Some(true) {
        return written.hint(rule.tag(), message, shared);
    }
    let message = format!("{message}; what it refuses is served");
    let help = "write it otherwise, or protect what it keeps from clients with requestFiltering";
    let (source, span) = (&*written.level.source, rule.tag());
    shared.report.problem((source, span), Code::NotEnforced, message, help);
}

/// Whether later rules see the new path.
fn goes_on(rule: &RewriteRule) -> bool {
    matches!(rule.to, RewriteTo::Path { next: 1.., .. })
}

#[cfg(test)]
mod tests;
