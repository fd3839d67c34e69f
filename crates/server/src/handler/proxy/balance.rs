//! Which member answers a request.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash as _, Hasher as _},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::hmac;
use bindery_model::upstream::{Balance, Sticky, Upstream};
use http::{HeaderMap, HeaderValue, header::COOKIE};

use super::{group::Group, health::Condition, member::Member};

/// Whose turn it is, and who belongs to whom.
pub(super) struct Balancer {
    weights: Vec<i64>,
    /// How much each member is behind: it gets its weight at every turn and pays the sum of all
    /// weights for a request.
    credits: Mutex<Vec<i64>>,
    /// What stands for each member in a cookie: a digest with a key of this process, so that it
    /// tells nobody an address and nobody can make one.
    marks: Vec<String>,
}

/// The member that answers.
pub(super) struct Chosen<'a> {
    pub(super) place: usize,
    pub(super) member: &'a Arc<Member>,
    /// What the client is to remember, where it does not yet.
    pub(super) mark: Option<&'a str>,
}

impl Balancer {
    pub(super) fn new(upstream: &Upstream, members: &[Arc<Member>], key: &hmac::Key) -> Self {
        let weights: Vec<_> =
            upstream.servers.iter().map(|server| i64::from(server.weight.max(1))).collect();
        let mark = |member: &Arc<Member>| {
            let digest = hmac::sign(key, member.name.as_bytes());
            digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
        };
        let marks = match upstream.sticky {
            Sticky::Cookie(_) => members.iter().map(mark).collect(),
            Sticky::No | Sticky::Address => Vec::new(),
        };
        Self { credits: Mutex::new(vec![0; weights.len()]), weights, marks }
    }

    fn weight(&self, place: usize) -> i64 {
        self.weights.get(place).copied().unwrap_or(1)
    }

    /// Each in turn by weight, evenly spread, among `places`.
    fn next(&self, places: &[usize]) -> Option<usize> {
        let mut credits = self.credits.lock().unwrap_or_else(PoisonError::into_inner);
        let mut best: Option<(usize, i64)> = None;
        let mut sum = 0;
        for &place in places {
            let weight = self.weight(place);
            let Some(credit) = credits.get_mut(place) else { continue };
            *credit += weight;
            sum += weight;
            if best.is_none_or(|(_, most)| *credit > most) {
                best = Some((place, *credit));
            }
        }
        let (place, _) = best?;
        *credits.get_mut(place)? -= sum;
        Some(place)
    }

    /// The one with the fewest requests under way by weight; among equals, each in turn.
    fn least(&self, places: &[usize], active: impl Fn(usize) -> u32) -> Option<usize> {
        let busy: Vec<_> = places.iter().map(|place| (*place, i64::from(active(*place)))).collect();
        let fewest = busy.iter().copied().min_by(|(one, at_one), (other, at_other)| {
            (at_one * self.weight(*other)).cmp(&(at_other * self.weight(*one)))
        })?;
        let equal = |(place, active): &(usize, i64)| {
            active * self.weight(fewest.0) == fewest.1 * self.weight(*place)
        };
        let equals: Vec<_> = busy.into_iter().filter(equal).map(|(place, _)| place).collect();
        self.next(&equals)
    }
}

/// The member of a client among `places`, each with its name and weight. Each member draws a number
/// for the client and the best wins (rendezvous hashing): without one member only its own clients
/// go elsewhere.
fn of_address<'a>(
    client: IpAddr,
    places: &[usize],
    member: impl Fn(usize) -> Option<(&'a str, i64)>,
) -> Option<usize> {
    let draw = |place: usize| {
        let (name, weight) = member(place)?;
        let mut hasher = DefaultHasher::new();
        (client.to_canonical(), name).hash(&mut hasher);
        // A number between 0 and 1, and how long one waits for it at a rate of its weight.
        let number = ((hasher.finish() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        Some((place, -number.ln() / weight as f64))
    };
    let draws = places.iter().filter_map(|place| draw(*place));
    draws.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(place, _)| place)
}

/// The value of a cookie.
fn cookie<'a>(fields: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let values = fields.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|one| one.split_once('='));
    pairs.find(|(own, _)| own.trim() == name).map(|(_, value)| value.trim())
}

/// The field that makes a client remember its member.
pub(super) fn set_cookie(name: &str, mark: &str, path: &str, https: bool) -> Option<HeaderValue> {
    let secure = if https { "; Secure" } else { "" };
    HeaderValue::try_from(format!("{name}={mark}; Path={path}; HttpOnly; SameSite=Lax{secure}"))
        .ok()
}

