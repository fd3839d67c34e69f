//! What must be true of a request, beside its path, for a redirect or a rewrite to be for it.
//!
//! What is at a path is not known here: who serves files looks for it, and asks afterwards.

use std::{borrow::Cow, net::IpAddr, ops::Range};

use super::{
    rewrite::group,
    template::{Kind, NoTemplate, Source, Template},
};
use crate::rules::{self, Condition, Part, Test};

/// What conditions and targets have of a request.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The path, decoded, one that [`decoded_path`](super::route::decoded_path) gave.
    pub path: &'a [u8],
    /// The query as it was sent.
    pub query: Option<&'a str>,
    /// The host that is asked for, with its port where one was sent; it was found valid.
    pub authority: &'a str,
    /// Whether it came by https, also to a proxy that is trusted.
    pub https: bool,
    /// The port that it came to.
    pub port: u16,
    /// Its method.
    pub method: &'a str,
    /// Who asks.
    pub client: Option<IpAddr>,
    /// The first field of a name.
    pub field: &'a dyn Fn(&str) -> Option<Cow<'a, str>>,
}

impl<'a> Asked<'a> {
    /// A GET for a path, of which nothing else is known.
    #[must_use]
    pub fn of(path: &'a [u8]) -> Self {
        Self {
            path,
            query: None,
            authority: "",
            https: false,
            port: 0,
            method: "GET",
            client: None,
            field: &|_| None,
        }
    }

    /// The host, lower case, without a port or a dot at its end.
    #[must_use]
    pub fn host(&self) -> Cow<'a, str> {
        let end = match self.authority.find(']') {
            Some(end) => end + 1,
            None => self.authority.find(':').unwrap_or(self.authority.len()),
        };
        let host = self.authority.get(..end).unwrap_or_default();
        let host = host.strip_suffix('.').unwrap_or(host);
        match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(host.to_ascii_lowercase()),
            false => Cow::Borrowed(host),
        }
    }

    /// A part of it, where it can be compared: a path that is not UTF-8 cannot.
    fn part(&self, part: &Part) -> Option<Input<'a>> {
        let path = || std::str::from_utf8(self.path).ok();
        let (text, kind): (Cow<'a, str>, Kind) = match part {
            Part::Host => (self.host(), Kind::Host),
            Part::Port => (self.port.to_string().into(), Kind::Host),
            Part::Path => (path()?.into(), Kind::Text),
            Part::Query => (self.query.unwrap_or_default().into(), Kind::Sent),
            Part::Uri => {
                let mut input = Input::from((Cow::Borrowed(path()?), Kind::Text));
                if let Some(query) = self.query {
                    input.push("?", Kind::Sent);
                    input.push(query, Kind::Sent);
                }
                return Some(input);
            }
            Part::Method => (self.method.into(), Kind::Text),
            Part::Client => {
                let client = self.client.map(|own| own.to_string());
                (client.unwrap_or_default().into(), Kind::Text)
            }
            Part::Field(name) => ((self.field)(name).unwrap_or_default(), Kind::Text),
            // It has been made ready, and is put together by who knows groups.
            Part::Template(_) => return None,
        };
        Some((text, kind).into())
    }
}

/// A text that is looked at, and of which kind it is up to which byte.
struct Input<'a> {
    text: Cow<'a, str>,
    first: Kind,
    /// What follows the first: where it begins.
    others: Vec<(usize, Kind)>,
}

impl<'a> From<(Cow<'a, str>, Kind)> for Input<'a> {
    fn from((text, first): (Cow<'a, str>, Kind)) -> Self {
        Self { text, first, others: Vec::new() }
    }
}

impl Input<'_> {
    fn push(&mut self, text: &str, kind: Kind) {
        let before = self.others.last().map_or(self.first, |(_, kind)| *kind);
        if self.text.is_empty() {
            self.first = kind;
        } else if before != kind {
            self.others.push((self.text.len(), kind));
        }
        self.text.to_mut().push_str(text);
    }

    /// Gives what is at a place, each kind by itself.
    fn each(&self, range: &Range<usize>, put: &mut dyn FnMut(&[u8], Kind)) {
        let starts = [(0, self.first)].into_iter().chain(self.others.iter().copied());
        let ends = self.others.iter().map(|(start, _)| *start).chain([self.text.len()]);
        for ((start, kind), end) in starts.zip(ends) {
            let part = start.max(range.start)..end.min(range.end);
            if let Some(part) = self.text.get(part).filter(|part| !part.is_empty()) {
                put(part.as_bytes(), kind);
            }
        }
    }
}

