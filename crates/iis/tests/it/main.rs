//! Microsoft's dialects, from what is typed to what is printed and changed: `appcmd` as scripts see
//! it, `netsh`, and changes of our own to `applicationHost.config`.

mod appcmd;
mod edit;
mod netsh;
mod sample;
