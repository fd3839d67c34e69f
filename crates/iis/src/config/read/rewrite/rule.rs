//! A rule taken apart until each part can be said here.

use bindery_model::{
    decide::{
        condition::Asked,
        rewrite::{Function, Replacement},
    },
    document::{read_path_target, read_target},
    rules::{
        Condition, Part, PathPattern, RedirectRule, RedirectTo, RewriteRule, RewriteTo, Test, regex,
    },
    upstream::{Proxy, Upstream, UpstreamHost},
};

use super::{
    super::{
        redirect::escape,
        template::{Template, Token, field_of},
        upstream::upstream_of,
        value::{boolean, word},
    },
    Handed, Maps, Outcome,
    expression::{Expression, NOT_UNDERSTOOD, Syntax, anchors_some, with_names},
};
use crate::xml::Element;

/// So many entries of a map become rules.
const MAP_ENTRIES_MAX: usize = 2000;
/// The status for a request that IIS would not answer at all.
const ABORTED: u16 = 403;

/// What says how a request came, and what each says of http and of https.
const SCHEMES: [(&str, [&str; 2]); 3] = [
    ("HTTPS", ["off", "on"]),
    ("SERVER_PORT_SECURE", ["0", "1"]),
    ("REQUEST_SCHEME", ["http", "https"]),
];

/// A rule as it is written, or a part of one.
#[derive(Clone)]
pub(super) struct Rule<'a> {
    base: &'a str,
    /// Its pattern, as a regular expression of the path behind that of its level and a slash.
    url: Expression,
    conditions: Vec<Wanted>,
    any: bool,
    /// Whether back references count through all conditions.
    track_all: bool,
    /// What is known of the request already.
    known: Vec<Condition>,
    /// The one path that it is for, where that is known.
    path: Option<String>,
    kind: Action,
    to: Template,
    element: Element<'a>,
}

/// Conditions of ours, and a target with what they hold as far as it is known.
pub(super) type Held = (Vec<Condition>, Template);

/// A condition as it is written.
#[derive(Clone)]
pub(super) struct Wanted {
    input: Template,
    test: Find,
    negate: bool,
}

#[derive(Clone)]
pub(super) enum Find {
    File,
    Folder,
    Pattern(Expression),
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Action {
    Nothing { stop: bool },
    Rewrite { stop: bool },
    Redirect,
    Refuse(u16),
}

impl<'a> Rule<'a> {
    pub(super) fn read(entry: Element<'a>, base: &'a str) -> Result<Self, String> {
        let wanted = entry.child("match").ok_or("it has no match")?;
        let syntaxes = [
            ("ECMAScript", 0, Syntax::Regex),
            ("Wildcard", 1, Syntax::Wildcard),
            ("ExactMatch", 2, Syntax::Exact),
        ];
        let syntax = entry.value("patternSyntax");
        let syntax = syntax.as_deref().map_or(Some(Syntax::Regex), |text| word(text, &syntaxes));
        let syntax = syntax.ok_or("its patternSyntax is not known")?;
        let url = wanted.value("url").unwrap_or_default();
        let ignore_case = flag(wanted, "ignoreCase") != Some(false);
        let mut url = Expression::read(&url, syntax, ignore_case)?;
        let mut known = Vec::new();
        if flag(wanted, "negate") == Some(true) {
            if !url.not.is_empty() {
                return Err(NOT_UNDERSTOOD.to_owned());
            }
            let (regex, _) = url.below(base)?;
            known.push(Condition { test: Test::Text { of: Part::Path, regex }, negate: true });
            url = Expression { text: ".*".to_owned(), not: Vec::new(), ignore_case };
        }
        let (mut conditions, mut any, mut track_all) = (Vec::new(), false, false);
        for list in entry.children_named("conditions") {
            any = list.value("logicalGrouping").is_some_and(|text| text == "MatchAny");
            track_all = flag(list, "trackAllCaptures") == Some(true);
            for one in list.children_named("add") {
                conditions.push(Wanted::read(one, syntax)?);
            }
        }
        if entry.child("serverVariables").is_some_and(|list| list.children().next().is_some()) {
            return Err("it sets server variables".to_owned());
        }
        let element = entry.child("action").ok_or("it has no action")?;
        let kind = Action::read(element, flag(entry, "stopProcessing") == Some(true))?;
        let to = Template::read(&element.value("url").unwrap_or_default())?;
        let has_whole = to.has_whole() || conditions.iter().any(|one| one.input.has_whole());
        if has_whole && anchors_some(&url.text) {
            return Err("only some of its alternatives begin with ^".to_owned());
        }
        let path = None;
        let any = any && conditions.len() > 1;
        Ok(Self { base, url, conditions, any, track_all, known, path, kind, to, element })
    }

