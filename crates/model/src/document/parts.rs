//! From what a text says, piece by piece, to a [`Document`]: what cannot stand together and what is
//! probably not meant is looked for here, whatever form the text has.

use std::sync::Arc;

use super::{Configuration, Document, Listener, Positions, Settings, conflicts, review, secrets};
use crate::{
    binding::Binding, certificate::CertificateSource, problem::Problem, record::Records,
    site::Site, table::MemoryTable,
};

/// What a text says, piece by piece.
#[derive(Debug, Default)]
pub struct Parts {
    /// What holds for the whole server.
    pub settings: Settings,
    /// Listeners that differ from the defaults.
    pub listeners: Vec<Listener>,
    /// All sites.
    pub sites: Vec<Arc<Site>>,
    /// All bindings, those of one site together and the sites in their order.
    pub bindings: Vec<Binding>,
    /// All certificates that have a name.
    pub certificates: Vec<CertificateSource>,
    /// In IIS's form: what it says of certificates apart from bindings.
    pub records: Option<Records>,
    /// Where they stand.
    pub positions: Positions,
    /// What was found wrong so far.
    pub problems: Vec<Problem>,
    /// Whether something was not understood that decides which binding answers: then nothing is
    /// said about what is missing or out of reach.
    pub incomplete: bool,
}

impl Parts {
    /// The whole, with every problem between the pieces, in the order of the text.
    #[must_use]
    pub fn finish(mut self) -> Document {
        let conflicts = conflicts::bindings(&self);
        self.incomplete |= !conflicts.is_empty();
        let others = [conflicts::listeners(&self), secrets::served(&self)].concat();
        self.problems.extend(conflicts.into_iter().chain(others));
        if !self.incomplete {
            let unused = conflicts::certificates(&self);
            self.problems.extend(unused);
        }
        let Self { settings, listeners, sites, bindings, certificates, records, positions, .. } =
            self;
        let table = MemoryTable::new(sites, bindings, certificates);
        let configuration = Configuration { settings, listeners, table, records };
        let mut problems = self.problems;
        if !self.incomplete {
            problems.extend(review(&configuration, &positions));
        }
        problems.sort_by_key(|problem| (problem.span.start, problem.span.end));
        Document { configuration, positions, problems }
    }
}