impl Group {
    /// The member that answers a client, none of `tried`. Members that are well come before those
    /// that fail, and others before backups; who was asked and found unwell is not chosen.
    pub(super) fn choose(
        &self,
        client: IpAddr,
        fields: &HeaderMap,
        tried: &[usize],
    ) -> Option<Chosen<'_>> {
        if let ([member], Sticky::No | Sticky::Address) = (&*self.members, &self.upstream.sticky) {
            let fit = tried.is_empty() && member.health.condition() != Condition::Unwell;
            return fit.then_some(Chosen { place: 0, member, mark: None });
        }
        let all = self.members.iter().zip(&self.upstream.servers).enumerate();
        let ranked: Vec<_> = all
            .filter(|(place, _)| !tried.contains(place))
            .map(|(place, (member, server))| (place, (member.health.condition(), server.backup)))
            .filter(|(_, (condition, _))| *condition != Condition::Unwell)
            .collect();
        let best = ranked.iter().map(|(_, rank)| *rank).min()?;
        let fit = ranked.iter().filter(|(_, rank)| *rank == best);
        let places: Vec<usize> = fit.map(|(place, _)| *place).collect();
        let chosen =
            |place, mark| self.members.get(place).map(|member| Chosen { place, member, mark });
        match &self.upstream.sticky {
            Sticky::No => chosen(self.balanced(&places)?, None),
            Sticky::Address => {
                let member = |place| {
                    let member: &Arc<Member> = self.members.get(place)?;
                    Some((&*member.name, self.balancer.weight(place)))
                };
                chosen(of_address(client, &places, member)?, None)
            }
            Sticky::Cookie(name) => {
                let mark = cookie(fields, name);
                let own =
                    mark.and_then(|mark| self.balancer.marks.iter().position(|own| own == mark));
                // A backup too keeps the clients it has got, while it is well.
                let is_well = |place: &usize| {
                    ranked.iter().any(|(own, rank)| own == place && rank.0 == best.0)
                };
                if let Some(place) = own.filter(is_well) {
                    return chosen(place, None);
                }
                let place = self.balanced(&places)?;
                chosen(place, self.balancer.marks.get(place).map(String::as_str))
            }
        }
    }

    fn balanced(&self, places: &[usize]) -> Option<usize> {
        match self.upstream.balance {
            Balance::RoundRobin => self.balancer.next(places),
            Balance::LeastConnections => self
                .balancer
                .least(places, |place| self.members.get(place).map_or(0, |member| member.active())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn balancer(weights: &[i64]) -> Balancer {
        Balancer {
            weights: weights.to_vec(),
            credits: Mutex::new(vec![0; weights.len()]),
            marks: Vec::new(),
        }
    }

    #[test]
    fn each_has_its_turn_by_weight_and_evenly_spread() {
        let balancer = balancer(&[5, 1, 1]);
        let turns: Vec<_> = (0..14).map(|_| balancer.next(&[0, 1, 2]).unwrap()).collect();
        assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
        let turns: Vec<_> = (0..4).map(|_| balancer.next(&[1, 2]).unwrap()).collect();
        assert_eq!(turns, [1, 2, 1, 2]);
        assert_eq!(balancer.next(&[]), None);
    }

    #[test]
    fn the_least_busy_by_weight_is_chosen() {
        let balancer = balancer(&[2, 1, 1]);
        let busy = |active: [u32; 3]| balancer.least(&[0, 1, 2], |place| active[place]).unwrap();
        assert_eq!(busy([3, 1, 2]), 1);
        assert_eq!(busy([3, 2, 2]), 0);
        assert_eq!(busy([9, 9, 0]), 2);
        let equals: Vec<_> = (0..8).map(|_| busy([0, 0, 0])).collect();
        assert_eq!(equals.iter().filter(|place| **place == 0).count(), 4);
    }

    const NAMES: [&str; 4] = ["http://a:1", "http://b:1", "http://c:1", "http://d:1"];

    fn of(client: u32, places: &[usize], weight: impl Fn(usize) -> i64) -> usize {
        let member = |place: usize| Some((NAMES[place], weight(place)));
        of_address(IpAddr::from(client.to_be_bytes()), places, member).unwrap()
    }

    proptest! {
        #[test]
        fn losing_a_member_moves_only_its_clients(client: u32, lost in 0_usize..4) {
            let left: Vec<_> = (0..4).filter(|place| *place != lost).collect();
            let before = of(client, &[0, 1, 2, 3], |_| 1);
            let after = of(client, &left, |_| 1);
            prop_assert!(before == after || before == lost);
        }
    }

    #[test]
    fn clients_are_shared_among_members_by_weight() {
        let mut counts = [0; 4];
        for client in 0..10_000 {
            counts[of(client, &[0, 1, 2, 3], |place| if place == 0 { 3 } else { 1 })] += 1;
        }
        assert!((4_700..5_300).contains(&counts[0]), "{counts:?}");
        assert!(counts[1..].iter().all(|count| (1_450..1_900).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut fields = HeaderMap::new();
        fields.append(COOKIE, HeaderValue::from_static("a=1; route=x ;b=2"));
        fields.append(COOKIE, HeaderValue::from_static("other=y=z"));
        assert_eq!(cookie(&fields, "route"), Some("x"));
        assert_eq!(cookie(&fields, "other"), Some("y=z"));
        assert_eq!(cookie(&fields, "rout"), None);
    }
}
