//! What answers a request once its site is known. A closed set: one enum, one line per kind.

pub mod static_files;