    /// What it comes to, in order.
    pub(super) fn outcomes(self, maps: &Maps) -> Result<Vec<Outcome>, String> {
        if self.kind == (Action::Nothing { stop: false }) {
            return Ok(Vec::new());
        }
        let mut rules = match self.any {
            false => vec![self],
            true => {
                let each = self.conditions.iter().map(|one| Self {
                    conditions: vec![one.clone()],
                    any: false,
                    ..self.clone()
                });
                each.collect()
            }
        };
        rules = rules.into_iter().flat_map(Self::by_scheme).collect();
        let mut outcomes = Vec::new();
        for rule in rules {
            for rule in rule.by_map(maps)? {
                outcomes.extend(rule.outcome()?);
            }
        }
        Ok(outcomes)
    }

    fn templates(&mut self) -> impl Iterator<Item = &mut Template> {
        let inputs = self.conditions.iter_mut().map(|one| &mut one.input);
        inputs.chain([&mut self.to])
    }

    /// One for each scheme, where it speaks of it.
    fn by_scheme(mut self) -> Vec<Self> {
        for one in &mut self.conditions {
            // Its scheme alone is asked for, whatever is behind.
            let Find::Pattern(pattern) = &one.test else { continue };
            let known = ["^(https?)://", "^(.+)://", "^(.*)://"].contains(&pattern.text.as_str());
            if known && one.input.is_variable("CACHE_URL") {
                one.input = Template(vec![
                    Token::Variable("REQUEST_SCHEME".to_owned()),
                    Token::Text("://".to_owned()),
                ]);
            }
        }
        let speaks = |name: &str, rule: &mut Self| rule.templates().any(|one| one.has(name));
        if !SCHEMES.iter().any(|(name, _)| speaks(name, &mut self)) {
            return vec![self];
        }
        let each = [false, true].map(|secure| {
            let mut rule = self.clone();
            for (name, [off, on]) in SCHEMES {
                let value = if secure { on } else { off };
                rule.templates().for_each(|one| one.put(name, value));
            }
            rule.known.push(Condition { test: Test::Https, negate: !secure });
            rule
        });
        each.into()
    }

    /// One for each entry of a map, where it has one.
    fn by_map(mut self, maps: &Maps) -> Result<Vec<Self>, String> {
        for template in self.templates() {
            template.look_up(&|name, key| Some(maps.get(name)?.find(key).to_owned()));
        }
        let mut used = None;
        for template in self.templates() {
            used =
                used.or_else(|| template.map().map(|(name, key)| (name.to_owned(), key.clone())));
        }
        let Some((name, key)) = used else { return Ok(vec![self]) };
        let map = maps.get(&name).ok_or_else(|| format!("{{{name}:...}} is not known here"))?;
        if map.entries.len() > MAP_ENTRIES_MAX {
            return Err(format!("its map {name} has more than {MAP_ENTRIES_MAX} entries"));
        }
        let with = |rule: &Self, value: &str| {
            let mut rule = rule.clone();
            rule.templates().for_each(|one| {
                one.look_up(&|own, _| (own == name).then(|| value.to_owned()));
                one.put_map(&name, &key, value);
            });
            rule
        };
        let mut rules = Vec::new();
        let mut lost = false;
        for (entry, value) in &map.entries {
            let rule = with(&self, value);
            match rule.only_for(&key, entry)? {
                Some(rule) if !rule.is_never() => rules.push(rule),
                _ => lost = true,
            }
        }
        let default = with(&self, &map.default);
        if !default.is_never() {
            // What the map has and the rule is not for would come here.
            if lost {
                return Err(format!("it is for what its map {name} has not, too"));
            }
            rules.push(default);
        }
        Ok(rules)
    }

