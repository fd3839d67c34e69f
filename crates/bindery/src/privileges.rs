//! Giving up root once the sockets are open.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, lchown},
    path::Path,
};

use rustix::{
    process::{Gid, Resource, Rlimit, Uid, getrlimit, setrlimit},
    thread::{
        CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_keep_capabilities,
        set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    },
};

use crate::output::Failure;

/// A user of this machine that this process, which is root, is to become.
pub(crate) struct User {
    name: String,
    uid: Uid,
    gid: Gid,
    /// The groups that it is a member of beside its own.
    groups: Vec<Gid>,
}

impl User {
    /// The user with this name; `None` where this is not root, so that nobody can be become.
    pub(crate) fn to_become(name: &str) -> Result<Option<Self>, Failure> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        match find(name)? {
            Some((uid, gid)) => {
                Ok(Some(Self { name: name.to_owned(), uid, gid, groups: groups(name)? }))
            }
            None => Err(Failure::new(format!(
                "there is no user {name}; create it: useradd --system --user-group {name}"
            ))),
        }
    }

    /// Who owns a folder, where this is root and that is somebody else.
    pub(crate) fn owning(folder: &Path) -> Option<Self> {
        let facts = fs::symlink_metadata(folder).ok()?;
        let is_other = rustix::process::geteuid().is_root() && facts.uid() != 0;
        is_other.then(|| Self {
            name: facts.uid().to_string(),
            uid: Uid::from_raw(facts.uid()),
            gid: Gid::from_raw(facts.gid()),
            groups: Vec::new(),
        })
    }

    /// Makes it the owner of a file or folder.
    pub(crate) fn own(&self, path: &Path) -> io::Result<()> {
        lchown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
    }

    /// Makes it the owner of all that root owns in a folder. Links are not followed.
    pub(crate) fn own_all(&self, path: &Path) -> io::Result<()> {
        let facts = fs::symlink_metadata(path)?;
        if facts.uid() == 0 {
            self.own(path)?;
        }
        if facts.is_dir() {
            for entry in fs::read_dir(path)? {
                self.own_all(&entry?.path())?;
            }
        }
        Ok(())
    }

    /// Becomes it. Must run while the process has one thread: the kernel knows users by thread, and
    /// later threads inherit.
    ///
    /// The right to open ports below 1024 is kept, and nothing else: a changed configuration may
    /// ask for another one.
    pub(crate) fn replace_root(self) -> Result<(), Failure> {
        let Self { name, uid, gid, mut groups } = self;
        groups.push(gid);
        change(uid, gid, &groups)
            .map_err(|error| Failure::because(format!("cannot become user {name}"), error))
    }
}

/// Becomes the server's user for the rest of this process, where that is another one, so that files
/// are looked at as the server looks at them. Must run while the process has one thread.
pub(crate) fn look_as(user: Option<&str>) -> Result<(), Failure> {
    // Where there is no such user the server does not start, and says so.
    let user = user.and_then(|name| User::to_become(name).ok().flatten());
    user.map_or(Ok(()), User::replace_root)
}

fn change(uid: Uid, gid: Gid, groups: &[Gid]) -> io::Result<()> {
    set_keep_capabilities(true)?;
    set_thread_groups(groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    let port = CapabilitySet::NET_BIND_SERVICE;
    let kept = capabilities(None)?.permitted & port;
    set_capabilities(
        None,
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() },
    )?;
    Ok(())
}

/// The numbers of a user, from the local file of users.
fn find(user: &str) -> Result<Option<(Uid, Gid)>, Failure> {
    let text = fs::read_to_string("/etc/passwd")
        .map_err(|error| Failure::because("the list of users cannot be read", error))?;
    Ok(text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let numbers = (Uid::from_raw(uid.parse().ok()?), Gid::from_raw(gid.parse().ok()?));
        (name == user).then_some(numbers)
    }))
}

/// The groups that name a user as a member, from the local file of groups.
fn groups(user: &str) -> Result<Vec<Gid>, Failure> {
    let text = fs::read_to_string("/etc/group")
        .map_err(|error| Failure::because("the list of groups cannot be read", error))?;
    let group = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let (gid, members) = (fields.next()?, fields.next()?);
        let gid = Gid::from_raw(gid.parse().ok()?);
        members.split(',').any(|member| member == user).then_some(gid)
    };
    Ok(text.lines().filter_map(group).collect())
}

/// Makes the state folder if it is not there; it belongs to the user that the server becomes.
pub(crate) fn make_state_folder(state_dir: &Path, user: Option<&User>) -> io::Result<()> {
    if state_dir.exists() {
        return Ok(());
    }
    // What configurations were is nobody else's.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(state_dir)?;
    user.map_or(Ok(()), |user| user.own(state_dir))
}

/// Allows as many open files as the machine lets this process have: each connection is one.
pub(crate) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Where it is refused, the limit that is there holds.
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).ok();
}
