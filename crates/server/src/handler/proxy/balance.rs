//! Which member answers a request.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bindery_model::upstream::Upstream;

use super::{group::Group, health::Condition, member::Member};

/// Whose turn it is.
pub(super) struct Balancer {
    weights: Vec<i64>,
    /// How much each member is behind: it gets its weight at every turn and pays the sum of all
    /// weights for a request.
    credits: Mutex<Vec<i64>>,
}

impl Balancer {
    pub(super) fn new(upstream: &Upstream) -> Self {
        let weights: Vec<_> =
            upstream.servers.iter().map(|server| i64::from(server.weight.max(1))).collect();
        Self { credits: Mutex::new(vec![0; weights.len()]), weights }
    }

    /// Each in turn by weight, evenly spread, among `places`.
    fn next(&self, places: &[usize]) -> Option<usize> {
        let mut credits = self.credits.lock().unwrap_or_else(PoisonError::into_inner);
        let mut best: Option<(usize, i64)> = None;
        let mut sum = 0;
        for &place in places {
            let (Some(credit), Some(weight)) = (credits.get_mut(place), self.weights.get(place))
            else {
                continue;
            };
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
}

impl Group {
    /// The member that answers a client, none of `tried`.
    pub(super) fn choose(&self, _client: IpAddr, tried: &[usize]) -> Option<(usize, &Arc<Member>)> {
        let fit = |condition: Condition, backup: bool| -> Vec<usize> {
            let all = self.members.iter().zip(&self.upstream.servers).enumerate();
            all.filter(|(place, (member, server))| {
                server.backup == backup
                    && !tried.contains(place)
                    && member.health.condition() == condition
            })
            .map(|(place, _)| place)
            .collect()
        };
        let places = [
            (Condition::Well, false),
            (Condition::Well, true),
            (Condition::Failing, false),
            (Condition::Failing, true),
        ]
        .into_iter()
        .map(|(condition, backup)| fit(condition, backup))
        .find(|places| !places.is_empty())?;
        let place = self.balancer.next(&places)?;
        Some((place, self.members.get(place)?))
    }
}
