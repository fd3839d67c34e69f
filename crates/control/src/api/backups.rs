//! Backups: what was kept under names.

use std::io;

use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{
    Call, Page, body,
    problem::{Kind, Problem},
};
use crate::applier::What;

/// A backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// Its name.
    pub name: String,
}

pub(super) fn list(call: &Call) -> Result<Response, Problem> {
    let names = call.shared.applier.backups().names().map_err(|error| wrong("", &error))?;
    let items = names.into_iter().map(|name| Backup { name }).collect();
    super::json(StatusCode::OK, &Page { items, next: None })
}

pub(super) fn add(call: &Call) -> Result<Response, Problem> {
    let backup: Backup = body::json(&call.head.headers, &call.body)?;
    let added = call.shared.applier.add_backup(&backup.name);
    added.map_err(|error| wrong(&backup.name, &error))?;
    super::json(StatusCode::CREATED, &backup)
}

pub(super) fn remove(call: &Call) -> Result<Response, Problem> {
    let name = call.part("backup").to_owned();
    let removed = call.shared.applier.remove_backup(&name);
    removed.map_err(|error| wrong(&name, &error))?;
    super::json(StatusCode::OK, &Backup { name })
}

pub(super) fn restore(call: &Call) -> Result<Response, Problem> {
    call.change(What::Restore(call.part("backup").to_owned()))
}

fn wrong(name: &str, error: &io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Problem::new(Kind::Exists, format!("there is a backup {name:?} already"))
        }
        io::ErrorKind::NotFound => {
            Problem::new(Kind::NotFound, format!("there is no backup {name:?}"))
        }
        io::ErrorKind::InvalidInput => Problem::new(Kind::Malformed, error.to_string()),
        _ => Problem::new(Kind::Unavailable, format!("backups cannot be used: {error}")),
    }
}
