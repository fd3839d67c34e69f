//! Two lists side by side. Revisions of a configuration are nearly the same, and what stands alike at
//! the beginning and at the end of their lists need not be looked up in the other.

use std::ops::Range;

/// What is left in the middle of both lists when the beginning and the end that they have in common
/// are taken off.
#[must_use]
pub fn middles<T>(
    before: &[T],
    after: &[T],
    same: impl Fn(&T, &T) -> bool,
) -> (Range<usize>, Range<usize>) {
    let same = |(old, new): &(&T, &T)| same(old, new);
    let head = before.iter().zip(after).take_while(same).count();
    let least = before.len().min(after.len()) - head;
    let tail = before.iter().rev().zip(after.iter().rev()).take(least).take_while(same).count();
    (head..before.len() - tail, head..after.len() - tail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::middles;

    #[test]
    fn the_middle_is_what_differs() {
        for (before, after, middle) in [
            ("", "", (0..0, 0..0)),
            ("abc", "abc", (3..3, 3..3)),
            ("abc", "abxc", (2..2, 2..3)),
            ("abc", "ac", (1..2, 1..1)),
            ("aa", "aaa", (2..2, 2..3)),
            ("abc", "xyz", (0..3, 0..3)),
        ] {
            let (old, new): (Vec<_>, Vec<_>) = (before.chars().collect(), after.chars().collect());
            assert_eq!(middles(&old, &new, |one, other| one == other), middle, "{before} {after}");
        }
    }

    proptest! {
        #[test]
        fn one_with_the_middle_of_the_other_is_the_other(
            before in proptest::collection::vec(0..3_u8, 0..8),
            after in proptest::collection::vec(0..3_u8, 0..8),
        ) {
            let (old, new) = middles(&before, &after, |one, other| one == other);
            let mut made = before;
            made.splice(old, after[new].iter().copied());
            prop_assert_eq!(made, after);
        }
    }
}