    /// The rule for the one request that a key of a map is: `None` where it is for none.
    fn only_for(mut self, key: &Template, entry: &str) -> Result<Option<Self>, String> {
        // Keys have no case.
        if let [Token::Function(Function::Lower, key)] = key.0.as_slice() {
            return self.only_for(key, entry);
        }
        let (path, query) = match key.0.as_slice() {
            [Token::Variable(name)] if name == "REQUEST_URI" => match entry.split_once('?') {
                Some((path, query)) => (path.to_owned(), Some(query)),
                None => (entry.to_owned(), Some("")),
            },
            [Token::Variable(name)] if ["URL", "PATH_INFO"].contains(&name.as_str()) => {
                (entry.to_owned(), None)
            }
            [Token::Rule(number)] => {
                let path = format!("{}/{entry}", self.base.trim_end_matches('/'));
                let (whole, _) = self.url.below(self.base)?;
                let captures = regex(&whole).map_err(|_| NOT_UNDERSTOOD)?;
                let held = captures.captures(&path);
                let held = held.and_then(|held| Some(held.get(*number + 1)?.as_str().to_owned()));
                if held.as_deref() != Some(entry) {
                    return Err("a part of the path is looked up in a map".to_owned());
                }
                (path, None)
            }
            _ => return Err("what it looks up in a map cannot be said here".to_owned()),
        };
        if !path.starts_with('/') {
            return Ok(None);
        }
        if let Some(query) = query {
            let regex = format!("^{}$", escape(query));
            self.known
                .push(Condition { test: Test::Text { of: Part::Query, regex }, negate: false });
        }
        self.path = Some(path);
        Ok(Some(self))
    }

    /// Whether a condition of it is never true.
    fn is_never(&self) -> bool {
        self.conditions.iter().any(|one| one.is_known() == Some(false))
    }

    fn outcome(self) -> Result<Option<Outcome>, String> {
        let (pattern, mut when) = self.pattern()?;
        let Some((more, to)) = self.conditions()? else { return Ok(None) };
        when.extend(more);
        when.extend(self.known.iter().cloned());
        when.sort();
        when.dedup();
        if let Some(path) = &self.path {
            let asked = Asked::of(path.as_bytes());
            let whole = Replacement::new(&self.pattern()?.0, &[], None);
            if !whole.is_ok_and(|whole| whole.target(&asked, true).is_some()) {
                return Ok(None);
            }
        }
        Ok(Some(match self.kind {
            Action::Nothing { .. } => Outcome::Stay(pattern, when),
            Action::Refuse(status) => {
                let to = RedirectTo::Refused;
                Outcome::Redirect(RedirectRule {
                    path: pattern,
                    when,
                    to,
                    status,
                    keep_query: true,
                })
            }
            Action::Redirect => self.redirect(pattern, when, &to)?,
            Action::Rewrite { stop } => self.rewrite(pattern, when, &to, stop)?,
        }))
    }

    /// Which paths it is for.
    fn pattern(&self) -> Result<(PathPattern, Vec<Condition>), String> {
        let (whole, not) = self.url.below(self.base)?;
        let not = not
            .into_iter()
            .map(|regex| Condition { test: Test::Text { of: Part::Path, regex }, negate: true });
        let mut when: Vec<_> = not.collect();
        if let Some(path) = &self.path {
            let regex = format!("(?i)^{}$", escape(path));
            when.push(Condition { test: Test::Text { of: Part::Path, regex }, negate: false });
        }
        Ok((PathPattern::Regex(whole), when))
    }

