//! Changes to `applicationHost.config`: `appcmd` as scripts see it, and changes of our own.

mod appcmd;
mod edit;
mod sample;
