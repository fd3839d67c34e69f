//! Changes to `applicationHost.config`, and Microsoft's dialects, from what is typed to what is
//! printed.

mod appcmd;
mod edit;
mod netsh;
mod sample;