    /// Its conditions, and its target with what they hold; `None` where one is never true.
    fn conditions(&self) -> Result<Option<Held>, String> {
        let mut to = self.to.clone();
        let mut all = Vec::new();
        let mut first = 1;
        // What is held is that of the last one that holds anything.
        let last = self.conditions.iter().rposition(Wanted::holds);
        for (place, one) in self.conditions.iter().enumerate() {
            let names =
                to.has_condition() && one.holds() && (self.track_all || Some(place) == last);
            match one.is_known() {
                Some(false) => return Ok(None),
                Some(true) => {
                    if names {
                        let groups = one.groups();
                        to.put_conditions(&groups, first - 1);
                        first += groups.len().saturating_sub(1);
                    }
                    continue;
                }
                None => {}
            }
            let names = names.then_some(first);
            let (conditions, groups) = one.conditions(names)?;
            first += groups;
            all.extend(conditions);
        }
        Ok(Some((all, to)))
    }

    fn redirect(
        &self,
        path: PathPattern,
        when: Vec<Condition>,
        to: &Template,
    ) -> Result<Outcome, String> {
        let kinds = [
            ("Permanent", 301, 301),
            ("Found", 302, 302),
            ("SeeOther", 303, 303),
            ("Temporary", 307, 307),
        ];
        let kind = self.element.value("redirectType");
        let status = kind.as_deref().map_or(Some(301), |text| word(text, &kinds));
        let status = status.ok_or("its redirectType is not known")?;
        let (target, query) = self.target(to)?;
        let to =
            read_target(&target).map_err(|why| format!("no redirect goes to {target:?}: {why}"))?;
        Replacement::new(&path, &when, Some(&to)).map_err(|error| error.to_string())?;
        let keep_query = query.unwrap_or_else(|| self.keeps_query());
        let to = RedirectTo::Target(to);
        Ok(Outcome::Redirect(RedirectRule { path, when, to, status, keep_query }))
    }

    fn rewrite(
        &self,
        path: PathPattern,
        when: Vec<Condition>,
        to: &Template,
        stop: bool,
    ) -> Result<Outcome, String> {
        if let Some(Token::Text(text)) = to.0.first()
            && text.contains("://")
        {
            return self.hand(&when, to).map(|handed| Outcome::Proxy(Box::new(handed)));
        }
        let (to, query) = self.target(to)?;
        read_path_target(&to).map_err(|why| format!("no rewrite goes to {to:?}: {why}"))?;
        Replacement::new(&path, &when, Some(&to)).map_err(|error| error.to_string())?;
        let keep_query = query.unwrap_or_else(|| self.keeps_query());
        let to = RewriteTo::Path { to, keep_query, next: u16::from(!stop) };
        Ok(Outcome::Rewrite(RewriteRule { path, when, to }))
    }

    /// Everything below a path handed to another server: the rule is for all of it, and what
    /// follows the path follows that of the target.
    fn hand(&self, when: &[Condition], to: &Template) -> Result<Handed, String> {
        const WHY: &str = "it hands some requests to another server; only whole paths are, as by \"^api/(.*)\" to \"http://server/{R:1}\"";
        let (Some(Token::Text(server)), rest) = (to.0.first(), to.0.get(1..).unwrap_or_default())
        else {
            return Err(WHY.to_owned());
        };
        if !when.is_empty() || !self.keeps_query() {
            return Err(WHY.to_owned());
        }
        let bare = self.url.text.trim_start_matches('^').trim_end_matches('$');
        let plain = |text: &str| {
            let unescaped = text.replace("\\.", ".").replace("\\-", "-").replace("\\/", "/");
            let letter = |c: char| c.is_ascii_alphanumeric() || "-_./~".contains(c);
            unescaped.chars().all(letter).then_some(unescaped)
        };
        let base = self.base.trim_end_matches('/');
        // What it is for, and what of it the first group holds: the path below.
        let (below, group) = match ["(.*)", "(.+)", ".*", ".+"]
            .iter()
            .find_map(|end| Some((bare.strip_suffix(end)?, end.starts_with('('))))
        {
            Some((before, group)) => (plain(before).ok_or(WHY)?, group),
            None => return Err(WHY.to_owned()),
        };
        if !below.is_empty() && (!self.url.text.starts_with('^') || !below.ends_with('/')) {
            return Err(WHY.to_owned());
        }
        let own = format!("{base}/{}", below.trim_end_matches('/'));
        let own = if own == "/" { own } else { own.trim_end_matches('/').to_owned() };
        let (upstream, target) =
            upstream_of(server).ok_or_else(|| format!("{server:?} names no server"))?;
        let target = match rest {
            [Token::Rule(1)] if group => target,
            // The whole of what fits, from the level on.
            [Token::Rule(0)] => format!("{target}{below}"),
            [Token::Variable(name)] if name == "REQUEST_URI" || name == "URL" => {
                format!("{}{}/", target.trim_end_matches('/'), own.trim_end_matches('/'))
            }
            _ => return Err(WHY.to_owned()),
        };
        if !target.ends_with('/') {
            return Err(WHY.to_owned());
        }
        let target = if target == "/" { target } else { target.trim_end_matches('/').to_owned() };
        let same = target == own;
        let proxy = Proxy {
            path: (!same).then_some(target),
            host: UpstreamHost::Server,
            ..Proxy::to(Upstream::of(vec![upstream]))
        };
        Ok(Handed { path: own, proxy, except: Vec::new() })
    }

