//! Whether two parts of a text say the same: what an editor may bring back letter for letter as it
//! once was.

use std::{collections::BTreeMap, ops::Range};

use toml_edit::{Item, TableLike, Value};

use super::part;

/// Whether `now` says what `before` says, both whole lines: the same keys with the same values, and
/// the same comments in the same order. White space, quotes, the order of keys and the way in which
/// tables and texts are written do not matter, nor does a key with an empty table or array. What
/// those mean is for the reader of the whole to judge.
///
/// Where it is `loose`, order does not matter at all, nor comments, nor keys that are gone: for a
/// part in which nobody could have changed these.
#[must_use]
pub fn alike(now: &str, before: &str, loose: bool) -> bool {
    let [now, before] = [now, before].map(|text| text.strip_prefix('\u{feff}').unwrap_or(text));
    if !loose && comments(now) != comments(before) {
        return false;
    }
    match [now, before].map(toml_edit::Document::parse) {
        [Ok(now), Ok(before)] => {
            same(&of_table(now.as_table()), &of_table(before.as_table()), loose)
        }
        _ => false,
    }
}

/// What a key says.
#[derive(Debug)]
enum Said {
    Text(String),
    /// Anything that is no text.
    Word(String),
    List(Vec<Self>),
    Table(BTreeMap<String, Self>),
}

impl Said {
    fn is_empty(&self) -> bool {
        match self {
            Self::Text(_) | Self::Word(_) => false,
            Self::List(all) => all.is_empty(),
            Self::Table(all) => all.is_empty(),
        }
    }
}

fn same(now: &Said, before: &Said, loose: bool) -> bool {
    match (now, before) {
        (Said::Text(now), Said::Text(before)) | (Said::Word(now), Said::Word(before)) => {
            now == before
        }
        (Said::List(now), Said::List(before)) => {
            let (mut now, mut before): (Vec<_>, Vec<_>) =
                (now.iter().collect(), before.iter().collect());
            if loose {
                now.sort_by_cached_key(|own| format!("{own:?}"));
                before.sort_by_cached_key(|own| format!("{own:?}"));
            }
            now.len() == before.len()
                && now.iter().zip(before).all(|(now, before)| same(now, before, loose))
        }
        (Said::Table(now), Said::Table(before)) => {
            let had = |key, now| before.get(key).is_some_and(|before| same(now, before, loose));
            now.iter().all(|(key, now)| had(key, now))
                && (loose || before.keys().all(|key| now.contains_key(key)))
        }
        _ => false,
    }
}

fn of_table(table: &dyn TableLike) -> Said {
    let keys = table.iter().filter_map(|(key, item)| Some((key.to_owned(), of_item(item)?)));
    Said::Table(keys.filter(|(_, own)| !own.is_empty()).collect())
}

fn of_item(item: &Item) -> Option<Said> {
    Some(match item {
        Item::None => return None,
        Item::Value(own) => of_value(own),
        Item::Table(own) => of_table(own),
        Item::ArrayOfTables(all) => Said::List(all.iter().map(|own| of_table(own)).collect()),
    })
}

fn of_value(value: &Value) -> Said {
    match value {
        Value::String(text) => Said::Text(text.value().clone()),
        Value::Integer(number) => Said::Word(number.value().to_string()),
        Value::Boolean(yes) => Said::Word(yes.value().to_string()),
        Value::Float(number) => Said::Word(number.value().to_string()),
        Value::Datetime(time) => Said::Word(time.value().to_string()),
        Value::Array(all) => Said::List(all.iter().map(of_value).collect()),
        Value::InlineTable(own) => of_table(own),
    }
}

/// The comments of a text that is TOML, in order.
fn comments(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = part(text, at..text.len()).find(['#', '"', '\'']) {
        at += next;
        let rest = part(text, at..text.len());
        let triple = ["\"\"\"", "'''"].into_iter().find(|quotes| rest.starts_with(quotes));
        at += match (rest.bytes().next(), triple) {
            (Some(b'#'), _) => {
                let line = rest.lines().next().unwrap_or_default();
                found.push(line.trim_end());
                line.len()
            }
            (_, Some(quotes)) => text_length(rest, quotes),
            (Some(b'\''), None) => text_length(rest, "'"),
            _ => text_length(rest, "\""),
        };
    }
    found
}

/// How long a text is, its quotes included.
fn text_length(rest: &str, quotes: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut at = quotes.len();
    while at < bytes.len() {
        if quotes.starts_with('"') && bytes.get(at) == Some(&b'\\') {
            at += 2;
        } else if bytes.get(at..).is_some_and(|rest| rest.starts_with(quotes.as_bytes())) {
            at += quotes.len();
            // Up to two quotes more may end what is said.
            let quote = quotes.as_bytes().first();
            while quotes.len() == 3 && bytes.get(at) == quote {
                at += 1;
            }
            return at;
        } else {
            at += 1;
        }
    }
    bytes.len()
}

