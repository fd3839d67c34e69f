//! What `requestFiltering` refuses by the text of a request: parts of its path, parts of its query,
//! methods. Each is a rule that answers 404, as IIS does.

use bindery_model::rules::{Condition, Part, PathPattern, RedirectRule, RedirectTo, Test};

use super::{
    redirect::escape,
    sections::{Shared, Written},
    value::boolean,
};
use crate::xml::Element;

/// The status of what is refused.
const REFUSED: u16 = 404;

/// What is refused, and what is not in any case.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Denied {
    sequences: Vec<String>,
    urls: Vec<String>,
    query_sequences: Vec<String>,
    queries: Vec<String>,
    /// Methods, with whether they are let in.
    verbs: Vec<(String, bool)>,
    other_verbs_refused: bool,
}

impl Denied {
    /// Reads one of its lists. `false` where it is none of them.
    pub(super) fn read(
        &mut self,
        written: &Written<'_, '_>,
        list: Element<'_>,
        shared: &mut Shared<'_>,
    ) -> bool {
        let (texts, key) = match list.name() {
            "denyUrlSequences" => (&mut self.sequences, "sequence"),
            "alwaysAllowedUrls" => (&mut self.urls, "url"),
            "denyQueryStringSequences" => (&mut self.query_sequences, "sequence"),
            "alwaysAllowedQueryStrings" => (&mut self.queries, "queryString"),
            "verbs" => {
                self.read_verbs(written, list, shared);
                return true;
            }
            _ => return false,
        };
        for entry in list.children() {
            let text = entry.value(key).unwrap_or_default().into_owned();
            match entry.name() {
                "clear" => texts.clear(),
                "remove" => texts.retain(|own| !own.eq_ignore_ascii_case(&text)),
                "add" if text.is_empty() => {}
                "add" => texts.push(text),
                _ => written.unknown(entry, shared),
            }
        }
        true
    }

    fn read_verbs(
        &mut self,
        written: &Written<'_, '_>,
        list: Element<'_>,
        shared: &mut Shared<'_>,
    ) {
        let others = list.value("allowUnlisted").and_then(|text| boolean(text.trim()));
        self.other_verbs_refused = others.map_or(self.other_verbs_refused, |others| !others);
        for entry in list.children() {
            let verb = entry.value("verb").unwrap_or_default().trim().to_owned();
            let other = |(own, _): &(String, bool)| !own.eq_ignore_ascii_case(&verb);
            match entry.name() {
                "clear" => self.verbs.clear(),
                "remove" => self.verbs.retain(other),
                "add" => {
                    let allowed = entry.value("allowed").and_then(|text| boolean(text.trim()));
                    self.verbs.retain(other);
                    self.verbs.push((verb, allowed.unwrap_or(true)));
                }
                _ => written.unknown(entry, shared),
            }
        }
    }

    /// Rules that refuse.
    pub(super) fn rules(&self) -> Vec<RedirectRule> {
        // As texts of their own, so that a path which is not UTF-8 is looked at too.
        let path = || Part::Template("${path}".to_owned());
        let decoded = || Part::Template("${decode:query}".to_owned());
        let mut rules = Vec::new();
        if !self.sequences.is_empty() {
            let mut when = vec![test(path(), one_of(&self.sequences), false)];
            when.extend(self.urls.iter().map(|url| {
                let url = url.trim_start_matches('/');
                test(path(), format!("(?i)^/{}$", escape(url)), true)
            }));
            rules.push(refused(when));
        }
        if !self.query_sequences.is_empty() {
            for of in [Part::Query, decoded()] {
                let mut when = vec![test(of, one_of(&self.query_sequences), false)];
                when.extend(self.queries.iter().map(|query| {
                    let query = query.trim_start_matches('?');
                    test(Part::Query, format!("(?i)^{}$", escape(query)), true)
                }));
                rules.push(refused(when));
            }
        }
        let verbs = |allowed: bool| -> Vec<String> {
            let own = self.verbs.iter().filter(|(_, own)| *own == allowed);
            own.map(|(verb, _)| escape(verb)).collect()
        };
        let whole = |verbs: &[String]| format!("(?i)^(?:{})$", verbs.join("|"));
        let (open, closed) = (verbs(true), verbs(false));
        if !closed.is_empty() {
            rules.push(refused(vec![test(Part::Method, whole(&closed), false)]));
        }
        if self.other_verbs_refused {
            rules.push(refused(vec![test(Part::Method, whole(&open), true)]));
        }
        rules
    }
}

fn one_of(texts: &[String]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| escape(text)).collect();
    format!("(?i){}", texts.join("|"))
}

fn test(of: Part, regex: String, negate: bool) -> Condition {
    Condition { test: Test::Text { of, regex }, negate }
}

fn refused(mut when: Vec<Condition>) -> RedirectRule {
    when.sort();
    when.dedup();
    let path = PathPattern::Prefix("/".to_owned());
    RedirectRule { path, when, to: RedirectTo::Refused, status: REFUSED, keep_query: true }
}