    fn keeps_query(&self) -> bool {
        flag(self.element, "appendQueryString").unwrap_or(true)
    }

    /// A target of ours, and whether the query is kept behind it, where the target says so: one with
    /// `{REQUEST_URI}` has it, once.
    fn target(&self, to: &Template) -> Result<(String, Option<bool>), String> {
        const PATHS: [&str; 4] = ["${path}", "${lower:path}", "${uri}", "${lower:uri}"];
        if let Some(Token::Variable(name)) = to.0.first()
            && (field_of(name).is_some_and(|_| name != "HTTP_HOST") || name == "QUERY_STRING")
        {
            return Err(format!("it leads to {{{name}}}, wherever a client wants"));
        }
        let mut whole = to.written()?;
        let query_at = whole.find('?').unwrap_or(whole.len());
        let mut query = None;
        let (path, behind) = whole.split_at(query_at);
        if path.contains("${uri}") {
            query = Some(true);
            whole = format!("{}{behind}", path.replace("${uri}", "${path}"));
        } else if path.contains("${lower:uri}") {
            query = Some(false);
        }
        let begins = |start: &str| whole.starts_with(start);
        if whole.contains("://") || begins("/") || PATHS.into_iter().any(begins) {
            // Two slashes come of a path behind one.
            let whole = PATHS
                .iter()
                .fold(whole.clone(), |whole, path| whole.replace(&format!("/{path}"), path));
            return Ok((whole, query));
        }
        Ok((format!("{}/{whole}", self.base.trim_end_matches('/')), query))
    }
}

impl Action {
    fn read(element: Element<'_>, stop: bool) -> Result<Self, String> {
        let status = element.value("statusCode").and_then(|text| text.trim().parse::<u16>().ok());
        let kinds = [
            ("None", 0, Self::Nothing { stop }),
            ("Rewrite", 1, Self::Rewrite { stop }),
            ("Redirect", 2, Self::Redirect),
            ("CustomResponse", 3, Self::Refuse(status.unwrap_or_default())),
            ("AbortRequest", 4, Self::Refuse(ABORTED)),
        ];
        let kind = element.value("type").unwrap_or_default();
        match word(&kind, &kinds).ok_or("its action is not known")? {
            Self::Refuse(status) if !(400..=599).contains(&status) => {
                Err(format!("it answers {status}: errors only are answered by rules"))
            }
            kind => Ok(kind),
        }
    }
}

impl Wanted {
    fn read(entry: Element<'_>, syntax: Syntax) -> Result<Self, String> {
        let input = Template::read(&entry.value("input").unwrap_or_default())?;
        let negate = flag(entry, "negate") == Some(true);
        let kind = entry.value("matchType").unwrap_or_default().to_ascii_lowercase();
        let is_path = input.is_variable("REQUEST_FILENAME");
        let test = match kind.as_str() {
            "isfile" if is_path => Find::File,
            "isdirectory" if is_path => Find::Folder,
            "" | "pattern" => {
                let pattern = entry.value("pattern").unwrap_or_default();
                let ignore_case = flag(entry, "ignoreCase") != Some(false);
                Find::Pattern(Expression::read(&pattern, syntax, ignore_case)?)
            }
            _ => return Err(format!("its condition on {} cannot be said here", input.shown())),
        };
        Ok(Self { input, test, negate })
    }

