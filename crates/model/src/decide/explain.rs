//! The list of keys with what each of them came to: the walk of a decision, told to people.

use super::{KeyRef, Question, Rule, walk};

/// What a key came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the first that is held and may answer.
    Wins,
    /// It is held, but an earlier key of this rule answers.
    LostTo(Rule),
    /// It is held, but the listener lets no catch-all answer this client.
    Refused,
    /// Nothing holds it.
    NotHeld,
}

/// A key with what holds it and what it came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explained<'a, B> {
    /// The key.
    pub key: KeyRef<'a>,
    /// Which rule of the list it belongs to.
    pub rule: Rule,
    /// What holds it.
    pub found: Option<B>,
    /// What it came to.
    pub verdict: Verdict,
}

/// Every key of the walk that [`super::decide`] takes the first hit of.
pub fn explain<'a, B>(
    question: Question<'a>,
    find: impl Fn(&KeyRef<'a>) -> Option<B>,
) -> Vec<Explained<'a, B>> {
    let mut winner = None;
    let judged = walk(question, find).map(|step| {
        let verdict = match (&step.found, winner) {
            (None, _) => Verdict::NotHeld,
            (Some(_), _) if step.barred => Verdict::Refused,
            (Some(_), Some(rule)) => Verdict::LostTo(rule),
            (Some(_), None) => {
                winner = Some(step.rule);
                Verdict::Wins
            }
        };
        Explained { key: step.key, rule: step.rule, found: step.found, verdict }
    });
    judged.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decide::{Fallback, ListenerRules, Order, decide};

    #[test]
    fn every_key_says_why_it_lost() {
        let name = "a.b".parse().unwrap();
        let question = Question {
            local: "10.0.0.1:443".parse().unwrap(),
            name: Some(&name),
            order: Order::HostFirst,
            rules: ListenerRules { unknown_name: Fallback::Refuse, ..ListenerRules::default() },
        };
        let held = [Rule::ExactOnAll, Rule::WildcardOnAddress, Rule::CatchAllOnAll];
        let told = explain(question, |key| held.contains(&key.rule()).then_some(()));
        let told: Vec<_> = told.iter().map(|one| (one.rule.number(), one.verdict)).collect();
        let expected = [
            (1, Verdict::NotHeld),
            (2, Verdict::Wins),
            (3, Verdict::LostTo(Rule::ExactOnAll)),
            (4, Verdict::NotHeld),
            (5, Verdict::NotHeld),
            (5, Verdict::NotHeld),
            (6, Verdict::NotHeld),
            (7, Verdict::Refused),
        ];
        assert_eq!(told, expected);
    }

    proptest! {
        #[test]
        fn the_winner_that_is_explained_is_the_one_that_is_decided(
            held in proptest::collection::vec(any::<bool>(), 8),
            (named, http_sys, no_sni, unknown) in any::<(bool, bool, bool, bool)>(),
        ) {
            let name = "a.b".parse().unwrap();
            let refuse = |yes| if yes { Fallback::Refuse } else { Fallback::CatchAll };
            let question = Question {
                local: "10.0.0.1:443".parse().unwrap(),
                name: named.then_some(&name),
                order: if http_sys { Order::HttpSys } else { Order::HostFirst },
                rules: ListenerRules { no_sni: refuse(no_sni), unknown_name: refuse(unknown) },
            };
            let find = |key: &KeyRef<'_>| held[usize::from(key.rule().number())].then_some(());
            let told = explain(question, find);
            let winners: Vec<_> =
                told.iter().filter(|one| one.verdict == Verdict::Wins).map(|one| one.rule).collect();
            let decided: Vec<_> = decide(question, find).map(|(rule, ())| rule).into_iter().collect();
            prop_assert_eq!(winners, decided);
        }
    }
}
