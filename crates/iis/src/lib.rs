//! iis