    /// Whether back references may be to what it holds.
    fn holds(&self) -> bool {
        matches!(self.test, Find::Pattern(_)) && !self.negate
    }

    /// Whether it is true, where that is the same for every request.
    fn is_known(&self) -> Option<bool> {
        let Find::Pattern(pattern) = &self.test else { return None };
        let text = self.input.constant()?;
        let mut all = pattern.all().map(|one| regex(&one).is_ok_and(|one| one.is_match(&text)));
        let found = all.next().unwrap_or(false) && !all.any(|found| found);
        Some(found != self.negate)
    }

    /// What its groups hold, the whole first, where that is the same for every request.
    fn groups(&self) -> Vec<String> {
        let Find::Pattern(pattern) = &self.test else { return Vec::new() };
        let text = self.input.constant().unwrap_or_default();
        let made = pattern.all().next().and_then(|one| regex(&one).ok());
        let captures = made.as_ref().and_then(|made| made.captures(&text));
        captures.map_or_else(Vec::new, |held| {
            held.iter().map(|one| one.map_or("", |one| one.as_str()).to_owned()).collect()
        })
    }

    /// Conditions of ours; its groups are called after numbers from `first` on, where that is said.
    fn conditions(&self, first: Option<usize>) -> Result<(Vec<Condition>, usize), String> {
        let pattern = match &self.test {
            Find::File => {
                return Ok((vec![Condition { test: Test::File, negate: self.negate }], 0));
            }
            Find::Folder => {
                return Ok((vec![Condition { test: Test::Folder, negate: self.negate }], 0));
            }
            Find::Pattern(pattern) => pattern,
        };
        if self.negate && !pattern.not.is_empty() {
            return Err(NOT_UNDERSTOOD.to_owned());
        }
        let shown = |_| format!("its condition on {} cannot be said here", self.input.shown());
        let asks_for_port = pattern.text.replace("(?:", "").contains(':');
        let of = match self.input.0.as_slice() {
            [Token::Variable(name)] if name == "HTTP_HOST" && asks_for_port => {
                Part::Template("${lower:authority}".to_owned())
            }
            [Token::Variable(name)] if part(name).is_some() => part(name).unwrap_or(Part::Path),
            _ if self.input.has_condition() => return Err(shown(String::new())),
            _ => Part::Template(self.input.written().map_err(shown)?),
        };
        let (mut whole, not, groups) = match first {
            None => {
                let mut all = pattern.all();
                (all.next().unwrap_or_default(), all.collect::<Vec<_>>(), 0)
            }
            Some(first) => {
                let (named, groups) = with_names(&pattern.text, first)?;
                let whole = format!("{}(?P<c{}>{named})", pattern.case(), first - 1);
                (whole, pattern.all().skip(1).collect(), groups)
            }
        };
        if whole == "(?i)" {
            whole.clear();
        }
        regex(&whole).map_err(|_| NOT_UNDERSTOOD)?;
        let text = |regex, negate| Condition { test: Test::Text { of: of.clone(), regex }, negate };
        let mut all = vec![text(whole, self.negate)];
        all.extend(not.into_iter().map(|regex| text(regex, true)));
        Ok((all, groups))
    }
}

/// What a variable of the module is of a request.
fn part(name: &str) -> Option<Part> {
    Some(match name {
        "HTTP_HOST" | "SERVER_NAME" => Part::Host,
        "SERVER_PORT" => Part::Port,
        "URL" | "PATH_INFO" | "SCRIPT_NAME" => Part::Path,
        "REQUEST_URI" | "UNENCODED_URL" | "HTTP_URL" => Part::Uri,
        "QUERY_STRING" => Part::Query,
        "REQUEST_METHOD" | "HTTP_METHOD" => Part::Method,
        "REMOTE_ADDR" | "REMOTE_HOST" => Part::Client,
        name => Part::Field(field_of(name)?),
    })
}

fn flag(element: Element<'_>, name: &str) -> Option<bool> {
    element.value(name).and_then(|text| boolean(text.trim()))
}