/// Conditions made ready.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    https: Vec<bool>,
    /// Whether a file must be there or must not, and a folder.
    file: Vec<bool>,
    folder: Vec<bool>,
    texts: Vec<TextTest>,
}

#[derive(Clone, Debug)]
struct TextTest {
    of: Part,
    /// The same made ready, where it is of several parts.
    template: Template,
    regex: regex::Regex,
    negate: bool,
}

/// Why conditions cannot be made ready.
pub(super) enum NoConditions {
    Regex(regex::Error),
    /// A text of several parts is none.
    Template(String, NoTemplate),
}

impl Conditions {
    /// Makes them ready; `groups` finds the groups of the path's regular expression.
    pub(super) fn new(
        conditions: &[Condition],
        groups: impl Fn(&str) -> Option<usize>,
    ) -> Result<Self, NoConditions> {
        let mut own = Self::default();
        for Condition { test, negate } in conditions {
            match test {
                Test::Https => own.https.push(!negate),
                Test::File => own.file.push(!negate),
                Test::Folder => own.folder.push(!negate),
                Test::Text { of, regex } => {
                    let regex = rules::regex(regex).map_err(NoConditions::Regex)?;
                    let template = match of {
                        Part::Template(text) => {
                            let group = |name: &str| groups(name).map(Source::Group);
                            Template::read(text, true, group)
                                .map_err(|why| NoConditions::Template(text.clone(), why))?
                        }
                        _ => Template::default(),
                    };
                    let of = of.clone();
                    own.texts.push(TextTest { of, template, regex, negate: *negate });
                }
            }
        }
        Ok(own)
    }

    /// The group of a name, in the first condition that has it and must be true.
    pub(super) fn group(&self, name: &str) -> Option<(usize, usize)> {
        // Numbers are those of the path's groups.
        if name.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let mut texts = self.texts.iter().enumerate().filter(|(_, text)| !text.negate);
        texts.find_map(|(place, text)| Some((place, group(&text.regex, name)?)))
    }

    pub(super) fn look_for_files(&self) -> bool {
        !self.file.is_empty() || !self.folder.is_empty()
    }

    pub(super) fn look_at_client(&self) -> bool {
        let of_client = |of: &Part| matches!(of, Part::Method | Part::Client | Part::Field(_));
        self.texts.iter().any(|text| of_client(&text.of) || text.template.looks_at_client())
    }

    /// Whether they look at what groups of the path's regular expression hold.
    pub(super) fn look_at_groups(&self) -> bool {
        self.texts.iter().any(|text| text.template.has_groups())
    }

    /// Whether what is at the path is as it must be.
    pub(super) fn admit(&self, is_file: bool, is_folder: bool) -> bool {
        self.file.iter().all(|wanted| *wanted == is_file)
            && self.folder.iter().all(|wanted| *wanted == is_folder)
    }

    /// What they hold of a request for which they are true, files aside.
    pub(super) fn hold<'a, 'h>(
        &self,
        asked: &Asked<'a>,
        group: &dyn Fn(usize) -> &'h str,
    ) -> Option<HeldBy<'_, 'a>> {
        self.https.iter().all(|wanted| *wanted == asked.https).then_some(())?;
        let mut inputs = Vec::with_capacity(self.texts.len());
        for text in &self.texts {
            let input = match &text.of {
                Part::Template(_) => put_together(&text.template, asked, group),
                part => asked.part(part)?,
            };
            (text.regex.is_match(&input.text) != text.negate).then_some(())?;
            inputs.push(input);
        }
        Some(HeldBy { conditions: self, inputs })
    }
}

fn put_together<'a, 'h>(
    template: &Template,
    asked: &Asked<'a>,
    group: &dyn Fn(usize) -> &'h str,
) -> Input<'a> {
    let mut input = Input::from((Cow::Borrowed(""), Kind::Host));
    template.each(asked, group, None, &mut |bytes, kind| {
        input.push(&String::from_utf8_lossy(bytes), kind);
    });
    input
}

/// What was looked at of a request, in the order of the conditions.
pub(super) struct HeldBy<'c, 'a> {
    conditions: &'c Conditions,
    inputs: Vec<Input<'a>>,
}

