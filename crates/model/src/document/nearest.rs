//! What was probably meant: the known word that is nearest to one that is not known.

/// Longer words are not compared: nobody mistypes those, and the work grows with the square.
const WORD_BYTES_MAX: usize = 64;

/// The known word that needs the fewest edits to become `wanted`, if those are few enough for a
/// mistyped word. Case does not count.
pub(super) fn nearest<'a>(wanted: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if wanted.is_empty() || wanted.len() > WORD_BYTES_MAX {
        return None;
    }
    let wanted: Vec<char> = wanted.to_lowercase().chars().collect();
    let edits_max = (wanted.len() / 3).max(1);
    known
        .filter(|word| word.len() <= WORD_BYTES_MAX)
        .filter_map(|word| {
            let letters: Vec<char> = word.to_lowercase().chars().collect();
            let edits = match begins(&letters, &wanted) {
                true => 1,
                false if letters.len().abs_diff(wanted.len()) > edits_max => return None,
                false => edits(&letters, &wanted),
            };
            // Who replaces every letter mistypes nothing.
            (edits <= edits_max && edits < wanted.len()).then_some((
                edits,
                letters.len().abs_diff(wanted.len()),
                word,
            ))
        })
        .min_by_key(|(edits, longer, _)| (*edits, *longer))
        .map(|(_, _, word)| word)
}

/// Whether one is the beginning of the other, as `cert` is of `certificate`. Two letters begin too
/// many words.
fn begins(one: &[char], other: &[char]) -> bool {
    one.len().min(other.len()) > 2 && (one.starts_with(other) || other.starts_with(one))
}

/// The least number of letters to insert, remove, replace or swap with their neighbour.
fn edits(one: &[char], other: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=other.len()).collect();
    for (row, letter) in one.iter().enumerate() {
        let mut line = Vec::with_capacity(above.len());
        line.push(row + 1);
        for (column, wanted) in other.iter().enumerate() {
            let at =
                |line: &[usize], place: usize| line.get(place).copied().unwrap_or(usize::MAX / 2);
            let swapped = row > 0
                && column > 0
                && one.get(row - 1) == Some(wanted)
                && other.get(column - 1) == Some(letter);
            let swap = if swapped { at(&before, column - 1) + 1 } else { usize::MAX };
            let replace = at(&above, column) + usize::from(letter != wanted);
            let remove = at(&above, column + 1) + 1;
            let insert = at(&line, column) + 1;
            line.push(swap.min(replace).min(remove).min(insert));
        }
        before = std::mem::replace(&mut above, line);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wanted: &str, expected: Option<&str>) {
        let known = ["name", "root", "bindings", "certificate", "redirect", "respond", "on", "c"];
        assert_eq!(nearest(wanted, known.into_iter()), expected, "{wanted}");
    }

    #[test]
    fn a_mistyped_word_finds_the_one_that_was_meant() {
        check("binding", Some("bindings"));
        check("bindigns", Some("bindings"));
        check("Root", Some("root"));
        check("rot", Some("root"));
        check("nmae", Some("name"));
        check("cert", Some("certificate"));
        check("redirekt", Some("redirect"));
        check("no", Some("on"));
    }

    #[test]
    fn of_two_words_that_begin_alike_the_shorter_was_meant() {
        assert_eq!(nearest("acces", ["access_log", "access"].into_iter()), Some("access"));
    }

    #[test]
    fn a_word_of_its_own_finds_nothing() {
        check("", None);
        check("proxy", None);
        check("zzz", None);
        check("x", None);
        check(&"r".repeat(65), None);
    }

    #[test]
    fn edits_are_counted_as_people_make_them() {
        let count = |one: &str, other: &str| {
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            edits(&letters(one), &letters(other))
        };
        assert_eq!(count("", "abc"), 3);
        assert_eq!(count("abc", ""), 3);
        assert_eq!(count("abc", "abc"), 0);
        assert_eq!(count("abc", "acb"), 1);
        assert_eq!(count("kitten", "sitting"), 3);
    }
}