/// What is around a part of a text, as far as headers nearby show it: first the table, then the
/// thing with all its tables. `None` where it is that.
#[must_use]
pub fn enclosing(text: &str, of: &Range<usize>) -> Option<Range<usize>> {
    let is_header = |line: &str| line.trim_start().starts_with('[');
    let is_thing = |line: &str| {
        let line = line.trim_start();
        line.starts_with("[[") && !line.contains('.')
    };
    [around(text, of, is_header), around(text, of, is_thing)]
        .into_iter()
        .find(|found| found.len() > of.len() && found.start <= of.start && found.end >= of.end)
}

fn around(text: &str, of: &Range<usize>, begins: impl Fn(&str) -> bool) -> Range<usize> {
    let mut start = of.start;
    // Where it begins with a header itself, that is its own.
    let first = part(text, of.start..text.len()).lines().next().unwrap_or_default();
    if !begins(first) || of.is_empty() {
        while start > 0 {
            start = super::blocks::line_start(text, start - 1);
            let line = part(text, start..text.len()).lines().next().unwrap_or_default();
            if begins(line) {
                break;
            }
        }
    }
    let mut end = of.end;
    while end < text.len() {
        let line = part(text, end..text.len()).lines().next().unwrap_or_default();
        if begins(line) {
            break;
        }
        end = super::blocks::line_end(text, end);
    }
    start..end
}

#[cfg(test)]
mod tests {
    use super::{alike, enclosing};

    #[test]
    fn what_is_only_written_otherwise_is_alike() {
        for (now, before) in [
            ("a = 1\n", "a=1"),
            ("a = \"x\"\n", "a = 'x'"),
            ("a = \"B\u{fc}\" # c\n", "a = \"B\\u00fc\"   # c"),
            ("a = [\n  1,\n  2,\n]\n", "a = [1, 2]"),
            ("b = 2\na = 1\n", "a = 1\nb = 2\n"),
            ("[[s]]\nn = 1\n", "[[s]]\nn = 1\nlimits = {}\nbindings = []\n"),
            ("[[s]]\nt = { u = 1 }\n", "[[s]]\n[s.t]\nu = 1\n"),
        ] {
            for loose in [false, true] {
                assert!(alike(now, before, loose), "{now:?} {before:?}");
                assert!(alike(before, now, loose), "{before:?} {now:?}");
            }
        }
        for (now, before) in [
            ("a = [1, 2]\n", "a = [2, 1] # c\n"),
            ("a = { b = 1 }\n", "a = { b = 1, c = 2 }\nd = 3\n"),
        ] {
            assert!(alike(now, before, true), "{now:?} {before:?}");
            assert!(!alike(before, now, true) || now.contains('['), "{now:?} {before:?}");
        }
    }

    #[test]
    fn what_somebody_wrote_is_not_lost() {
        for (now, before) in [
            ("a = 1\n", "a = 2\n"),
            ("a = 1\n", "a = 1 # one\n"),
            ("a = 1 # one\n", "a = 1 # two\n"),
            ("a = '# one'\n", "a = ''' # one'''\n"),
            ("a = [1, 2]\n", "a = [2, 1]\n"),
            ("a = 1\n", "a = \"1\"\n"),
            ("a = 1\n", "a = 1\nb = 1\n"),
            ("a = \"\"\"x\"\"\" # c\n", "a = \"x\"\n"),
            ("a = \"\\\"\" # c\n", "a = '\"' # d\n"),
            ("a = 1", "a = "),
        ] {
            assert!(!alike(now, before, false), "{now:?} {before:?}");
            assert!(!alike(before, now, false), "{before:?} {now:?}");
        }
    }

    #[test]
    fn around_a_key_are_its_table_and_its_thing() {
        let text = "v = 1\n\n[[s]]\nn = 1\n[s.t]\nu = 1\n[[s.l]]\nw = 1\n\n[[s]]\nn = 2\n";
        let at = text.find("u =").unwrap();
        let mut of = at..at + 6;
        let mut found = Vec::new();
        while let Some(more) = enclosing(text, &of) {
            found.push(text.get(more.clone()).unwrap());
            of = more;
        }
        let thing = "[[s]]\nn = 1\n[s.t]\nu = 1\n[[s.l]]\nw = 1\n\n";
        assert_eq!(found, ["[s.t]\nu = 1\n", thing]);
    }
}