impl HeldBy<'_, '_> {
    /// Gives what a group of a condition holds, each kind by itself.
    pub(super) fn each(&self, place: usize, group: usize, put: &mut dyn FnMut(&[u8], Kind)) {
        let found = self.conditions.texts.get(place).zip(self.inputs.get(place));
        let Some((test, input)) = found else { return };
        let captures = test.regex.captures(&input.text);
        if let Some(range) = captures.and_then(|held| Some(held.get(group)?.range())) {
            input.each(&range, put);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decide::rewrite::Replacement, rules::PathPattern};

    fn text(of: Part, regex: &str, negate: bool) -> Condition {
        Condition { test: Test::Text { of, regex: regex.to_owned() }, negate }
    }

    #[track_caller]
    fn check(when: &[Condition], to: &str, asked: &Asked<'_>, expected: Option<&str>) {
        let path = PathPattern::Regex("^/(.*)$".to_owned());
        let made = Replacement::new(&path, when, Some(to)).unwrap();
        let target = made.target(asked, true).map(|target| target.text);
        assert_eq!(target.as_deref(), expected, "{when:?} {to}");
    }

    #[test]
    fn every_condition_must_hold() {
        let asked = Asked { authority: "WWW.a.example.:8080", ..Asked::of(b"/x") };
        let www = || text(Part::Host, r"^www\.(?P<rest>.+)$", false);
        let other = || text(Part::Host, "b", true);
        let secure = || Condition { test: Test::Https, negate: false };
        check(&[www(), other()], "https://${rest}/$1", &asked, Some("https://a.example/x"));
        check(&[www(), secure()], "/", &asked, None);
        check(&[text(Part::Host, "a", true)], "/", &asked, None);
        let asked = Asked { https: true, ..asked };
        check(&[www(), secure()], "/", &asked, Some("/"));
        check(
            &[],
            "${scheme}://${authority}${path}",
            &asked,
            Some("https://WWW.a.example.:8080/x"),
        );
    }

    #[test]
    fn each_part_is_what_the_request_has() {
        let field = |name: &str| (name == "user-agent").then_some(Cow::Borrowed("Bot 1"));
        let asked = Asked {
            query: Some("a=b"),
            authority: "[2001:db8::1]:443",
            port: 443,
            method: "POST",
            client: Some("192.0.2.1".parse().unwrap()),
            field: &field,
            ..Asked::of("/ü".as_bytes())
        };
        for (part, expected) in [
            (Part::Host, r"^\[2001:db8::1\]$"),
            (Part::Port, "^443$"),
            (Part::Path, "^/ü$"),
            (Part::Query, "^a=b$"),
            (Part::Uri, r"^/ü\?a=b$"),
            (Part::Method, "^POST$"),
            (Part::Client, r"^192\.0\.2\.1$"),
            (Part::Field("user-agent".to_owned()), "^Bot (?P<number>1)$"),
            (Part::Field("referer".to_owned()), "^$"),
        ] {
            check(&[text(part.clone(), expected, false)], "/y", &asked, Some("/y?a=b"));
            check(&[text(part, expected, true)], "/y", &asked, None);
        }
        check(&[text(Part::Path, ".", false)], "/y", &Asked::of(b"/\xff"), None);
    }

    #[test]
    fn what_a_client_wrote_names_no_host() {
        let field = |_: &str| Some(Cow::Borrowed("evil.example"));
        let asked = Asked { authority: "a.example", field: &field, ..Asked::of(b"/x") };
        let when = [text(Part::Field("x".to_owned()), "(?P<evil>.*)", false)];
        let path = PathPattern::Exact("/x".to_owned());
        let to = "https://${evil}/";
        let target = Replacement::new(&path, &when, Some(to)).unwrap().target(&asked, true);
        assert_eq!(target.unwrap().host_end, "https://".len());
        let to = "https://${host}/${evil}";
        let target = Replacement::new(&path, &when, Some(to)).unwrap().target(&asked, true);
        let target = target.unwrap();
        assert_eq!(target.text.split_at(target.host_end), ("https://a.example", "/evil.example"));
    }

    #[test]
    fn files_are_looked_for_by_others() {
        let file = Condition { test: Test::File, negate: true };
        let folder = Condition { test: Test::Folder, negate: false };
        let path = PathPattern::Exact("/x".to_owned());
        let made = |when: &[Condition]| Replacement::new(&path, when, None).unwrap();
        assert!(!made(&[]).looks_for_files() && made(&[]).admits(true, false));
        let made = made(&[file, folder]);
        assert!(made.looks_for_files() && made.target(&Asked::of(b"/x"), true).is_some());
        assert!(made.admits(false, true));
        assert!(!made.admits(true, false) && !made.admits(false, false));
    }
}
