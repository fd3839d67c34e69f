//! Bindings of IIS's form that share a certificate: who of them is shown one that is not for its
//! host. See [`bindery_model::trap`].

use std::collections::{HashMap, HashSet};

use bindery_model::{
    binding::{Binding, Endpoint},
    certificate::{CertificateChoice, CertificateId},
    document::Configuration,
    name::HostPattern,
    problem::Problem,
    record::RecordKey,
    trap::{Loss, RecordStand, Shared, Stand, chosen_by_name, shared},
};

use super::{Inspector, Scope, covers, names, scope::Asked};
use crate::tls::keys::CertificateFacts;

/// Who shares what.
pub(super) struct Sharing<'a> {
    groups: Vec<Shared>,
    /// The group of a binding, by its place.
    of: HashMap<usize, usize>,
    /// Groups of which something was said.
    said: HashSet<usize>,
    asked: &'a Asked,
}

impl<'a> Sharing<'a> {
    pub(super) fn of(configuration: &Configuration, scope: &'a Scope) -> Self {
        let groups = shared(configuration);
        let of = groups.iter().zip(0..);
        let of = of.flat_map(|(group, at)| group.bindings.iter().map(move |place| (*place, at)));
        Self { of: of.collect(), groups, said: HashSet::new(), asked: &scope.asked }
    }

    fn group(&self, place: usize) -> Option<&Shared> {
        self.groups.get(*self.of.get(&place)?)
    }

    fn record(&self, endpoint: Endpoint) -> RecordStand {
        let asked = self.asked.records.get(&RecordKey::IpPort(endpoint));
        asked.copied().unwrap_or(RecordStand::InForce)
    }

    fn stand(&self, place: usize) -> Stand {
        match (self.asked.bindings.get(&place), self.asked.in_file) {
            (None, _) => Stand::InForce,
            (Some(_), true) => Stand::InFile,
            (Some(None), false) => Stand::Asked,
            (Some(Some(other)), false) => Stand::InPlaceOf(other.clone()),
        }
    }
}

impl Inspector<'_> {
    /// That a binding is shown the certificate of a record which it shares, and which is not for
    /// its host; nothing where it is the only one.
    pub(super) fn shown_anothers(
        &self,
        place: usize,
        binding: &Binding,
        certificate: CertificateId,
    ) -> Option<Problem> {
        let group = self.shared.group(place).filter(|group| group.has_record)?;
        let facts = self.certificates.facts(certificate)?;
        let records = self.configuration.records.as_ref()?;
        let table = &self.configuration.table;
        let members =
            || group.bindings.iter().filter_map(|at| Some((*at, table.bindings.get(*at)?)));
        let others = || members().filter(|(at, _)| *at != place).map(|(_, other)| other);
        // Best one for whom the certificate is: it stays the same whoever else comes.
        let theirs = |other: &&Binding| {
            other.information.host != HostPattern::Any && covers(facts, &other.information.host)
        };
        let beside = others().find(theirs).or_else(|| others().next())?;
        let host = &binding.information.host;
        let mut hosts: Vec<_> = Vec::new();
        for (_, member) in members() {
            let host = &member.information.host;
            if *host != HostPattern::Any && !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        let all = |facts: &CertificateFacts| hosts.iter().all(|host| covers(facts, host));
        let entries = self.certificates.entries.iter().flatten().flatten();
        let mut valid =
            entries.filter(|facts| facts.not_before <= self.now && self.now < facts.not_after);
        let one_for_all = valid.find(|facts| all(facts)).map(|facts| facts.thumbprint);
        let own_record = RecordKey::HostnamePort {
            host: host.clone(),
            endpoint: Endpoint { address: None, ..binding.information.endpoint },
        };
        let loss = Loss {
            endpoint: group.endpoint,
            record: self.shared.record(group.endpoint),
            shown: &self.name_of(certificate),
            shown_for: &names(facts),
            site: &table.site(binding).name,
            information: &binding.information,
            ssl_flags: records.ssl_flags.get(place).copied().unwrap_or_default(),
            beside: (&table.site(beside).name, &beside.information),
            stand: self.shared.stand(place),
            has_own_record: records.certificates.contains_key(&own_record),
            own: self
                .best_for(host)
                .and_then(|id| self.certificates.facts(id))
                .map(|own| own.thumbprint),
            hosts: hosts.iter().map(ToString::to_string).collect(),
            one_for_all,
        };
        let span = self.positions.bindings.get(place).map(|own| own.on.clone());
        Some(loss.problem(span.unwrap_or_default()))
    }

    /// Says once of a group without a record that the server name chooses among different
    /// certificates.
    pub(super) fn chosen_by_name(&mut self, place: usize) {
        let Some(at) = self.shared.of.get(&place).copied() else { return };
        let Some(group) = self.shared.group(place).filter(|group| !group.has_record) else {
            return;
        };
        if self.shared.said.contains(&at) {
            return;
        }
        let bindings =
            group.bindings.iter().filter_map(|at| self.configuration.table.bindings.get(*at));
        let mut hosts = bindings
            .filter(|own| own.certificate == CertificateChoice::Best)
            .map(|own| &own.information.host)
            .filter(|host| **host != HostPattern::Any);
        let first = hosts.next().and_then(|host| self.best_for(host));
        let covered = first.and_then(|id| self.certificates.facts(id));
        let Some(facts) = covered else { return };
        if hosts.all(|host| covers(facts, host) || self.best_for(host).is_none()) {
            return;
        }
        let first = group.bindings.first().and_then(|at| self.positions.bindings.get(*at));
        let problem =
            chosen_by_name(group.endpoint, first.map(|own| own.on.clone()).unwrap_or_default());
        self.problems.push(problem);
        self.shared.said.insert(at);
    }

    /// The best certificate for a host.
    fn best_for(&self, host: &HostPattern) -> Option<CertificateId> {
        let all = match host {
            HostPattern::Exact(name) => self.certificates.best(name, self.now),
            HostPattern::Wildcard(parent) => self.certificates.best_for_wildcard(parent, self.now),
            HostPattern::Any => return None,
        };
        all.first().copied()
    }
}
