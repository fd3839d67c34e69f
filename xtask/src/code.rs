//! Rust code as far as a rule needs to see it: without comments and texts, and with its imports
//! spelled out.

/// `text` without comments and without what is inside of string and character literals. Lines stay
/// where they are.
pub(crate) fn bare(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => 1 + string(rest.get(1..).unwrap_or_default()),
            'r' | 'b' | 'c' if !follows_a_word(&bare) => raw_string(rest),
            '\'' => character(rest),
            _ => 0,
        };
        let taken = if skipped == 0 { first.len_utf8() } else { skipped };
        let (head, tail) = rest.split_at(taken);
        if skipped == 0 {
            bare.push_str(head);
        } else {
            bare.push(' ');
            bare.extend(head.chars().filter(|one| *one == '\n'));
        }
        rest = tail;
    }
    bare
}

fn follows_a_word(text: &str) -> bool {
    text.chars().next_back().is_some_and(|last| last.is_alphanumeric() || last == '_')
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// How long the rest of a string literal is, its closing quote included.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, one) in text.char_indices() {
        match one {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// How long a raw string literal is; 0 where none begins.
fn raw_string(text: &str) -> usize {
    let prefix = text.trim_start_matches(['b', 'c']);
    let Some(after) = prefix.strip_prefix('r') else { return 0 };
    let body = after.trim_start_matches('#');
    let marks = after.len() - body.len();
    let Some(content) = body.strip_prefix('"') else { return 0 };
    let end = format!("\"{}", "#".repeat(marks));
    let begin = text.len() - content.len();
    content.find(&end).map_or(text.len(), |at| begin + at + end.len())
}

/// How long a character literal is; 0 where a lifetime begins.
fn character(text: &str) -> usize {
    let inner = text.get(1..).unwrap_or_default();
    if inner.starts_with('\\') {
        // The character behind the backslash is never the end.
        let after = inner.char_indices().nth(2).map_or(inner.len(), |(at, _)| at);
        let end = inner.get(after..).and_then(|rest| rest.find('\''));
        return end.map_or(0, |end| 1 + after + end + 1);
    }
    match inner.char_indices().nth(1) {
        Some((at, '\'')) => 1 + at + 1,
        _ => 0,
    }
}

/// Every path that `bare` imports, written out in full: `use a::{b, c::d}` gives `a::b`, `a::c::d`.
pub(crate) fn imports(bare: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut rest = bare;
    while let Some(at) = rest.find("use ") {
        let starts = !follows_a_word(rest.get(..at).unwrap_or_default());
        rest = rest.get(at + 4..).unwrap_or_default();
        let Some((tree, after)) = rest.split_once(';') else { break };
        if starts {
            let tree: String = tree.split_whitespace().collect::<Vec<_>>().join(" ");
            expand("", &tree, &mut paths);
            rest = after;
        }
    }
    paths
}

fn expand(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    let inner =
        tree.split_once('{').and_then(|(head, inner)| Some((head, inner.strip_suffix('}')?)));
    match inner {
        Some((head, inner)) => {
            for part in split_top(inner) {
                expand(&format!("{prefix}{}", head.trim()), part, paths);
            }
        }
        None if tree.is_empty() => {}
        None => {
            let name = tree.split(" as ").next().unwrap_or(tree);
            paths.push(format!("{prefix}{}", name.trim()));
        }
    }
}

/// Splits at the commas that are inside of no braces.
fn split_top(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut begin) = (0_u32, 0);
    for (at, one) in text.char_indices() {
        match one {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.extend(text.get(begin..at));
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(text.get(begin..));
    parts
}

/// Whether `word` stands in `bare` as a whole word.
pub(crate) fn has_word(bare: &str, word: &str) -> bool {
    bare.match_indices(word).any(|(at, _)| {
        let is_part = |one: char| one.is_alphanumeric() || one == '_';
        let before = bare.get(..at).and_then(|text| text.chars().next_back());
        let after = bare.get(at + word.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_texts_are_taken_out() {
        let text =
            "a /* b /* c */ d */ e // f\n\"g \\\" h\" i r#\"j \" k\"# l b\"m\" 'n' '\\'' 'o: p";
        let words: Vec<_> = ["a", "e", "i", "l", "o", "p"].into();
        let bare = bare(text);
        let left: Vec<_> = bare.split(|one: char| !one.is_alphanumeric()).collect();
        let left: Vec<_> =
            left.into_iter().filter(|word| !word.is_empty() && *word != "b").collect();
        assert_eq!(left, words, "{bare}");
        assert_eq!(bare.lines().count(), 2, "lines stay");
    }

    #[test]
    fn imports_are_spelled_out() {
        let text = "use std::{fmt, fs::{self, File}, net::TcpListener as L};\npub use a::b;";
        let expected =
            ["std::fmt", "std::fs::self", "std::fs::File", "std::net::TcpListener", "a::b"];
        assert_eq!(imports(text), expected);
    }

    #[test]
    fn a_word_is_a_whole_one() {
        assert!(has_word("unsafe {", "unsafe"));
        assert!(!has_word("#![deny(unsafe_code)]", "unsafe"));
        assert!(!has_word("is_unsafe", "unsafe"));
    }
}
